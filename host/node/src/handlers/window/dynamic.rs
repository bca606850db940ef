//! `dynamic-window`: windows whose length and pace are columns of the rows.

use std::collections::BTreeMap;

use arrow::{
    array::{Array as _, AsArray as _, BooleanArray, Int64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type, Schema, TimeUnit},
};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spout_data::Part;

use super::{
    LengthUnit, WindowSpec,
    held::Closing,
    look::entries,
    output::Output,
    running::{Group, Running},
};
use crate::{
    Builder, Error, Handled, Handler, LimitsSpec, RowFault, Shape, Source, SourceEvent, TimeSpec, Unit,
    arrival::{Arrivals, Arrived, NEVER, settings},
    columns,
    handlers::Columns,
    spec::{HandlerSpec, Parts},
    state::{Groups, Held},
    written::Written,
};

const MARKS: &str = "time";
const GROUPS: &str = "windows";

/// Puts rows into windows of event time whose length and interval are columns, and may change from row to row.
///
/// The windows of a group begin with its first row. A row's values apply from its time on: a different interval moves the
/// end of the open window, unless that end would then be before the row; a different length does so before the first window
/// has ended, with `fillPeriod`. A window whose end has passed in its group is closed, whatever later rows say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DynamicWindowSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// Column of the length of windows, as in `period`: whole numbers or durations.
    pub period: String,
    /// Column of how often one ends, as in `every`: whole numbers or durations.
    pub every: String,
    /// What whole numbers in them count, as in `s`.
    #[serde(default)]
    pub unit: LengthUnit,
    /// Whether the first window is a whole period long, not only one interval, as in `true`.
    #[serde(default, alias = "fill_period")]
    pub fill_period: bool,
    /// Columns to group by, as in `[host]`; by default those that rows are already grouped by.
    #[serde(default, alias = "group_by")]
    pub group_by: Option<Vec<String>>,
    /// The event time, as in `{column: at, lateness: 5s}`; by default that of the pipeline.
    #[serde(default)]
    pub time: Option<TimeSpec>,
    /// Aggregates by the name of their column, as in `{busy: "mean(busy)"}`: a window gives one row per group.
    #[serde(default)]
    pub aggregate: Columns,
    /// Adds `window_start` and `window_end` to the rows of a window, as in `true`.
    #[serde(default)]
    pub bounds: bool,
    /// How much may be held, as in `{groups: 100000, bytes: 256MiB}`.
    #[serde(default)]
    pub limits: LimitsSpec,
}

#[async_trait]
impl HandlerSpec for DynamicWindowSpec {
    fn describe(&self) -> String {
        format!("window of column {}", self.period)
    }

    fn expressions(&self) -> Vec<Written<'_>> {
        Written::columns("aggregate", &self.aggregate, Written::other)
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(DynamicWindow::new(self)))
    }
}

/// A running `dynamic-window`.
#[derive(Debug)]
pub(super) struct DynamicWindow {
    spec: DynamicWindowSpec,
    arrivals: Option<Arrivals>,
    output: Output,
    rows: Held,
    groups: Groups,
    running: Vec<Running>,
    /// Rows before this time have been looked at.
    seen: i64,
    stored: BTreeMap<String, Bytes>,
}

impl DynamicWindow {
    /// A dynamic window as `spec` says.
    pub(super) fn new(spec: &DynamicWindowSpec) -> Self {
        let limits = spec.limits.of(&spec.id);
        let windows = WindowSpec {
            id: spec.id.clone(),
            group_by: spec.group_by.clone(),
            aggregate: spec.aggregate.clone(),
            bounds: spec.bounds,
            ..WindowSpec::default()
        };
        Self {
            spec: spec.clone(),
            arrivals: None,
            output: Output::new(&windows),
            rows: Held::new(&spec.id, "rows"),
            groups: Groups::new(&spec.id, "groups", spec.group_by.as_deref().unwrap_or_default(), limits),
            running: Vec::new(),
            seen: NEVER,
            stored: BTreeMap::new(),
        }
    }

    fn check(&self, schema: &Schema) -> Result<(), Error> {
        for name in [&self.spec.period, &self.spec.every] {
            let kind = columns::field(&self.spec.id, schema, name, "for the length of windows")?.data_type();
            if !kind.is_integer() && !matches!(kind, DataType::Duration(_)) {
                let reason =
                    format!("column `{name}` is {kind}, but the length of a window needs whole numbers or durations");
                return Err(Error::spec(&self.spec.id, reason));
            }
        }
        Ok(())
    }

