//! What stops a pipeline.

use std::{io, time::Duration};

use arrow::datatypes::DataType;
use spout_base::{
    error::{Coded, Kind},
    panicked::Panicked,
};
use spout_data::PartitionId;
use thiserror::Error;

/// An error of a pipeline, with its name.
#[derive(Debug, Error)]
pub enum Error {
    /// The spec cannot be built as it stands.
    #[error("pipeline `{pipeline}`: {reason}")]
    Spec {
        /// Name of the pipeline.
        pipeline: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A plugin could not be loaded, or may not do what it asks for.
    #[error("pipeline `{pipeline}` cannot use a plugin")]
    Plugin {
        /// Name of the pipeline.
        pipeline: String,
        /// What the plugin room said.
        #[source]
        source: Box<spout_plugin::Error>,
    },
    /// The source or a decoder failed.
    #[error("pipeline `{pipeline}` stopped at its producer")]
    Producer {
        /// Name of the pipeline.
        pipeline: String,
        /// What the producer said.
        #[source]
        source: Box<spout_producer::Error>,
    },
    /// A handler failed.
    #[error("pipeline `{pipeline}` stopped at its node, partition {partition}, offsets {start}..{next}")]
    Node {
        /// Name of the pipeline.
        pipeline: String,
        /// The partition.
        partition: PartitionId,
        /// First offset of the batch.
        start: u64,
        /// Offset after it.
        next: u64,
        /// What the handler said.
        #[source]
        source: Box<spout_node::Error>,
    },
    /// A process that shares the work is gone, or does not keep to what was agreed.
    #[error(
        "pipeline `{pipeline}`: {member} of its cluster is lost: {reason}; its work is given out again from the last commit"
    )]
    Member {
        /// Name of the pipeline.
        pipeline: String,
        /// The process.
        member: String,
        /// How that was noticed.
        reason: String,
    },
    /// Two readers of one stream were given the same message.
    #[error(
        "pipeline `{pipeline}`: its source gave a message to reader {reader} that reader {other} has and did not acknowledge yet; both begin again from the last commit. If that comes again, have the source wait longer for acknowledgments, or make commits shorter with `commit.flush.time`"
    )]
    Twice {
        /// Name of the pipeline.
        pipeline: String,
        /// Who was given it then.
        reader: PartitionId,
        /// Who had it.
        other: PartitionId,
    },
    /// A process that shares the work cannot go on with it.
    #[error("pipeline `{pipeline}` stopped at {member} of its cluster: {text} [{code}]")]
    Remote {
        /// Name of the pipeline.
        pipeline: String,
        /// The process.
        member: String,
        /// Code of its error.
        code: String,
        /// Kind of its error.
        kind: Kind,
        /// Its error, with its causes.
        text: String,
    },
    /// The handlers do not fit each other, or the rows.
    #[error("pipeline `{pipeline}` cannot run: its chain of handlers does not fit together")]
    Chain {
        /// Name of the pipeline.
        pipeline: String,
        /// What the handler said.
        #[source]
        source: Box<spout_node::Error>,
    },
    /// A handler could not be opened, or could not give its state.
    #[error("pipeline `{pipeline}` stopped: the state of its node could not be {doing}")]
    State {
        /// Name of the pipeline.
        pipeline: String,
        /// `restored`, `saved` or `finished`.
        doing: &'static str,
        /// What the handler said.
        #[source]
        source: Box<spout_node::Error>,
    },
    /// A table that a handler looks in cannot be used.
    #[error("pipeline `{pipeline}` cannot use a table that it looks in")]
    Table {
        /// Name of the pipeline.
        pipeline: String,
        /// What the handler said.
        #[source]
        source: Box<spout_node::Error>,
    },
    /// A consumer failed.
    #[error("pipeline `{pipeline}` stopped at its consumers")]
    Consumer {
        /// Name of the pipeline.
        pipeline: String,
        /// What the consumer said.
        #[source]
        source: Box<spout_consumer::Error>,
    },
    /// The repo refused.
    #[error("pipeline `{pipeline}` cannot {doing} branch `{branch}`")]
    Repo {
        /// Name of the pipeline.
        pipeline: String,
        /// The branch.
        branch: String,
        /// `open`, `read` or `commit to`.
        doing: &'static str,
        /// What the repo said.
        #[source]
        source: Box<spout_repo::Error>,
    },
    /// A plugin cannot take a setting of the spec.
    #[error(transparent)]
    Settings {
        /// What is wrong, and where.
        source: Box<spout_spec::Error>,
    },
    /// A plugin said something about itself that cannot be used.
    #[error("the plugin `{plugin}` offers {interface} with a settings schema that cannot be used; tell its author")]
    SettingsSchema {
        /// The plugin.
        plugin: String,
        /// The interface.
        interface: String,
        /// What is wrong with it.
        #[source]
        source: spout_spec::SchemaError,
    },
    /// The rows to come do not go together with those that are committed.
    #[error(
        "pipeline `{pipeline}`: column `{column}` is now {new}, but {there} in the rows already below {path} on branch `{branch}`, and no query could read both; declare or cast it as before, or set another `branch` or `path` under `commit`"
    )]
    Types {
        /// Name of the pipeline.
        pipeline: String,
        /// The branch.
        branch: String,
        /// Where its data files go.
        path: String,
        /// The column.
        column: String,
        /// Its type in what is committed.
        there: DataType,
        /// Its type in what would be.
        new: DataType,
    },
    /// Somebody else committed to the branch.
    #[error(
        "pipeline `{pipeline}`: commit {winner} of another writer came first on branch `{branch}`; nothing of ours is visible, and the head is reread"
    )]
    Lost {
        /// Name of the pipeline.
        pipeline: String,
        /// The branch.
        branch: String,
        /// The commit that won.
        winner: String,
    },
    /// A message could not be processed, and the spec says to stop then.
    #[error(
        "pipeline `{pipeline}`, partition {partition}, offset {offset}: {stage} cannot process the message ({code}: {reason}); fix the spec, or set `errors.decode` or `errors.node` to dead-letter"
    )]
    Message {
        /// Name of the pipeline.
        pipeline: String,
        /// The partition.
        partition: PartitionId,
        /// Offset of the message.
        offset: u64,
        /// `decode`, or the id of the handler.
        stage: String,
        /// Stable code of the fault.
        code: String,
        /// What was wrong.
        reason: String,
    },
    /// A pipeline subscribes to one that is not run.
    #[error("{at}: pipeline `{pipeline}` subscribes to `{upstream}`, which is not in this run; {advice}")]
    NoUpstream {
        /// Where.
        at: String,
        /// Name of the pipeline.
        pipeline: String,
        /// The one it names.
        upstream: String,
        /// The nearest name, or all of them.
        advice: String,
    },
    /// Pipelines wait for each other.
    #[error("{at}: pipelines read each other in a cycle: {cycle}; let one of them read something else")]
    Cycle {
        /// Where one of them is.
        at: String,
        /// Their names.
        cycle: String,
    },
    /// What a pipeline subscribes to is no more.
    #[error(
        "pipeline `{pipeline}` stopped because `{upstream}`, which it reads, failed; what it had received is committed"
    )]
    Upstream {
        /// Name of the pipeline.
        pipeline: String,
        /// The one that failed.
        upstream: String,
    },
    /// A plugin does not come back, and the pipeline is to stop.
    #[error(
        "pipeline `{pipeline}` was told to stop, but {doing} did not return within {} s; earlier commits are intact, and the next run rereads everything since",
        grace.as_secs()
    )]
    Overdue {
        /// Name of the pipeline.
        pipeline: String,
        /// What it was doing.
        doing: &'static str,
        /// How long it waited.
        grace: Duration,
    },
    /// There is no place for the sockets between pipelines.
    #[error("cannot create a directory for the sockets between pipelines; check that `TMPDIR` is writable")]
    Sockets {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no such handler to look at.
    #[error("pipeline `{pipeline}` has no handler `{handler}` whose rows could be shown; {advice}")]
    NoStep {
        /// Name of the pipeline.
        pipeline: String,
        /// What was asked for.
        handler: String,
        /// The nearest one, or all of them.
        advice: String,
    },
    /// Enough look at its rows.
    #[error("the rows of pipeline `{pipeline}` are looked at by {most} already; end one of those, or try again later")]
    Tapped {
        /// Name of the pipeline.
        pipeline: String,
        /// How many may.
        most: usize,
    },
    /// Reading a few messages would do something to the source, or to those who send.
    #[error("pipeline `{pipeline}` cannot be tried out without harm: {why}")]
    NoDryRun {
        /// Name of the pipeline.
        pipeline: String,
        /// Why not, and what to do.
        why: String,
    },
    /// A task of the pipeline panicked.
    #[error(
        "pipeline `{pipeline}`: {doing} panicked ({what}); this is a bug in the host, and the next run continues from the last commit"
    )]
    Panicked {
        /// Name of the pipeline.
        pipeline: String,
        /// What the task was doing.
        doing: &'static str,
        /// What it said.
        what: Panicked,
    },
    /// A task of the pipeline ended without saying why.
    #[error("pipeline `{pipeline}`: a task ended without a result; this is a bug in the host")]
    Task {
        /// Name of the pipeline.
        pipeline: String,
    },
}

