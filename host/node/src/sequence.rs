//! Runs handlers whose answer depends on the order of rows.
//!
//! Such a handler is written as [`Steps`] over rows that come in one order; [`Sequence`] makes a [`Handler`] of it that holds
//! rows back until their order is certain.

use std::{collections::BTreeMap, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use spout_data::Part;

use super::{
    Beside, Error, EventTime, Handled, Handler, Keys, LimitsSpec, RowFault, Shape, Source, SourceEvent, TimeSpec, Unit,
    digest::Digests,
    halving::without,
    order::{Order, Ready},
    state::Limits,
};

/// What a handler does with rows that come in order.
pub(super) trait Steps: Send {
    /// What it makes of `input`, apart from the time and the unit; rows are grouped by the columns `group`.
    ///
    /// # Errors
    /// As [`Handler::shape`].
    fn shape(&mut self, input: &Shape, time: &EventTime, group: &[String]) -> Result<Shape, Error>;

    /// How far out of order its output is, because some of it has to wait.
    fn behind(&self) -> Duration {
        Duration::ZERO
    }

    /// The rows that have no value where the spec computes something; they are set aside as they arrive.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    fn faults(&mut self, rows: &RecordBatch) -> Result<Vec<RowFault>, Error> {
        let _ = rows;
        Ok(Vec::new())
    }

    /// What of a row says which others matter to it, where rows are grouped by the columns `group`; none if all of them do.
    fn keys(&self, group: &[String]) -> Option<Digests> {
        let _ = group;
        None
    }

    /// Takes the next rows, and their times.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    fn take(&mut self, rows: &RecordBatch, times: &[i64], out: &mut Vec<RecordBatch>) -> Result<(), Error>;

    /// Learns that all rows before `time` have been given.
    ///
    /// # Errors
    /// As [`Handler::handle`].
    fn reached(&mut self, time: i64, out: &mut Vec<RecordBatch>) -> Result<(), Error> {
        let _ = (time, out);
        Ok(())
    }

    /// Rows that it left out since it was asked last.
    fn left_out(&mut self) -> u64 {
        0
    }

    /// How many rows and bytes it holds besides those that wait for their turn.
    fn held(&self) -> (usize, usize) {
        (0, 0)
    }

    /// The parts of its state.
    ///
    /// # Errors
    /// As [`Handler::snapshot`].
    fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error>;

    /// Takes the parts of its last snapshot, once it knows what flows in.
    ///
    /// # Errors
    /// As [`Handler::restore`].
    fn restore(&mut self, parts: BTreeMap<String, Bytes>) -> Result<(), Error>;

    /// What of its spec the state depends on.
    fn config(&self) -> Value;
}

/// A handler that takes its steps in order.
#[derive(Debug)]
pub(super) struct Sequence<S> {
    id: String,
    order: Order,
    /// Columns to group by, its own and those of what flows in.
    group_by: Vec<String>,
    group: Vec<String>,
    limits: Limits,
    steps: S,
    restored: Option<BTreeMap<String, Bytes>>,
    calls: u32,
}

/// The part that says what the state is grouped by.
const GROUP: &str = "group";

/// Calls after which limits are looked at: adding up what is held takes longer than a small batch.
const LOOK: u32 = 16;

impl<S: Steps> Sequence<S> {
    /// `steps` over rows in the order of `time`, or of the time of what flows in; the same with the columns to group by.
    pub(super) fn new(id: &str, time: Option<&TimeSpec>, group_by: &[String], limits: LimitsSpec, steps: S) -> Self {
        Self {
            id: id.to_owned(),
            order: Order::new(id, time),
            group_by: group_by.to_vec(),
            group: Vec::new(),
            limits: limits.of(id),
            steps,
            restored: None,
            calls: 0,
        }
    }

