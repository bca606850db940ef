//! What can go wrong with a store, a repo, a commit or a file, and what happens next.

use std::{error::Error as StdError, io};

use spout_base::{
    error::{Cause, Coded, Kind},
    spill::Unspilled,
};
use spout_data::PartitionId;

/// An error of the repo room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL names a store this build does not know.
    #[error(
        "store `{url}` cannot be opened: {reason}; give a directory, s3://BUCKET/PREFIX, gs://, az://, or memory:// for a trial"
    )]
    StoreUrl { url: String, reason: String },
    /// There is no store at that place.
    #[error("there is no store at {url}; check --store, or let `spout run` create it")]
    NoStore { url: String },
    /// Reading failed below us.
    #[error("cannot read {object}; check that the store is reachable and that this user may read it")]
    Read { object: String, source: Cause },
    /// The disk is full or a quota is reached.
    #[error("no space left for {object}; free some space and try again; earlier commits are intact")]
    NoSpace { object: String, source: Cause },
    /// There is no room for state that was read.
    #[error(transparent)]
    Unspilled(#[from] Unspilled),
    /// The store may not be written.
    #[error(
        "{object} may not be written; give this user write permission or choose another --store. Earlier commits are intact"
    )]
    ReadOnly { object: String, source: Cause },
    /// Writing failed below us, and nothing was written.
    #[error("cannot write {object}; nothing was committed and earlier commits are intact")]
    Write { object: String, source: Cause },
    /// The store does not keep two writers apart.
    #[error(
        "{store} cannot be written safely: {what}; use a directory on a local disk, or a bucket of S3, GCS, Azure or another service that honours conditional writes"
    )]
    NotExclusive { store: String, what: String },
    /// The bucket does not accept who we are, or does not let us.
    #[error(
        "these credentials may not read {object}; check the credentials in the environment, and that they allow listing, reading, writing and deleting"
    )]
    Refused { object: String, source: Cause },
    /// There is no such bucket.
    #[error("there is no bucket or container for {url}; create it, or check the name, the region and the endpoint")]
    NoBucket { url: String, source: Cause },
    /// Somebody else's files are where repos would be.
    #[error(
        "{object} does not belong to a store: {what}; give --store a directory or prefix of its own. Nothing was changed"
    )]
    Foreign { object: String, what: &'static str },
    /// What was to be written could not be read to its end.
    #[error("the input for {object} could not be read to its end; nothing was written, so put it again")]
    Input { object: String, source: io::Error },
    /// Whether a record was written is not known.
    #[error(
        "it is unknown whether {object} was written; reopen the branch to find out, and delete nothing before that"
    )]
    Unconfirmed { object: String, source: Cause },

    /// No such repo.
    #[error("there is no repo `{repo}` in {store}{nearest}; `spout list repo` shows what there is")]
    UnknownRepo { repo: String, store: String, nearest: String },
    /// No such branch.
    #[error(
        "repo `{repo}` has no branch or commit `{branch}`{nearest}; `spout list branch {repo}` shows what there is"
    )]
    UnknownBranch { repo: String, branch: String, nearest: String },
    /// The branch has no such commit.
    #[error("there is no commit {reference}: {reason}; `spout list commit` shows what there is")]
    UnknownCommit { reference: String, reason: String },
    /// A prefix fits several commits.
    #[error("`{prefix}` is the start of {count} commits of repo `{repo}`; write more digits")]
    AmbiguousCommit { repo: String, prefix: String, count: usize },
    /// Not a reference.
    #[error(
        "`{text}` does not name a commit: {reason}; write repo@branch, repo@branch~2 or repo@<commit id>, then :/path for a file"
    )]
    BadReference { text: String, reason: &'static str },
    /// Not a name for a repo or branch.
    #[error(
        "`{name}` cannot name a {what}: {reason}; use up to 100 letters, digits, `-`, `_` and `.`, starting with a letter or digit"
    )]
    BadName { what: &'static str, name: String, reason: &'static str },
    /// Not a path for a file.
    #[error("`{path}` cannot be the path of a file: {reason}; write it like /events/2026-01.parquet")]
    BadPath { path: String, reason: &'static str },
    /// No such file in the commit.
    #[error("there is no file {path} in commit {commit}{nearest}; `spout list file` shows what there is")]
    UnknownFile { path: String, commit: String, nearest: String },
    /// A path would be both a file and a directory.
    #[error(
        "{path} cannot be put because {other} is a file, and a path cannot be both a file and a directory; delete one of them"
    )]
    PathClash { path: String, other: String },
    /// Two paths would be one on some systems.
    #[error(
        "{path} cannot be put because {other} exists, which differs only in case or Unicode form; use the same spelling or another name"
    )]
    PathDouble { path: String, other: String },
    /// Not a pattern of paths.
    #[error("`{pattern}` is not a pattern of paths: {reason}; write it like /events/*.parquet or /**/2026-??.csv")]
    BadPattern { pattern: String, reason: String },

    /// A record is torn or was altered.
    #[error(
        "commit record {object} is damaged: {reason}; run `spout fsck` to see what it affects, and restore the file from a copy"
    )]
    BadRecord { object: String, reason: String },
    /// A record between others is not there.
    #[error(
        "commit record {object} is missing although later ones are there; run `spout fsck`, and restore the file from a copy"
    )]
    MissingRecord { object: String },
    /// A handler keeps a part of its state that the head does not have.
    #[error(
        "branch `{branch}`: the part `{key}` of a handler's state should be kept, but the newest commit does not have it; this is a bug in the host"
    )]
    NoState { key: String, branch: String },
    /// A part of the index is torn or was altered.
    #[error(
        "{object}, a part of the index, is damaged: {reason}; run `spout fsck` to see what it affects; `--repair` rebuilds it from the records"
    )]
    BadIndex { object: String, reason: String },
    /// Written by a newer spout.
    #[error("{object} has format version {found}, and this spout reads up to {known}; use a newer spout")]
    NewerFormat { object: String, found: u32, known: u32 },
    /// The whole store is of a newer version.
    #[error(
        "the store {store} is of format version {found}, and this spout knows versions up to {known}; use the spout that writes it, or a newer one; nothing was changed"
    )]
    NewerStore { store: String, found: u32, known: u32 },
    /// Not everything in a store can be read, so it stays what it is.
    #[error(
        "the store {store} was not upgraded to format version {to}, because {problems} in it; nothing was changed. `spout fsck --fast` names what is wrong; repair or restore it, and run `spout upgrade` again"
    )]
    NotUpgraded { store: String, to: u32, problems: String },
    /// The bytes of a file are not what was committed.
    #[error("{object}, which holds {path}, is damaged: {reason}; run `spout fsck`, and restore the object from a copy")]
    DamagedFile { object: String, path: String, reason: String },

    /// The commit is older than what is kept.
    #[error("commit {commit} of repo `{repo}` has been collected: {why}; `spout list commit` shows what is kept")]
    Collected { repo: String, commit: String, why: &'static str },
    /// Objects of an open commit were collected.
    #[error(
        "a commit to branch `{branch}` names objects that a collection removed before it was finished; put its files again, or collect with a longer --min-age"
    )]
    Swept { branch: String },
    /// The branch is there already.
    #[error(
        "branch `{branch}` of repo `{repo}` already exists; use `spout create branch {repo}@{branch} --head COMMIT --move` to move it"
    )]
    BranchExists { repo: String, branch: String },
    /// The name is taken by a tag or branch.
    #[error("repo `{repo}` already has a {what} `{name}`; choose another name, or delete that one first")]
    NameTaken { repo: String, what: &'static str, name: String },
    /// No such tag.
    #[error("repo `{repo}` has no tag `{tag}`{nearest}; `spout list tag {repo}` shows what there is")]
    UnknownTag { repo: String, tag: String, nearest: String },
    /// Something stands in the way of a deletion.
    #[error("{what} cannot be deleted: {reason}")]
    StillUsed { what: String, reason: String },
    /// Only a commit with another after it can be squashed.
    #[error("commit {commit} cannot be squashed: {reason}")]
    NotSquashable { commit: String, reason: &'static str },
    /// No such started commit.
    #[error(
        "repo `{repo}` has no started commit `{id}`; it was finished, dropped, or never started: `spout list commit {repo} --started` shows them"
    )]
    UnknownStarted { repo: String, id: String },
    /// Not a rule.
    #[error("`{text}` is not a retention rule: {reason}; write it like `keep 100`, `keep 30d` or `keep tags`")]
    BadRetention { text: String, reason: String },
    /// A newer writer owns the branch.
    #[error(
        "branch `{branch}` of repo `{repo}` was taken over by {by} (epoch {theirs}, ours was {ours}); this writer is fenced: it stops, and nothing it wrote since was committed"
    )]
    Fenced { repo: String, branch: String, ours: u64, theirs: u64, by: String },
    /// The branch belongs to another pipeline.
    #[error(
        "branch `{branch}` of repo `{repo}` is written by pipeline `{owner}`, so pipeline `{pipeline}` may not write it; choose another branch"
    )]
    OwnedBranch { repo: String, branch: String, owner: String, pipeline: String },
    /// Too many writers at once.
    #[error(
        "branch `{branch}` of repo `{repo}` could not be claimed in {attempts} attempts because others keep writing it; stop them"
    )]
    Contended { repo: String, branch: String, attempts: u32 },
    /// The writer does not know its head any more.
    #[error(
        "the outcome of an earlier commit to branch `{branch}` of repo `{repo}` is unknown; reopen the branch before committing"
    )]
    Unsettled { repo: String, branch: String },
    /// The record does not follow the head.
    #[error(
        "a commit to branch `{branch}` does not follow its head: {what} should be {expected}, found {found}; read the head again"
    )]
    NotNext { branch: String, what: &'static str, expected: String, found: String },
    /// The marker does not start where the head's ends.
    #[error(
        "a commit to branch `{branch}` starts partition {partition} at {}, but the head ends at {}; restart the pipeline from the head's marker",
        offset(*found), offset(*expected)
    )]
    MarkerGap { branch: String, partition: PartitionId, expected: Option<u64>, found: Option<u64> },
    /// An offset goes down.
    #[error(
        "a commit to branch `{branch}` moves partition {partition} back from {from} to {to}; offsets only grow, so read again into a new branch"
    )]
    MarkerBack { branch: String, partition: PartitionId, from: u64, to: u64 },
    /// Nothing moved.
    #[error("a commit to branch `{branch}` would change nothing: no file, no offset, no state; leave it out")]
    NothingMoved { branch: String },
    /// The commit deletes what is not there.
    #[error("{path} cannot be deleted from branch `{branch}` because it is not there")]
    NotThere { branch: String, path: String },
    /// A file grows by another format.
    #[error("{path} is {there}, so {new} cannot be appended; overwrite it or choose another path")]
    MixedFormats { path: String, there: String, new: String },

    /// Rows and the bytes of a file do not fit.
    #[error(transparent)]
    Format(#[from] spout_format::Error),
    /// Tables do not fit together.
    #[error(
        "column `{column}` is {left} in {left_file} and {right} in {right_file}, so they are not one table; query a single directory or an earlier commit, or go back to that commit with `spout revert branch`"
    )]
    MixedTypes { column: String, left: String, left_file: String, right: String, right_file: String },

    /// Files of a table whose columns do not meet.
    #[error(
        "table {table} cannot be published as a Delta table: column `{column}` is {left} in {left_file} and {right} in {right_file}; overwrite or delete one of the files, and the next commit publishes the table again"
    )]
    DeltaTypes { table: String, column: String, left: String, left_file: String, right: String, right_file: String },
    /// A log that we did not write, or not so.
    #[error(
        "the Delta log {log} is not what was published there: {reason}; `spout publish {repo}@{branch} --rebuild` rebuilds it"
    )]
    DeltaLog { log: String, repo: String, branch: String, reason: String },
    /// A table that no reader could take.
    #[error("table {table} cannot be published as a Delta table: {reason}")]
    DeltaTable { table: String, reason: String },
    /// Another publisher was faster, with other versions.
    #[error(
        "another publisher writes the Delta log {log} at the same time and is at sequence {sequence}; publishing starts again from what it wrote"
    )]
    DeltaRace { log: String, sequence: u64 },
}

