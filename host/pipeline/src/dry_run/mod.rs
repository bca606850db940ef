//! Tries a pipeline out: a few messages of its real source go through decoder and handlers, and nothing of them is kept.
//!
//! [`DryRun`] says what came out of each step. [`reading`] reads as a run does, with its lanes; all handlers are one chain behind
//! them, and [`seen`] keeps the rows that pass between two.
//!
//! **Invariant**: there is no writer here: nothing is claimed, committed or acknowledged, and no consumer is opened.

mod reading;
mod seen;

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use spout_node::States;
use spout_producer::Peek;
use spout_repo::{Commit, Repo, Store};
use spout_spec::OnError;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::reading::Reading;
use super::{Error, build::Parts, columns::Columns, decide::Until, run::RunConfig};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct DryRunOptions {
    /// Messages that are read; a few more where they come together.
    pub messages: u64,
    /// Rows that are shown after each step.
    pub shown: usize,
    /// How long messages are waited for.
    pub time: Duration,
    /// Whether it begins where a first run would, whatever is committed.
    pub anew: bool,
    /// Whether it is done although others notice.
    pub harmful: bool,
}

/// What a pipeline made of a few messages.
#[derive(Debug, Serialize)]
pub struct DryRun {
    /// Name of the pipeline.
    pub pipeline: String,
    /// The commit that a run would go on after; none if it would be the first one.
    pub after: Option<String>,
    /// Messages that were read, or rows where the source has rows.
    pub messages: u64,
    /// Why it was over.
    pub end: End,
    /// Where they were read.
    pub partitions: Vec<Read>,
    /// What came out of the decoder, and of each handler.
    pub steps: Vec<Step>,
    /// Messages and rows that were set aside, the first of them.
    pub dead_letters: Vec<Letter>,
    /// How many were.
    pub dead_letters_of: u64,
    /// Messages that hold no row.
    pub empty: u64,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
}

/// Why a dry run was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// As many messages as were wanted were read.
    Enough,
    /// The source has nothing more for now.
    Idle,
    /// The source has nothing ever again.
    Ended,
    /// There was no more time.
    Time,
}

/// A partition that was read.
#[derive(Debug, Serialize)]
pub struct Read {
    /// Its number.
    pub partition: u32,
    /// Its producer, where there are several.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub producer: String,
    /// The source's name for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// The offset that it was read from.
    pub from: u64,
    /// The offset after what was read.
    pub next: u64,
}

/// What came out of the decoder, or of a handler.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Its id; `decode` for the decoder.
    pub after: String,
    /// The columns, with their types; none where neither a row nor the spec says what they are.
    pub columns: Vec<Column>,
    /// The first rows.
    pub rows: Vec<Vec<Value>>,
    /// How many there were.
    pub of: u64,
    /// Rows that it left out, because that is what it is for.
    pub filtered: u64,
    /// Rows that came too late for it.
    pub late: u64,
}

/// A column.
#[derive(Debug, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as a spec writes it.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A message or a row that was set aside.
#[derive(Debug, Serialize)]
pub struct Letter {
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// `decode`, the id of a handler, or `commit` for a row that no file can hold.
    pub stage: String,
    /// Stable and dotted.
    pub code: String,
    /// What was wrong, for people.
    pub reason: String,
    /// The start of the message, as text.
    pub value: String,
    /// What a run does with it, as `errors` says.
    pub then: OnError,
}

/// What a source says of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partitions {
    /// It has so many.
    Found(usize),
    /// It has not answered, and why, where that is known.
    Silent(String),
}

/// What a run would go on after.
struct Before {
    repo: Repo,
    head: Commit,
}