    /// Takes the steps for rows that are ready, and for the time that has been reached.
    fn step(&mut self, ready: Vec<Ready>, until: Option<i64>) -> Result<Vec<RecordBatch>, Error> {
        let mut out = Vec::new();
        for Ready { records, times } in ready {
            self.steps.take(&records, &times, &mut out)?;
        }
        if let Some(until) = until {
            self.steps.reached(until, &mut out)?;
        }
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(LOOK) {
            self.within_limits()?;
        }
        out.retain(|records| records.num_rows() > 0);
        Ok(out)
    }

    fn within_limits(&self) -> Result<(), Error> {
        let (rows, bytes) = self.steps.held();
        self.limits.rows(self.order.rows() + rows)?;
        self.limits.bytes(self.order.bytes() + bytes)
    }

    /// Checks that the state is grouped as rows now are.
    fn grouped_alike(&self, parts: &mut BTreeMap<String, Bytes>) -> Result<(), Error> {
        let Some(part) = parts.remove(GROUP) else { return Ok(()) };
        let before: Vec<String> = serde_json::from_slice(&part).map_err(|error| Error::state(&self.id, error))?;
        if before == self.group {
            return Ok(());
        }
        let word = |columns: &[String]| if columns.is_empty() { "nothing".into() } else { columns.join(", ") };
        let what = format!("rows were grouped by {}, now they are by {}", word(&before), word(&self.group));
        Err(Error::Changed { handler: self.id.clone(), what })
    }
}

#[async_trait]
impl<S: Steps> Handler for Sequence<S> {
    fn id(&self) -> &str {
        &self.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        let time = self.order.shape(input)?;
        self.group = if self.group_by.is_empty() { input.group.clone() } else { self.group_by.clone() };
        if let Some(schema) = &input.schema {
            self.group.iter().try_for_each(|name| super::columns::at(&self.id, schema, name).map(drop))?;
        }
        let shape = self.steps.shape(input, &time, &self.group)?;
        if let Some(mut parts) = self.restored.take() {
            self.grouped_alike(&mut parts)?;
            self.steps.restore(parts)?;
        }
        Ok(Shape { time: self.order.after(self.steps.behind()), unit: Unit::Piece, ..shape })
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        let mut faults = self.steps.faults(&batch)?;
        let (sound, places) = without(&batch, &faults).map_err(Error::kernel(&self.id, batch.num_rows()))?;
        let (handled, ready) = self.order.take(sound, from)?;
        let out = self.step(ready, self.order.reached())?;
        let at = |row: u32| places.get(row as usize).copied().unwrap_or(row);
        faults.extend(handled.faults.into_iter().map(|fault| RowFault { row: at(fault.row), ..fault }));
        Ok(Handled { outputs: Handled::fresh(out).outputs, faults, filtered: self.steps.left_out(), ..handled })
    }

    fn merges(&self) -> bool {
        true
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        let ready = self.order.on_event(event)?;
        let out = self.step(ready, self.order.reached())?;
        Ok(Handled { filtered: self.steps.left_out(), ..Handled::fresh(out) })
    }

    async fn finish(&mut self) -> Result<Handled, Error> {
        let ready = self.order.rest()?;
        let out = self.step(ready, Some(i64::MAX))?;
        Ok(Handled { filtered: self.steps.left_out(), ..Handled::fresh(out) })
    }

    fn keys(&self) -> Option<Keys> {
        Some(Keys::by(&self.id, self.steps.keys(&self.group)?, Some(self.order.event()?.clone())))
    }

    fn expect(&mut self, beside: Beside) {
        self.order.expect(beside);
    }

    fn idle_after(&self) -> Option<Duration> {
        self.order.idle_after()
    }

    async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        self.within_limits()?;
        let mut parts = self.order.snapshot()?;
        if !parts.is_empty() {
            parts.extend(self.steps.snapshot()?);
            let group = serde_json::to_vec(&self.group).map_err(|error| Error::state(&self.id, error))?;
            parts.insert(GROUP.into(), group.into());
        }
        Ok(parts)
    }

    async fn restore(&mut self, mut parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.order.restore(&mut parts)?;
        self.restored = Some(parts);
        Ok(())
    }

    fn config(&self) -> Option<Value> {
        Some(self.steps.config())
    }
}
