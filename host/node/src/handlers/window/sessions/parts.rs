//! Pieces of sessions as they come, and as batches of parts.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, UInt32Array},
    compute::{concat, take_arrays},
};

use super::{
    super::pane::{Plan, ends_of},
    index::{Index, Place},
};
use crate::{
    Error,
    aggregates::{Accumulators, GroupIds, failed},
    state,
};

/// What rows add up to that came since the last flush: a piece for each session.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) accumulators: Accumulators,
    /// The keys of pieces, as they began.
    pub(super) keys: Vec<Vec<ArrayRef>>,
    firsts: Vec<i64>,
    lasts: Vec<i64>,
}

impl Live {
    pub(super) fn new(plan: &Plan) -> Result<Self, Error> {
        let accumulators = plan.compiled.start()?;
        Ok(Self { accumulators, keys: Vec::new(), firsts: Vec::new(), lasts: Vec::new() })
    }

    /// How many pieces there are.
    pub(super) fn len(&self) -> usize {
        self.firsts.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let keys = self.keys.iter().flatten().map(|keys| keys.get_array_memory_size());
        self.accumulators.bytes() + keys.sum::<usize>() + self.len() * 2 * size_of::<i64>()
    }

    /// A new piece, with a row at `time`.
    pub(super) fn begin(&mut self, time: i64) -> usize {
        self.firsts.push(time);
        self.lasts.push(time);
        self.len() - 1
    }

    /// A piece with one more row.
    pub(super) fn extend(&mut self, piece: u32, time: i64) -> usize {
        let piece = piece as usize;
        if let (Some(first), Some(last)) = (self.firsts.get_mut(piece), self.lasts.get_mut(piece)) {
            (*first, *last) = ((*first).min(time), (*last).max(time));
        }
        piece
    }

    /// All of it as one batch of parts.
    pub(super) fn finish(mut self, plan: &Plan, handler: &str) -> Result<RecordBatch, Error> {
        let pieces = self.len();
        let key = |number: usize| {
            let chunks = self.keys.iter().filter_map(|keys| keys.get(number)).map(AsRef::as_ref);
            concat(&chunks.collect::<Vec<_>>())
        };
        let keys = (0..plan.keys().len()).map(key).collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(Error::kernel(handler, pieces))?;
        let state = plan.compiled.state(&mut self.accumulators)?;
        batch(plan, handler, self.firsts, self.lasts, keys, state)
    }
}

fn batch(
    plan: &Plan,
    handler: &str,
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    keys: Vec<ArrayRef>,
    state: Vec<ArrayRef>,
) -> Result<RecordBatch, Error> {
    let pieces = firsts.len();
    let times = [firsts, lasts].map(|times| Arc::new(Int64Array::from(times)) as ArrayRef);
    let columns = times.into_iter().chain(keys).chain(state).collect();
    RecordBatch::try_new(Arc::clone(plan.parts()), columns).map_err(Error::kernel(handler, pieces))
}

/// Enters the pieces of a block into an index.
pub(super) fn enter(
    index: &mut Index,
    ids: &mut GroupIds,
    plan: &Plan,
    handler: &str,
    block: u32,
    parts: &RecordBatch,
) -> Result<(), Error> {
    let keys = parts.columns().get(2..2 + plan.keys().len()).unwrap_or_default();
    ids.of(keys, parts.num_rows()).map_err(|error| failed(handler, error, parts.num_rows()))?;
    for (row, (&key, (first, last))) in ids.last().iter().zip(ends_of(parts)).enumerate() {
        let session = index.session(key as u32, first, last);
        index.add(session, Place { block, row: row as u32 });
    }
    Ok(())
}

/// One batch of parts of several, with one piece for those of a session that these parts show to be one.
pub(super) fn merged(plan: &Plan, handler: &str, gap: i64, batches: Vec<RecordBatch>) -> Result<RecordBatch, Error> {
    let whole = match <[RecordBatch; 1]>::try_from(batches) {
        Ok([one]) => return Ok(one),
        Err(many) => state::concat(handler, many)?,
    };
    let (rows, mut index) = (whole.num_rows(), Index::new(gap));
    enter(&mut index, &mut plan.ids(handler)?, plan, handler, 0, &whole)?;
    if index.open() == rows {
        return Ok(whole);
    }
    let (mut groups, mut heads, mut times) = (vec![0; rows], Vec::new(), (Vec::new(), Vec::new()));
    for (number, session) in index.opened().enumerate() {
        heads.extend(index.pieces_of(session).next().map(|place| place.row));
        for group in index.pieces_of(session) {
            if let Some(group) = groups.get_mut(group.row as usize) {
                *group = number;
            }
        }
        let (first, last) = index.times(session);
        times.0.push(first);
        times.1.push(last);
    }
    let (keys, state) = whole.columns().split_at(2 + plan.keys().len());
    let mut accumulators = plan.compiled.start()?;
    plan.compiled.merge(&mut accumulators, state, &groups, index.open())?;
    let keys = take_arrays(keys.get(2..).unwrap_or_default(), &UInt32Array::from(heads), None);
    let keys = keys.map_err(Error::kernel(handler, rows))?;
    batch(plan, handler, times.0, times.1, keys, plan.compiled.state(&mut accumulators)?)
}
