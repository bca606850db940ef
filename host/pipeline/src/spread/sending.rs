//! Rows on their way from a reading task to the gathers that have their keys.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, cast::AsArray as _},
    datatypes::{DataType, Field, Int64Type, Schema},
    error::ArrowError,
};
use bytes::Bytes;
use spout_data::{Batch, PartitionId};
use spout_node::{Beside, Keys, Shares};

use super::{
    Says,
    batches::{pack, unpack},
    words::{Sent, TaskHead, frame},
};

/// Bytes under way of one reading task at most, beside what it is about to send.
const WINDOW: u64 = 32 << 20;
/// What a message counts beside its rows.
const MESSAGE: u64 = 1 << 10;

/// Where a reading task sends its rows.
#[derive(Debug)]
pub(super) struct Sending {
    keys: Keys,
    own: usize,
    /// The buckets of all gathers, one gather after the other.
    order: Vec<u16>,
    /// How many of them each has.
    gathers: Vec<usize>,
    under_way: u64,
}

impl Sending {
    /// As `task` says, by `keys`.
    pub(super) fn new(keys: Keys, task: &TaskHead) -> Self {
        let gathers = task.gathers.iter().map(Vec::len).collect();
        Self { keys, own: task.ordinal, order: task.gathers.concat(), gathers, under_way: 0 }
    }

    /// Whether gathers have to be done with some of it before more is sent.
    pub(super) fn full(&self) -> bool {
        self.under_way >= WINDOW
    }

    /// Gathers are done with so many bytes of a task.
    pub(super) fn done(&mut self, task: usize, bytes: u64) {
        if task == self.own {
            self.under_way = self.under_way.saturating_sub(bytes);
        }
    }

    /// The batch without its rows, and what is said to each gather.
    pub(super) fn split(&mut self, batch: Batch) -> Result<(Batch, Vec<Says>), String> {
        let partition = batch.span.partition;
        let (rest, shares) = self.keys.split(batch, &self.order).map_err(|error| spout_base::error::chain(&error))?;
        let (mut said, mut first) = (Vec::new(), 0);
        for (to, count) in self.gathers.iter().enumerate() {
            let some = shares.some(first, *count);
            first += count;
            // Where time does not count, nobody has to know of others' rows.
            if some.rows.records.num_rows() > 0 || some.beside.is_some() {
                let what = sent(self.own, partition, some)?;
                self.under_way += size(&what);
                said.push(Says { to: Some(to), what });
            }
        }
        Ok((rest, said))
    }

    /// Says `sent` to every gather.
    pub(super) fn all(&self, sent: &Sent) -> Result<Vec<Says>, String> {
        let what = frame(sent, &[]).map_err(|error| error.to_string())?;
        Ok((0..self.gathers.len()).map(|to| Says { to: Some(to), what: what.clone() }).collect())
    }
}

/// What a message counts, for whoever sends and whoever gets it.
pub(super) fn size(message: &Bytes) -> u64 {
    message.len() as u64 + MESSAGE
}

fn sent(from: usize, partition: PartitionId, shares: Shares) -> Result<Bytes, String> {
    let Shares { mut rows, buckets, beside } = shares;
    let newest = beside.as_ref().map(|beside| beside.newest);
    if let Some(beside) = beside {
        rows.records = with_last(&rows.records, Arc::new(beside.before)).map_err(|error| error.to_string())?;
    }
    let body = pack(&[rows])?;
    frame(&Sent::Rows { from, partition, buckets, newest }, &body).map_err(|error| error.to_string())
}

/// The rows of a message.
pub(super) fn received(buckets: Vec<(u16, usize)>, newest: Option<i64>, body: Bytes) -> Result<Shares, String> {
    let wrong = || "a worker sent rows of another shape".to_owned();
    let mut rows = unpack(body)?.pop().ok_or_else(wrong)?;
    if buckets.iter().map(|(_, rows)| rows).sum::<usize>() != rows.records.num_rows() {
        return Err(wrong());
    }
    let beside = match newest {
        None => None,
        Some(newest) => {
            let last = rows.records.num_columns().checked_sub(1).ok_or_else(wrong)?;
            let before: Int64Array =
                rows.records.column(last).as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.clone();
            let others: Vec<usize> = (0..last).collect();
            rows.records = rows.records.project(&others).map_err(|error| error.to_string())?;
            Some(Beside { before, newest })
        }
    };
    Ok(Shares { rows, buckets, beside })
}

fn with_last(records: &RecordBatch, column: ArrayRef) -> Result<RecordBatch, ArrowError> {
    let schema = records.schema();
    let last = Arc::new(Field::new("", DataType::Int64, false));
    let fields: Vec<_> = schema.fields().iter().cloned().chain([last]).collect();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    RecordBatch::try_new(Arc::new(schema), records.columns().iter().cloned().chain([column]).collect())
}
