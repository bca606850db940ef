//! Sessions of aggregates that need no rows: only what each adds up to so far is held.

mod index;
mod parts;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, mem::take, ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array},
    compute::{interleave, take_arrays},
    error::ArrowError,
};
use bytes::Bytes;
use spout_data::Part;

use self::{
    index::{Index, Place},
    parts::Live,
};
use super::{
    held::Closed,
    pane::{FIRST, Plan},
    partial::{INPUT, OTHER_TYPES, keys},
};
use crate::{
    Error, Source,
    aggregates::{GroupIds, failed},
    arrival::{Arrived, NEVER},
    groups::by_key,
    state::{self, Held, Limits, Segments, TIME, column, one_schema},
};

/// After so many new pieces the memory they take is looked at again; so many that are over are no reason to tidy up.
const LOOK: usize = 8192;
/// The blocks are made fewer once there are so many.
const MANY: usize = 64;

/// What sessions that are open add up to.
///
/// Rows since the last flush are added up in `live`, one piece for each session; a flush makes a block of `parts` of it: the
/// pieces of a session are merged when it ends. A block's pieces have the first and the last time of their rows where those of
/// windows have ends, so that sessions can be told from them alone.
#[derive(Debug)]
pub(super) struct SessionWindows {
    handler: String,
    gap: i64,
    columns: Vec<String>,
    limits: Limits,
    plan: Arc<Plan>,
    /// Numbers rows, for what goes by their order.
    rows: Held,
    parts: Segments,
    /// For each block which of its pieces are of sessions that are over.
    gone: Vec<Vec<bool>>,
    ids: GroupIds,
    index: Index,
    live: Live,
    /// How many pieces are of sessions that are over.
    over: usize,
    /// How many sessions the index may have until it is made anew.
    room: usize,
    closed: i64,
    /// How many pieces there may be until their memory is looked at again.
    look: usize,
}

/// Sessions that ended, by their end and then by key: their keys and values.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) sessions: Vec<Closed>,
    pub(super) keys: Vec<ArrayRef>,
    pub(super) values: Vec<ArrayRef>,
}

impl SessionWindows {
    pub(super) fn new(handler: &str, gap: i64, columns: &[String], limits: &Limits, plan: Plan) -> Result<Self, Error> {
        Ok(Self {
            handler: handler.to_owned(),
            gap,
            columns: columns.to_vec(),
            limits: limits.clone(),
            ids: plan.ids(handler)?,
            live: Live::new(&plan)?,
            plan: Arc::new(plan),
            rows: Held::new(handler, "rows"),
            parts: Segments::new(handler, "parts"),
            gone: Vec::new(),
            index: Index::new(gap),
            over: 0,
            room: LOOK,
            closed: i64::MIN,
            look: LOOK,
        })
    }

