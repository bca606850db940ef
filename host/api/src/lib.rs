//! The verbs on repos as typed functions: what the command line prints and what the server sends.
//!
//! [`Api`] is the list of verbs. [`Local`] does them on a store, a file a noun; a client of a server does them over HTTP and
//! gives the same answers. Answers are plain structs whose JSON is what `--json` prints; [`Problem`] is an error on its way.
//! Bytes of files are [`Content`], rows of queries [`Rows`], which [`Encoder`] writes in any format.
//!
//! [`Pipelines`] is the list of verbs on pipelines that a store has by name, [`Markers`] that on where they go on; rooms above do
//! them.
//!
//! **Invariant**: nothing here prints, listens, or knows who asks; whoever may see less is given a store that shows less.

mod branches;
mod commits;
mod content;
mod convert;
mod copying;
mod deleting;
mod diff;
mod encode;
mod error;
mod files;
#[cfg(test)]
mod fuzz;
mod graph;
mod history;
mod letters;
mod local;
mod marker;
mod names;
mod pipelines;
mod plugins;
mod problem;
mod putting;
mod repos;
mod rows;
mod seeking;
mod split;
mod status;
mod table;
mod tables;
mod tags;
mod tapped;
mod target;
mod trying;
mod untar;
mod upkeep;

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
pub use spout_data::ByteSize;
pub use spout_repo::{Collect, Collected, Compacted, PutMode, Reference, Report, Retention};

pub use self::{
    branches::{Branch, BranchInfo, BranchMade, NewBranch, TableLine},
    commits::{CommitInfo, Dropped, FilePut, Inspected, Opened, Pending, PendingFile, Started, StateBlob},
    content::{ByteRange, Content, at_path},
    convert::TextFormat,
    deleting::Deletion,
    diff::{Differences, Older, diff_path},
    encode::{Encoder, Format},
    error::Error,
    files::{Column, FileInfo, FileLine, Files, PieceLine, columns},
    graph::{Drawing, Graph, GraphEdge, GraphNode, LOOKS_UP, NodeKind, SUBSCRIBES},
    history::{Kept, Squashed, Undone},
    letters::{DeadLetters, table_of_letters},
    local::Local,
    marker::{MarkerInfo, OwnMarker, Seek, ShownMarker, Sought},
    names::{branch, branch_of, is_id, join, pair, within},
    pipelines::{LogLine, PipelineLine, Pipelines, PipelinesChanged, ShownSpec, SpecText},
    plugins::{KeptPlugin, PluginAbout, PluginOffer, PluginPut, PluginVersion, Plugins},
    problem::Problem,
    putting::{Body, Putting, unreadable},
    repos::{BranchOfRepo, Deleted, NewRepo, Repo, RepoInfo, RepoMade, TagOfRepo},
    rows::{Query, Rows, ask_planned},
    seeking::{Destination, MarkerBytes, Markers, SeekTo, SkipPast},
    split::{Split, SplitBy},
    status::{
        CommitTimes, Condition, HandlerStatus, LastCommit, MemberStatus, PartitionState, PartitionStatus, Phase,
        PluginUse, QueueStatus, Status,
    },
    table::{Import, Table},
    tables::Tables,
    tags::{NewTag, Tag, TagMade},
    tapped::Tapped,
    target::{Changes, Put, Target, committed},
    trying::{PluginFinding, PluginTested, PluginTrial, SpecTested, TestProblem, TestVerdict},
    untar::Untar,
    upkeep::Check,
};

/// A result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can be asked of a store, or of a server that has one.
///
/// Every function fails with [`Error`]: what the rooms below said, or [`Error::Remote`] with the same code and text.
#[async_trait]
pub trait Api: Debug + Send + Sync {
    /// Where the repos are, for people.
    fn place(&self) -> &str;

    /// All repos.
    async fn repos(&self) -> Result<Vec<Repo>>;
    /// Everything about a repo.
    async fn repo(&self, name: &str) -> Result<RepoInfo>;
    /// Creates a repo.
    async fn create_repo(&self, new: &NewRepo) -> Result<RepoMade>;
    /// Deletes a repo; one that holds commits only by `force`.
    async fn delete_repo(&self, name: &str, force: bool) -> Result<Deleted>;

    /// The branches of a repo.
    async fn branches(&self, repo: &str) -> Result<Vec<Branch>>;
    /// Everything about a branch.
    async fn branch(&self, branch: &Reference) -> Result<BranchInfo>;
    /// The Delta tables of a branch.
    async fn tables(&self, branch: &Reference) -> Result<Tables>;
    /// Creates or moves a branch.
    async fn create_branch(&self, repo: &str, new: &NewBranch) -> Result<BranchMade>;
    /// Deletes a branch.
    async fn delete_branch(&self, repo: &str, branch: &str) -> Result<Deleted>;

