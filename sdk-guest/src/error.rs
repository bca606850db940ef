//! The errors a plugin returns.

use std::{fmt, time::Duration};

use crate::{Position, wit::base::spout::plugin::types as wit};

/// The result of every trait function.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed. The case decides what the host does next, the code is for programs, the message for humans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A transient failure of a source: the host repeats the call, after `after` if given. Decoders and handlers depend
    /// on nothing outside: from them it is treated as [`Error::Fatal`].
    Retriable {
        /// Stable and dotted, such as `broker.unavailable`.
        code: String,
        /// What happened.
        message: String,
        /// How long to wait.
        after: Option<Duration>,
    },
    /// Retrying is pointless: the host stops the pipeline.
    Fatal {
        /// Stable and dotted, such as `file.unreadable`.
        code: String,
        /// What happened.
        message: String,
    },
    /// The settings are wrong: the host stops the pipeline before it starts.
    InvalidConfig {
        /// Stable and dotted, such as `settings.unknown`.
        code: String,
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// The requested position is gone; `earliest..latest` is available.
    OutOfRange {
        /// The oldest message available that was not read.
        earliest: Position,
        /// After the newest message.
        latest: Position,
    },
}

impl Error {
    /// A transient failure of a source.
    pub fn retriable(code: &str, message: impl Into<String>) -> Self {
        Self::Retriable { code: code.into(), message: message.into(), after: None }
    }

    /// A permanent failure.
    pub fn fatal(code: &str, message: impl Into<String>) -> Self {
        Self::Fatal { code: code.into(), message: message.into() }
    }

    /// Wrong settings.
    pub fn invalid_config(message: impl Into<String>) -> Self {
        Self::InvalidConfig { code: "settings".into(), message: message.into() }
    }

    /// The same, and whose it is: an address or a name that the message begins with, unless it says it already.
    ///
    /// ```
    /// use spout_guest::Error;
    ///
    /// let late = Error::retriable("broker.io", "it does not answer in time").of("broker:9092");
    /// assert_eq!(late.to_string(), "broker.io: broker:9092: it does not answer in time");
    /// assert_eq!(late.clone().of("broker:9092"), late);
    /// ```
    #[must_use]
    pub fn of(mut self, whose: &str) -> Self {
        match &mut self {
            Self::Retriable { message, .. } | Self::Fatal { message, .. } if !message.contains(whose) => {
                *message = format!("{whose}: {message}");
            }
            _ => {}
        }
        self
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

/// A transient failure, code `io`: the host repeats the call of a source. Data that is wrong
/// ([`InvalidData`](std::io::ErrorKind::InvalidData), as from lines that are no UTF-8) stays so and is fatal; turn other errors that are
/// permanent into [`Error::fatal`].
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        // What this crate has put there is what it was.
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Self::fatal("io", error.to_string()),
            Err(error) => Self::retriable("io", error.to_string()),
        }
    }
}

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
