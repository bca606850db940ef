//! What can go wrong when batches leave the node.

use std::{io, path::PathBuf};

use arrow::error::ArrowError;
use thiserror::Error;

use crate::{
    error::{Coded, Kind},
    repo,
};

/// An error of a consumer.
#[derive(Debug, Error)]
pub enum Error {
    /// The repo refused files.
    #[error("cannot write the data files of the next commit")]
    Repo(#[source] Box<repo::Error>),
    /// A file outside the repo could not be written.
    #[error("consumer \"file\" cannot write {}; check that the directory exists, is writable and has room", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A format cannot hold the rows.
    #[error("consumer \"{consumer}\" cannot write a batch of {rows} rows as {format}")]
    Encode {
        /// The consumer.
        consumer: &'static str,
        /// The format.
        format: &'static str,
        /// Rows of the batch.
        rows: usize,
        /// What the writer said.
        #[source]
        source: ArrowError,
    },
    /// The spec asks for something that there is not.
    #[error("consumer \"{consumer}\": {reason}")]
    Spec {
        /// The consumer.
        consumer: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The encoding thread is gone.
    #[error("the thread that encodes data files has stopped; this is a bug of the host")]
    Gone,
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Repo(source) => source.kind(),
            Self::File { .. } => Kind::Unavailable,
            Self::Encode { .. } | Self::Spec { .. } => Kind::Spec,
            Self::Gone => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Repo(source) => source.code(),
            Self::File { .. } => "E0601",
            Self::Encode { .. } => "E0602",
            Self::Spec { .. } => "E0603",
            Self::Gone => "E0604",
        }
    }
}
