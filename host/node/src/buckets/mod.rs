//! Handlers several times, each with the rows of some keys: what several processes have in common that share a handler with state.
//!
//! A key belongs to one of [`BUCKETS`] buckets, for ever, and each bucket has its handlers and their state to itself. So a bucket can be
//! anywhere: all of them in one process ([`Buckets::handle`]), or each in the process that was given it ([`Keys::split`] where the rows
//! are, [`Buckets::take`] where the bucket is), and go from one to the other with its state.
//!
//! Whether a row is late depends on the rows before it in its own source, also on those of other keys. So a bucket is told, of each row,
//! the newest time that was before it in its batch, and of each batch the newest time of all.
//!
//! **Invariant**: which bucket a key belongs to follows from its values alone, and never changes: state is stored by it.

mod chains;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::{
    array::{Array as _, Int64Array, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::Schema,
};
use spout_data::{Batch, Counts, Origins, Position, Span};

pub use self::chains::{Buckets, are_of_buckets, bucket_of, split_by_key};
use super::{Error, EventTime, arrival::NEVER, digest::Digests};

/// How many buckets there are. Stored state says it too.
pub const BUCKETS: u16 = 16;

/// What a bucket has to know of a batch that it has some rows of.
#[derive(Clone, Debug)]
pub struct Beside {
    /// For each row the newest time in nanoseconds among all rows of the batch before it; [`i64::MIN`] where there is none.
    pub before: Int64Array,
    /// The newest time of the batch.
    pub newest: i64,
}

/// How rows are split by key.
#[derive(Clone, Debug)]
pub struct Keys {
    handler: String,
    digests: Digests,
    time: Option<EventTime>,
}

/// The rows of a batch, bucket after bucket, each in the order it was.
#[derive(Clone, Debug)]
pub struct Shares {
    /// The rows, with the messages that they came from; its span has no length.
    pub rows: Batch,
    /// The buckets, and how many of the rows each has.
    pub buckets: Vec<(u16, usize)>,
    /// What each row has before it; none where time does not count.
    pub beside: Option<Beside>,
}

impl Keys {
    /// Keys of these columns; none if there are none.
    pub(crate) fn over(handler: &str, columns: &[String], time: Option<EventTime>) -> Option<Self> {
        (!columns.is_empty()).then(|| Self::by(handler, Digests::over(handler, columns), time))
    }

    /// Keys that `digests` tell apart.
    pub(crate) fn by(handler: &str, digests: Digests, time: Option<EventTime>) -> Self {
        Self { handler: handler.to_owned(), digests, time }
    }

