//! `plugin`: a handler from the plugins directory, brought back after it crashes and kept from stumbling over one row.
//!
//! Rows go to the plugin as they arrive, or, where its spec gives it a time, in order of event time, with ticks between them.

mod answer;
mod chunks;
mod isolate;
mod running;
#[cfg(test)]
mod tests;
mod ticks;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{Part, Period};
use spout_plugin::{Health, PluginRef, Rows, Settings, Task};

use self::{
    running::Running,
    ticks::{Ticks, milliseconds},
};
use super::{
    Builder, Error, Handled, Handler, Kept, LimitsSpec, Shape, Source, SourceEvent, TimeSpec, Unit,
    order::{Order, Ready},
    spec::{HandlerSpec, Parts},
};

/// A handler from the plugins directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// Name of the plugin, `redact`, or of one of its handlers, `weblog/sessions`; `redact@sha256:…` pins its digest too.
    pub plugin: String,
    /// Settings of the plugin; `spout plugin inspect NAME` lists them.
    #[serde(default)]
    pub settings: Settings,
    /// The handler keeps nothing between batches, so it may run in each partition's lane, in parallel.
    #[serde(default)]
    pub stateless: bool,
    /// The event time, if rows of all partitions should come in its order. Without it, and without `tick`, they come as they
    /// arrive.
    #[serde(default)]
    pub time: Option<TimeSpec>,
    /// Calls the plugin at multiples of this length of event time, as in `1m`. Rows then come in order of event time: of
    /// `time`, or of the pipeline's. Rows are passed to the plugin in runs no longer than this: the shorter it is, the more
    /// calls.
    #[serde(default)]
    pub tick: Option<Period>,
    /// How many rows may wait to be put in order.
    #[serde(default)]
    pub limits: LimitsSpec,
}

#[async_trait]
impl HandlerSpec for PluginSpec {
    fn describe(&self) -> String {
        format!("plugin {}", PluginRef::parse(&self.plugin).label)
    }

    fn stateful(&self) -> bool {
        !self.stateless
    }

    fn plugin(&self) -> Option<&PluginSpec> {
        Some(self)
    }

    async fn open(&self, builder: &Builder, parts: &mut Parts) -> Result<Box<dyn Handler>, Error> {
        let task = builder.tasks.get(&self.id).cloned();
        let task =
            task.ok_or_else(|| Error::Spec { handler: self.id.clone(), reason: "its plugin is not loaded".into() })?;
        Ok(Box::new(PluginHandler::open(self, task, std::mem::take(parts)).await?))
    }
}

/// A running plugin handler.
#[derive(Debug)]
pub struct PluginHandler {
    spec: PluginSpec,
    running: Running,
    health: Health,
    /// Brings rows into order, if they are to come in one.
    order: Option<Order>,
    ticks: Option<Ticks>,
    declared: Declared,
}

/// What the plugin declares of its output.
#[derive(Debug, Default)]
struct Declared {
    /// The columns that it was asked about.
    input: Option<SchemaRef>,
    output: Option<SchemaRef>,
    /// Columns that were found to be as declared.
    seen: Option<SchemaRef>,
}

/// The part that says when the next tick is due.
const TICKS: &str = "ticks";

impl Declared {
    /// The columns that come out when those of `input` go in.
    fn of(&self, input: &Shape) -> Option<SchemaRef> {
        self.output.clone().filter(|_| self.input.is_some() && self.input == input.schema)
    }
}