impl Error {
    /// Whether a plugin crashed, or hung, where a handler was opened or asked for its columns: before it had any row to blame.
    #[must_use]
    pub fn is_crash_at_start(&self) -> bool {
        let handler = match self {
            Self::State { doing: "restored", source, .. } | Self::Chain { source, .. } => source,
            _ => return false,
        };
        matches!(&**handler, spout_node::Error::Plugin { source, .. } if source.is_crash())
    }
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Spec { .. } | Self::Types { .. } | Self::NoUpstream { .. } | Self::Cycle { .. } => Kind::Spec,
            Self::NoStep { .. } | Self::NoDryRun { .. } => Kind::Spec,
            Self::Upstream { .. } | Self::Sockets { .. } | Self::Tapped { .. } => Kind::Unavailable,
            Self::Settings { source } => source.kind(),
            Self::SettingsSchema { .. } => Kind::Plugin,
            Self::Plugin { source, .. } => source.kind(),
            Self::Producer { source, .. } => source.kind(),
            Self::Node { source, .. } | Self::Chain { source, .. } => source.kind(),
            Self::State { source, .. } | Self::Table { source, .. } => source.kind(),
            Self::Consumer { source, .. } => source.kind(),
            Self::Repo { source, .. } => source.kind(),
            Self::Lost { .. } => Kind::Conflict,
            Self::Member { .. } | Self::Twice { .. } => Kind::Unavailable,
            Self::Remote { kind, .. } => *kind,
            Self::Message { .. } => Kind::Message,
            Self::Overdue { .. } => Kind::Plugin,
            Self::Task { .. } | Self::Panicked { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Spec { .. } => "E0701",
            Self::Settings { source } => source.code(),
            Self::SettingsSchema { .. } => "E0810",
            Self::Plugin { source, .. } => source.code(),
            Self::Producer { source, .. } => source.code(),
            Self::Node { source, .. } | Self::Chain { source, .. } => source.code(),
            Self::State { source, .. } | Self::Table { source, .. } => source.code(),
            Self::Consumer { source, .. } => source.code(),
            Self::Repo { source, .. } => source.code(),
            Self::Lost { .. } => "E0702",
            Self::Member { .. } => "E0980",
            Self::Remote { .. } => "E0981",
            Self::Twice { .. } => "E0986",
            Self::Message { .. } => "E0703",
            Self::Task { .. } | Self::Panicked { .. } => "E0704",
            Self::Types { .. } => "E0705",
            Self::NoUpstream { .. } => "E0730",
            Self::Cycle { .. } => "E0731",
            Self::Upstream { .. } => "E0732",
            Self::Sockets { .. } => "E0733",
            Self::Overdue { .. } => "E0734",
            Self::NoStep { .. } => "E0922",
            Self::Tapped { .. } => "E0923",
            Self::NoDryRun { .. } => "E0924",
        }
    }
}
