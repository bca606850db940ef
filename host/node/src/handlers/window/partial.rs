//! Windows of aggregates that need no rows: only what a group adds up to so far is held.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch},
    compute::{filter_record_batch, take_arrays},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
};
use bytes::Bytes;
use datafusion::{
    common::utils::normalize_float_zero,
    logical_expr::EmitTo,
    physical_plan::aggregates::{
        group_values::{GroupValues, new_group_values},
        order::GroupOrdering,
    },
};
use spout_data::Part;

use super::grid::{Ends, Grid};
use crate::{
    Error, Source,
    aggregates::{Accumulators, Aggregates, Compiled, failed},
    arrival::Arrived,
    groups,
    state::{self, Held, Limits, Segments, column, fields},
};

const FIRST: &str = "__first";
const LAST: &str = "__last";
const INPUT: &str = "input";
/// After so many new groups the memory they take is looked at again.
const LOOK: usize = 8192;

/// What the groups of windows that are not closed add up to.
///
/// The parts of a group are kept by the first and last end of the windows they count for: rows of the same pane have the same,
/// and a row that comes after some of its windows are closed counts for the others only. What is new is in `delta`; a snapshot
/// moves it into the segments, and writes nothing else.
#[derive(Debug)]
pub(super) struct PartialWindows {
    handler: String,
    grid: Grid,
    columns: Vec<String>,
    limits: Limits,
    plan: Arc<Plan>,
    delta: Option<Delta>,
    parts: Segments,
    /// Numbers rows, for what goes by their order.
    rows: Held,
    due: i64,
    closed: i64,
    /// Groups of the delta at which its memory is looked at again.
    look: usize,
}

/// The aggregates for rows of one schema.
#[derive(Debug)]
pub(super) struct Plan {
    input: SchemaRef,
    keys: Vec<FieldRef>,
    pub(super) compiled: Compiled,
    /// The columns of the parts.
    parts: SchemaRef,
}

struct Delta {
    values: Box<dyn GroupValues>,
    accumulators: Accumulators,
    groups: Vec<usize>,
}

impl std::fmt::Debug for Delta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delta").field("groups", &self.values.len()).finish()
    }
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

    fn start(&self, handler: &str) -> Result<Delta, Error> {
        let keys = Arc::new(Schema::new(self.parts.fields()[..2 + self.keys.len()].to_vec()));
        let values = new_group_values(keys, &GroupOrdering::None).map_err(|error| failed(handler, error, 0))?;
        Ok(Delta { values, accumulators: self.compiled.start()?, groups: Vec::new() })
    }

    /// All that `delta` holds as one batch of parts.
    fn finish(&self, handler: &str, mut delta: Delta) -> Result<RecordBatch, Error> {
        let groups = delta.values.len();
        let mut columns = delta.values.emit(EmitTo::All).map_err(|error| failed(handler, error, groups))?;
        columns.extend(self.compiled.state(&mut delta.accumulators)?);
        RecordBatch::try_new(Arc::clone(&self.parts), columns).map_err(Error::kernel(handler, groups))
    }

    /// One batch of parts of several, without those that ended up to `closed`.
    fn merge(&self, handler: &str, closed: i64, batches: Vec<RecordBatch>) -> Result<RecordBatch, Error> {
        let mut delta = self.start(handler)?;
        let width = 2 + self.keys.len();
        for batch in batches {
            let alive = BooleanArray::from_unary(column(&batch, LAST), |last| last > closed);
            let batch = filter_record_batch(&batch, &alive).map_err(Error::kernel(handler, alive.len()))?;
            let (keys, state) = batch.columns().split_at(width);
            delta.values.intern(keys, &mut delta.groups).map_err(|error| failed(handler, error, batch.num_rows()))?;
            self.compiled.merge(&mut delta.accumulators, state, &delta.groups, delta.values.len())?;
        }
        self.finish(handler, delta)
    }
}

/// What came out of one window: the keys of its groups and their values, by key.
pub(super) struct Sums {
    pub(super) end: i64,
    pub(super) keys: Vec<ArrayRef>,
    pub(super) values: Vec<ArrayRef>,
    pub(super) groups: usize,
}

impl PartialWindows {
    pub(super) fn new(handler: &str, grid: Grid, columns: &[String], limits: &Limits, plan: Plan) -> Self {
        Self {
            handler: handler.to_owned(),
            grid,
            columns: columns.to_vec(),
            limits: limits.clone(),
            plan: Arc::new(plan),
            delta: None,
            parts: Segments::new(handler, "parts"),
            rows: Held::new(handler, "order"),
            due: i64::MAX,
            closed: i64::MIN,
            look: LOOK,
        }
    }