impl Parts {
    /// What the pipeline makes of a few messages of its source. Only `store` is read, if there is one.
    ///
    /// # Errors
    /// [`Error::NoDryRun`], and those that a run could end with before its first commit.
    pub async fn dry_run(&self, store: Option<&Store>, options: &DryRunOptions) -> Result<DryRun, Error> {
        let notes = self.may_be_tried(options)?;
        let store = match store {
            Some(store) => store.clone(),
            None => Store::open("memory://").await.map_err(|source| self.unread(source))?,
        };
        let before = if options.anew { None } else { self.head(&store).await? };
        let mut states = States::new();
        if let Some(Before { repo, head }) = &before {
            for key in head.state.keys() {
                let part = repo.state_part(head, key).await.map_err(|source| self.unread(source))?;
                states.extend(part.map(|bytes| (key.clone(), bytes)));
            }
        }
        let columns = Columns::restore(&self.name, &self.inputs, &mut states).await?;
        let mut reading = Box::pin(Reading::start(self, &store, options, before.as_ref(), columns, states)).await?;
        let read = Box::pin(reading.read()).await;
        reading.end().await;
        let end = read?;
        Ok(reading.told(end, before.map(|before| before.head.header.id), notes))
    }

    /// Asks the source for its partitions, and reads nothing.
    ///
    /// # Errors
    /// Those that a run could end with before it reads.
    pub async fn partitions(&self, store: Option<&Store>, time: Duration) -> Result<Partitions, Error> {
        let store = match store {
            Some(store) => store.clone(),
            None => Store::open("memory://").await.map_err(|source| self.unread(source))?,
        };
        let marker = self.head(&store).await?.map(|before| before.head.marker.of_sources()).unwrap_or_default();
        let stop = CancellationToken::new();
        let config = RunConfig { until: Until::Idle, json: false, memory_high: None, stop, access: None, leads: None };
        let parts = self.running(&store, &config);
        parts.standings.begin();
        let mut producer = parts.producer(&store, &config, &marker)?.producer;
        let found = timeout(time, producer.partitions(&marker, Self::initial(&marker))).await;
        producer.close().await;
        match found {
            Ok(Ok(found)) => Ok(Partitions::Found(found.len())),
            Ok(Err(source)) => Err(Error::Producer { pipeline: self.name.clone(), source: Box::new(source) }),
            Err(_) => {
                let trouble =
                    parts.standings.trouble().map(|trouble| format!(": [{}] {}", trouble.code, trouble.error));
                Ok(Partitions::Silent(trouble.unwrap_or_default()))
            }
        }
    }

    /// What is to be said of it before; refuses what would do harm.
    fn may_be_tried(&self, options: &DryRunOptions) -> Result<Vec<String>, Error> {
        let refuse = |why: String| Err(Error::NoDryRun { pipeline: self.name.clone(), why });
        if self.exposed.is_some() {
            return refuse("its plugin is sent what others connect for (`spout.service`); `spout test` takes messages that are written in the spec".into());
        }
        let mut notes = Vec::new();
        for input in &self.inputs {
            match input.source.spec.peek() {
                Peek::Harmless => {}
                Peek::Passing(what) => notes.push(what),
                Peek::Harmful(what) if options.harmful => notes.push(what),
                Peek::Harmful(what) => {
                    return refuse(format!(
                        "{what}; `--side-effects` does it all the same, and `spout test` takes messages that are written in the spec"
                    ));
                }
                Peek::Impossible(why) => return refuse(why),
            }
        }
        Ok(notes)
    }

    /// The head of its branch, if there is one.
    async fn head(&self, store: &Store) -> Result<Option<Before>, Error> {
        let branch = &self.spec.commit.branch;
        let Ok(reference) = format!("{}@{branch}", self.name).parse() else { return Ok(None) };
        match store.resolve(&reference).await {
            Ok((repo, head)) => Ok(Some(Before { repo, head })),
            Err(
                spout_repo::Error::UnknownRepo { .. }
                | spout_repo::Error::UnknownBranch { .. }
                | spout_repo::Error::UnknownCommit { .. },
            ) => Ok(None),
            Err(source) => Err(self.unread(source)),
        }
    }

    fn unread(&self, source: spout_repo::Error) -> Error {
        let (pipeline, branch) = (self.name.clone(), self.spec.commit.branch.clone());
        Error::Repo { pipeline, branch, doing: "read", source: Box::new(source) }
    }
}