    /// A column of lengths in nanoseconds; null where it is none.
    fn lengths(&self, batch: &RecordBatch, name: &str) -> Result<Int64Array, Error> {
        let failed = || Error::kernel(&self.spec.id, batch.num_rows());
        self.check(batch.schema_ref())?;
        let Some(column) = batch.column_by_name(name) else { return Ok(Int64Array::new_null(batch.num_rows())) };
        let (whole, each) = match column.data_type() {
            DataType::Duration(_) => (cast(column, &DataType::Duration(TimeUnit::Nanosecond)).map_err(failed())?, 1),
            _ => (std::sync::Arc::clone(column), self.spec.unit.nanoseconds()),
        };
        let whole = cast(&whole, &DataType::Int64).map_err(failed())?;
        let positive =
            |length: Option<i64>| length.and_then(|length| length.checked_mul(each)).filter(|length| *length > 0);
        Ok(whole.as_primitive::<Int64Type>().iter().map(positive).collect())
    }

    /// Looks at the rows before `until`, and closes windows that end before it.
    fn advance(&mut self, until: i64, handled: &mut Handled) -> Result<(), Error> {
        if until <= self.seen {
            return Ok(());
        }
        let closing = self.look(until, false)?;
        self.seen = until;
        self.emit(closing, handled)
    }

    fn emit(&mut self, closing: Closing, handled: &mut Handled) -> Result<(), Error> {
        if let Some(arrivals) = &self.arrivals {
            handled.outputs.extend(Handled::fresh(self.output.held(arrivals.event(), closing)?).outputs);
        }
        Ok(())
    }

    fn look(&mut self, until: i64, to_the_end: bool) -> Result<Closing, Error> {
        let batches: Vec<RecordBatch> = self.rows.batches().cloned().collect();
        let ids: Vec<Vec<u32>> = batches.iter().map(|batch| self.groups.ids(batch)).collect::<Result<_, _>>()?;
        let lengths = |name: &str| batches.iter().map(|batch| self.lengths(batch, name)).collect::<Result<Vec<_>, _>>();
        let (periods, everies) = (lengths(&self.spec.period)?, lengths(&self.spec.every)?);
        self.running.resize(self.groups.len(), Running::default());
        let mut rows = entries(&batches, &ids);
        rows.sort_unstable();
        let mut gone: Vec<Vec<bool>> = batches.iter().map(|batch| vec![false; batch.num_rows()]).collect();
        let (mut closed, seen, fill) = (Vec::new(), self.seen, self.spec.fill_period);
        for rows in rows.chunk_by(|one, other| one.rank == other.rank) {
            let running = &mut self.running[rows[0].rank as usize];
            let dead = rows.partition_point(|row| row.time < running.floor);
            let before = rows.partition_point(|row| row.time < seen).max(dead);
            let mut group = Group { rows, open: dead..before, closed: &mut closed };
            for (place, row) in rows.iter().enumerate().skip(before).take_while(|(_, row)| row.time < until) {
                let value = |of: &[Int64Array]| of[row.batch as usize].value(row.row as usize);
                running.close(row.time, &mut group);
                running.length_at(row.time, value(&periods), value(&everies), fill);
                running.close(row.time.saturating_add(1), &mut group);
                group.open.end = place + 1;
            }
            running.close(until, &mut group);
            while to_the_end && !group.open.is_empty() {
                running.close(running.next.unwrap_or(NEVER).saturating_add(1), &mut group);
            }
            let floor = running.floor;
            for row in rows.iter().take_while(|row| row.time < floor && row.time < until) {
                gone[row.batch as usize][row.row as usize] = true;
            }
        }
        let mut gone = gone.into_iter();
        self.rows.take(|_| Ok(BooleanArray::from(gone.next().unwrap_or_default())))?;
        Closing::of(batches, closed, &self.groups)
    }

    /// Makes faults of the rows whose lengths are none.
    fn sound(&self, arrived: &mut Arrived) -> Result<(), Error> {
        let rows = arrived.records.num_rows();
        let lengths = |name: &str| self.lengths(&arrived.records, name);
        let (periods, everies) = (lengths(&self.spec.period)?, lengths(&self.spec.every)?);
        if periods.null_count() + everies.null_count() == 0 {
            return Ok(());
        }
        let unsound = (0..rows).filter(|&row| periods.is_null(row) || everies.is_null(row));
        let faults = unsound.map(|row| RowFault {
            row: row as u32,
            code: "window.length".into(),
            reason: format!("columns `{}` and `{}` do not give a length above zero", self.spec.period, self.spec.every),
        });
        arrived.set_aside(faults.collect()).map_err(Error::kernel(&self.spec.id, rows))
    }

