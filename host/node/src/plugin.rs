//! `plugin`: a handler from the plugins directory, brought back after it crashes and kept from stumbling over one row.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use arrow::{
    array::RecordBatch,
    compute::{filter_record_batch, take_record_batch},
    datatypes::{FieldRef, Schema},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{ByteSize, Part};
use spout_plugin::{HandlerInstance, Health, Output, Rows, Search, Settings, Step, Task};

use super::{
    Builder, Error, Handled, Handler, Kept, RowFault, Shape, Source,
    handlers::filter::set_rows,
    spec::{HandlerSpec, Parts},
};

/// A handler from the plugins directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// Name of the plugin, or with its digest, `redact@sha256:…`.
    pub plugin: String,
    /// Which of the plugin's handlers, where it has several.
    #[serde(default)]
    pub name: String,
    /// Settings of the plugin; `spout plugin inspect NAME` lists them.
    #[serde(default)]
    pub settings: Settings,
    /// The handler keeps nothing between batches, so it may run in each partition's lane, in parallel.
    #[serde(default)]
    pub stateless: bool,
}

#[async_trait]
impl HandlerSpec for PluginSpec {
    fn describe(&self) -> String {
        format!("plugin {}", self.plugin.split('@').next().unwrap_or(&self.plugin))
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
        let state = parts.remove("").map(|state| state.to_vec());
        Ok(Box::new(PluginHandler::open(self, task, state).await?))
    }
}

/// Input bytes kept for replay after a crash; beyond this a new snapshot is taken instead.
const JOURNAL: ByteSize = ByteSize(16 << 20);

/// Crashes over one batch that are logged; a run of bad rows must not become a flood of lines.
const SAID: usize = 3;

/// A running plugin handler.
///
/// After a crash the instance is opened anew from the last snapshot and gets the batches since then once more, their
/// output thrown away: it stands where it stood. The batch that crashed it is handed over in parts, until the rows that it
/// cannot bear are alone; those come back as faults.
#[derive(Debug)]
pub struct PluginHandler {
    spec: PluginSpec,
    task: Task,
    instance: Option<HandlerInstance>,
    snapshot: Option<Vec<u8>>,
    journal: Vec<RecordBatch>,
    journal_bytes: u64,
    health: Health,
}

impl PluginHandler {
    /// Opens the plugin with the state of the last commit.
    ///
    /// # Errors
    /// What the plugin answers to its settings and its state.
    pub async fn open(spec: &PluginSpec, task: Task, state: Option<Vec<u8>>) -> Result<Self, Error> {
        let mut handler = Self {
            spec: spec.clone(),
            task,
            instance: None,
            snapshot: state,
            journal: Vec::new(),
            journal_bytes: 0,
            health: Health::default(),
        };
        match handler.instance().await {
            Ok(_) => Ok(handler),
            Err(error) => Err(handler.failed(error)),
        }
    }

    /// The instance, opened and brought to where the last one stood if there is none.
    async fn instance(&mut self) -> Result<&mut HandlerInstance, spout_plugin::Error> {
        if self.instance.is_none() {
            self.instance = Some(self.open_instance().await?);
        }
        self.instance.as_mut().ok_or(spout_plugin::Error::Closed)
    }

    /// Another instance that stands where this handler stands.
    async fn open_instance(&mut self) -> Result<HandlerInstance, spout_plugin::Error> {
        let mut instance = HandlerInstance::open(self.task.clone(), &self.spec.name, self.snapshot.as_deref()).await?;
        for batch in &self.journal {
            instance.process("", batch).await?;
        }
        Ok(instance)
    }

    /// One call. An instance that failed is not called again.
    async fn process(&mut self, batch: &RecordBatch) -> Result<Vec<Output>, spout_plugin::Error> {
        let answer = match self.instance().await {
            Ok(instance) => instance.process("", batch).await,
            Err(error) => Err(error),
        };
        if answer.is_err() {
            self.instance = None;
        }
        answer
    }

    /// Whether an instance of its own comes through with `batch`; nothing is kept of it.
    async fn survives(&mut self, batch: &RecordBatch) -> Result<(), spout_plugin::Error> {
        self.open_instance().await?.process("", batch).await.map(drop)
    }