impl PluginHandler {
    /// Opens the plugin with the state of the last commit.
    ///
    /// # Errors
    /// What the plugin answers to its settings and its state; state of another way to hand over rows.
    pub async fn open(spec: &PluginSpec, task: Task, mut parts: BTreeMap<String, Bytes>) -> Result<Self, Error> {
        let damaged = |reason| Error::State { handler: spec.id.clone(), reason };
        let mut order = (spec.time.is_some() || spec.tick.is_some()).then(|| Order::new(&spec.id, spec.time.as_ref()));
        let mut ticks = spec.tick.map(Ticks::new);
        let running = Running::restore(spec, task, &mut parts).map_err(damaged)?;
        if let Some(order) = &mut order {
            order.restore(&mut parts)?;
            let stored = parts.remove(TICKS).map(|stored| serde_json::from_slice(&stored)).transpose();
            let stored = stored.map_err(|error| damaged(format!("its part `{TICKS}`: {error}")))?;
            if let (Some(ticks), Some(stored)) = (&mut ticks, &stored) {
                ticks.restore(stored);
            }
        }
        if !parts.is_empty() {
            let what = "its rows used to come in order of event time, and now have no `time`".to_owned();
            return Err(Error::Changed { handler: spec.id.clone(), what });
        }
        let mut handler = Self {
            spec: spec.clone(),
            running,
            health: Health::default(),
            order,
            ticks,
            declared: Declared::default(),
        };
        match handler.running.instance().await {
            Ok(_) => Ok(handler),
            Err(error) => Err(handler.failed(error)),
        }
    }

    fn failed(&self, source: spout_plugin::Error) -> Error {
        Error::Plugin { handler: self.spec.id.clone(), source: Box::new(source) }
    }

    /// The output of one call. A plugin without state that gives none holds nothing back: it left all rows out.
    fn output(&mut self, batch: &RecordBatch, answer: Option<Rows>) -> Result<Option<(RecordBatch, Kept)>, Error> {
        match answer {
            Some(rows) => {
                let output = answer::output(batch, rows).map_err(Error::kernel(&self.spec.id, batch.num_rows()))?;
                self.check(output.0.schema_ref())?;
                Ok(Some(output))
            }
            None if self.spec.stateless => Ok(Some((batch.slice(0, 0), Kept::Rows(Vec::new())))),
            None => Ok(None),
        }
    }

