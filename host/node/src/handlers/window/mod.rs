//! `window`: rows by event time, in windows that close when all sources have passed their end.

mod dynamic;
mod engine;
mod grid;
mod held;
mod look;
mod output;
mod pane;
mod partial;
mod running;
mod sessions;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::BTreeMap;

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::SchemaRef,
};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use self::dynamic::DynamicWindowSpec;
pub(crate) use self::output::{END, START};
use self::{
    engine::Engine,
    grid::{Kind, LengthUnit},
    held::HeldWindows,
    output::Output,
    pane::Plan,
    partial::PartialWindows,
    sessions::SessionWindows,
};
use super::Columns;
use crate::{
    Beside, Builder, Error, Handled, Handler, Keys, Late, LimitsSpec, Shape, Source, SourceEvent, TimeSettings,
    TimeSpec, Unit,
    aggregates::Aggregates,
    arrival::{Arrivals, NEVER, settings},
    spec::{HandlerSpec, Parts},
    written::Written,
};
use spout_data::{Part, Period};

const MARKS: &str = "time";
const CLOSED: &str = "closed";

/// Where windows begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Align {
    /// At whole multiples of `every` since 1970: the same for all groups, and after every restart.
    #[default]
    Epoch,
    /// At the first row of each group, as in Kapacitor.
    First,
}

/// Puts rows into windows of event time: one record batch per window and group, or one row with `aggregate`.
///
/// A window has the times from its start up to, not including, its end, and comes out when all partitions have passed its
/// end; windows come in order of their end, then of the group. A window without rows does not come out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// How long a window is, as in `10m`.
    #[serde(default)]
    pub period: Option<Period>,
    /// How often one ends, as in `1m`; every `period` by default. With less, windows overlap; with more, rows between them
    /// are left out.
    #[serde(default)]
    pub every: Option<Period>,
    /// Where windows begin: `epoch` or `first`.
    #[serde(default)]
    pub align: Align,
    /// With `align: first`: whether the first window is a whole `period` long, not only the first `every` of it.
    #[serde(default, alias = "fill_period")]
    pub fill_period: bool,
    /// Instead of `period`: a window continues while rows of its group are less than this apart, as in `30s`. Rows that are
    /// out of order by more than the `lateness` of the time are late.
    #[serde(default)]
    pub session: Option<Period>,
    /// Columns to group by, as in `[host, type]`; by default those that rows are already grouped by.
    #[serde(default, alias = "group_by")]
    pub group_by: Option<Vec<String>>,
    /// The event time, as in `at` or `{column: at, lateness: 5s}`; by default that of the pipeline.
    #[serde(default)]
    pub time: Option<TimeSpec>,
    /// How far out of order rows of one partition may be, as in `5s`; by default that of the event time.
    #[serde(default)]
    pub lateness: Option<Period>,
    /// A partition without rows for this long does not hold up the others, as in `1m`; by default that of the event time.
    #[serde(default, alias = "idle_after")]
    pub idle_after: Option<Period>,
    /// What happens to late rows: `side`, `drop` or `fail`; by default that of the event time.
    #[serde(default)]
    pub late: Option<Late>,
    /// Aggregates by the name of their column, as in `{busy: "mean(100 - idle)", last: "last(idle)"}`: a window gives one
    /// row per group, with `window_start`, `window_end`, the columns it is grouped by, and these.
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
impl HandlerSpec for WindowSpec {
    fn describe(&self) -> String {
        let length = match (self.period, self.session) {
            (Some(period), _) => period.to_string(),
            (None, Some(gap)) => format!("sessions {gap} apart"),
            (None, None) => "no length".to_owned(),
        };
        format!("window of {length}")
    }

    fn expressions(&self) -> Vec<Written<'_>> {
        Written::columns("aggregate", &self.aggregate, Written::other)
    }

    async fn open(&self, _: &Builder, _: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        Ok(Box::new(Window::new(self)?))
    }
}

/// A running `window`.
#[derive(Debug)]
struct Window {
    spec: WindowSpec,
    kind: Kind,
    arrivals: Option<Arrivals>,
    engine: Option<Engine>,
    output: Output,
    /// All windows up to here are closed.
    closed: i64,
    /// Parts of the last snapshot, until the time they are about is known.
    stored: BTreeMap<String, Bytes>,
}

impl Window {
    /// A window as `spec` says.
    ///
    /// # Errors
    /// [`Error::Spec`] if its lengths make no windows.
    fn new(spec: &WindowSpec) -> Result<Self, Error> {
        let output = Output::new(spec);
        let (spec, kind) = (spec.clone(), Kind::of(spec)?);
        Ok(Self { spec, kind, arrivals: None, engine: None, output, closed: NEVER, stored: BTreeMap::new() })
    }

