//! Rows that are held and looked at in any order, each by its id.
//!
//! A row keeps its id for as long as it is held. What changes about rows that are already stored is two flags each, stored apart
//! from them: so a snapshot costs what is new, and a few bits for the rest.
//!
//! ```text
//! push ──► unsaved segments ──snapshot──► one new segment ──eight of like size──► one larger …
//! ```

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{cast, concat_batches, interleave},
    datatypes::{Field, Schema},
    error::ArrowError,
};
use bytes::Bytes;
use spout_data::Part;

use super::row_segment::{FAN, Flags, Segment};
use crate::Error;

/// Rows that are held, each with an id.
#[derive(Clone, Debug)]
pub(crate) struct RowStore {
    handler: String,
    /// What the names of its parts begin with.
    name: String,
    segments: Vec<Segment>,
    next: u64,
    rows: usize,
}

impl RowStore {
    /// Holds nothing yet; its parts of a snapshot are named `<name>/…`.
    pub(crate) fn new(handler: &str, name: &str) -> Self {
        Self { handler: handler.to_owned(), name: name.to_owned(), segments: Vec::new(), next: 0, rows: 0 }
    }

    /// How many rows it holds.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes these take, with rows that are gone and still stand among others.
    pub(crate) fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Takes rows; the id of the first, those of the others follow it.
    pub(crate) fn push(&mut self, records: RecordBatch) -> u64 {
        let first = self.next;
        if records.num_rows() > 0 {
            self.next += records.num_rows() as u64;
            self.rows += records.num_rows();
            self.segments.push(Segment::new((first..self.next).collect(), records));
        }
        first
    }

    /// Lets go of a row.
    pub(crate) fn remove(&mut self, id: u64) {
        if let Some((at, row)) = self.place(id)
            && let Some(segment) = self.segments.get_mut(at)
            && !std::mem::replace(&mut segment.gone[row], true)
        {
            segment.alive -= 1;
            segment.flags = Flags::Changed;
            self.rows -= 1;
            if segment.alive == 0 {
                self.segments.remove(at);
            }
        }
    }

    /// Sets the mark of a row.
    pub(crate) fn mark(&mut self, id: u64) {
        if let Some((at, row)) = self.place(id) {
            let segment = &mut self.segments[at];
            if !std::mem::replace(&mut segment.marked[row], true) {
                segment.flags = Flags::Changed;
            }
        }
    }

    /// Whether the row is marked.
    pub(crate) fn marked(&self, id: u64) -> bool {
        self.place(id).is_some_and(|(at, row)| self.segments[at].marked[row])
    }