    /// Adds up rows that were held, as in versions before this one.
    pub(super) fn take_over(&mut self, held: &Held) -> Result<(), Error> {
        self.rows = held.without_rows();
        let like = Held::new(&self.handler, "rows").mark(
            &RecordBatch::new_empty(Arc::clone(self.plan.input())),
            &Int64Array::from_iter_values([]),
            Source::Merged,
            &[],
        )?;
        let batches: Vec<RecordBatch> = held.batches().cloned().chain([like]).collect();
        for batch in one_schema(&self.handler, &batches)? {
            self.add(&batch, column(&batch, TIME).values())?;
        }
        Ok(())
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Goes on with rows of another schema.
    ///
    /// # Errors
    /// [`Error::Spec`] if what is held is of other types.
    pub(super) fn learn(&mut self, plan: Plan) -> Result<(), Error> {
        if plan.input() == self.plan.input() {
            return Ok(());
        }
        let same = plan.compiled.order_free() && plan.parts() == self.plan.parts();
        if !same && self.index.open() > 0 {
            return Err(Error::spec(&self.handler, OTHER_TYPES));
        }
        self.flush()?;
        self.live = Live::new(&plan)?;
        self.plan = Arc::new(plan);
        if same {
            return Ok(());
        }
        drop(self.parts.take_all());
        self.look_again()
    }

    /// For each row whether it is too late; nothing if none is.
    pub(super) fn late(arrived: &Arrived) -> Option<Vec<Option<bool>>> {
        let rows = || arrived.times.values().iter().zip(arrived.passed.values()).map(|(time, passed)| time < passed);
        rows().any(|late| late).then(|| rows().map(Some).collect())
    }

    /// Takes rows, none of them late.
    pub(super) fn append(&mut self, arrived: &Arrived, from: Source) -> Result<(), Error> {
        if arrived.records.num_rows() == 0 {
            return Ok(());
        }
        let marked = self.rows.mark_with(self.plan.compiled.marks(), &arrived.records, &arrived.times, from)?;
        self.add(&marked, arrived.times.values())?;
        self.limits.groups(self.index.keys())?;
        if self.is_littered() {
            self.tidy()?;
        }
        if self.index.pieces() >= self.look { self.look_at_limits() } else { Ok(()) }
    }

    fn add(&mut self, rows: &RecordBatch, times: &[i64]) -> Result<(), Error> {
        let count = rows.num_rows();
        let keys = keys(&self.columns, rows);
        self.ids.of(&keys, count).map_err(|error| failed(&self.handler, error, count))?;
        let (block, index) = (self.gone.len() as u32, &mut self.index);
        let mut pieces = Vec::with_capacity(count);
        let mut new: Vec<u32> = Vec::new();
        for (row, (&key, &time)) in self.ids.last().iter().zip(times).enumerate() {
            let session = index.session(key as u32, time, time);
            pieces.push(match index.row_in(session, block) {
                Some(piece) => self.live.extend(piece, time),
                None => {
                    let piece = self.live.begin(time);
                    index.add(session, Place { block, row: piece as u32 });
                    new.push(row as u32);
                    piece
                }
            });
        }
        if !new.is_empty() {
            let new = UInt32Array::from(new);
            self.live.keys.push(take_arrays(&keys, &new, None).map_err(Error::kernel(&self.handler, count))?);
        }
        let total = self.live.len();
        self.plan.compiled.update(&mut self.live.accumulators, rows, &pieces, total)
    }

    fn look_at_limits(&mut self) -> Result<(), Error> {
        if self.over > 0 && self.limits.bytes(self.bytes()).is_err() {
            self.tidy()?;
        }
        self.look = self.index.pieces() + LOOK;
        self.limits.bytes(self.bytes())
    }

    /// Whether more of what is kept is over than is not, or it is in too many blocks.
    fn is_littered(&self) -> bool {
        self.over * 2 > LOOK + self.index.pieces() || self.index.sessions() > self.room || self.gone.len() >= MANY
    }

    fn bytes(&self) -> usize {
        self.parts.bytes() + self.live.bytes() + self.index.bytes() + self.ids.bytes() + self.index.pieces()
    }

    pub(super) fn is_due(&self, upto: i64) -> bool {
        self.index.due() <= upto
    }

    /// The sessions that end at or before `upto`.
    pub(super) fn close(&mut self, upto: i64) -> Result<Ended, Error> {
        let ended = self.index.end(upto);
        self.closed = self.closed.max(upto);
        if ended.is_empty() {
            return Ok(Ended::default());
        }
        let live = self.gone.len() as u32;
        if ended.iter().any(|&session| self.index.row_in(session, live).is_some()) {
            self.flush()?;
        }
        let evaluated = self.evaluated(&ended)?;
        self.forget(&ended);
        if self.is_littered() {
            self.tidy()?;
        }
        Ok(evaluated)
    }

    /// The pieces of sessions that have ended count no more.
    fn forget(&mut self, ended: &[u32]) {
        for place in ended.iter().flat_map(|&session| self.index.pieces_of(session)) {
            if let Some(block) = self.gone.get_mut(place.block as usize)
                && let Some(gone) = block.get_mut(place.row as usize)
            {
                (*gone, self.over) = (true, self.over + 1);
            }
        }
    }

    /// What sessions add up to of which all pieces are in blocks.
    fn evaluated(&self, ended: &[u32]) -> Result<Ended, Error> {
        let kernel = |error: ArrowError| Error::kernel(&self.handler, ended.len())(error);
        let mut groups: Vec<usize> = Vec::with_capacity(ended.len());
        let mut places: Vec<Place> = Vec::with_capacity(ended.len());
        let mut heads: Vec<Place> = Vec::with_capacity(ended.len());
        for (number, &session) in ended.iter().enumerate() {
            heads.extend(self.index.pieces_of(session).next());
            places.extend(self.index.pieces_of(session));
            groups.resize(places.len(), number);
        }
        let blocks: Vec<&RecordBatch> = self.parts.batches().collect();
        let width = 2 + self.plan.keys().len();
        let keys = gathered(&blocks, 2..width, &heads).map_err(kernel)?;
        let state = gathered(&blocks, width..self.plan.parts().fields().len(), &places).map_err(kernel)?;
        let ends = ended.iter().map(|&session| self.index.times(session).1.saturating_add(self.gap));
        let ends: Vec<i64> = ends.collect();
        let mut order = by_key(&keys, ended.len()).map_err(kernel)?.values().to_vec();
        order.sort_by_key(|&number| ends.get(number as usize));
        let mut ranks = vec![0; order.len()];
        for (rank, &number) in order.iter().enumerate() {
            if let Some(place) = ranks.get_mut(number as usize) {
                *place = rank;
            }
        }
        let groups: Vec<usize> = groups.into_iter().filter_map(|number| ranks.get(number).copied()).collect();
        let mut accumulators = self.plan.compiled.start()?;
        self.plan.compiled.merge(&mut accumulators, &state, &groups, ended.len())?;
        let keys = take_arrays(&keys, &UInt32Array::from(order.clone()), None).map_err(kernel)?;
        let values = self.plan.compiled.evaluate(&mut accumulators, &keys, ended.len())?;
        let sessions = order.iter().filter_map(|&number| {
            let (start, last) = self.index.times(*ended.get(number as usize)?);
            Some(Closed { start, end: last.saturating_add(self.gap), rows: 1 })
        });
        Ok(Ended { sessions: sessions.collect(), keys, values })
    }

    /// Makes a block of what is live.
    fn flush(&mut self) -> Result<(), Error> {
        if self.live.len() > 0 {
            let live = std::mem::replace(&mut self.live, Live::new(&self.plan)?);
            let block = live.finish(&self.plan, &self.handler)?;
            self.gone.push(vec![false; block.num_rows()]);
            self.parts.push(block);
        }
        Ok(())
    }

    /// Lets go of what is over, and makes few blocks of many.
    fn tidy(&mut self) -> Result<(), Error> {
        self.flush()?;
        let mut gone = take(&mut self.gone).into_iter();
        self.parts.take(|_| Ok(BooleanArray::from(gone.next().unwrap_or_default())))?;
        let (plan, handler, gap) = (Arc::clone(&self.plan), self.handler.clone(), self.gap);
        self.parts.tidy(&mut |batches| parts::merged(&plan, &handler, gap, batches))?;
        self.look_again()
    }

    /// Finds the sessions of all blocks anew; nothing is live.
    fn look_again(&mut self) -> Result<(), Error> {
        (self.index, self.ids) = (Index::new(self.gap), self.plan.ids(&self.handler)?);
        (self.gone, self.over) = (Vec::new(), 0);
        for (block, parts) in self.parts.batches().enumerate() {
            parts::enter(&mut self.index, &mut self.ids, &self.plan, &self.handler, block as u32, parts)?;
            self.gone.push(vec![false; parts.num_rows()]);
        }
        // Pieces that were let go of since they were written are there again.
        let over = self.index.end(self.closed);
        self.forget(&over);
        (self.look, self.room) = (self.index.pieces() + LOOK, self.index.sessions() * 2 + LOOK);
        Ok(())
    }

    /// A time at which all sessions have ended.
    pub(super) fn last_end(&self) -> i64 {
        let lasts = self.index.opened().map(|session| self.index.times(session).1);
        lasts.max().map_or(NEVER, |last| last.saturating_add(self.gap))
    }

    pub(super) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        self.flush()?;
        if self.over * 4 > self.index.pieces() {
            self.tidy()?;
        }
        self.look_at_limits()?;
        let before = blocks(&self.parts);
        let (plan, handler, gap) = (Arc::clone(&self.plan), self.handler.clone(), self.gap);
        let mut parts = self.parts.snapshot(&mut |batches| parts::merged(&plan, &handler, gap, batches))?;
        if blocks(&self.parts) != before {
            self.look_again()?;
        }
        parts.extend(self.rows.snapshot()?);
        let input = state::encode(&RecordBatch::new_empty(Arc::clone(self.plan.input())));
        let input = input.map_err(Error::kernel(&self.handler, 0))?;
        parts.insert(INPUT.to_owned(), Part::New(input));
        Ok(parts)
    }