    /// The rows of `batch` by bucket, in the `order` of buckets, which names each once; and the batch without them.
    ///
    /// # Errors
    /// [`Error::Spec`] for a column that is missing, or no time.
    pub fn split(&self, batch: Batch, order: &[u16]) -> Result<(Batch, Shares), Error> {
        let Batch { records, span, origins, messages, dead, late, unknown, counts } = batch;
        let rows = records.num_rows();
        let place_of = |bucket: u64| order.iter().position(|one| u64::from(*one) == bucket).unwrap_or_default();
        let (mut places, mut buckets): (Vec<usize>, Vec<(u16, usize)>) =
            (Vec::with_capacity(rows), order.iter().map(|bucket| (*bucket, 0)).collect());
        let table: Vec<usize> = (0..u64::from(BUCKETS)).map(place_of).collect();
        if records.num_columns() > 0 {
            for hash in self.digests.hashes(&records)? {
                let place = table.get((hash % u64::from(BUCKETS)) as usize).copied().unwrap_or_default();
                places.push(place);
                buckets.iter_mut().skip(place).take(1).for_each(|(_, rows)| *rows += 1);
            }
        }
        let mut starts: Vec<usize> =
            buckets.iter().scan(0, |sum, (_, rows)| Some(std::mem::replace(sum, *sum + rows))).collect();
        let mut taken = vec![0_u32; places.len()];
        for (row, place) in (0..).zip(&places) {
            if let Some(start) = starts.get_mut(*place) {
                taken.iter_mut().skip(*start).take(1).for_each(|to| *to = row);
                *start += 1;
            }
        }
        let beside = match &self.time {
            Some(time) if records.num_columns() > 0 => Some(beside(&time.of(&records)?, &taken)),
            _ => None,
        };
        let indices = UInt32Array::from(taken);
        let sorted = take_record_batch(&records, &indices).map_err(Error::kernel(&self.handler, rows))?;
        let shared = Batch {
            origins: origins.take(indices.values()),
            messages: Arc::clone(&messages),
            ..nothing(sorted, &span)
        };
        let empty = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let counts = Counts { made: counts.made.or(Some(0)), ..counts };
        let rest = Batch { records: empty, span, origins: Origins::Each, messages, dead, late, unknown, counts };
        Ok((rest, Shares { rows: shared, buckets, beside }))
    }
}

impl Shares {
    /// Those of `count` buckets from `first` on, with no more messages than theirs.
    #[must_use]
    pub fn some(&self, first: usize, count: usize) -> Self {
        let start = self.buckets.iter().take(first).map(|(_, rows)| rows).sum();
        let buckets: Vec<(u16, usize)> = self.buckets.iter().skip(first).take(count).copied().collect();
        let rows = buckets.iter().map(|(_, rows)| rows).sum();
        let mut batch = piece(&self.rows, start, rows);
        if let Origins::Taken(list) = &batch.origins {
            let mut places = list.to_vec();
            places.sort_unstable();
            places.dedup();
            let moved = list.iter().map(|place| places.binary_search(place).map_or(u32::MAX, |at| at as u32));
            (batch.messages, batch.origins) = (Arc::new(batch.messages.only(&places)), Origins::Taken(moved.collect()));
        } else {
            batch.messages = Arc::default();
        }
        let beside = self.beside.as_ref().map(|beside| beside.slice(start, rows));
        Self { rows: batch, buckets, beside }
    }

    /// Each bucket with its rows.
    fn each(&self) -> impl Iterator<Item = (u16, Batch, Option<Beside>)> {
        let mut start = 0;
        self.buckets.iter().map(move |(bucket, rows)| {
            let from = start;
            start += rows;
            let beside = self.beside.as_ref().map(|beside| beside.slice(from, *rows));
            (*bucket, piece(&self.rows, from, *rows), beside)
        })
    }
}

impl Beside {
    fn slice(&self, start: usize, rows: usize) -> Self {
        Self { before: self.before.slice(start, rows), newest: self.newest }
    }
}

/// What each of the rows `taken` has before it, and the newest of all.
fn beside(times: &Int64Array, taken: &[u32]) -> Beside {
    let mut newest = NEVER;
    let time = |row: usize| if times.is_null(row) { NEVER } else { times.value(row) };
    let before = (0..times.len()).map(|row| {
        let before = newest;
        newest = before.max(time(row));
        before
    });
    let before: Vec<i64> = before.collect();
    let before = taken.iter().filter_map(|row| before.get(*row as usize).copied());
    Beside { before: Int64Array::from_iter_values(before), newest }
}

/// Rows of a batch, without anything else of it.
fn piece(batch: &Batch, start: usize, rows: usize) -> Batch {
    let origins = match &batch.origins {
        Origins::Taken(list) => Origins::Taken(list.get(start..start + rows).unwrap_or_default().into()),
        Origins::Each | Origins::Unknown => Origins::Unknown,
    };
    let records = batch.records.slice(start, rows);
    Batch { origins, messages: Arc::clone(&batch.messages), ..nothing(records, &batch.span) }
}

/// `records` of the source of `span`, where it begins.
fn nothing(records: RecordBatch, span: &Span) -> Batch {
    let counts = Counts { made: Some(0), ..Counts::default() };
    Batch { span: Span { next: Position::at(span.start), ..span.clone() }, counts, ..Batch::held(records) }
}