    /// The rows with these ids, in this order; a new batch begins where the columns change.
    pub(crate) fn take(&self, ids: &[u64]) -> Result<Vec<RecordBatch>, Error> {
        let places: Vec<(usize, usize)> = ids.iter().filter_map(|&id| self.place(id)).collect();
        let same = |a: &(usize, usize), b: &(usize, usize)| {
            a.0 == b.0 || self.segments[a.0].records.schema_ref() == self.segments[b.0].records.schema_ref()
        };
        let gather = |run: &[(usize, usize)]| {
            let schema = self.segments[run[0].0].records.schema();
            // Rows that are beside each other go as they are.
            let beside = |a: &(usize, usize), b: &(usize, usize)| a.0 == b.0 && a.1 + 1 == b.1;
            let slice = |run: &[(usize, usize)]| self.segments[run[0].0].records.slice(run[0].1, run.len());
            let slices: Vec<RecordBatch> = run.chunk_by(beside).take(1 + run.len() / FAN).map(slice).collect();
            if let [slice] = slices.as_slice() {
                if slice.num_rows() == run.len() {
                    return Ok(slice.clone());
                }
            } else if slices.iter().map(RecordBatch::num_rows).sum::<usize>() == run.len() {
                return concat_batches(&schema, &slices).map_err(Error::kernel(&self.handler, run.len()));
            }
            let places: Vec<Option<(usize, usize)>> = run.iter().copied().map(Some).collect();
            let columns = schema.fields().iter().map(|field| self.cells(&places, field)).collect::<Result<_, _>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(run.len()));
            RecordBatch::try_new_with_options(schema, columns, &options)
                .map_err(Error::kernel(&self.handler, run.len()))
        };
        places.chunk_by(same).map(gather).collect()
    }

    /// The rows with these ids as rows of `schema`, in this order; nulls where there is no id, or no such column.
    pub(crate) fn aligned(&self, ids: &[Option<u64>], schema: &Schema) -> Result<Vec<ArrayRef>, Error> {
        let places = self.places(ids);
        schema.fields().iter().map(|field| self.cells(&places, field)).collect()
    }

    /// One column of the rows with these ids; nulls where there is no id, or no such column.
    pub(crate) fn column(&self, ids: &[Option<u64>], field: &Field) -> Result<ArrayRef, Error> {
        self.cells(&self.places(ids), field)
    }

    fn places(&self, ids: &[Option<u64>]) -> Vec<Option<(usize, usize)>> {
        ids.iter().map(|id| id.and_then(|id| self.place(id))).collect()
    }

    fn cells(&self, places: &[Option<(usize, usize)>], field: &Field) -> Result<ArrayRef, Error> {
        let failed = Error::kernel(&self.handler, places.len());
        let null = new_null_array(field.data_type(), 1);
        let mut arrays = vec![null; self.segments.len() + 1];
        for (at, _) in places.iter().flatten() {
            // The first stands for no row, and so do those of segments that none of the rows is in.
            if Arc::ptr_eq(&arrays[at + 1], &arrays[0]) {
                arrays[at + 1] = column_as(&self.segments[*at].records, field).map_err(failed)?;
            }
        }
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        let at = |place: &Option<(usize, usize)>| place.map_or((0, 0), |(segment, row)| (segment + 1, row));
        interleave(&arrays, &places.iter().map(at).collect::<Vec<_>>()).map_err(failed)
    }

    /// All rows it holds, in the order of their ids, each batch with these.
    pub(crate) fn all(&self) -> Result<Vec<(Vec<u64>, RecordBatch)>, Error> {
        let each = |segment: &Segment| {
            let segment = segment.compacted().map_err(Error::kernel(&self.handler, segment.alive))?;
            Ok((segment.ids, segment.records))
        };
        self.segments.iter().map(each).collect()
    }

    /// Segment and row of an id.
    fn place(&self, id: u64) -> Option<(usize, usize)> {
        let behind = self.segments.partition_point(|segment| segment.ids[0] <= id);
        let at = behind.checked_sub(1)?;
        let ids = &self.segments[at].ids;
        // Where nothing was left out the row is known without a search.
        let guess = usize::try_from(id - ids[0]).ok()?;
        let row = if ids.get(guess) == Some(&id) { guess } else { ids.binary_search(&id).ok()? };
        Some((at, row))
    }

    /// Adds its parts to those of a snapshot.
    pub(crate) fn snapshot(&mut self, parts: &mut BTreeMap<String, Part>) -> Result<(), Error> {
        self.settle().map_err(Error::kernel(&self.handler, self.rows))?;
        for segment in &mut self.segments {
            let first = segment.ids[0];
            let rows = if std::mem::replace(&mut segment.stored, true) {
                Part::Kept
            } else {
                segment.encode_rows().map_err(Error::kernel(&self.handler, segment.alive))?.into()
            };
            parts.insert(format!("{}/rows/{first:020}", self.name), rows);
            let flags = match segment.flags {
                Flags::None => continue,
                Flags::Stored => Part::Kept,
                Flags::Changed => segment.encode_flags().map_err(Error::kernel(&self.handler, segment.alive))?.into(),
            };
            segment.flags = Flags::Stored;
            parts.insert(format!("{}/flags/{first:020}", self.name), flags);
        }
        parts.insert(format!("{}/next", self.name), Part::from(self.next.to_string().into_bytes()));
        Ok(())
    }

    /// Takes its parts out of those of a snapshot.
    pub(crate) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>) -> Result<(), Error> {
        let wrong = |reason: String| Error::state(&self.handler, reason);
        let next = parts.remove(&format!("{}/next", self.name));
        let next = next.as_deref().map(std::str::from_utf8).transpose().map_err(|error| wrong(error.to_string()))?;
        self.next = next.unwrap_or("0").parse().map_err(|_| wrong("its next id is not a number".into()))?;
        let below = format!("{}/rows/", self.name);
        let names: Vec<String> = parts.keys().filter(|name| name.starts_with(&below)).cloned().collect();
        for name in names {
            let flags = parts.remove(&name.replacen("/rows/", "/flags/", 1));
            let rows = parts.remove(&name).unwrap_or_default();
            let segment = Segment::read(&rows, flags.as_ref()).map_err(|error| wrong(format!("{name}: {error}")))?;
            self.rows += segment.alive;
            self.segments.push(segment);
        }
        self.segments.retain(|segment| segment.alive > 0);
        Ok(())
    }

    /// Brings the segments to where a snapshot can store them.
    fn settle(&mut self) -> Result<(), ArrowError> {
        let half_gone = |segment: &Segment| segment.alive * 2 < segment.ids.len();
        self.compact_where(|segment| half_gone(segment) || (!segment.stored && segment.alive < segment.ids.len()))?;
        let new = self.segments.iter().rev().take_while(|segment| !segment.stored).count();
        self.merge_last(new)?;
        self.merge_tiers()
    }

    /// Keeps segments few and mostly alive, for rows of which no snapshot is taken; a snapshot does the same.
    pub(crate) fn tidy(&mut self) -> Result<(), Error> {
        let half_gone = |segment: &Segment| segment.alive * 2 < segment.ids.len();
        let tidied = self.compact_where(half_gone).and_then(|()| self.merge_tiers());
        tidied.map_err(Error::kernel(&self.handler, self.rows))
    }

    /// Frees what rows that are gone still take.
    pub(crate) fn compact(&mut self) -> Result<(), Error> {
        let compacted = self.compact_where(|segment| segment.alive < segment.ids.len());
        compacted.map_err(Error::kernel(&self.handler, self.rows))
    }

    fn compact_where(&mut self, wanted: impl Fn(&Segment) -> bool) -> Result<(), ArrowError> {
        for segment in self.segments.iter_mut().filter(|segment| wanted(segment)) {
            *segment = segment.compacted()?;
        }
        Ok(())
    }

    /// Makes one segment of those of like size at the end.
    fn merge_tiers(&mut self) -> Result<(), ArrowError> {
        while let Some(last) = self.segments.last() {
            let (tier, schema) = (last.tier(), last.records.schema());
            let alike = |segment: &&Segment| segment.tier() <= tier && segment.records.schema() == schema;
            let alike = self.segments.iter().rev().take_while(alike).count();
            if alike < FAN {
                break;
            }
            self.merge_last(alike)?;
        }
        Ok(())
    }

    /// Makes one segment of the last `count`, or several where the columns change.
    fn merge_last(&mut self, count: usize) -> Result<(), ArrowError> {
        let last = self.segments.split_off(self.segments.len() - count);
        for run in last.chunk_by(|a, b| a.records.schema_ref() == b.records.schema_ref()) {
            let clean: Vec<Segment> = run.iter().map(Segment::compacted).collect::<Result<_, _>>()?;
            let records = concat_batches(run[0].records.schema_ref(), clean.iter().map(|segment| &segment.records))?;
            let mut merged = Segment::new(clean.iter().flat_map(|segment| segment.ids.clone()).collect(), records);
            merged.marked = clean.iter().flat_map(|segment| segment.marked.clone()).collect();
            merged.flags = if merged.marked.contains(&true) { Flags::Changed } else { Flags::None };
            self.segments.push(merged);
        }
        Ok(())
    }
}

