//! State that a commit stores, in parts, so that what did not change is not written again.

use bytes::Bytes;

/// One named part of a handler's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// New, or changed since the last commit.
    New(Bytes),
    /// As the last commit has it under the same name; nothing is written.
    Kept,
}

impl<T: Into<Bytes>> From<T> for Part {
    fn from(bytes: T) -> Self {
        Self::New(bytes.into())
    }
}
