//! The levels of groups, of which a snapshot stores those that changed.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, AsArray, BooleanArray, Float64Array, Int8Array, Int64Array, RecordBatch, UInt32Array, UInt64Array,
    },
    compute::filter_record_batch,
    datatypes::{Float64Type, Int8Type, Int64Type, UInt32Type, UInt64Type},
    error::ArrowError,
};
use bytes::Bytes;
use spout_data::Part;

use super::machine::{Level, Phase};
use crate::{
    Error,
    state::{Groups, Limits, Segments, concat},
};

/// A level, and when a row of its group was last seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) level: Level,
    pub(super) seen: i64,
    /// The snapshot that stores it; none if nothing does.
    version: Option<u64>,
    changed: bool,
}

/// The levels of all groups.
#[derive(Debug)]
pub(super) struct Levels {
    handler: String,
    groups: Groups,
    known: Vec<Known>,
    stored: Segments,
    version: u64,
}

impl Levels {
    pub(super) fn new(handler: &str, group: &[String], limits: Limits) -> Self {
        Self {
            handler: handler.to_owned(),
            groups: Groups::new(handler, "groups", group, limits),
            known: Vec::new(),
            stored: Segments::new(handler, "levels"),
            version: 0,
        }
    }

    /// The numbers of the rows' groups; a group seen for the first time starts as `start`.
    pub(super) fn numbers(&mut self, rows: &RecordBatch, start: Level) -> Result<Vec<u32>, Error> {
        let numbers = self.groups.ids(rows)?;
        let new = Known { level: start, seen: i64::MIN, version: None, changed: false };
        self.known.resize(self.groups.len(), new);
        Ok(numbers)
    }

    pub(super) fn of(&self, number: u32) -> Option<&Known> {
        self.known.get(number as usize)
    }

    /// Sets a level, and the time of a row where it matters.
    pub(super) fn set(&mut self, number: u32, level: Level, seen: Option<i64>) {
        if let Some(known) = self.known.get_mut(number as usize) {
            let seen = seen.map_or(known.seen, |seen| known.seen.max(seen));
            known.changed |= known.level != level || known.seen != seen;
            (known.level, known.seen) = (level, seen);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.groups.bytes() + self.known.len() * size_of::<Known>()
    }

    /// Lets go of groups of which no row was seen since `time`, if that is most of them.
    pub(super) fn forget(&mut self, time: i64) {
        let old = self.known.iter().filter(|known| known.seen < time).count();
        if old < 1024 || old * 2 < self.known.len() {
            return;
        }
        let moved =
            self.groups.retain(|number| self.known.get(number as usize).is_some_and(|known| known.seen >= time));
        let kept = std::mem::take(&mut self.known).into_iter().zip(moved);
        let kept = kept.filter_map(|(known, number)| number.map(|_| Known { version: None, changed: true, ..known }));
        self.known = kept.collect();
        drop(self.stored.take_all());
    }

    pub(super) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        self.version += 1;
        let changed: Vec<u32> =
            (0u32..).zip(&self.known).filter(|(_, known)| known.changed).map(|(number, _)| number).collect();
        if !changed.is_empty() {
            let rows = self.rows(&changed).map_err(Error::kernel(&self.handler, changed.len()))?;
            self.stored.push(rows);
            for &number in &changed {
                let known = &mut self.known[number as usize];
                (known.version, known.changed) = (Some(self.version), false);
            }
        }
        let (handler, known) = (&self.handler, &self.known);
        let mut newest = |batches: Vec<RecordBatch>| {
            let all = concat(handler, batches)?;
            let mask = current(&all, known).map_err(Error::kernel(handler, all.num_rows()))?;
            filter_record_batch(&all, &mask).map_err(Error::kernel(handler, all.num_rows()))
        };
        let mut parts = self.stored.snapshot(&mut newest)?;
        parts.extend(self.groups.snapshot()?);
        Ok(parts)
    }

    pub(super) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>, start: Level) -> Result<(), Error> {
        self.groups.restore(parts)?;
        self.stored.restore(parts)?;
        let new = Known { level: start, seen: i64::MIN, version: None, changed: false };
        self.known = vec![new; self.groups.len()];
        for batch in self.stored.batches() {
            let rows = read(batch).ok_or_else(|| Error::state(&self.handler, "not the levels of groups"))?;
            for (number, known) in rows {
                let place = self.known.get_mut(number as usize);
                let place = place.ok_or_else(|| {
                    Error::state(&self.handler, format!("it has a level of group {number}, but no such group"))
                })?;
                if known.version > place.version {
                    *place = known;
                }
                self.version = self.version.max(known.version.unwrap_or_default());
            }
        }
        Ok(())
    }

    fn rows(&self, numbers: &[u32]) -> Result<RecordBatch, ArrowError> {
        let known = || numbers.iter().map(|&number| &self.known[number as usize]);
        let phase = |known: &Known| match known.level.phase {
            Phase::Calm => (0, None),
            Phase::Rising(since) => (1, Some(since)),
            Phase::Falling(since) => (-1, Some(since)),
        };
        let columns: [(&str, ArrayRef); 6] = [
            ("__group", Arc::new(UInt32Array::from(numbers.to_vec()))),
            ("version", Arc::new(UInt64Array::from_value(self.version, numbers.len()))),
            ("level", Arc::new(known().map(|known| Some(known.level.level)).collect::<Float64Array>())),
            ("phase", Arc::new(known().map(|known| Some(phase(known).0)).collect::<Int8Array>())),
            ("since", Arc::new(known().map(|known| phase(known).1).collect::<Int64Array>())),
            ("seen", Arc::new(known().map(|known| Some(known.seen)).collect::<Int64Array>())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, name == "since")))
    }
}

/// Which of the stored rows no later one has replaced.
fn current(stored: &RecordBatch, known: &[Known]) -> Result<BooleanArray, ArrowError> {
    let rows = read(stored).ok_or_else(|| ArrowError::SchemaError("not the levels of groups".into()))?;
    let is = |(number, row): (u32, Known)| known.get(number as usize).is_some_and(|known| known.version == row.version);
    Ok(rows.into_iter().map(|row| Some(is(row))).collect())
}

fn read(batch: &RecordBatch) -> Option<Vec<(u32, Known)>> {
    let numbers = batch.column_by_name("__group")?.as_primitive_opt::<UInt32Type>()?;
    let versions = batch.column_by_name("version")?.as_primitive_opt::<UInt64Type>()?;
    let levels = batch.column_by_name("level")?.as_primitive_opt::<Float64Type>()?;
    let phases = batch.column_by_name("phase")?.as_primitive_opt::<Int8Type>()?;
    let since = batch.column_by_name("since")?.as_primitive_opt::<Int64Type>()?;
    let seen = batch.column_by_name("seen")?.as_primitive_opt::<Int64Type>()?;
    let row = |row: usize| {
        let phase = match phases.value(row) {
            1.. => Phase::Rising(since.value(row)),
            0 => Phase::Calm,
            _ => Phase::Falling(since.value(row)),
        };
        let level = Level { level: levels.value(row), phase };
        let known = Known { level, seen: seen.value(row), version: Some(versions.value(row)), changed: false };
        (numbers.value(row), known)
    };
    Some((0..batch.num_rows()).map(row).collect())
}
