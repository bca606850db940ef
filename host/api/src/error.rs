//! What can go wrong with a verb.

use std::{error::Error as StdError, fmt};

use spout_archive::{ArchiveError, Fault};
use spout_base::error::{Coded, Kind};

/// An error of a verb.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A commit or a file.
    #[error(transparent)]
    Repo(#[from] spout_repo::Error),
    /// The rows of a file.
    #[error(transparent)]
    Format(#[from] spout_format::Error),
    /// A query.
    #[error(transparent)]
    Sql(#[from] spout_sql::Error),
    /// Arguments that do not go together.
    #[error("{what}; `spout {verb} --help` has examples")]
    Usage {
        /// The verb.
        verb: &'static str,
        /// What is wrong, and what to do.
        what: String,
    },
    /// A file that is not a table was to be converted, or a format cannot hold the rows.
    #[error("cannot write {file} as {format}: {why}")]
    Convert {
        /// The file in the repo.
        file: String,
        /// The format asked for.
        format: &'static str,
        /// Why not.
        why: String,
    },
    /// What was named cannot change.
    #[error("cannot write to `{reference}`: {why}; name a branch as repo@branch, or a started commit as repo@<id>")]
    NotWritable {
        /// What was named.
        reference: String,
        /// Why not.
        why: String,
    },
    /// The repo is there.
    #[error("the repo `{repo}` already exists; use it, or choose another name")]
    RepoExists {
        /// Its name.
        repo: String,
    },
    /// Somebody else changed the same.
    #[error(
        "nothing was changed: commit {commit} changed the same files of {branch} in the meantime; look at it, then try again"
    )]
    ChangedMeanwhile {
        /// The branch.
        branch: String,
        /// The commit that was first.
        commit: String,
    },
    /// What is to be put is no archive, or has what no file of a repo can be.
    #[error("the archive is refused, and nothing of it is put")]
    Archive {
        /// Where, and why.
        #[source]
        source: Box<ArchiveError>,
    },
    /// A file of an archive cannot be put.
    #[error("{place} cannot be put")]
    Entry {
        /// Which one.
        place: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A file from outside is no table.
    #[error("cannot read {file} as {what}: {why}")]
    Import {
        /// The file outside.
        file: String,
        /// The format.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// A URL cannot be read.
    #[error("cannot get {url}: {what}; nothing was put")]
    Download {
        /// Its address.
        url: String,
        /// What happened.
        what: String,
    },
    /// What a commit says of its decoder's columns cannot be read.
    #[error(
        "commit {commit} does not say which columns its decoder keeps to: {reason}; run `spout fsck`, and restore the store from a copy"
    )]
    Settled {
        /// The commit.
        commit: String,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing to put.
    #[error("{origin} holds no {what}, so there is nothing to put; leave it out")]
    NoFiles {
        /// What holds none.
        origin: String,
        /// What it should hold.
        what: &'static str,
    },
    /// What is to be put cannot be cut into files.
    #[error("what is to be split below {below} cannot be: {why}")]
    Split {
        /// The directory.
        below: String,
        /// Why not.
        why: String,
    },
    /// A pipeline still writes the branch, as far as anybody can know.
    #[error(
        "nothing was changed: {by} writes {branch} and may still run; stop the pipeline first, or add --force, which takes the branch away from it"
    )]
    InUse {
        /// The branch.
        branch: String,
        /// The process, and when it was seen.
        by: String,
    },
    /// Messages that are not to be passed over so.
    #[error("nothing was skipped of partition {partition} at offset {offset}: {why}")]
    NotSkipped {
        /// The partition.
        partition: String,
        /// The first offset that was to be passed over.
        offset: u64,
        /// Why not, and what to do.
        why: String,
    },
    /// No pipeline has written the branch.
    #[error("{branch} has no marker to move: no pipeline has written it; name the output of one as REPO@BRANCH")]
    NoMarker {
        /// The branch.
        branch: String,
    },
    /// The file has no such bytes.
    #[error("{path} has {size} bytes, and none of them are in the range that was asked for; ask for less")]
    NoSuchRange {
        /// The file.
        path: String,
        /// Its size.
        size: u64,
    },
    /// A server said so, or a room above this one.
    #[error("{message}")]
    Remote {
        /// What it said.
        message: String,
        /// Its kind there.
        kind: Kind,
        /// Its code there.
        code: &'static str,
        /// What was behind it.
        #[source]
        causes: Option<Box<Causes>>,
    },
    /// A server cannot be reached, or broke off.
    #[error("no answer from {server}: {what}; check the address, and that `spout serve` runs there")]
    Unreachable {
        /// Its address.
        server: String,
        /// What happened.
        what: String,
    },
    /// What answers is no server of ours.
    #[error("{server} does not answer like a spout server: {what}; check the address and both versions")]
    Foreign {
        /// Its address.
        server: String,
        /// What is wrong with the answer.
        what: String,
    },
    /// What only whoever runs pipelines knows.
    #[error("{what} is known to the server that runs it, not to the store; name the server with --server")]
    OnlyServer {
        /// What was asked for.
        what: String,
    },
    /// A verb or an option that works on a store only.
    #[error("{what} works on a store, not through a server; run it where the store is, without --server")]
    OnlyLocal {
        /// What was asked for.
        what: &'static str,
    },
}