    fn columns(&self) -> &[String] {
        self.output.columns()
    }

    fn settings(&self, input: &Shape) -> Result<TimeSettings, Error> {
        let mut settings = settings(&self.spec.id, self.spec.time.as_ref(), input)?;
        settings.lateness = self.spec.lateness.unwrap_or(settings.lateness);
        settings.idle_after = self.spec.idle_after.or(settings.idle_after);
        settings.late = self.spec.late.unwrap_or(settings.late);
        Ok(settings)
    }

    /// Takes up the state of the last snapshot, now that the time is known.
    fn resume(&mut self) -> Result<(), Error> {
        let mut parts = std::mem::take(&mut self.stored);
        let handler = self.spec.id.clone();
        let damaged = |reason: String| Error::state(&handler, reason);
        if let (Some(bytes), Some(arrivals)) = (parts.remove(MARKS), &mut self.arrivals) {
            arrivals.restore(&bytes)?;
        }
        if let Some(bytes) = parts.remove(CLOSED) {
            self.closed = serde_json::from_slice(&bytes).map_err(|error| damaged(format!("its windows: {error}")))?;
        }
        let input = PartialWindows::input_of(&self.spec.id, &mut parts)?;
        if let Some(input) = &input {
            self.learn(input)?;
        } else if !parts.is_empty() {
            self.engine = Some(self.held());
        }
        if let Some(engine) = &mut self.engine {
            engine.restore(&mut parts, self.closed)?;
        }
        match parts.keys().next() {
            Some(part) => Err(damaged(format!("it never writes a part `{part}`"))),
            None => Ok(()),
        }
    }

    fn held(&self) -> Engine {
        let limits = self.spec.limits.of(&self.spec.id);
        Engine::Held(Box::new(HeldWindows::new(&self.spec.id, self.kind, self.columns(), &limits)))
    }

    /// Windows that need no rows; none if this kind of them does.
    fn sums(&self, plan: Plan) -> Result<Option<Engine>, Error> {
        let (id, columns, limits) = (&self.spec.id, self.columns(), self.spec.limits.of(&self.spec.id));
        Ok(match self.kind {
            _ if !plan.compiled.order_free() => None,
            Kind::Epoch(grid) => Some(Engine::Partial(Box::new(PartialWindows::new(id, grid, columns, &limits, plan)))),
            Kind::Session { gap } => {
                Some(Engine::Sessions(Box::new(SessionWindows::new(id, gap, columns, &limits, plan)?)))
            }
            Kind::First { .. } => None,
        })
    }

    /// Gets ready for rows of `schema`.
    fn learn(&mut self, schema: &SchemaRef) -> Result<(), Error> {
        let plan = if self.spec.aggregate.0.is_empty() {
            None
        } else {
            let aggregates = Aggregates::new(&self.spec.id, &self.spec.aggregate, true);
            Some(Plan::new(&self.spec.id, &aggregates, self.columns(), schema)?)
        };
        let Some(plan) = plan else {
            self.engine = self.engine.take().or_else(|| Some(self.held()));
            return Ok(());
        };
        match &mut self.engine {
            Some(Engine::Partial(windows)) => return windows.learn(plan),
            Some(Engine::Sessions(windows)) => return windows.learn(plan),
            Some(Engine::Held(_)) | None => {}
        }
        let sums = self.sums(plan)?;
        match (&self.engine, sums) {
            // Versions before this one kept the rows of all sessions.
            (Some(Engine::Held(held)), Some(Engine::Sessions(mut windows))) => {
                windows.take_over(held.rows())?;
                self.engine = Some(Engine::Sessions(windows));
            }
            (Some(_), _) => {}
            (None, sums) => self.engine = Some(sums.unwrap_or_else(|| self.held())),
        }
        Ok(())
    }

    /// Closes the windows that all sources have passed.
    fn advance(&mut self, handled: &mut Handled) -> Result<(), Error> {
        let reached = self.arrivals.as_mut().and_then(Arrivals::reached).unwrap_or(NEVER);
        self.close(reached, handled)
    }