    /// Keeps `batch` for replay; takes a snapshot instead when there is too much to keep.
    async fn remember(&mut self, batch: RecordBatch) -> Result<(), spout_plugin::Error> {
        if self.spec.stateless {
            return Ok(());
        }
        self.journal_bytes += batch.get_array_memory_size() as u64;
        self.journal.push(batch);
        if self.journal_bytes > JOURNAL.0 {
            self.snapshot_now().await?;
        }
        Ok(())
    }

    async fn snapshot_now(&mut self) -> Result<Vec<u8>, spout_plugin::Error> {
        let first = self.instance().await?.snapshot().await;
        let state = match first {
            Err(error) if error.is_crash() => {
                self.instance = None;
                self.instance().await?.snapshot().await?
            }
            other => other?,
        };
        self.snapshot = Some(state.clone());
        self.journal.clear();
        self.journal_bytes = 0;
        Ok(state)
    }

    fn failed(&self, source: spout_plugin::Error) -> Error {
        Error::Plugin { handler: self.spec.id.clone(), source: Box::new(source) }
    }

    fn outputs(&self, batch: &RecordBatch, answer: Vec<Output>) -> Result<Vec<(RecordBatch, Kept)>, Error> {
        let kernel = |source| Error::Kernel { handler: self.spec.id.clone(), rows: batch.num_rows(), source };
        let output = |output: Output| match output.rows {
            Rows::All => Ok((batch.clone(), Kept::All)),
            Rows::Masked(mask) => Ok((filter_record_batch(batch, &mask)?, Kept::Rows(set_rows(&mask)))),
            Rows::Taken(rows) => Ok((take_record_batch(batch, &rows)?, Kept::Rows(rows.values().to_vec()))),
            Rows::WithColumns(columns) => Ok((with_columns(batch, &columns)?, Kept::All)),
            Rows::Fresh(records) => Ok((records, Kept::Fresh)),
        };
        answer.into_iter().map(output).collect::<Result<_, _>>().map_err(kernel)
    }

    /// The outputs of one call. A plugin without state that gives none holds nothing back: it left all rows out.
    fn answered(&self, batch: &RecordBatch, answer: Vec<Output>) -> Result<Vec<(RecordBatch, Kept)>, Error> {
        if answer.is_empty() && self.spec.stateless {
            Ok(vec![(batch.slice(0, 0), Kept::Rows(Vec::new()))])
        } else {
            self.outputs(batch, answer)
        }
    }

