//! What can go wrong when batches leave the node.

use std::{io, path::PathBuf};

use arrow::error::ArrowError;
use spout_base::error::{Coded, Kind};
use spout_data::{ByteSize, Period};
use thiserror::Error;

/// An error of a consumer.
#[derive(Debug, Error)]
pub enum Error {
    /// The repo refused files.
    #[error("cannot write the data files of the next commit")]
    Repo(#[source] Box<spout_repo::Error>),
    /// The format of a file outside the repo cannot hold rows.
    #[error(transparent)]
    Format(#[from] spout_format::Error),
    /// A file outside the repo could not be written.
    #[error("consumer `file` cannot write {}; check that the directory exists, is writable and has room", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A format cannot hold the rows.
    #[error("consumer `{consumer}` cannot write a batch of {rows} rows as {format}")]
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
    #[error("consumer `{consumer}`: {reason}")]
    Spec {
        /// The consumer.
        consumer: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Whoever should get the rows cannot be reached, or the address cannot be listened at.
    #[error("consumer `{consumer}` cannot use {place}; check the address, and that the other side is running")]
    Unreachable {
        /// The consumer.
        consumer: &'static str,
        /// The address.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Rows were not taken in time.
    #[error(
        "consumer `{consumer}` still had about {bytes} to deliver after {after}; check that the other side is reading, or set `queue.timeout` or `queue.whenFull`"
    )]
    Slow {
        /// The consumer.
        consumer: &'static str,
        /// What waits.
        bytes: ByteSize,
        /// How long it was waited for.
        after: Period,
    },
    /// A receiver does not want the rows.
    #[error(
        "consumer `http`: {url} rejected rows with status {status} ({said}); fix the receiver or the spec, or set `onError` to drop"
    )]
    Refused {
        /// Where they were posted.
        url: String,
        /// Status of the answer.
        status: u16,
        /// Beginning of the answer.
        said: String,
    },
    /// A receiver is somewhere else.
    #[error(
        "consumer `http`: {url} redirects to {to} (status {status}), and rows are not sent after it; name that address if it is the right one"
    )]
    Redirected {
        /// Where they were posted.
        url: String,
        /// Status of the answer.
        status: u16,
        /// Where it points.
        to: String,
    },
    /// A receiver does not answer as it should, again and again.
    #[error(
        "consumer `http`: {url} has not accepted rows for {tried} ({what}); check that it is running, or raise `retryFor`"
    )]
    Unanswered {
        /// Where they were posted.
        url: String,
        /// What came of the last try.
        what: String,
        /// How long it was tried.
        tried: Period,
    },
    /// A secret is not where the spec says.
    #[error("the secret `token` of consumer `{consumer}`: {reason}")]
    Secret {
        /// The consumer.
        consumer: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The task that delivers is gone.
    #[error("the task of consumer `{consumer}` that delivers rows has stopped; this is a bug in the host")]
    Lost {
        /// The consumer.
        consumer: &'static str,
    },
    /// The encoding thread is gone.
    #[error("the thread that encodes data files has stopped; this is a bug in the host")]
    Gone,
}

impl Coded for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Repo(source) => source.kind(),
            Self::Format(source) => source.kind(),
            Self::File { .. } | Self::Unreachable { .. } | Self::Slow { .. } | Self::Unanswered { .. } => {
                Kind::Unavailable
            }
            Self::Encode { .. }
            | Self::Spec { .. }
            | Self::Refused { .. }
            | Self::Redirected { .. }
            | Self::Secret { .. } => Kind::Spec,
            Self::Gone | Self::Lost { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Repo(source) => source.code(),
            Self::Format(source) => source.code(),
            Self::File { .. } => "E0601",
            Self::Encode { .. } => "E0602",
            Self::Spec { .. } => "E0603",
            Self::Gone => "E0604",
            Self::Unreachable { .. } => "E0610",
            Self::Slow { .. } => "E0611",
            Self::Refused { .. } => "E0612",
            Self::Unanswered { .. } => "E0613",
            Self::Secret { .. } => "E0614",
            Self::Lost { .. } => "E0615",
            Self::Redirected { .. } => "E0616",
        }
    }
}