    fn close(&mut self, upto: i64, handled: &mut Handled) -> Result<(), Error> {
        let (Some(arrivals), Some(engine)) = (&self.arrivals, &mut self.engine) else { return Ok(()) };
        if engine.is_due(upto) {
            let period = self.spec.period.map_or(0, |period| period.0.as_nanos() as i64);
            let made = engine.close(upto, self.closed, period, (arrivals, &mut self.output), handled)?;
            handled.outputs.extend(Handled::fresh(made).outputs);
            self.closed = self.closed.max(upto);
        }
        Ok(())
    }

    /// Takes rows; late ones are in the answer.
    fn accept(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        let closed = self.closed;
        let unready = || {
            Error::spec(&self.spec.id, "its rows arrived before their columns were known; this is a bug in the host")
        };
        let (Some(arrivals), Some(engine)) = (&mut self.arrivals, &mut self.engine) else { return Err(unready()) };
        let mut arrived = arrivals.take(batch, from)?;
        self.output.set_aside(&mut arrived)?;
        arrived.passed = arrived.passed.unary(|passed| passed.max(closed));
        engine.accept(arrivals, arrived, from)
    }
}

#[async_trait]
impl Handler for Window {
    fn id(&self) -> &str {
        &self.spec.id
    }

    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        let settings = self.settings(input)?;
        self.output.group_by(self.spec.group_by.as_ref().unwrap_or(&input.group));
        if self.arrivals.is_none() {
            self.arrivals = Some(Arrivals::new(&self.spec.id, &settings));
            self.resume()?;
        }
        let (mut schema, mut time) = (None, self.output.time(&settings));
        if let (Some(input), Some(arrivals)) = (&input.schema, &self.arrivals) {
            arrivals.check(input)?;
            schema = Some(self.output.schema(arrivals.event(), input)?);
            time = self.output.time_in(&settings, schema.as_ref());
            self.learn(input)?;
        }
        Ok(Shape { schema, group: self.columns().to_vec(), unit: Unit::Window, time })
    }

    fn merges(&self) -> bool {
        true
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        let mut handled = self.accept(batch, from)?;
        self.advance(&mut handled)?;
        Ok(handled)
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        let mut handled = Handled::default();
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.on_event(event);
        }
        self.advance(&mut handled)?;
        Ok(handled)
    }

    async fn finish(&mut self) -> Result<Handled, Error> {
        let mut handled = Handled::default();
        let last = self.engine.as_mut().map_or(Ok(NEVER), Engine::last_end)?;
        // The same in all processes that have windows of other groups.
        let newest = self.arrivals.as_ref().and_then(|arrivals| arrivals.marks().newest());
        let ended = newest.map_or(NEVER, |newest| self.kind.ended_after(newest));
        self.close(last.max(ended), &mut handled)?;
        self.closed = self.closed.max(ended);
        Ok(handled)
    }

    fn keys(&self) -> Option<Keys> {
        // Those that begin with the first row of a group end together where all have ended.
        let splits = !matches!(self.kind, Kind::First { .. });
        let time = self.arrivals.as_ref().filter(|_| splits)?.event();
        Keys::over(&self.spec.id, self.columns(), Some(time.clone()))
    }

    fn expect(&mut self, beside: Beside) {
        self.arrivals.iter_mut().for_each(|arrivals| arrivals.expect(beside.clone()));
    }

    fn idle_after(&self) -> Option<std::time::Duration> {
        let inherited = self.arrivals.as_ref().and_then(Arrivals::idle_after);
        inherited.or(self.spec.idle_after.map(|after| after.0))
    }

    async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let Some(arrivals) = &self.arrivals else {
            return Ok(self.stored.keys().map(|key| (key.clone(), Part::Kept)).collect());
        };
        let mut parts = self.engine.as_mut().map_or_else(|| Ok(BTreeMap::new()), Engine::snapshot)?;
        parts.insert(MARKS.to_owned(), arrivals.snapshot()?);
        parts.insert(CLOSED.to_owned(), Part::from(self.closed.to_string().into_bytes()));
        Ok(parts)
    }

    async fn restore(&mut self, parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.stored = parts;
        Ok(())
    }

    /// Lateness, limits and what becomes of late rows can change at any time.
    fn config(&self) -> Option<Value> {
        let spec = &self.spec;
        Some(json!({
            "period": spec.period,
            "every": spec.every.or(spec.period),
            "align": spec.align,
            "fillPeriod": spec.fill_period,
            "session": spec.session,
            "groupBy": spec.group_by,
            "time": spec.time.as_ref().map(|time| time.settings().column),
            "aggregate": spec.aggregate.0,
        }))
    }
}

/// Times as a column.
fn times(times: impl IntoIterator<Item = i64>) -> Int64Array {
    Int64Array::from_iter_values(times)
}