fn column_as(records: &RecordBatch, field: &Field) -> Result<ArrayRef, ArrowError> {
    match records.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), records.num_rows())),
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Int64Array},
        datatypes::{DataType, Int64Type},
    };

    use super::*;

    fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(range.collect::<Int64Array>()) as ArrayRef)]).unwrap()
    }

    fn values(records: &RecordBatch) -> Vec<i64> {
        records.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    /// What is stored once `held` has given a snapshot, and how many parts were new.
    fn save(store: &mut RowStore, stored: &mut BTreeMap<String, Bytes>) -> usize {
        let mut parts = BTreeMap::new();
        store.snapshot(&mut parts).unwrap();
        let mut new = 0;
        let part = |(name, part): (String, Part)| match part {
            Part::New(bytes) => {
                new += 1;
                (name, bytes)
            }
            Part::Kept => (name.clone(), stored[&name].clone()),
        };
        *stored = parts.into_iter().map(part).collect();
        new
    }

    #[test]
    fn rows_keep_their_ids_and_marks_through_snapshots() {
        let mut store = RowStore::new("h", "r");
        let mut stored = BTreeMap::new();
        let mut alive: Vec<i64> = Vec::new();
        for round in 0..60 {
            let first = store.push(numbers(round * 3..round * 3 + 3)) as i64;
            assert_eq!(first, round * 3, "the id is the number");
            alive.extend(first..first + 3);
            store.mark(first as u64 + 1);
            if round % 4 == 3 {
                for id in alive.drain(..5) {
                    store.remove(id as u64);
                }
            }
            save(&mut store, &mut stored);
            let mut again = RowStore::new("h", "r");
            again.restore(&mut stored.clone()).unwrap();
            assert_eq!(again.rows(), alive.len());
            let got: Vec<i64> = again.all().unwrap().iter().flat_map(|(_, records)| values(records)).collect();
            assert_eq!(got, alive);
            assert!(alive.iter().all(|&id| again.marked(id as u64) == (id % 3 == 1)));
            store = again;
        }
        assert!(store.segments.len() < 30, "{} segments", store.segments.len());
    }

    #[test]
    fn a_snapshot_costs_what_is_new() {
        let mut store = RowStore::new("h", "r");
        let mut stored = BTreeMap::new();
        store.push(numbers(0..1000));
        save(&mut store, &mut stored);
        store.push(numbers(0..10));
        assert_eq!(save(&mut store, &mut stored), 2, "the new rows, and the next id");
        store.remove(3);
        assert_eq!(save(&mut store, &mut stored), 2, "the flags of one segment");
        assert_eq!(save(&mut store, &mut stored), 1);
    }

    #[test]
    fn rows_come_back_in_any_order_and_as_other_columns() {
        let mut store = RowStore::new("h", "r");
        store.push(numbers(0..3));
        store.push(numbers(3..6));
        assert_eq!(values(&store.take(&[5, 0, 4]).unwrap()[0]), [5, 0, 4]);
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Float64, true),
            Field::new("other", DataType::Utf8, true),
        ]));
        let columns = store.aligned(&[Some(5), None], &schema).unwrap();
        let records = RecordBatch::try_new(schema, columns).unwrap();
        assert_eq!(crate::tests::cuts::lines(&records), ["n=5.0 other=null", "n=null other=null"]);
    }
}