    /// For each row whether it is too late; none if no window can ever count it.
    pub(super) fn late(&self, arrived: &Arrived) -> Vec<Option<bool>> {
        let late = |(&time, &passed): (&i64, &i64)| match self.grid.ends(time, passed) {
            Ends::Between => None,
            ends => Some(ends == Ends::Late),
        };
        arrived.times.values().iter().zip(arrived.passed.values()).map(late).collect()
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Goes on with rows of another schema.
    ///
    /// # Errors
    /// [`Error::Spec`] if what is held is of other types.
    pub(super) fn learn(&mut self, plan: Plan) -> Result<(), Error> {
        if plan.input == self.plan.input {
            return Ok(());
        }
        let same = plan.compiled.order_free() && plan.parts == self.plan.parts;
        if !same && (self.delta.is_some() || self.parts.rows() > 0) {
            return Err(Error::spec(
                &self.handler,
                "the columns it aggregates have other types than in the windows that are open; cast them to one type \
                         with a map before it",
            ));
        }
        self.flush()?;
        self.plan = Arc::new(plan);
        Ok(())
    }

    pub(super) fn append(&mut self, arrived: &Arrived, from: Source) -> Result<(), Error> {
        if arrived.records.num_rows() == 0 {
            return Ok(());
        }
        let marked = self.rows.mark(&arrived.records, &arrived.times, from, &[])?;
        let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
        for (time, passed) in arrived.times.values().iter().zip(arrived.passed.values()) {
            if let Ends::Some { first, last } = self.grid.ends(*time, *passed) {
                firsts.push(first);
                lasts.push(last);
            }
        }
        self.due = firsts.iter().copied().min().unwrap_or(i64::MAX).min(self.due);
        let mut keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(firsts)), Arc::new(Int64Array::from(lasts))];
        keys.extend(self.columns.iter().filter_map(|name| marked.column_by_name(name).map(normalize_float_zero)));
        let plan = Arc::clone(&self.plan);
        let delta = match &mut self.delta {
            Some(delta) => delta,
            none => none.insert(plan.start(&self.handler)?),
        };
        let interned = delta.values.intern(&keys, &mut delta.groups);
        interned.map_err(|error| failed(&self.handler, error, marked.num_rows()))?;
        plan.compiled.update(&mut delta.accumulators, &marked, &delta.groups, delta.values.len())?;
        if delta.values.len() >= self.look { self.look_at_limits() } else { Ok(()) }
    }

    fn look_at_limits(&mut self) -> Result<(), Error> {
        let groups = self.delta.as_ref().map_or(0, |delta| delta.values.len());
        self.look = groups + LOOK;
        if self.limits.groups(groups + self.parts.rows()).is_err() {
            // The same group may be in several parts.
            self.flush()?;
            let all = self.parts.take_all();
            self.parts.push(self.plan.merge(&self.handler, self.closed, all)?);
            self.limits.groups(self.parts.rows())?;
        }
        let delta = self.delta.as_ref().map_or(0, |delta| delta.values.size() + delta.accumulators.bytes());
        self.limits.bytes(delta + self.parts.bytes())
    }

    pub(super) fn is_due(&self, upto: i64) -> bool {
        self.due <= upto
    }

    /// The windows that end at or before `upto`.
    pub(super) fn close(&mut self, upto: i64) -> Result<Vec<Sums>, Error> {
        self.flush()?;
        let mut ends = BTreeSet::new();
        let mut seen = None;
        for batch in self.parts.batches() {
            for (&first, &last) in column(batch, FIRST).values().iter().zip(column(batch, LAST).values()) {
                if seen.replace((first, last)) == Some((first, last)) {
                    continue;
                }
                let mut end = first.max(self.grid.after(self.closed));
                while end <= last.min(upto) {
                    ends.insert(end);
                    // Time has an end too.
                    let Some(next) = end.checked_add(self.grid.every) else { break };
                    end = next;
                }
            }
        }
        let sums = ends.iter().map(|&end| self.sums(end)).collect::<Result<Vec<_>, _>>()?;
        self.closed = self.closed.max(upto);
        self.let_go()?;
        Ok(sums)
    }

    /// Removes what no open window counts.
    fn let_go(&mut self) -> Result<(), Error> {
        let closed = self.closed;
        self.parts.take(|batch| Ok(BooleanArray::from_unary(column(batch, LAST), |last| last <= closed)))?;
        let firsts = self.parts.batches().flat_map(|batch| column(batch, FIRST).values().iter().copied());
        self.due = firsts.min().map_or(i64::MAX, |first| first.max(self.grid.after(closed)));
        Ok(())
    }

    fn sums(&self, end: i64) -> Result<Sums, Error> {
        let (plan, handler) = (&self.plan, &self.handler);
        let kernel = |rows| Error::kernel(handler, rows);
        let keys = Arc::new(Schema::new(plan.keys.clone()));
        let mut values = if plan.keys.is_empty() {
            None
        } else {
            Some(new_group_values(keys, &GroupOrdering::None).map_err(|error| failed(handler, error, 0))?)
        };
        let (mut accumulators, mut groups, mut total) = (plan.compiled.start()?, Vec::new(), 1);
        for batch in self.parts.batches() {
            let ends = column(batch, FIRST).values().iter().zip(column(batch, LAST).values());
            let counts: BooleanArray = ends.map(|(&first, &last)| Some(first <= end && end <= last)).collect();
            let batch = filter_record_batch(batch, &counts).map_err(kernel(batch.num_rows()))?;
            let (keys, state) = batch.columns()[2..].split_at(plan.keys.len());
            match &mut values {
                Some(values) => {
                    values.intern(keys, &mut groups).map_err(|error| failed(handler, error, batch.num_rows()))?;
                    total = values.len();
                }
                None => groups = vec![0; batch.num_rows()],
            }
            plan.compiled.merge(&mut accumulators, state, &groups, total)?;
        }
        let keys = match &mut values {
            Some(values) => values.emit(EmitTo::All).map_err(|error| failed(handler, error, total))?,
            None => Vec::new(),
        };
        let made = plan.compiled.evaluate(&mut accumulators, &keys, total)?;
        if keys.is_empty() {
            return Ok(Sums { end, keys, values: made, groups: total });
        }
        let order = by_key(&keys).map_err(kernel(total))?;
        let take = |columns: &[ArrayRef]| take_arrays(columns, &order, None).map_err(kernel(total));
        Ok(Sums { end, keys: take(&keys)?, values: take(&made)?, groups: total })
    }

    /// Makes parts of what is new.
    fn flush(&mut self) -> Result<(), Error> {
        let Some(delta) = self.delta.take() else { return Ok(()) };
        self.look = LOOK;
        self.parts.push(self.plan.finish(&self.handler, delta)?);
        let (plan, handler, closed) = (Arc::clone(&self.plan), self.handler.clone(), self.closed);
        self.parts.tidy(&mut |batches| plan.merge(&handler, closed, batches))
    }

    pub(super) fn last_end(&mut self) -> Result<i64, Error> {
        self.flush()?;
        let lasts = self.parts.batches().flat_map(|batch| column(batch, LAST).values().iter().copied());
        Ok(lasts.max().unwrap_or(i64::MIN))
    }

    pub(super) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        self.flush()?;
        self.look_at_limits()?;
        let (plan, handler, closed) = (Arc::clone(&self.plan), self.handler.clone(), self.closed);
        let mut parts = self.parts.snapshot(&mut |batches| plan.merge(&handler, closed, batches))?;
        parts.extend(self.rows.snapshot()?);
        let input = state::encode(&RecordBatch::new_empty(Arc::clone(&self.plan.input)));
        let input = input.map_err(Error::kernel(&self.handler, 0))?;
        parts.insert(INPUT.to_owned(), Part::New(input));
        Ok(parts)
    }

    /// The schema of the rows behind a snapshot; none if it is none of these.
    pub(super) fn input_of(handler: &str, parts: &mut BTreeMap<String, Bytes>) -> Result<Option<SchemaRef>, Error> {
        let Some(bytes) = parts.remove(INPUT) else { return Ok(None) };
        let batch =
            state::decode(bytes).map_err(|error| Error::state(handler, format!("its part `{INPUT}`: {error}")))?;
        Ok(Some(batch.schema()))
    }

    /// Takes its parts; windows up to `closed` are closed already.
    pub(super) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>, closed: i64) -> Result<(), Error> {
        self.rows.restore(parts)?;
        self.parts.restore(parts)?;
        self.closed = closed;
        self.let_go()
    }
}

/// The rows' order by key, nulls first.
fn by_key(keys: &[ArrayRef]) -> Result<arrow::array::UInt32Array, arrow::error::ArrowError> {
    let rows = groups::rows(keys)?;
    let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
    order.sort_unstable_by_key(|&row| rows.row(row as usize));
    Ok(order.into())
}
