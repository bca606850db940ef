//! Rows that are held back, with their event time, source and order.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array},
    compute::{SortColumn, cast, lexsort_to_indices, take_record_batch},
    datatypes::{DataType, Field, FieldRef, Int64Type, Schema},
};
use bytes::Bytes;
use serde_json::Value;
use spout_data::Part;

use super::{
    Segments,
    columns::level,
    segments::{by_schema, concat},
};
use crate::{Error, Source};

/// Column of a row's event time in nanoseconds.
pub(crate) const TIME: &str = "__time";
/// Column of the source that a row came from; -1 is the merged stream.
pub(crate) const SOURCE: &str = "__source";
/// Column of a row's number within its source.
pub(crate) const ORDER: &str = "__order";

/// Which of the columns of [`Held`] somebody looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Marks {
    None,
    /// The event time alone.
    Time,
    /// All that say where a row's place is.
    Place,
}

/// Rows that are held back.
///
/// Each has columns beside its own: [`TIME`], [`SOURCE`] and [`ORDER`], which together are the order of rows that does not
/// depend on how sources were interleaved, and whatever the handler adds.
#[derive(Debug)]
pub(crate) struct Held {
    handler: String,
    name: &'static str,
    segments: Segments,
    /// The next row's number, by source.
    next: BTreeMap<i64, i64>,
}

impl Held {
    /// None yet; parts are called `<name>` and `<name>-<number>`, and the handler in errors `handler`.
    pub(crate) fn new(handler: &str, name: &'static str) -> Self {
        Self { handler: handler.to_owned(), name, segments: Segments::new(handler, name), next: BTreeMap::new() }
    }

    /// As this one, without its rows: those that come are numbered as they would be here.
    pub(crate) fn without_rows(&self) -> Self {
        Self { next: self.next.clone(), ..Self::new(&self.handler, self.name) }
    }

    /// Takes rows of one source, in order, with the columns `more` besides.
    pub(crate) fn append(
        &mut self,
        records: &RecordBatch,
        times: &Int64Array,
        source: Source,
        more: &[(&str, ArrayRef)],
    ) -> Result<(), Error> {
        let marked = self.mark(records, times, source, more)?;
        self.push(marked);
        Ok(())
    }

    /// Takes rows that [`Held::mark`] gave, or some of them.
    pub(crate) fn push(&mut self, marked: RecordBatch) {
        self.segments.push(marked);
    }

    /// As [`Held::append`], but gives the rows with their columns instead of holding them.
    pub(crate) fn mark(
        &mut self,
        records: &RecordBatch,
        times: &Int64Array,
        source: Source,
        more: &[(&str, ArrayRef)],
    ) -> Result<RecordBatch, Error> {
        let rows = records.num_rows();
        let source = number(source);
        let next = self.next.entry(source).or_default();
        let order = Int64Array::from_iter_values(*next..*next + rows as i64);
        *next += rows as i64;
        let mut fields: Vec<Arc<Field>> = records.schema().fields().to_vec();
        let mut columns = records.columns().to_vec();
        let own: [(&str, ArrayRef); 3] = [
            (TIME, Arc::new(times.clone())),
            (SOURCE, Arc::new(Int64Array::from_value(source, rows))),
            (ORDER, Arc::new(order)),
        ];
        for (name, column) in own.iter().chain(more) {
            fields.push(Arc::new(Field::new(*name, column.data_type().clone(), true)));
            columns.push(Arc::clone(column));
        }
        let schema = Schema::new_with_metadata(fields, records.schema().metadata().clone());
        RecordBatch::try_new(Arc::new(schema), columns).map_err(Error::kernel(&self.handler, rows))
    }

    /// As [`Held::mark`], with no more than the columns that are wanted.
    pub(crate) fn mark_with(
        &mut self,
        marks: Marks,
        records: &RecordBatch,
        times: &Int64Array,
        source: Source,
    ) -> Result<RecordBatch, Error> {
        if marks == Marks::Place {
            return self.mark(records, times, source, &[]);
        }
        let rows = records.num_rows();
        *self.next.entry(number(source)).or_default() += rows as i64;
        if marks == Marks::None {
            return Ok(records.clone());
        }
        let time = Arc::new(Field::new(TIME, DataType::Int64, true));
        let fields: Vec<FieldRef> = records.schema().fields().iter().cloned().chain([time]).collect();
        let columns = records.columns().iter().cloned().chain([Arc::new(times.clone()) as ArrayRef]).collect();
        let schema = Schema::new_with_metadata(fields, records.schema().metadata().clone());
        RecordBatch::try_new(Arc::new(schema), columns).map_err(Error::kernel(&self.handler, rows))
    }

