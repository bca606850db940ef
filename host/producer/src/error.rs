//! What can go wrong between a source and a batch.

use std::{io, path::PathBuf, sync::Arc};

use arrow::{datatypes::DataType, error::ArrowError};
use spout_base::error::{Coded, Kind};
use spout_data::PartitionId;
use thiserror::Error;

use crate::Change;

/// An error of a producer or a decoder.
#[derive(Debug, Error)]
pub enum Error {
    /// The plugin behind the stream failed.
    #[error("stream `{plugin}`, topic `{topic}`{}: {doing} failed", at(.partition))]
    Stream {
        /// Name of the plugin.
        plugin: String,
        /// The topic.
        topic: String,
        /// Partition and offset, where there is one.
        partition: Option<(u32, u64)>,
        /// The call.
        doing: &'static str,
        /// What the plugin room said.
        #[source]
        source: Box<spout_plugin::Error>,
    },
    /// The source no longer has the offset of the last commit.
    #[error(
        "stream `{plugin}`, topic `{topic}`, partition {partition} ({label}): the message at offset {offset} is gone, and the source has {earliest}..{latest}; set `onOutOfRange` to earliest or latest to continue without the missing messages, or restore the source"
    )]
    OutOfRange {
        /// Name of the plugin.
        plugin: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Its label.
        label: String,
        /// The offset asked for.
        offset: u64,
        /// Oldest offset the source has.
        earliest: u64,
        /// Offset after the newest message.
        latest: u64,
    },
    /// The source cannot start where the spec says.
    #[error(
        "stream `{plugin}`, topic `{topic}`, partition {partition}: the source cannot find `start: {start}`; use earliest, latest or an offset"
    )]
    Start {
        /// Name of the plugin.
        plugin: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What the spec asked for.
        start: String,
    },
    /// The plugin behind the decoder failed.
    #[error("decoder `{decoder}` failed at partition {partition}, offsets {start}..{next}")]
    Decoder {
        /// Name of the decoder.
        decoder: String,
        /// The partition.
        partition: PartitionId,
        /// First offset of the messages.
        start: u64,
        /// Offset after them.
        next: u64,
        /// What the plugin room said.
        #[source]
        source: Box<spout_plugin::Error>,
    },
    /// The plugin behind the decoder crashes over everything.
    #[error(
        "decoder `{decoder}` crashed {crashes} times on partition {partition}, offsets {start}..{next}, even on single messages, and was abandoned"
    )]
    GivenUp {
        /// Name of the decoder.
        decoder: String,
        /// The partition.
        partition: PartitionId,
        /// First offset of the messages.
        start: u64,
        /// Offset after them.
        next: u64,
        /// How often.
        crashes: usize,
        /// The last crash.
        #[source]
        source: Box<spout_plugin::Error>,
    },
    /// Two producers have a column of one name and different types.
    #[error(
        "producer `{producer}`: its column `{column}` is {here}, and that of another producer is {there}; all producers of a pipeline share their columns, so declare one type in the `schema` of both decoders, or name the column differently"
    )]
    Differ {
        /// Name of the producer.
        producer: String,
        /// The column.
        column: String,
        /// Its type in this producer.
        here: DataType,
        /// Its type in the others.
        there: DataType,
    },
    /// The columns of a decoder are not those that its branch has settled.
    #[error("decoder `{decoder}`: {change}, or commit to another `branch`")]
    Unsettled {
        /// Name of the decoder.
        decoder: String,
        /// The first difference.
        change: Box<Change>,
    },
    /// The declared schema cannot be read.
    #[error("decoder `{decoder}`: {reason}")]
    Schema {
        /// Name of the decoder.
        decoder: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file that the decoder's settings name cannot be read.
    #[error("decoder `{decoder}`: cannot read {}", path.display())]
    File {
        /// Name of the decoder.
        decoder: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A kernel refused the rows.
    #[error("decoder `{decoder}` cannot build a batch of {rows} rows")]
    Kernel {
        /// Name of the decoder.
        decoder: String,
        /// Messages of the batch.
        rows: usize,
        /// What the kernel said.
        #[source]
        source: ArrowError,
    },
    /// Two partitions of a topic have the same number.
    #[error(
        "stream `{plugin}`, topic `{topic}`: partition {partition} is both `{first}` and `{second}`; rename one of them"
    )]
    Ambiguous {
        /// Name of the plugin.
        plugin: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// One label.
        first: String,
        /// The other label.
        second: String,
    },
    /// Nobody can be heard at the address of the spec.
    #[error(
        "producer `{producer}` cannot listen on {address}; choose another `listen`, or stop the process that uses the port"
    )]
    Listen {
        /// Its key in the spec.
        producer: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A secret that the spec names is not there.
    #[error("the secret `{key}`: {reason}")]
    Secret {
        /// Where the spec names it.
        key: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Standard input was already read in this process.
    #[error(
        "this process has already read standard input, which cannot be read again: messages that were not committed are lost; start the run again, and check the log for the original failure"
    )]
    StdinTaken,
    /// Standard input cannot be read.
    #[error("cannot read standard input")]
    Stdin {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A subscription could not be opened.
    #[error("producer `subscribe` cannot subscribe to {address}; check that there is room for temporary files")]
    Subscribe {
        /// Where the publisher speaks.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A pipeline subscribes to one that does not run beside it.
    #[error("producer `subscribe` names pipeline `{pipeline}`, which is not in this run; pass both to one `spout run`")]
    NotLinked {
        /// The pipeline.
        pipeline: String,
    },
    /// The plugin of a source was not loaded before it is read: a bug in the host.
    #[error("plugin `{plugin}` was not loaded before its source was opened; this is a bug in the host")]
    NotLoaded {
        /// The plugin.
        plugin: String,
    },
    /// The commits of another repo cannot be read.
    #[error("repo `{repo}`, branch `{branch}`: {doing} it failed")]
    Upstream {
        /// The repo.
        repo: String,
        /// Its branch.
        branch: String,
        /// The step.
        doing: &'static str,
        /// What the repo said.
        #[source]
        source: Arc<dyn Coded>,
    },
    /// A commit of another repo changes what was read of it.
    #[error(
        "repo `{repo}`, branch `{branch}`: commit {commit} has {how} {path}, which may already have been read; set `rewritten: pass` to continue and keep what was made from it"
    )]
    Rewritten {
        /// The repo.
        repo: String,
        /// Its branch.
        branch: String,
        /// The commit.
        commit: String,
        /// `overwritten`, `removed` or `reverted`.
        how: &'static str,
        /// The file.
        path: String,
    },
    /// Commits of another repo that come next are not there.
    #[error(
        "repo `{repo}`, branch `{branch}`: {what}; set `onOutOfRange` to latest or earliest to continue with the commits that remain, or start a new repo"
    )]
    Gone {
        /// The repo.
        repo: String,
        /// Its branch.
        branch: String,
        /// What is not as it was.
        what: String,
    },
    /// Settings of a framing contradict each other.
    #[error("framing: {reason}")]
    Framing {
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A stream of bytes is not framed as the spec says.
    #[error("framing `{framing}`, frame at byte {at}: {reason}")]
    Frame {
        /// Type of the framing.
        framing: &'static str,
        /// Where the frame begins, in unpacked bytes.
        at: u64,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A stream of bytes is not compressed as the spec says.
    #[error("compression `{compression}`, after byte {at}: {reason}")]
    Compressed {
        /// Name of the compression.
        compression: &'static str,
        /// Compressed bytes that were sound.
        at: u64,
        /// What is wrong.
        reason: String,
    },
}

fn at(partition: &Option<(u32, u64)>) -> String {
    partition.map(|(partition, offset)| format!(", partition {partition}, offset {offset}")).unwrap_or_default()
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Stream { source, .. } | Self::Decoder { source, .. } | Self::GivenUp { source, .. } => source.kind(),
            Self::OutOfRange { .. } | Self::Ambiguous { .. } => Kind::Plugin,
            Self::Start { .. }
            | Self::Schema { .. }
            | Self::Differ { .. }
            | Self::Unsettled { .. }
            | Self::File { .. }
            | Self::Framing { .. } => Kind::Spec,
            Self::Subscribe { .. } => Kind::Unavailable,
            Self::NotLinked { .. } => Kind::Spec,
            Self::Upstream { source, .. } => source.kind(),
            Self::Rewritten { .. } | Self::Gone { .. } => Kind::Plugin,
            Self::Listen { .. } | Self::Secret { .. } | Self::StdinTaken | Self::Stdin { .. } => Kind::Spec,
            Self::Frame { .. } | Self::Compressed { .. } => Kind::Message,
            Self::Kernel { .. } | Self::NotLoaded { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Stream { source, .. } | Self::Decoder { source, .. } | Self::GivenUp { source, .. } => source.code(),
            Self::OutOfRange { .. } => "E0301",
            Self::Start { .. } => "E0302",
            Self::Schema { .. } => "E0304",
            Self::Differ { .. } => "E0307",
            Self::Unsettled { .. } => "E0308",
            Self::Kernel { .. } => "E0305",
            Self::Ambiguous { .. } => "E0306",
            Self::Framing { .. } => "E0310",
            Self::File { .. } => "E0313",
            Self::Frame { .. } => "E0311",
            Self::Compressed { .. } => "E0312",
            Self::Listen { .. } => "E0330",
            Self::Subscribe { .. } => "E0350",
            Self::NotLinked { .. } => "E0351",
            Self::NotLoaded { .. } => "E0704",
            Self::Secret { .. } => "E0331",
            Self::StdinTaken => "E0332",
            Self::Stdin { .. } => "E0333",
            Self::Upstream { source, .. } => source.code(),
            Self::Rewritten { .. } => "E0334",
            Self::Gone { .. } => "E0335",
        }
    }
}
