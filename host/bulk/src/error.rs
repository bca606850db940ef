//! What ends bulk work before it is done.

use spout_base::error::{Coded, Kind};

/// Why bulk work is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The work itself failed, as it would in one process.
    #[error(transparent)]
    Repo(#[from] spout_repo::Error),
    /// A part was lost with one member after the other.
    #[error(
        "a part of {what} was lost with {tries} processes of the cluster, the last of which is {member} ({reason}); run the command without --cluster"
    )]
    Lost {
        /// The command.
        what: &'static str,
        /// How often it was given to somebody.
        tries: usize,
        /// The last one that had it.
        member: String,
        /// What became of that one.
        reason: String,
    },
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Repo(error) => error.kind(),
            Self::Lost { .. } => Kind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Repo(error) => error.code(),
            Self::Lost { .. } => "E0982",
        }
    }
}