    fn resume(&mut self) -> Result<(), Error> {
        let mut parts = std::mem::take(&mut self.stored);
        let handler = self.spec.id.clone();
        let damaged = |reason: String| Error::state(&handler, reason);
        if let (Some(bytes), Some(arrivals)) = (parts.remove(MARKS), &mut self.arrivals) {
            arrivals.restore(&bytes)?;
        }
        if let Some(bytes) = parts.remove(GROUPS) {
            (self.seen, self.running) =
                serde_json::from_slice(&bytes).map_err(|error| damaged(format!("its windows: {error}")))?;
        }
        self.rows.restore(&mut parts)?;
        self.groups.restore(&mut parts)?;
        match parts.keys().next() {
            Some(part) => Err(damaged(format!("it never writes a part `{part}`"))),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Handler for DynamicWindow {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        let settings = settings(&self.spec.id, self.spec.time.as_ref(), input)?;
        let columns = self.spec.group_by.as_ref().unwrap_or(&input.group);
        self.output.group_by(columns);
        if self.arrivals.is_none() {
            self.groups = Groups::new(&self.spec.id, "groups", columns, self.spec.limits.of(&self.spec.id));
            self.arrivals = Some(Arrivals::new(&self.spec.id, &settings));
            self.resume()?;
        }
        let (mut schema, mut time) = (None, self.output.time(&settings));
        if let (Some(input), Some(arrivals)) = (&input.schema, &self.arrivals) {
            arrivals.check(input)?;
            self.check(input)?;
            schema = Some(self.output.schema(arrivals.event(), input)?);
            time = self.output.time_in(&settings, schema.as_ref());
        }
        Ok(Shape { schema, group: self.output.columns().to_vec(), unit: Unit::Window, time })
    }

    fn merges(&self) -> bool {
        true
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        let Some(mut arrivals) = self.arrivals.take() else {
            let reason = "its rows arrived before their columns were known; this is a bug in the host";
            return Err(Error::spec(&self.spec.id, reason));
        };
        let mut arrived = arrivals.take(batch, from)?;
        self.sound(&mut arrived)?;
        self.output.set_aside(&mut arrived)?;
        let late = arrived.times.values().iter().zip(arrived.passed.values());
        let late: BooleanArray = late.map(|(&time, &passed)| Some(time < passed.max(self.seen))).collect();
        let mut handled = arrivals.sort_out(&mut arrived, &late)?;
        self.rows.append(&arrived.records, &arrived.times, from, &[])?;
        self.spec.limits.of(&self.spec.id).bytes(self.rows.bytes() + self.groups.bytes())?;
        let reached = arrivals.reached().unwrap_or(NEVER);
        self.arrivals = Some(arrivals);
        self.advance(reached, &mut handled)?;
        Ok(handled)
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        let mut handled = Handled::default();
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.on_event(event);
            let reached = arrivals.reached().unwrap_or(NEVER);
            self.advance(reached, &mut handled)?;
        }
        Ok(handled)
    }

    async fn finish(&mut self) -> Result<Handled, Error> {
        let mut handled = Handled::default();
        let closing = self.look(i64::MAX, true)?;
        self.seen = closing.windows.iter().map(|window| window.end).max().unwrap_or(NEVER).max(self.seen);
        self.emit(closing, &mut handled)?;
        Ok(handled)
    }

    fn idle_after(&self) -> Option<std::time::Duration> {
        self.arrivals.as_ref().and_then(Arrivals::idle_after)
    }

    async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let Some(arrivals) = &self.arrivals else {
            return Ok(self.stored.keys().map(|key| (key.clone(), Part::Kept)).collect());
        };
        let mut parts = self.rows.snapshot()?;
        parts.extend(self.groups.snapshot()?);
        parts.insert(MARKS.to_owned(), arrivals.snapshot()?);
        let windows =
            serde_json::to_vec(&(self.seen, &self.running)).map_err(|error| Error::state(&self.spec.id, error))?;
        parts.insert(GROUPS.to_owned(), Part::from(windows));
        Ok(parts)
    }

    async fn restore(&mut self, parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.stored = parts;
        Ok(())
    }

    fn config(&self) -> Option<Value> {
        let spec = &self.spec;
        Some(json!({
            "period": spec.period,
            "every": spec.every,
            "unit": spec.unit,
            "fillPeriod": spec.fill_period,
            "groupBy": spec.group_by,
            "time": spec.time.as_ref().map(|time| time.settings().column),
            "aggregate": spec.aggregate.0,
        }))
    }
}
