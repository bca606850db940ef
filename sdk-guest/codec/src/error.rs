//! Errors in settings, schemas and batches. An error in one message is a [`RowFault`](crate::RowFault).

use std::fmt;

/// The result of everything but decoding a message.
pub type Result<T> = std::result::Result<T, Error>;

/// Why there is no schema, decoder or batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The settings, or the schema in them, are invalid; says what is wrong and what to write.
    Config(String),
    /// Columns that do not form a batch.
    Batch {
        /// Stable and dotted, such as `batch.column`.
        code: &'static str,
        /// What does not fit.
        message: String,
    },
}

impl Error {
    /// Invalid settings.
    pub fn config(message: impl Into<String>) -> Self {
        Self::Config(message.into())
    }

    /// Columns that do not form a batch.
    pub fn batch(code: &'static str, message: impl Into<String>) -> Self {
        Self::Batch { code, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(message) | Self::Batch { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}
