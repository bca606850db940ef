//! What the groups of rows add up to that the same windows count.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch},
    compute::{concat_batches, filter_record_batch},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    error::ArrowError,
};

use crate::{
    Error, Source,
    aggregates::{Accumulators, Aggregates, Compiled, GroupIds, failed},
    state::{Held, column, fields},
};

pub(super) const FIRST: &str = "__first";
pub(super) const LAST: &str = "__last";

/// The aggregates for rows of one schema.
#[derive(Debug)]
pub(super) struct Plan {
    input: SchemaRef,
    keys: Vec<FieldRef>,
    pub(super) compiled: Compiled,
    /// The columns of the parts.
    parts: SchemaRef,
}

/// What groups add up to, and their numbers.
#[derive(Debug)]
pub(super) struct Delta {
    ids: GroupIds,
    accumulators: Accumulators,
}

impl Plan {
    /// The plan for rows of `input`, as [`Held`] marks them.
    pub(super) fn new(
        handler: &str,
        aggregates: &Aggregates,
        columns: &[String],
        input: &SchemaRef,
    ) -> Result<Self, Error> {
        let keys = fields(handler, columns, input)?;
        let marked = Held::new(handler, "rows").mark(
            &RecordBatch::new_empty(Arc::clone(input)),
            &Int64Array::from_iter_values([]),
            Source::Merged,
            &[],
        )?;
        let compiled = aggregates.compile(marked.schema_ref(), &keys)?;
        let ends = [FIRST, LAST].map(|name| Arc::new(Field::new(name, DataType::Int64, true)));
        let parts = ends.into_iter().chain(keys.iter().cloned()).chain(compiled.state_fields()?);
        let parts = Arc::new(Schema::new(parts.collect::<Vec<_>>()));
        Ok(Self { input: Arc::clone(input), keys, compiled, parts })
    }

    pub(super) fn input(&self) -> &SchemaRef {
        &self.input
    }

    pub(super) fn keys(&self) -> &[FieldRef] {
        &self.keys
    }

    pub(super) fn parts(&self) -> &SchemaRef {
        &self.parts
    }

    /// No group yet, by the keys alone.
    pub(super) fn ids(&self, handler: &str) -> Result<GroupIds, Error> {
        GroupIds::over(&self.keys).map_err(|error| failed(handler, error, 0))
    }

    /// Nothing yet; where panes are `mixed`, the ends come before the keys.
    pub(super) fn start(&self, handler: &str, mixed: bool) -> Result<Delta, Error> {
        let width = self.keys.len();
        let keys = if mixed { self.parts.fields().get(..2 + width) } else { self.parts.fields().get(2..2 + width) };
        let ids = GroupIds::over(keys.unwrap_or_default()).map_err(|error| failed(handler, error, 0))?;
        Ok(Delta { ids, accumulators: self.compiled.start()? })
    }

    /// One batch of parts of several, without those that ended up to `closed`.
    pub(super) fn merge(&self, handler: &str, closed: i64, batches: Vec<RecordBatch>) -> Result<RecordBatch, Error> {
        let alive = |batch: RecordBatch| {
            let alive = BooleanArray::from_unary(column(&batch, LAST), |last| last > closed);
            filter_record_batch(&batch, &alive).map_err(Error::kernel(handler, alive.len()))
        };
        let mut batches = batches.into_iter().map(alive).collect::<Result<Vec<_>, _>>()?;
        batches.retain(|batch| batch.num_rows() > 0);
        // What is of different panes has no group in common.
        let panes: Option<Vec<(i64, i64)>> = batches.iter().map(pane_of).collect();
        let mut panes = panes.unwrap_or_default();
        panes.sort_unstable();
        panes.dedup();
        if panes.len() == batches.len() || batches.len() == 1 {
            let rows = batches.iter().map(RecordBatch::num_rows).sum();
            return concat_batches(&self.parts, &batches).map_err(Error::kernel(handler, rows));
        }
        let mut delta = self.start(handler, true)?;
        for batch in batches {
            delta.merge(self, handler, &batch, 0)?;
        }
        delta.finish(self, handler, None)
    }
}

impl Delta {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.ids.bytes() + self.accumulators.bytes()
    }

    /// Adds rows with these keys.
    pub(super) fn add(
        &mut self,
        plan: &Plan,
        handler: &str,
        keys: &[ArrayRef],
        rows: &RecordBatch,
    ) -> Result<(), Error> {
        let count = rows.num_rows();
        self.ids.of(keys, count).map_err(|error| failed(handler, error, count))?;
        plan.compiled.update(&mut self.accumulators, rows, self.ids.last(), self.ids.len())
    }

    /// Adds parts; their first `skipped` columns are no keys of it.
    pub(super) fn merge(
        &mut self,
        plan: &Plan,
        handler: &str,
        parts: &RecordBatch,
        skipped: usize,
    ) -> Result<(), Error> {
        let (keys, state) = parts.columns().split_at(2 + plan.keys.len());
        let keys = keys.get(skipped..).unwrap_or_default();
        self.ids.of(keys, parts.num_rows()).map_err(|error| failed(handler, error, parts.num_rows()))?;
        plan.compiled.merge(&mut self.accumulators, state, self.ids.last(), self.ids.len())
    }

    /// All that it holds as one batch of parts; of one pane, where its keys do not say which.
    pub(super) fn finish(mut self, plan: &Plan, handler: &str, pane: Option<(i64, i64)>) -> Result<RecordBatch, Error> {
        let groups = self.len();
        let end = |end: i64| Arc::new(Int64Array::from_value(end, groups)) as ArrayRef;
        let mut columns: Vec<ArrayRef> = pane.into_iter().flat_map(|(first, last)| [end(first), end(last)]).collect();
        columns.extend(self.ids.take().map_err(|error| failed(handler, error, groups))?);
        columns.extend(plan.compiled.state(&mut self.accumulators)?);
        RecordBatch::try_new(Arc::clone(&plan.parts), columns).map_err(Error::kernel(handler, groups))
    }

    /// The keys of all groups and their values; nothing is left. Without keys there is always one.
    pub(super) fn evaluate(&mut self, plan: &Plan, handler: &str) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>), Error> {
        let groups = self.len();
        let keys = self.ids.take().map_err(|error| failed(handler, error, groups))?;
        let values = plan.compiled.evaluate(&mut self.accumulators, &keys, groups)?;
        Ok((keys, values))
    }
}

/// The first and the last end of each part.
pub(super) fn ends_of(parts: &RecordBatch) -> impl Iterator<Item = (i64, i64)> {
    let (firsts, lasts) = (column(parts, FIRST).values(), column(parts, LAST).values());
    firsts.iter().copied().zip(lasts.iter().copied())
}

/// The pane of all these parts, if it is one.
fn pane_of(parts: &RecordBatch) -> Option<(i64, i64)> {
    let pane = ends_of(parts).next()?;
    ends_of(parts).all(|other| other == pane).then_some(pane)
}

/// The parts that count for the window that ends at `end`, if there are any.
pub(super) fn of_end(parts: &RecordBatch, end: i64) -> Result<Option<RecordBatch>, ArrowError> {
    let counts: BooleanArray = ends_of(parts).map(|(first, last)| Some(first <= end && end <= last)).collect();
    match counts.true_count() {
        0 => Ok(None),
        all if all == parts.num_rows() => Ok(Some(parts.clone())),
        _ => filter_record_batch(parts, &counts).map(Some),
    }
}
