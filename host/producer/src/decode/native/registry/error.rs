//! Why the schemas of messages cannot be had.

use spout_base::error::{Coded, Kind};
use spout_data::Period;
use thiserror::Error;

/// An error of a schema registry.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// It gives no answer.
    #[error("the schema registry at {url} gave no answer for {tried}: {what}; nothing is lost: it is asked again")]
    Silent {
        /// What was asked for.
        url: String,
        /// The last answer.
        what: String,
        /// How long it was tried.
        tried: Period,
    },
    /// It refuses to answer.
    #[error("the schema registry at {url} cannot be asked: {what}")]
    Refused {
        /// What was asked for.
        url: String,
        /// What it said, and what to do.
        what: String,
    },
    /// There is no reader's schema.
    #[error("messages cannot be read with `reader`: {what}")]
    Reader {
        /// What is wrong with it.
        what: String,
    },
    /// More schemas are needed at once than are kept in memory.
    #[error("schema {id} was forgotten before its messages were decoded, for too many are in use; it is fetched again")]
    Forgotten {
        /// Its id.
        id: String,
    },
}

impl Coded for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Silent { .. } | Self::Forgotten { .. } => Kind::Unavailable,
            Self::Refused { .. } | Self::Reader { .. } => Kind::Spec,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Silent { .. } | Self::Forgotten { .. } => "E0377",
            Self::Refused { .. } => "E0378",
            Self::Reader { .. } => "E0670",
        }
    }
}
