//! What can be wrong with an archive, and where.

use thiserror::Error as ThisError;

/// Why an archive cannot be read any further. Nothing of it is committed.
#[derive(Debug, ThisError)]
#[error("{}, byte {at}", place(.origin, *.archive, .entry.as_deref()))]
pub struct ArchiveError {
    /// Where the bytes come from.
    pub origin: String,
    /// Which archive of the stream, from 1.
    pub archive: u64,
    /// Up to which byte the stream was read.
    pub at: u64,
    /// The entry, where it has a name already.
    pub entry: Option<String>,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

/// What is wrong with an archive.
#[derive(Debug, ThisError)]
pub enum Fault {
    /// The stream ends within it.
    #[error("it is cut off; an archive is complete with its two zero blocks, so write them before closing")]
    Cut,
    /// It is not what an archive looks like.
    #[error("{0}")]
    Broken(String),
    /// It holds what cannot be a file of a repo, or more than an archive may.
    #[error("{0}")]
    Refused(String),
    /// Its bytes cannot be read.
    #[error("it cannot be read")]
    Unread(#[source] std::io::Error),
}

impl ArchiveError {
    /// The archive, where it comes from, and the entry in it.
    pub fn place(&self) -> String {
        place(&self.origin, self.archive, self.entry.as_deref())
    }
}

impl Fault {
    pub(super) fn broken(what: impl Into<String>) -> Self {
        Self::Broken(what.into())
    }

    pub(super) fn refused(what: impl Into<String>) -> Self {
        Self::Refused(what.into())
    }
}

pub(super) fn place(origin: &str, archive: u64, entry: Option<&str>) -> String {
    let entry = entry.map(|name| format!(", entry `{}`", spout_base::terminal::plain(name))).unwrap_or_default();
    format!("archive {archive} of {origin}{entry}")
}