/// The texts of the causes of an error that came from elsewhere, the nearest first.
#[derive(Debug)]
pub struct Causes {
    text: String,
    next: Option<Box<Causes>>,
}

impl Causes {
    /// The chain of these texts.
    #[must_use]
    pub fn of(texts: Vec<String>) -> Option<Box<Self>> {
        texts.into_iter().rev().fold(None, |next, text| Some(Box::new(Self { text, next })))
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Causes {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.next.as_deref().map(|next| next as _)
    }
}

impl From<ArchiveError> for Error {
    fn from(source: ArchiveError) -> Self {
        Self::Archive { source: Box::new(source) }
    }
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) => error.kind(),
            Self::Format(error) => error.kind(),
            Self::Sql(error) => error.kind(),
            Self::Remote { kind, .. } => *kind,
            Self::Archive { source } if matches!(source.fault, Fault::Unread(_)) => Kind::Unavailable,
            Self::Entry { source, .. } => source.kind(),
            Self::ChangedMeanwhile { .. } | Self::InUse { .. } => Kind::Conflict,
            Self::Settled { .. } => Kind::Corrupt,
            Self::Unreachable { .. } | Self::Foreign { .. } | Self::Download { .. } => Kind::Unavailable,
            _ => Kind::Spec,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Repo(error) => error.code(),
            Self::Format(error) => error.code(),
            Self::Sql(error) => error.code(),
            Self::Remote { code, .. } => code,
            Self::Archive { source } => match source.fault {
                Fault::Cut | Fault::Broken(_) => "E0341",
                Fault::Refused(_) => "E0342",
                Fault::Unread(_) => "E0559",
            },
            Self::Entry { source, .. } => source.code(),
            Self::Import { .. } => "E0829",
            Self::Download { .. } => "E0847",
            Self::Settled { .. } => "E0520",
            Self::NoFiles { .. } => "E0845",
            Self::Split { .. } => "E0846",
            Self::Usage { .. } => "E0801",
            Self::Convert { .. } => "E0808",
            Self::NotWritable { .. } => "E0825",
            Self::RepoExists { .. } => "E0826",
            Self::ChangedMeanwhile { .. } => "E0828",
            Self::InUse { .. } => "E0870",
            Self::NoMarker { .. } => "E0871",
            Self::NotSkipped { .. } => "E0921",
            Self::NoSuchRange { .. } => "E0840",
            Self::Unreachable { .. } => "E0841",
            Self::Foreign { .. } => "E0842",
            Self::OnlyLocal { .. } => "E0843",
            Self::OnlyServer { .. } => "E0848",
        }
    }
}
