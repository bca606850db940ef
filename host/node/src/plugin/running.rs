//! A plugin's instance, and what it takes to bring another one to where it stands.

use std::collections::BTreeMap;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use spout_data::{ByteSize, Part};
use spout_plugin::{Error, HandlerInstance, KeyedState, Rows, Task, Ticked};

use super::{PluginSpec, chunks::Chunks};

/// Input bytes kept for replay after a crash; beyond this a new snapshot is taken instead.
const JOURNAL: ByteSize = ByteSize(16 << 20);
/// What a call without rows counts for in the journal.
const CALL: u64 = 64;

/// A plugin that may crash.
///
/// Its state is a snapshot, keyed state of the same moment, and the calls since then: after a crash, another instance is
/// opened with that state and gets these calls once more, their answers thrown away.
#[derive(Debug)]
pub(super) struct Running {
    task: Task,
    stateless: bool,
    instance: Option<HandlerInstance>,
    /// Empty if there is none.
    snapshot: Bytes,
    keyed: KeyedState,
    chunks: Chunks,
    journal: Vec<Call>,
    journal_bytes: u64,
}

/// A call that was answered.
#[derive(Clone, Debug)]
enum Call {
    Rows(RecordBatch),
    Tick(i64),
    Finish,
}

impl Running {
    /// Opens the plugin with its own parts of a snapshot, which are taken out of `parts`.
    pub(super) fn restore(spec: &PluginSpec, task: Task, parts: &mut BTreeMap<String, Bytes>) -> Result<Self, String> {
        let mut chunks = Chunks::default();
        Ok(Self {
            task,
            stateless: spec.stateless,
            instance: None,
            snapshot: chunks.restore(parts)?,
            keyed: KeyedState::restore(parts)?,
            chunks,
            journal: Vec::new(),
            journal_bytes: 0,
        })
    }

    /// The instance, opened and brought to where the last one stood if there is none.
    pub(super) async fn instance(&mut self) -> Result<&mut HandlerInstance, Error> {
        if self.instance.is_none() {
            self.instance = Some(self.another().await?);
        }
        self.instance.as_mut().ok_or(Error::Closed)
    }

    /// Another instance that stands where this one stands.
    async fn another(&mut self) -> Result<HandlerInstance, Error> {
        let keyed = (!self.stateless).then(|| self.keyed.clone());
        let snapshot = Some(self.snapshot.as_ref()).filter(|snapshot| !snapshot.is_empty());
        let mut instance = HandlerInstance::open(self.task.clone(), snapshot, keyed).await?;
        for call in &self.journal {
            match call {
                Call::Rows(batch) => drop(instance.process(batch).await?),
                Call::Tick(watermark_ms) => drop(instance.tick(*watermark_ms).await?),
                Call::Finish => drop(instance.finish().await?),
            }
        }
        Ok(instance)
    }

    /// What it was opened for.
    pub(super) fn task(&self) -> &Task {
        &self.task
    }

    /// Asks for the columns that come out when those of `input` go in; once more if that crashes.
    pub(super) async fn output(&mut self, input: &SchemaRef) -> Result<Option<SchemaRef>, Error> {
        let first = self.instance().await?.output(input).await;
        match first {
            Err(error) if error.is_crash() => {
                self.instance = None;
                self.instance().await?.output(input).await
            }
            other => other,
        }
    }

    /// Hands over rows. An instance that failed is not called again; the rows are not, either: see [`Running::remember`].
    pub(super) async fn process(&mut self, batch: &RecordBatch) -> Result<Option<Rows>, Error> {
        let answer = match self.instance().await {
            Ok(instance) => instance.process(batch).await,
            Err(error) => Err(error),
        };
        if answer.is_err() {
            self.instance = None;
        }
        answer
    }

    /// Whether an instance of its own comes through with `batch`; nothing is kept of it.
    pub(super) async fn survives(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.another().await?.process(batch).await.map(drop)
    }

    /// Keeps rows that were answered for replay; takes a snapshot instead when there is too much to keep.
    pub(super) async fn remember(&mut self, batch: RecordBatch) -> Result<(), Error> {
        let bytes = batch.get_array_memory_size() as u64;
        self.keep(Call::Rows(batch), bytes).await
    }

    /// Tells how far event time has come; once more if that crashes.
    pub(super) async fn tick(&mut self, watermark_ms: i64) -> Result<Ticked, Error> {
        let first = self.instance().await?.tick(watermark_ms).await;
        let ticked = match first {
            Err(error) if error.is_crash() => {
                self.instance = None;
                self.instance().await?.tick(watermark_ms).await?
            }
            other => other?,
        };
        self.keep(Call::Tick(watermark_ms), CALL).await?;
        Ok(ticked)
    }

    /// Asks for the rows still held back; once more if that crashes.
    pub(super) async fn finish(&mut self) -> Result<Option<RecordBatch>, Error> {
        let first = self.instance().await?.finish().await;
        let rows = match first {
            Err(error) if error.is_crash() => {
                self.instance = None;
                self.instance().await?.finish().await?
            }
            other => other?,
        };
        self.keep(Call::Finish, CALL).await?;
        Ok(rows)
    }

    /// The parts of its state.
    pub(super) async fn parts(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        if self.stateless {
            return Ok(BTreeMap::new());
        }
        self.settle().await?;
        let mut parts = self.chunks.parts(&self.snapshot);
        parts.extend(self.keyed.snapshot().map_err(Error::Unspilled)?);
        if let Some(instance) = &mut self.instance {
            instance.rebase(&self.keyed);
        }
        Ok(parts)
    }

    async fn keep(&mut self, call: Call, bytes: u64) -> Result<(), Error> {
        if self.stateless {
            return Ok(());
        }
        self.journal_bytes += bytes;
        self.journal.push(call);
        if self.journal_bytes > JOURNAL.0 { self.settle().await } else { Ok(()) }
    }

    /// Takes a snapshot, which replaces the calls so far.
    async fn settle(&mut self) -> Result<(), Error> {
        let first = self.instance().await?.snapshot().await;
        let snapshot = match first {
            Err(error) if error.is_crash() => {
                self.instance = None;
                self.instance().await?.snapshot().await?
            }
            other => other?,
        };
        if let Some(instance) = &mut self.instance {
            instance.keep_changes(&mut self.keyed);
        }
        self.snapshot = snapshot.into();
        self.journal.clear();
        self.journal_bytes = 0;
        Ok(())
    }
}