    /// The tags of a repo.
    async fn tags(&self, repo: &str) -> Result<Vec<Tag>>;
    /// Creates or moves a tag.
    async fn create_tag(&self, repo: &str, new: &NewTag) -> Result<TagMade>;
    /// Deletes a tag.
    async fn delete_tag(&self, repo: &str, tag: &str) -> Result<Deleted>;

    /// A commit and those before it, newest first, at most `limit`; none for a branch without commits.
    async fn commits(&self, reference: &Reference, limit: usize) -> Result<Vec<CommitInfo>>;
    /// Commits that were started and not finished, of one branch or of all.
    async fn started(&self, repo: &str, branch: Option<&str>) -> Result<Vec<Started>>;
    /// Everything about a commit, or what a started one holds so far.
    async fn commit(&self, reference: &Reference) -> Result<Inspected>;
    /// Starts a commit.
    async fn start_commit(&self, repo: &str, branch: &str) -> Result<Started>;
    /// Makes a started commit the head of its branch.
    async fn finish_commit(&self, repo: &str, id: &str) -> Result<CommitInfo>;
    /// Forgets a started commit; `None` if the id is not that of one.
    async fn drop_started(&self, repo: &str, id: &str) -> Result<Option<Dropped>>;

    /// Makes a branch what it was at an earlier commit, by a new one.
    async fn revert(&self, repo: &str, branch: &str, to: &str) -> Result<Undone>;
    /// Takes back the head of a branch, by a new commit that is as the one before it.
    async fn drop_head(&self, reference: &Reference) -> Result<Undone>;
    /// Merges a commit, or `repo@older..newer`, into the one after it.
    async fn squash(&self, commits: &str) -> Result<Squashed>;
    /// Sets how much history a repo keeps.
    async fn retain(&self, repo: &str, retention: Retention) -> Result<Kept>;

    /// The files of a commit: all, or those directly in a directory and its directories.
    async fn files(&self, reference: &Reference, recursive: bool) -> Result<Files>;
    /// The files of a commit whose paths fit a pattern.
    async fn glob(&self, reference: &Reference, pattern: &str) -> Result<Files>;
    /// What is known of a file or directory without reading it.
    async fn file(&self, reference: &Reference) -> Result<FileInfo>;
    /// The bytes of a file, or some of them.
    async fn content(&self, reference: &Reference, range: Option<ByteRange>) -> Result<Content>;
    /// The rows of a table as text.
    async fn converted(&self, reference: &Reference, format: TextFormat) -> Result<Bytes>;

    /// Opens a branch, or a started commit, for files to be put into; all of them become visible together.
    async fn put<'a>(&'a self, to: &Reference) -> Result<Box<dyn Putting + 'a>>;
    /// Deletes files in one commit.
    async fn delete_files(&self, deletion: &Deletion) -> Result<Changes>;
    /// Copies a file or directory to a path, or `into` a directory.
    async fn copy_file(&self, from: &Reference, to: &Reference, into: bool, how: PutMode) -> Result<Changes>;

    /// Gives a file or directory another path in its branch; one that ends with a slash is a directory to move into.
    async fn move_file(&self, from: &Reference, to: &str) -> Result<Changes>;

    /// The files that differ between a commit and an older one, or the one before it.
    async fn diff(&self, new: &Reference, old: Option<&Reference>) -> Result<Differences>;
    /// The marker of a commit.
    async fn marker(&self, reference: &Reference) -> Result<MarkerInfo>;
    /// How many messages of a commit and those before it were set aside, by reason, the commonest first; at most `limit` reasons.
    async fn dead_letters(&self, reference: &Reference, limit: usize) -> Result<Vec<DeadLetters>>;
    /// The rows of a query.
    async fn sql(&self, query: &Query) -> Result<Rows>;

    /// Makes few large Parquet files of many small ones, of about `target` bytes each, as a commit.
    async fn compact(&self, branch: &Reference, target: ByteSize) -> Result<Compacted>;
    /// Brings the Delta tables of a branch up to date, or makes their logs anew.
    async fn publish(&self, branch: &Reference, rebuild: bool) -> Result<Tables>;
    /// Removes what nothing leads to any more from a repo.
    async fn collect(&self, repo: &str, how: Collect) -> Result<Collected>;
    /// Reads what a repo holds, or all do, and names what is wrong.
    async fn check(&self, check: &Check) -> Result<Report>;
}