    /// All rows held, in no order.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.segments.batches()
    }

    /// Removes the rows for which `gone` is true, and gives them, in no order.
    pub(crate) fn take(
        &mut self,
        gone: impl FnMut(&RecordBatch) -> Result<BooleanArray, Error>,
    ) -> Result<Vec<RecordBatch>, Error> {
        self.segments.take(gone)
    }

    /// Lets go of whole batches.
    pub(crate) fn take_batches(&mut self, gone: impl FnMut(&RecordBatch) -> bool) {
        self.segments.take_batches(gone);
    }

    /// Removes the rows before `until`, and gives them in their order, in as few batches as their schemas allow.
    pub(crate) fn take_before(&mut self, until: i64) -> Result<Vec<RecordBatch>, Error> {
        let before = |batch: &RecordBatch| Ok(BooleanArray::from_unary(column(batch, TIME), |time| time < until));
        let taken = self.segments.take(before)?;
        in_order(&self.handler, taken)
    }

    /// All rows in their order; none are left.
    pub(crate) fn take_all(&mut self) -> Result<Vec<RecordBatch>, Error> {
        let taken = self.segments.take_all();
        in_order(&self.handler, taken)
    }

    pub(crate) fn rows(&self) -> usize {
        self.segments.rows()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.segments.bytes()
    }

    /// Its parts: the rows that are new since the last time, and the names of the others.
    pub(crate) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let handler = self.handler.clone();
        let mut parts = self.segments.snapshot(&mut |batches| concat(&handler, batches))?;
        if !self.next.is_empty() {
            let next: Vec<(i64, i64)> = self.next.iter().map(|(&source, &next)| (source, next)).collect();
            parts.insert(
                self.name.to_owned(),
                Part::from(Value::from_iter(next.iter().map(|&(s, n)| vec![s, n])).to_string().into_bytes()),
            );
        }
        Ok(parts)
    }

    /// Takes its own parts out of those of a snapshot. Rows that were removed since they were written may be there again.
    pub(crate) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>) -> Result<(), Error> {
        if let Some(bytes) = parts.remove(self.name) {
            let next: Vec<(i64, i64)> = serde_json::from_slice(&bytes)
                .map_err(|error| Error::state(&self.handler, format!("its part `{}`: {error}", self.name)))?;
            self.next = next.into_iter().collect();
        }
        self.segments.restore(parts)
    }
}

/// A source as a number.
pub(crate) fn number(source: Source) -> i64 {
    match source {
        Source::Partition(partition) => partition.ordinal(),
        Source::Merged => -1,
    }
}

/// A column of whole numbers that [`Held::append`] or the handler added.
pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a Int64Array {
    static NONE: std::sync::LazyLock<Int64Array> = std::sync::LazyLock::new(|| Int64Array::from_iter_values([]));
    let found = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    found.unwrap_or(&NONE)
}

