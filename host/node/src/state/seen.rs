//! Keys that were seen, of which a snapshot stores those that are new.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, UInt64Array},
    datatypes::{Int64Type, UInt64Type},
};
use bytes::Bytes;
use spout_data::Part;

use super::{Segments, concat};
use crate::{Error, digest::Digest};

/// Keys that were seen, each of one source, with a number and a time.
#[derive(Debug)]
pub(crate) struct Seen {
    handler: String,
    keys: HashMap<(i64, Digest), (u64, Option<i64>)>,
    /// Those that no snapshot has.
    new: Vec<(i64, Digest, u64, Option<i64>)>,
    stored: Segments,
    next: u64,
    /// How many keys were left when it was last tidied.
    left: usize,
}

/// About what a key takes in memory, with its place in the table and in the stored rows.
const KEY: usize = 120;

impl Seen {
    pub(crate) fn new(handler: &str) -> Self {
        Self {
            handler: handler.to_owned(),
            keys: HashMap::new(),
            new: Vec::new(),
            stored: Segments::new(handler, "seen"),
            next: 0,
            left: 0,
        }
    }

    /// The number and the time that a key was last put in with.
    pub(crate) fn of(&self, source: i64, digest: &Digest) -> Option<(u64, Option<i64>)> {
        self.keys.get(&(source, *digest)).copied()
    }

    pub(crate) fn insert(&mut self, source: i64, digest: Digest, time: Option<i64>) {
        self.insert_numbered(source, digest, self.next, time);
    }

    pub(crate) fn insert_numbered(&mut self, source: i64, digest: Digest, number: u64, time: Option<i64>) {
        self.next = self.next.max(number + 1);
        self.keys.insert((source, digest), (number, time));
        self.new.push((source, digest, number, time));
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.new.clear();
        drop(self.stored.take_all());
    }

    /// Forgets the keys of one source.
    pub(crate) fn forget_source(&mut self, source: i64) {
        self.keys.retain(|(of, _), _| *of != source);
        self.new.retain(|(of, ..)| *of != source);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.keys.len() * KEY
    }

    /// Forgets the keys that need not be kept, once they are many.
    pub(crate) fn tidy(&mut self, keep: impl Fn(i64, u64, Option<i64>) -> bool) {
        if self.keys.len() > 1024 + self.left * 2 {
            self.forget(&keep);
        }
    }

    fn forget(&mut self, keep: &impl Fn(i64, u64, Option<i64>) -> bool) {
        self.keys.retain(|(source, _), (number, time)| keep(*source, *number, *time));
        self.left = self.keys.len();
    }

    /// Its parts, without the keys that need not be kept.
    pub(crate) fn snapshot(
        &mut self,
        keep: impl Fn(i64, u64, Option<i64>) -> bool,
    ) -> Result<BTreeMap<String, Part>, Error> {
        self.forget(&keep);
        let new = std::mem::take(&mut self.new);
        let new: Vec<_> = new.into_iter().filter(|(source, _, number, time)| keep(*source, *number, *time)).collect();
        if !new.is_empty() {
            let digests = FixedSizeBinaryArray::try_from_iter(new.iter().map(|row| row.1));
            let digests = digests.map_err(Error::kernel(&self.handler, new.len()))?;
            let columns: [(&str, ArrayRef, bool); 4] = [
                ("source", Arc::new(new.iter().map(|row| Some(row.0)).collect::<Int64Array>()), false),
                ("digest", Arc::new(digests), false),
                ("number", Arc::new(new.iter().map(|row| Some(row.2)).collect::<UInt64Array>()), false),
                ("time", Arc::new(new.iter().map(|row| row.3).collect::<Int64Array>()), true),
            ];
            let rows = RecordBatch::try_from_iter_with_nullable(columns);
            self.stored.push(rows.map_err(Error::kernel(&self.handler, new.len()))?);
        }
        let damaged = || Error::state(&self.handler, "not keys that were seen");
        let gone = |batch: &RecordBatch| {
            let rows = read(batch).ok_or_else(damaged)?;
            Ok(rows.map(|(source, _, number, time)| Some(!keep(source, number, time))).collect::<BooleanArray>())
        };
        drop(self.stored.take(gone)?);
        let handler = self.handler.clone();
        self.stored.snapshot(&mut |batches| concat(&handler, batches))
    }

    pub(crate) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.stored.restore(parts)?;
        let damaged = || Error::state(&self.handler, "not keys that were seen");
        for batch in self.stored.batches() {
            for (source, digest, number, time) in read(batch).ok_or_else(damaged)? {
                self.next = self.next.max(number + 1);
                let place = self.keys.entry((source, digest)).or_insert((number, time));
                if place.0 < number {
                    *place = (number, time);
                }
            }
        }
        self.left = self.keys.len();
        Ok(())
    }

    /// The latest time that a key was put in with.
    pub(crate) fn latest(&self) -> Option<i64> {
        self.keys.values().filter_map(|(_, time)| *time).max()
    }
}

type Row = (i64, Digest, u64, Option<i64>);

fn read(batch: &RecordBatch) -> Option<impl Iterator<Item = Row> + '_> {
    let sources = batch.column_by_name("source")?.as_primitive_opt::<Int64Type>()?;
    let digests = batch.column_by_name("digest")?.as_fixed_size_binary_opt()?;
    let numbers = batch.column_by_name("number")?.as_primitive_opt::<UInt64Type>()?;
    let times = batch.column_by_name("time")?.as_primitive_opt::<Int64Type>()?;
    let digest = |row: usize| Digest::try_from(digests.value(row)).unwrap_or_default();
    let time = |row: usize| times.is_valid(row).then(|| times.value(row));
    Some((0..batch.num_rows()).map(move |row| (sources.value(row), digest(row), numbers.value(row), time(row))))
}
