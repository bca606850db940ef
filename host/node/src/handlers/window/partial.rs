//! Windows of aggregates that need no rows: only what a group adds up to so far is held.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array},
    compute::{take_arrays, take_record_batch},
    datatypes::SchemaRef,
};
use bytes::Bytes;
use datafusion::common::utils::normalize_float_zero;
use spout_data::Part;

use super::{
    grid::{Ends, Grid, Run},
    pane::{Delta, LAST, Plan, ends_of, of_end},
};
use crate::{
    Error, Source,
    arrival::Arrived,
    groups::by_key,
    state::{self, Held, Limits, Segments, column},
};

/// The part that says which columns rows have.
pub(super) const INPUT: &str = "input";
/// What is wrong with rows whose sums cannot be added to those that are held.
pub(super) const OTHER_TYPES: &str = "the columns it aggregates have other types than in the windows that are open; cast them to one type with a map before it";
/// After so many new groups the memory they take is looked at again.
const LOOK: usize = 8192;
/// Parts are merged once there are so many.
const MANY: usize = 64;

/// What the groups of windows that are not closed add up to.
///
/// The parts of a group are kept by the first and last end of the windows they count for: rows of the same pane have the same,
/// and a row that comes after some of its windows are closed counts for the others only. What is new is in `panes`, or in
/// `mixed` where so few rows are of the same pane that each by itself would take more room than they do; a snapshot moves it
/// into the segments, and writes nothing else.
#[derive(Debug)]
pub(super) struct PartialWindows {
    handler: String,
    grid: Grid,
    columns: Vec<String>,
    limits: Limits,
    plan: Arc<Plan>,
    /// By the first and the last end.
    panes: BTreeMap<(i64, i64), Delta>,
    mixed: Option<Delta>,
    parts: Segments,
    /// Numbers rows, for what goes by their order.
    rows: Held,
    due: i64,
    closed: i64,
    /// Groups that are new.
    groups: usize,
    /// How many of them there may be until their memory is looked at again.
    look: usize,
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
            panes: BTreeMap::new(),
            mixed: None,
            parts: Segments::new(handler, "parts"),
            rows: Held::new(handler, "order"),
            due: i64::MAX,
            closed: i64::MIN,
            groups: 0,
            look: LOOK,
        }
    }

    /// The windows that count each row, for rows that are beside each other and have the same.
    pub(super) fn runs(&self, arrived: &Arrived) -> Vec<Run> {
        self.grid.runs(arrived.times.values(), arrived.passed.values())
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
        if !same && (self.groups > 0 || self.parts.rows() > 0) {
            return Err(Error::spec(&self.handler, OTHER_TYPES));
        }
        self.flush()?;
        self.plan = Arc::new(plan);
        Ok(())
    }

    /// Takes rows; `runs` are the windows that count them, none of them late.
    pub(super) fn append(&mut self, arrived: &Arrived, runs: &[Run], from: Source) -> Result<(), Error> {
        let rows = arrived.records.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let marked = self.rows.mark_with(self.plan.compiled.marks(), &arrived.records, &arrived.times, from)?;
        let mut panes: BTreeMap<(i64, i64), Vec<&Run>> = BTreeMap::new();
        for run in runs {
            if let Ends::Some { first, last } = run.ends {
                panes.entry((first, last)).or_default().push(run);
            }
        }
        self.due = panes.keys().next().map_or(self.due, |(first, _)| self.due.min(*first));
        if panes.len() > 4.max(rows / 64) {
            self.append_mixed(&marked, &panes)?;
        } else if panes.len() == runs.len() {
            for (pane, runs) in panes {
                for run in runs {
                    self.add(pane, &marked.slice(run.rows.start, run.rows.len()))?;
                }
            }
        } else {
            // Rows of one pane are put beside each other.
            let order = panes.values().flatten().flat_map(|run| run.rows.clone()).map(|row| row as u32);
            let order = UInt32Array::from_iter_values(order);
            let sorted = take_record_batch(&marked, &order).map_err(Error::kernel(&self.handler, rows))?;
            let mut start = 0;
            for (pane, runs) in panes {
                let length = runs.iter().map(|run| run.rows.len()).sum();
                self.add(pane, &sorted.slice(start, length))?;
                start += length;
            }
        }
        if self.groups >= self.look { self.look_at_limits() } else { Ok(()) }
    }

    /// Adds rows of one pane.
    fn add(&mut self, pane: (i64, i64), rows: &RecordBatch) -> Result<(), Error> {
        let plan = Arc::clone(&self.plan);
        let delta = match self.panes.entry(pane) {
            Entry::Occupied(delta) => delta.into_mut(),
            Entry::Vacant(place) => place.insert(plan.start(&self.handler, false)?),
        };
        let before = delta.len();
        delta.add(&plan, &self.handler, &keys(&self.columns, rows), rows)?;
        self.groups += delta.len() - before;
        Ok(())
    }

    /// Adds rows of many panes, each with the ends of its own as keys.
    fn append_mixed(&mut self, rows: &RecordBatch, panes: &BTreeMap<(i64, i64), Vec<&Run>>) -> Result<(), Error> {
        let mut ends = vec![(0, 0); rows.num_rows()];
        for (&pane, runs) in panes {
            runs.iter().for_each(|run| ends[run.rows.clone()].fill(pane));
        }
        let (firsts, lasts): (Vec<i64>, Vec<i64>) = ends.into_iter().unzip();
        let mut all: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(firsts)), Arc::new(Int64Array::from(lasts))];
        all.extend(keys(&self.columns, rows));
        let plan = Arc::clone(&self.plan);
        let delta = match &mut self.mixed {
            Some(delta) => delta,
            none => none.insert(plan.start(&self.handler, true)?),
        };
        let before = delta.len();
        delta.add(&plan, &self.handler, &all, rows)?;
        self.groups += delta.len() - before;
        Ok(())
    }

    fn look_at_limits(&mut self) -> Result<(), Error> {
        self.look = self.groups + LOOK;
        if self.limits.groups(self.groups + self.parts.rows()).is_err() {
            // The same group may be in several parts.
            self.flush()?;
            let all = self.parts.take_all();
            self.parts.push(self.plan.merge(&self.handler, self.closed, all)?);
            self.limits.groups(self.parts.rows())?;
        }
        let deltas: usize = self.panes.values().chain(&self.mixed).map(Delta::bytes).sum();
        self.limits.bytes(deltas + self.parts.bytes())
    }

    pub(super) fn is_due(&self, upto: i64) -> bool {
        self.due <= upto
    }

    /// The windows that end at or before `upto`.
    pub(super) fn close(&mut self, upto: i64) -> Result<Vec<Sums>, Error> {
        let open = self.grid.after(self.closed);
        let mut ends = BTreeSet::new();
        let mut seen = None;
        let panes: Vec<(i64, i64)> = self.panes.keys().copied().collect();
        if self.mixed.as_ref().is_some_and(|mixed| mixed.len() > 0) {
            self.flush()?;
        }
        let parts = self.parts.batches().flat_map(ends_of);
        for (first, last) in panes.into_iter().chain(parts) {
            if seen.replace((first, last)) == Some((first, last)) {
                continue;
            }
            let mut end = first.max(open);
            while end <= last.min(upto) {
                ends.insert(end);
                // Time has an end too.
                let Some(next) = end.checked_add(self.grid.every) else { break };
                end = next;
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
        self.panes.retain(|(_, last), _| *last > closed);
        self.groups = self.panes.values().chain(&self.mixed).map(Delta::len).sum();
        self.parts.take(|batch| Ok(BooleanArray::from_unary(column(batch, LAST), |last| last <= closed)))?;
        let parts = self.parts.batches().flat_map(ends_of).map(|(first, _)| first);
        let firsts = parts.chain(self.panes.keys().map(|(first, _)| *first));
        self.due = firsts.min().map_or(i64::MAX, |first| first.max(self.grid.after(closed)));
        Ok(())
    }

    /// The sums of the window that ends at `end`, in order of ends.
    fn sums(&mut self, end: i64) -> Result<Sums, Error> {
        let (plan, handler) = (Arc::clone(&self.plan), self.handler.clone());
        let parts: Vec<RecordBatch> = self.parts.batches().cloned().collect();
        let parts = parts.iter().map(|batch| of_end(batch, end));
        let mut parts: Vec<RecordBatch> =
            parts.collect::<Result<Vec<_>, _>>().map_err(Error::kernel(&handler, 0))?.into_iter().flatten().collect();
        let panes: Vec<(i64, i64)> =
            self.panes.keys().filter(|(first, last)| *first <= end && end <= *last).copied().collect();
        // A pane that no other window counts need not become a part first.
        if let ([pane], true) = (panes.as_slice(), parts.is_empty())
            && pane.1 == end
            && let Some(delta) = self.panes.remove(pane)
        {
            return self.evaluated(end, delta);
        }
        for pane in panes {
            if let Some(delta) = self.panes.remove(&pane) {
                let part = delta.finish(&plan, &handler, Some(pane))?;
                parts.push(part.clone());
                self.parts.push(part);
            }
        }
        let mut delta = plan.start(&handler, false)?;
        for part in parts {
            delta.merge(&plan, &handler, &part, 2)?;
        }
        self.evaluated(end, delta)
    }

    fn evaluated(&self, end: i64, mut delta: Delta) -> Result<Sums, Error> {
        let (groups, kernel) = (delta.len(), |rows| Error::kernel(&self.handler, rows));
        let (keys, values) = delta.evaluate(&self.plan, &self.handler)?;
        let order = by_key(&keys, groups).map_err(kernel(groups))?;
        let take = |columns: &[ArrayRef]| take_arrays(columns, &order, None).map_err(kernel(groups));
        Ok(Sums { end, keys: take(&keys)?, values: take(&values)?, groups })
    }

    /// Makes parts of what is new.
    fn flush(&mut self) -> Result<(), Error> {
        let (plan, handler, closed) = (Arc::clone(&self.plan), self.handler.clone(), self.closed);
        for (pane, delta) in std::mem::take(&mut self.panes) {
            self.parts.push(delta.finish(&plan, &handler, Some(pane))?);
        }
        if let Some(delta) = self.mixed.take() {
            self.parts.push(delta.finish(&plan, &handler, None)?);
        }
        (self.groups, self.look) = (0, LOOK);
        if self.parts.batches().count() < MANY {
            return Ok(());
        }
        self.parts.tidy(&mut |batches| plan.merge(&handler, closed, batches))
    }

    pub(super) fn last_end(&mut self) -> Result<i64, Error> {
        if self.mixed.is_some() {
            self.flush()?;
        }
        let parts = self.parts.batches().flat_map(ends_of);
        Ok(parts.chain(self.panes.keys().copied()).map(|(_, last)| last).max().unwrap_or(i64::MIN))
    }

    pub(super) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        self.flush()?;
        self.look_at_limits()?;
        let (plan, handler, closed) = (Arc::clone(&self.plan), self.handler.clone(), self.closed);
        let mut parts = self.parts.snapshot(&mut |batches| plan.merge(&handler, closed, batches))?;
        parts.extend(self.rows.snapshot()?);
        let input = state::encode(&RecordBatch::new_empty(Arc::clone(self.plan.input())));
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

/// The keys of rows; -0.0 is 0.0.
pub(super) fn keys(columns: &[String], rows: &RecordBatch) -> Vec<ArrayRef> {
    columns.iter().filter_map(|name| rows.column_by_name(name).map(normalize_float_zero)).collect()
}
