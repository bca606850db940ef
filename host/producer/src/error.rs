//! What can go wrong between a source and a batch.

use std::{io, path::PathBuf, sync::Arc};

use arrow::{datatypes::DataType, error::ArrowError};
use spout_base::{error::Coded, panicked::Panicked};
use spout_data::PartitionId;
use spout_wire::Refused;
use thiserror::Error;

use crate::{Change, PerFileError, RegistryError};
use spout_archive::ArchiveError;

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
    /// Somebody too many at a port.
    #[error("{refused}; try again in a moment, or raise `{limit}` in the spec")]
    Busy {
        /// What there are too many of.
        refused: Refused,
        /// The key that says how many there may be.
        limit: &'static str,
    },
    /// A client that takes room from others.
    #[error(
        "the message came so slowly that others had to wait for its room; nothing of it was stored: send it again, faster or in parts, or raise `queue` in the spec"
    )]
    TooSlow,
    /// The certificate of a port, or its key.
    #[error(transparent)]
    Tls(#[from] spout_wire::IdentityError),
    /// The source cannot go on at another place.
    #[error("the source cannot be moved there: {why}; `spout marker seek --help` has what can be")]
    Unseekable {
        /// Why not.
        why: String,
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
    /// A schema registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
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
        "producer `{producer}` cannot listen on {address}; choose another address or port, or stop the process that uses the port"
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
    /// A spout that drives itself failed.
    #[error("spout `{spout}` failed")]
    Spout {
        /// Its name.
        spout: String,
        /// What the plugin room said.
        #[source]
        source: Box<spout_plugin::Error>,
    },
    /// The repo refused something of a commit of a spout, or could not do it.
    #[error("{doing} a commit of the spout failed")]
    Commit {
        /// The step.
        doing: &'static str,
        /// What the repo said.
        #[source]
        source: Box<spout_repo::Error>,
    },
    /// A spout has begun too many commits.
    #[error("the spout has {most} open commits, and may not have more; finish or drop some before it begins another")]
    ManyCommits {
        /// How many it may have.
        most: usize,
    },
    /// The open commits of a spout hold too much.
    #[error(
        "the spout's open commits hold more than {} MiB in memory: their rows, their markers, and a kibibyte for each file; finish a commit before it puts more, or put rows as a file, which needs no memory",
        most >> 20
    )]
    ManyHeld {
        /// Bytes that they may hold.
        most: usize,
    },
    /// A spout writes too many files at once.
    #[error("the spout is writing {most} files at once, and may not write more; close some before it opens another")]
    ManyFiles {
        /// How many it may write.
        most: usize,
    },
    /// A spout finishes a commit while it writes a file of it.
    #[error("a file of the commit is still being written; close it, or drop it, before the commit is finished")]
    Unclosed,
    /// The marker of a spout is too large.
    #[error(
        "the marker has {size} bytes, and may have {most}; put what it refers to as a file, and that file's name into the marker"
    )]
    LargeMarker {
        /// Its bytes.
        size: usize,
        /// Bytes that it may have.
        most: usize,
    },
    /// A spout puts a file where the host puts its own.
    #[error("the spout cannot put or delete {path}: {why}")]
    OwnFile {
        /// The path.
        path: String,
        /// Whose it is, and what to do.
        why: &'static str,
    },
    /// A spout puts rows as a file whose name says no format.
    #[error(
        "rows cannot become the file {path}, whose name says no format; let it end with .parquet, .arrow, .ndjson or .csv, or leave the path out to put them through the pipeline's handlers"
    )]
    NoTable {
        /// The path.
        path: String,
    },
    /// A spout reads a file that is not there.
    #[error("the newest commit has no file {path}; look with `inspect` or `list` first")]
    NoSuchFile {
        /// The path.
        path: String,
    },
    /// What a command wrote is no sound archive.
    #[error("the archive is refused, and nothing of it is committed")]
    Archive {
        /// Where, and why.
        #[source]
        source: Box<ArchiveError>,
    },
    /// A sound archive cannot be committed.
    #[error("{archive} cannot be committed")]
    Uncommitted {
        /// Which one, and the entry that could not be put.
        archive: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A program cannot be let into the API of its store.
    #[error("the command `{command}` cannot be given access to its repo: no port of this machine can be opened for it")]
    Access {
        /// The command.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A command ended other than by success.
    #[error("the command `{command}` ended with {how}; what it said before is in the log")]
    Ended {
        /// The command.
        command: String,
        /// How.
        how: String,
    },
    /// A command cannot be started.
    #[error(
        "the command `{command}` cannot be started; a path is taken from the spec's own directory, a name from PATH"
    )]
    Launch {
        /// The command.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory that a command sees as /pfs cannot be made or kept.
    #[error("cannot write {}, which the command sees as /pfs; make room there, or let TMPDIR name another directory", path.display())]
    Pfs {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A pipeline that runs its plugin for each file.
    #[error(transparent)]
    PerFile(#[from] PerFileError),
    /// A transform says what does not go together.
    #[error("`transform`: {reason}")]
    Transform {
        /// What, and what to do.
        reason: String,
    },
    /// The pipeline of a spout is over.
    #[error("the pipeline stopped before the commit was made; the next run continues from the marker of the last one")]
    SpoutOver,
    /// A task of the source panicked.
    #[error("{doing} panicked ({what}); this is a bug in the host")]
    Panicked {
        /// What the task was doing.
        doing: &'static str,
        /// What it said.
        what: Panicked,
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

impl Error {
    /// What a command wrote.
    pub(crate) fn archive(source: ArchiveError) -> Self {
        Self::Archive { source: Box::new(source) }
    }

    /// What came of putting or committing what a command wrote.
    pub(crate) fn uncommitted(archive: String, source: Self) -> Self {
        Self::Uncommitted { archive, source: Box::new(source) }
    }

    /// What the repo said to a commit of a spout.
    pub(crate) fn commit(doing: &'static str, source: spout_repo::Error) -> Self {
        Self::Commit { doing, source: Box::new(source) }
    }
}
