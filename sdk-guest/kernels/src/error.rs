//! What a kernel refuses.

use std::fmt;

/// The result of a kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a kernel made no column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Stable and dotted, such as `kernel.type`.
    pub code: &'static str,
    /// What is wrong, in which row.
    pub message: String,
}

impl Error {
    /// The column, or the value it is compared with, has a type that the kernel cannot work with.
    pub(crate) fn of_type(message: impl Into<String>) -> Self {
        Self { code: "kernel.type", message: message.into() }
    }

    /// A value that the kernel cannot work with.
    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self { code: "kernel.value", message: message.into() }
    }

    /// A pattern that is none, or is too large.
    pub(crate) fn pattern(message: impl Into<String>) -> Self {
        Self { code: "kernel.pattern", message: message.into() }
    }

    /// What comes out is too large.
    pub(crate) fn size(message: impl Into<String>) -> Self {
        Self { code: "kernel.size", message: message.into() }
    }

    /// Nobody waits for it any more.
    pub(crate) fn stopped() -> Self {
        Self { code: "kernel.stopped", message: "the call was given up".into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
