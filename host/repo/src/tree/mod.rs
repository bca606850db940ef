//! The files of a commit, and how those of two commits differ.

mod diff;
mod files;

pub use diff::{Change, Changed, diff};
pub use files::{FileEntry, Tree};
pub(crate) use files::{decode_schema, encode_schema};