/// Rows by event time, source and order; a new batch begins where the columns are others, and not only more.
pub(crate) fn in_order(handler: &str, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, Error> {
    let mut sorted = Vec::new();
    let batches = level(batches).map_err(Error::kernel(handler, 0))?;
    for (_, like) in by_schema(batches) {
        let whole = concat(handler, like)?;
        let key = |name| SortColumn { values: Arc::new(column(&whole, name).clone()), options: None };
        let rows = whole.num_rows();
        let order =
            lexsort_to_indices(&[key(TIME), key(SOURCE), key(ORDER)], None).map_err(Error::kernel(handler, rows))?;
        sorted.push(take_record_batch(&whole, &order).map_err(Error::kernel(handler, rows))?);
    }
    match sorted.len() {
        0 | 1 => Ok(sorted),
        _ => Ok(interleave(sorted)),
    }
}

/// Cuts sorted batches of several schemas where a row of another comes in between.
fn interleave(sorted: Vec<RecordBatch>) -> Vec<RecordBatch> {
    let place = |batch: usize, row: usize| {
        let of = &sorted[batch];
        (column(of, TIME).value(row), column(of, SOURCE).value(row), column(of, ORDER).value(row))
    };
    let mut rows: Vec<(usize, usize)> =
        (0..sorted.len()).flat_map(|batch| (0..sorted[batch].num_rows()).map(move |row| (batch, row))).collect();
    rows.sort_unstable_by_key(|&(batch, row)| place(batch, row));
    rows.chunk_by(|one, other| one.0 == other.0).map(|run| sorted[run[0].0].slice(run[0].1, run.len())).collect()
}

/// Without the columns that were added, as it came.
pub(crate) fn bare(batch: &RecordBatch) -> RecordBatch {
    let own = batch.schema().index_of(TIME).unwrap_or(batch.num_columns());
    let columns: Vec<usize> = (0..own).collect();
    batch.project(&columns).unwrap_or_else(|_| batch.clone())
}

/// Batches with the columns of the newest one: what others lack is null there, what they have besides is left out.
pub(crate) fn one_schema(handler: &str, batches: &[RecordBatch]) -> Result<Vec<RecordBatch>, Error> {
    let Some(newest) = batches.last().map(RecordBatch::schema) else { return Ok(Vec::new()) };
    let fit = |batch: &RecordBatch| {
        if batch.schema() == newest {
            return Ok(batch.clone());
        }
        let column = |field: &FieldRef| match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        };
        let nullable = newest.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let columns: Result<Vec<ArrayRef>, _> = newest.fields().iter().map(column).collect();
        columns
            .and_then(|columns| RecordBatch::try_new(schema, columns))
            .map_err(Error::kernel(handler, batch.num_rows()))
    };
    batches.iter().map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(held: &mut Held, source: Source, name: &str, times: &[i64]) {
        let times = Int64Array::from(times.to_vec());
        let records = RecordBatch::try_from_iter([(name, Arc::new(times.clone()) as _)]).unwrap();
        held.append(&records, &times, source, &[("__more", Arc::new(times.clone()))]).unwrap();
    }

    fn shown(batches: &[RecordBatch]) -> Vec<(String, Vec<i64>)> {
        let bare = batches.iter().map(bare);
        bare.map(|batch| {
            (batch.schema().field(0).name().clone(), column(&batch, batch.schema().field(0).name()).values().to_vec())
        })
        .collect()
    }

    #[test]
    fn rows_come_back_in_an_order_that_sources_cannot_change() {
        let (a, b) = (Source::Partition(0.into()), Source::Partition(1.into()));
        let check = |steps: &[(Source, &[i64])]| {
            let mut held = Held::new("h", "rows");
            steps.iter().for_each(|(source, times)| append(&mut held, *source, "t", times));
            let taken = held.take_before(4).unwrap();
            let sources = column(&taken[0], SOURCE).values().to_vec();
            assert_eq!(shown(&taken), [("t".to_owned(), vec![1, 2, 2, 3])]);
            assert_eq!(sources, [1, 0, 1, 0]);
            assert_eq!(held.rows(), 1);
        };
        check(&[(a, &[3, 2]), (b, &[1, 5, 2])]);
        check(&[(b, &[1]), (a, &[3, 2]), (b, &[5, 2])]);
        check(&[(b, &[1, 5, 2]), (a, &[3]), (a, &[2])]);
    }

    #[test]
    fn rows_of_several_schemas_keep_their_order() {
        let mut held = Held::new("h", "rows");
        append(&mut held, Source::Merged, "old", &[0, 1, 6]);
        append(&mut held, Source::Merged, "new", &[3, 5]);
        let taken = held.take_all().unwrap();
        let expected = [("old", vec![0, 1]), ("new", vec![3, 5]), ("old", vec![6])];
        assert_eq!(shown(&taken), expected.map(|(name, times)| (name.to_owned(), times)));
    }

    #[test]
    fn numbers_go_on_after_a_restart() {
        let mut held = Held::new("h", "rows");
        append(&mut held, Source::Partition(7.into()), "t", &[1, 2]);
        let parts = held.snapshot().unwrap();
        let mut parts = parts
            .into_iter()
            .map(|(key, part)| match part {
                Part::New(bytes) => (key, bytes),
                Part::Kept => unreachable!("nothing was written before"),
            })
            .collect();
        let mut back = Held::new("h", "rows");
        back.restore(&mut parts).unwrap();
        assert!(parts.is_empty());
        append(&mut back, Source::Partition(7.into()), "t", &[1]);
        let all = back.take_all().unwrap();
        assert_eq!(column(&all[0], ORDER).values().to_vec(), [0, 2, 1]);
    }
}