fn offset(offset: Option<u64>) -> String {
    offset.map_or_else(|| "nothing".to_owned(), |offset| format!("offset {offset}"))
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Format(error) => error.kind(),
            Self::Unspilled(error) => error.kind(),
            Self::Read { .. } | Self::NoSpace { .. } | Self::ReadOnly { .. } | Self::Write { .. } => Kind::Unavailable,
            Self::Refused { .. } | Self::Input { .. } => Kind::Unavailable,
            Self::Unconfirmed { .. } | Self::Unsettled { .. } | Self::Contended { .. } => Kind::Conflict,
            Self::NotNext { .. } | Self::MarkerGap { .. } | Self::DeltaRace { .. } => Kind::Conflict,
            Self::BadRecord { .. } | Self::MissingRecord { .. } | Self::DamagedFile { .. } => Kind::Corrupt,
            Self::NotUpgraded { .. } | Self::BadIndex { .. } | Self::DeltaLog { .. } => Kind::Corrupt,
            Self::Swept { .. } => Kind::Conflict,
            Self::Fenced { .. } => Kind::Fenced,
            Self::MarkerBack { .. } | Self::NothingMoved { .. } | Self::NoState { .. } => Kind::Internal,
            _ => Kind::Spec,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::StoreUrl { .. } => "E0501",
            Self::NoStore { .. } => "E0502",
            Self::Read { .. } => "E0503",
            Self::NoSpace { .. } => "E0504",
            Self::Unspilled(error) => error.code(),
            Self::ReadOnly { .. } => "E0505",
            Self::Write { .. } => "E0506",
            Self::Unconfirmed { .. } => "E0507",
            Self::NotExclusive { .. } => "E0555",
            Self::Refused { .. } => "E0556",
            Self::NoBucket { .. } => "E0557",
            Self::Foreign { .. } => "E0558",
            Self::Input { .. } => "E0559",
            Self::UnknownRepo { .. } => "E0510",
            Self::UnknownBranch { .. } => "E0511",
            Self::UnknownCommit { .. } => "E0512",
            Self::AmbiguousCommit { .. } => "E0513",
            Self::BadReference { .. } => "E0514",
            Self::BadName { .. } => "E0515",
            Self::BadPath { .. } => "E0516",
            Self::UnknownFile { .. } => "E0517",
            Self::PathClash { .. } => "E0518",
            Self::PathDouble { .. } => "E0519",
            Self::BadPattern { .. } => "E0524",
            Self::BadIndex { .. } => "E0525",
            Self::Collected { .. } => "E0526",
            Self::Swept { .. } => "E0527",
            Self::BranchExists { .. } => "E0544",
            Self::NameTaken { .. } => "E0545",
            Self::UnknownTag { .. } => "E0546",
            Self::StillUsed { .. } => "E0547",
            Self::NotSquashable { .. } => "E0548",
            Self::UnknownStarted { .. } => "E0549",
            Self::BadRetention { .. } => "E0570",
            Self::NoState { .. } => "E0571",
            Self::BadRecord { .. } => "E0520",
            Self::MissingRecord { .. } => "E0521",
            Self::NewerFormat { .. } => "E0522",
            Self::NewerStore { .. } => "E0590",
            Self::NotUpgraded { .. } => "E0591",
            Self::DamagedFile { .. } => "E0523",
            Self::Fenced { .. } => "E0530",
            Self::OwnedBranch { .. } => "E0531",
            Self::Contended { .. } => "E0532",
            Self::Unsettled { .. } => "E0533",
            Self::NotNext { .. } => "E0534",
            Self::MarkerGap { .. } => "E0535",
            Self::MarkerBack { .. } => "E0536",
            Self::NothingMoved { .. } => "E0537",
            Self::NotThere { .. } => "E0538",
            Self::MixedFormats { .. } => "E0539",
            Self::Format(error) => error.code(),
            Self::MixedTypes { .. } => "E0543",
            Self::DeltaTypes { .. } => "E0565",
            Self::DeltaLog { .. } => "E0566",
            Self::DeltaTable { .. } => "E0567",
            Self::DeltaRace { .. } => "E0568",
        }
    }
}

impl Error {
    /// The error of a write to `object` that left nothing behind, by what the user has to do.
    pub(super) fn write(object: String, source: object_store::Error) -> Self {
        let source = Cause::from(source);
        match io_kind(source.as_ref()) {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Self::NoSpace { object, source },
            Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
                Self::ReadOnly { object, source }
            }
            _ => Self::Write { object, source },
        }
    }

    /// The error of something that cannot be written as `format`.
    pub(super) fn encode(format: &'static str, source: impl Into<Cause>) -> Self {
        spout_format::Error::Encode { format, source: source.into() }.into()
    }

    pub(super) fn read(object: String, source: impl Into<Cause>) -> Self {
        Self::Read { object, source: source.into() }
    }
}

/// The kind of the first IO error in the chain below `error`.
fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        if let Some(object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }) =
            error.downcast_ref()
        {
            return Some(io::ErrorKind::PermissionDenied);
        }
        next = error.source();
    }
    None
}