    /// Checks that rows have the columns that the plugin has declared, if it has.
    fn check(&mut self, found: &SchemaRef) -> Result<(), Error> {
        let Declared { output: Some(declared), seen, .. } = &mut self.declared else { return Ok(()) };
        if seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, found)) {
            return Ok(());
        }
        let checked = self.running.task().check_output(declared, found);
        *seen = Some(Arc::clone(found));
        checked.map_err(|error| self.failed(error))
    }

    /// Hands rows to the plugin.
    async fn give(&mut self, batch: RecordBatch) -> Result<Handled, Error> {
        match self.running.process(&batch).await {
            Ok(answer) => {
                self.health.passed();
                let outputs = self.output(&batch, answer)?.into_iter().collect();
                self.running.remember(batch).await.map_err(|error| self.failed(error))?;
                Ok(Handled { outputs, ..Handled::default() })
            }
            Err(error) if error.is_crash() => self.isolate(&batch, error).await,
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Hands over rows whose turn has come, with the ticks between them, and the ticks up to `reached`.
    async fn advance(&mut self, ready: Vec<Ready>, reached: Option<i64>, handled: &mut Handled) -> Result<(), Error> {
        for Ready { records, times } in ready {
            let mut rest = times.as_slice();
            while let Some(first) = rest.first() {
                self.tick(*first, handled).await?;
                let count = self.ticks.as_ref().map_or(rest.len(), |ticks| ticks.together(rest));
                let (run, later) = rest.split_at(count.min(rest.len()));
                let rows = records.slice(records.num_rows() - rest.len(), run.len());
                let given = self.give(rows.clone()).await?;
                handled.outputs.extend(given.outputs.into_iter().map(|(records, _)| (records, Kept::Fresh)));
                let row = |row: u32| rows.slice((row as usize).min(rows.num_rows()), 1);
                handled.refused.extend(given.faults.into_iter().map(|fault| (row(fault.row), fault)));
                if let (Some(ticks), Some(newest)) = (&mut self.ticks, run.last()) {
                    ticks.rows(*newest);
                }
                rest = later;
            }
        }
        match reached {
            Some(reached) => self.tick(reached, handled).await,
            None => Ok(()),
        }
    }

    /// Tells the plugin of the instants up to `reached`.
    async fn tick(&mut self, reached: i64, handled: &mut Handled) -> Result<(), Error> {
        while let Some(instant) = self.ticks.as_ref().and_then(|ticks| ticks.due(reached)) {
            let ticked = self.running.tick(milliseconds(instant)).await.map_err(|error| self.failed(error))?;
            ticked.rows.iter().try_for_each(|rows| self.check(rows.schema_ref()))?;
            handled.outputs.extend(ticked.rows.map(|records| (records, Kept::Fresh)));
            if let Some(ticks) = &mut self.ticks {
                ticks.ticked(instant, ticked.next_ms);
            }
        }
        Ok(())
    }

    fn refused(&self, reason: &str) -> Error {
        Error::Spec { handler: self.spec.id.clone(), reason: reason.to_owned() }
    }
}

#[async_trait]
impl Handler for PluginHandler {
    fn id(&self) -> &str {
        &self.spec.id
    }

    /// What a plugin makes of rows only the plugin knows, which may have declared it; where it has its own order, their time too.
    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        let whole =
            |period: Period| period.0 >= Duration::from_millis(1) && period.0.subsec_nanos().is_multiple_of(1_000_000);
        if self.spec.tick.is_some_and(|tick| !whole(tick)) {
            return Err(self.refused("`tick` must be at least 1 ms, in whole milliseconds"));
        }
        match &mut self.order {
            Some(_) if self.spec.stateless => Err(self.refused(
                "only a handler with state gets rows in order of event time; remove `stateless: true`, or `time` and `tick`",
            )),
            Some(order) => {
                order.shape(input)?;
                Ok(Shape { schema: self.declared.of(input), group: Vec::new(), unit: Unit::Piece, time: None })
            }
            None => Ok(input.with_schema(self.declared.of(input))),
        }
    }

    async fn prepare(&mut self, input: &Shape) -> Result<(), Error> {
        let Some(schema) = &input.schema else { return Ok(()) };
        if self.declared.input.as_ref() != Some(schema) {
            let output = self.running.output(schema).await.map_err(|error| self.failed(error))?;
            self.declared = Declared { input: Some(Arc::clone(schema)), output, seen: None };
        }
        Ok(())
    }

    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error> {
        let Some(order) = &mut self.order else {
            return if batch.num_rows() == 0 { Ok(Handled::one(batch, Kept::All)) } else { self.give(batch).await };
        };
        let (mut handled, ready) = order.take(batch, from)?;
        let reached = order.reached();
        self.advance(ready, reached, &mut handled).await?;
        Ok(handled)
    }

    fn merges(&self) -> bool {
        self.order.is_some()
    }

    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        let mut handled = Handled::default();
        if let Some(order) = &mut self.order {
            let (ready, reached) = (order.on_event(event)?, order.reached());
            self.advance(ready, reached, &mut handled).await?;
        }
        Ok(handled)
    }

    async fn finish(&mut self) -> Result<Handled, Error> {
        let mut handled = Handled::default();
        if let Some(order) = &mut self.order {
            let rest = order.rest()?;
            self.advance(rest, None, &mut handled).await?;
        }
        let rows = self.running.finish().await.map_err(|error| self.failed(error))?;
        rows.iter().try_for_each(|rows| self.check(rows.schema_ref()))?;
        handled.outputs.extend(rows.map(|records| (records, Kept::Fresh)));
        Ok(handled)
    }

    fn idle_after(&self) -> Option<Duration> {
        self.order.as_ref().and_then(Order::idle_after)
    }

    async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let mut parts = self.running.parts().await.map_err(|error| self.failed(error))?;
        if let Some(order) = &mut self.order {
            let limits = self.spec.limits.of(&self.spec.id);
            limits.rows(order.rows())?;
            limits.bytes(order.bytes())?;
            parts.extend(order.snapshot()?);
        }
        if let Some(ticks) = &self.ticks {
            let stored = serde_json::to_vec(ticks);
            let damaged =
                |error: serde_json::Error| Error::State { handler: self.spec.id.clone(), reason: error.to_string() };
            parts.insert(TICKS.into(), stored.map_err(damaged)?.into());
        }
        Ok(parts)
    }
}
