//! What a plugin answers when it cannot.

use std::{fmt, time::Duration};

use crate::{Position, wit::base::spout::plugin::types as wit};

/// The result of every trait function.
pub type Result<T> = std::result::Result<T, Error>;

/// What a plugin answers when it cannot. The case says what the host does next, the code is for programs, the message
/// for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Passing trouble of a source: the host makes the call again, after `after` if that is given. A decoder and a handler
    /// depend on nothing outside: from them it is as [`Error::Fatal`].
    Retriable {
        /// Stable and dotted, such as `broker.unavailable`.
        code: String,
        /// What happened.
        message: String,
        /// How long to wait.
        after: Option<Duration>,
    },
    /// Trying again is no use: the host stops the pipeline.
    Fatal {
        /// Stable and dotted, such as `file.unreadable`.
        code: String,
        /// What happened.
        message: String,
    },
    /// The settings are wrong: the host stops the pipeline before it begins.
    InvalidConfig {
        /// Stable and dotted, such as `settings.unknown`.
        code: String,
        /// What is wrong, and what to write.
        message: String,
    },
    /// The position asked for is gone; `earliest..latest` is what there is.
    OutOfRange {
        /// Of the oldest message there is that was not read.
        earliest: Position,
        /// After the newest message.
        latest: Position,
    },
}

impl Error {
    /// Passing trouble of a source.
    pub fn retriable(code: &str, message: impl Into<String>) -> Self {
        Self::Retriable { code: code.into(), message: message.into(), after: None }
    }

    /// Trouble that does not pass.
    pub fn fatal(code: &str, message: impl Into<String>) -> Self {
        Self::Fatal { code: code.into(), message: message.into() }
    }

    /// Wrong settings.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::InvalidConfig { code: "settings".into(), message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retriable { code, message, .. }
            | Self::Fatal { code, message }
            | Self::InvalidConfig { code, message } => {
                write!(f, "{code}: {message}")
            }
            Self::OutOfRange { earliest, latest } => {
                write!(f, "out of range: there is {}..{}", earliest.offset, latest.offset)
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<spout_codec::Error> for Error {
    fn from(error: spout_codec::Error) -> Self {
        match error {
            spout_codec::Error::Config(message) => Self::invalid_config(message),
            spout_codec::Error::Batch { code, message } => Self::fatal(code, message),
        }
    }
}

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        let fault = |code, message, after: Option<Duration>| wit::Fault {
            code,
            message,
            retry_after_ms: after.map(|after| u32::try_from(after.as_millis()).unwrap_or(u32::MAX)),
        };
        match error {
            Error::Retriable { code, message, after } => Self::Retriable(fault(code, message, after)),
            Error::Fatal { code, message } => Self::Fatal(fault(code, message, None)),
            Error::InvalidConfig { code, message } => Self::InvalidConfig(fault(code, message, None)),
            Error::OutOfRange { earliest, latest } => {
                Self::OutOfRange(Some(wit::Range { earliest: earliest.into(), latest: latest.into() }))
            }
        }
    }
}