    /// Takes its parts; sessions up to `closed` are over already.
    pub(super) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>, closed: i64) -> Result<(), Error> {
        self.rows.restore(parts)?;
        self.parts.restore(parts)?;
        self.closed = closed;
        self.look_again()
    }
}

/// Where each block is in memory, and how many rows it has: the same as long as blocks are.
fn blocks(parts: &Segments) -> Vec<(usize, usize)> {
    let place = |block: &RecordBatch| (column(block, FIRST).values().as_ptr() as usize, block.num_rows());
    parts.batches().map(place).collect()
}

/// The rows at these places of some columns of blocks.
fn gathered(blocks: &[&RecordBatch], columns: Range<usize>, places: &[Place]) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut own: Vec<&RecordBatch> = Vec::new();
    let mut moved: Vec<Option<usize>> = vec![None; blocks.len()];
    let mut rows = Vec::with_capacity(places.len());
    for place in places {
        let (Some(moved), Some(block)) = (moved.get_mut(place.block as usize), blocks.get(place.block as usize)) else {
            return Err(ArrowError::ComputeError("a block of sessions is missing".into()));
        };
        let number = *moved.get_or_insert_with(|| {
            own.push(block);
            own.len() - 1
        });
        rows.push((number, place.row as usize));
    }
    let of = |column: usize| {
        let arrays: Vec<&dyn Array> = own.iter().map(|block| block.column(column).as_ref()).collect();
        interleave(&arrays, &rows)
    };
    columns.map(of).collect()
}