    /// Hands `batch` over in parts until the rows that crash the plugin are alone. Parts come in order, so state stays right.
    async fn isolate(&mut self, batch: &RecordBatch, crash: spout_plugin::Error) -> Result<Handled, Error> {
        let (mut search, mut handled) = (Search::new(batch.num_rows()), Handled::default());
        let mut crashes = Crashes { count: 0, last: crash };
        crashes.say(&self.spec.id, &(0..batch.num_rows()));
        loop {
            let (part, answer) = match search.step() {
                Step::Done => break,
                Step::GiveUp => return Err(self.hopeless(crashes, batch.num_rows())),
                Step::Aside(row) => {
                    let (code, reason) = (crashes.last.fault_code().into(), crashes.last.to_string());
                    handled.faults.push(RowFault { row: u32::try_from(row).unwrap_or(u32::MAX), code, reason });
                    search.set_aside();
                    continue;
                }
                Step::Call(part) => {
                    let rows = batch.slice(part.start, part.len());
                    let answer = match self.process(&rows).await {
                        Ok(answer) => self.keep(rows, part.start, answer, &mut handled).await.map(Ok)?,
                        Err(error) => Err(error),
                    };
                    (part, answer)
                }
                Step::Probe(row) => (row..row + 1, self.survives(&batch.slice(row, 1)).await),
            };
            match answer {
                Ok(()) => search.passed(&mut self.health),
                Err(error) if error.is_crash() => {
                    search.crashed(error.is_slow(), &mut self.health);
                    crashes.last = error;
                    crashes.say(&self.spec.id, &part);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
        if !handled.faults.is_empty() {
            let (handler, rows, set_aside) = (&self.spec.id, batch.num_rows(), handled.faults.len());
            tracing::warn!(
                handler,
                rows,
                set_aside,
                crashes = crashes.count,
                "rows that crash the handler were found and set aside"
            );
        }
        Ok(handled)
    }

    /// Adds what came of a part that begins at row `from`.
    async fn keep(
        &mut self,
        part: RecordBatch,
        from: usize,
        answer: Vec<Output>,
        handled: &mut Handled,
    ) -> Result<(), Error> {
        let (outputs, rows) = (self.answered(&part, answer)?, part.num_rows());
        handled.outputs.extend(outputs.into_iter().map(|(records, kept)| (records, moved(kept, from, rows))));
        self.remember(part).await.map_err(|error| self.failed(error))
    }

    fn hopeless(&self, crashes: Crashes, rows: usize) -> Error {
        let (handler, failures) = (self.spec.id.clone(), u32::try_from(crashes.count).unwrap_or(u32::MAX));
        Error::Hopeless { handler, failures, rows, source: Box::new(crashes.last) }
    }
}

/// The crashes over one batch.
struct Crashes {
    count: usize,
    last: spout_plugin::Error,
}

impl Crashes {
    /// Counts the last one, and logs it in one line.
    fn say(&mut self, handler: &str, part: &Range<usize>) {
        self.count += 1;
        let (row, rows, error) = (part.start, part.len(), &self.last);
        if self.count <= SAID {
            tracing::warn!(handler, row, rows, %error, "the handler crashed and is opened anew")
        } else {
            tracing::debug!(handler, row, rows, %error, "the handler crashed and is opened anew")
        }
    }
}

/// Row indices of a part, as indices of the whole batch.
fn moved(kept: Kept, from: usize, rows: usize) -> Kept {
    let from = u32::try_from(from).unwrap_or(u32::MAX);
    match kept {
        Kept::All => Kept::Rows((from..from + u32::try_from(rows).unwrap_or(0)).collect()),
        Kept::Rows(list) => Kept::Rows(list.into_iter().map(|row| row + from).collect()),
        Kept::Fresh => Kept::Fresh,
    }
}

/// All rows of `batch`, with `columns` added or replaced by name.
fn with_columns(batch: &RecordBatch, columns: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut fields: Vec<FieldRef> = batch.schema_ref().fields().iter().cloned().collect();
    let mut arrays = batch.columns().to_vec();
    for (field, array) in columns.schema_ref().fields().iter().zip(columns.columns()) {
        match fields.iter().position(|known| known.name() == field.name()) {
            Some(at) => (fields[at], arrays[at]) = (Arc::clone(field), Arc::clone(array)),
            None => {
                fields.push(Arc::clone(field));
                arrays.push(Arc::clone(array));
            }
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, batch.schema_ref().metadata().clone())), arrays)
}

#[async_trait]
impl Handler for PluginHandler {
    fn id(&self) -> &str {
        &self.spec.id
    }

    /// What a plugin makes of rows only the plugin knows.
    fn shape(&mut self, input: &Shape) -> Result<Shape, Error> {
        Ok(input.with_schema(None))
    }

    async fn handle(&mut self, batch: RecordBatch, _: Source) -> Result<Handled, Error> {
        if batch.num_rows() == 0 {
            return Ok(Handled::one(batch, Kept::All));
        }
        match self.process(&batch).await {
            Ok(answer) => {
                self.health.passed();
                let outputs = self.answered(&batch, answer)?;
                self.remember(batch).await.map_err(|error| self.failed(error))?;
                Ok(Handled { outputs, ..Handled::default() })
            }
            Err(error) if error.is_crash() => self.isolate(&batch, error).await,
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn finish(&mut self) -> Result<Handled, Error> {
        let answer = match self.instance().await {
            Ok(instance) => instance.finish().await,
            Err(error) => Err(error),
        };
        let answer = answer.map_err(|error| self.failed(error))?;
        let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let fresh = answer.into_iter().filter(|output| matches!(output.rows, Rows::Fresh(_))).collect();
        Ok(Handled { outputs: self.outputs(&nothing, fresh)?, ..Handled::default() })
    }

    async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        if self.spec.stateless {
            return Ok(BTreeMap::new());
        }
        match self.snapshot_now().await {
            Ok(state) => Ok([(String::new(), Part::from(state))].into()),
            Err(error) => Err(self.failed(error)),
        }
    }
}
