//! Pipelines that a store has by name: what can be asked of whoever keeps them, and the answers.

use std::{fmt::Debug, path::PathBuf};

use async_trait::async_trait;
use futures::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Condition, Graph, Result, Status};

/// What can be asked about the pipelines of a store, or of a server that has one.
///
/// Every function fails as those of [`Api`](crate::Api) do.
#[async_trait]
pub trait Pipelines: Debug + Send + Sync {
    /// All of them, by name.
    async fn pipelines(&self) -> Result<Vec<PipelineLine>>;
    /// What one of them is doing, and how each of its partitions stands.
    async fn status(&self, name: &str) -> Result<Status>;
    /// What it is made of, without secrets.
    async fn spec(&self, name: &str) -> Result<ShownSpec>;
    /// Who feeds whom, as specs and the newest commits say.
    async fn graph(&self) -> Result<Graph>;
    /// Makes a pipeline that gives the dead letters of one to its spec once more, into the repo `to` or that of its name with
    /// `-replayed` behind it.
    async fn replay_dead_letters(&self, name: &str, to: Option<&str>) -> Result<PipelinesChanged>;
    /// Makes pipelines that are not there yet; all of them or none.
    async fn create_pipelines(&self, specs: &[SpecText]) -> Result<PipelinesChanged>;
    /// Gives pipelines another spec; all of them or none. With `reprocess` they begin anew, from the first message of their
    /// sources.
    async fn update_pipelines(&self, specs: &[SpecText], reprocess: bool) -> Result<PipelinesChanged>;
    /// Has a pipeline run, or stop.
    async fn set_running(&self, name: &str, running: bool) -> Result<PipelinesChanged>;
    /// Has a pipeline commit what it has read, stop, and start again; one that was stopped or has failed starts.
    async fn restart_pipeline(&self, name: &str) -> Result<PipelinesChanged>;
    /// Has a running pipeline, and those that are linked with it, commit what they have read now.
    async fn flush_pipeline(&self, name: &str) -> Result<PipelinesChanged>;
    /// Removes a pipeline. Its output repo stays.
    async fn delete_pipeline(&self, name: &str) -> Result<PipelinesChanged>;
    /// What a pipeline has said lately, oldest first, and with `follow` what it says from then on, without end.
    async fn log(&self, name: &str, recent: usize, follow: bool) -> Result<BoxStream<'static, Result<LogLine>>>;
}

/// The text of one or more specs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecText {
    /// YAML or JSON, with one or more pipelines.
    pub text: String,
    /// The file that it is from, for error messages.
    #[serde(default = "unnamed")]
    pub file: PathBuf,
    /// Where its relative paths start. It is not sent: a server says itself where those of specs start that it is sent.
    #[serde(skip)]
    pub base: PathBuf,
}

fn unnamed() -> PathBuf {
    "spec.yaml".into()
}

/// What a pipeline is made of, as it was written. Values that may be secrets are hidden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownSpec {
    /// YAML or JSON, of this pipeline alone.
    pub text: String,
    /// The file that it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The line of the text that the error of the pipeline is about, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// What was done to pipelines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelinesChanged {
    /// Their names.
    pub pipelines: Vec<String>,
    /// In a word or two: `created`, `running already`.
    pub done: String,
    /// The commit of the repo of specs that says so; none where it was so already.
    pub commit: Option<String>,
}

/// A pipeline of a store, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineLine {
    /// Its name.
    pub name: String,
    /// What is to become of it: `running` or `stopped`.
    pub wanted: String,
    /// What it is doing, as far as who was asked knows.
    #[serde(default)]
    pub condition: Condition,
    /// Its newest commit.
    pub head: Option<String>,
    /// Commits that lead to it.
    pub commits: u64,
    /// What its spec says that it is.
    pub description: String,
}

/// Something that a pipeline said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// `info`, `warn`, `error`; or `state`, where it does something else than before.
    pub level: String,
    /// What it said.
    pub text: String,
}
