//! `plugin`: a handler from the plugins directory, brought back after it crashes and kept from stumbling over one row.

use arrow::{
    array::RecordBatch,
    compute::{filter_record_batch, take_record_batch},
    datatypes::{FieldRef, Schema},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

use super::{Error, Handled, Handler, Kept, RowFault, Shape, Source, handlers::filter::set_rows};
use crate::{
    data::{ByteSize, Part},
    plugin::{self, HandlerInstance, Output, Rows, Settings, Task},
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

/// Input bytes kept for replay after a crash; beyond this a new snapshot is taken instead.
const JOURNAL: ByteSize = ByteSize(16 << 20);

/// Crashes in a row, with no success between, after which the plugin is given up.
const HOPELESS: u32 = 16;

/// A running plugin handler.
///
/// After a crash the instance is opened anew from the last snapshot and gets the batches since then once more, their
/// output thrown away: it stands where it stood. If it crashes on the same rows again they are halved until the ones
/// that it cannot bear are alone; those come back as faults.
#[derive(Debug)]
pub struct PluginHandler {
    spec: PluginSpec,
    task: Task,
    instance: Option<HandlerInstance>,
    snapshot: Option<Vec<u8>>,
    journal: Vec<RecordBatch>,
    journal_bytes: u64,
    crashes: u32,
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
            crashes: 0,
        };
        match handler.instance().await {
            Ok(_) => Ok(handler),
            Err(error) => Err(handler.failed(error)),
        }
    }

    /// The instance, opened and brought to where the last one stood if there is none.
    async fn instance(&mut self) -> Result<&mut HandlerInstance, plugin::Error> {
        if self.instance.is_none() {
            let mut instance =
                HandlerInstance::open(self.task.clone(), &self.spec.name, self.snapshot.as_deref()).await?;
            for batch in &self.journal {
                instance.process("", batch).await?;
            }
            self.instance = Some(instance);
        }
        self.instance.as_mut().ok_or(plugin::Error::Closed)
    }

    /// One call, once more on a new instance if the first one crashes.
    async fn process(&mut self, batch: &RecordBatch) -> Result<Vec<Output>, plugin::Error> {
        let first = match self.instance().await {
            Ok(instance) => instance.process("", batch).await,
            Err(error) => Err(error),
        };
        match first {
            Err(error) if error.is_crash() => {
                tracing::warn!(handler = self.spec.id, %error, "handler crashed; it is opened anew and tried once more");
                self.instance = None;
                let again = match self.instance().await {
                    Ok(instance) => instance.process("", batch).await,
                    Err(error) => Err(error),
                };
                if again.is_err() {
                    self.instance = None;
                }
                again
            }
            other => other,
        }
    }

    /// Keeps `batch` for replay; takes a snapshot instead when there is too much to keep.
    async fn remember(&mut self, batch: RecordBatch) -> Result<(), plugin::Error> {
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

    async fn snapshot_now(&mut self) -> Result<Vec<u8>, plugin::Error> {
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

    fn failed(&self, source: plugin::Error) -> Error {
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
        match answer.is_empty() && self.spec.stateless {
            true => Ok(vec![(batch.slice(0, 0), Kept::Rows(Vec::new()))]),
            false => self.outputs(batch, answer),
        }
    }

    /// Halves `batch` until the rows that crash the plugin are alone. Parts are done in order, so state stays right.
    async fn bisect(&mut self, batch: &RecordBatch, crash: plugin::Error) -> Result<Handled, Error> {
        let mut handled = Handled::default();
        // A stack of (first row, rows, what the whole of it failed with); the part with the lowest rows is on top.
        let mut parts = vec![(0, batch.num_rows(), Some(crash))];
        while let Some((from, rows, failure)) = parts.pop() {
            let part = batch.slice(from, rows);
            let failure = match failure {
                Some(failure) => failure,
                None => match self.process(&part).await {
                    Ok(answer) => {
                        self.crashes = 0;
                        let outputs = self.answered(&part, answer)?;
                        handled
                            .outputs
                            .extend(outputs.into_iter().map(|(records, kept)| (records, moved(kept, from, rows))));
                        self.remember(part).await.map_err(|error| self.failed(error))?;
                        continue;
                    }
                    Err(error) if error.is_crash() => error,
                    Err(error) => return Err(self.failed(error)),
                },
            };
            self.crashes += 1;
            if rows > 1 {
                parts.push((from + rows / 2, rows - rows / 2, None));
                parts.push((from, rows / 2, None));
            } else if self.crashes >= HOPELESS {
                return Err(Error::Hopeless {
                    handler: self.spec.id.clone(),
                    failures: self.crashes,
                    rows: batch.num_rows(),
                    source: Box::new(failure),
                });
            } else {
                let row = u32::try_from(from).unwrap_or(u32::MAX);
                handled.faults.push(RowFault { row, code: failure.fault_code().into(), reason: failure.to_string() });
            }
        }
        Ok(handled)
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
                self.crashes = 0;
                let outputs = self.answered(&batch, answer)?;
                self.remember(batch).await.map_err(|error| self.failed(error))?;
                Ok(Handled { outputs, ..Handled::default() })
            }
            Err(error) if error.is_crash() => self.bisect(&batch, error).await,
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
