//! What a repo does, be it the host's or that of a test.

use super::{Mode, PfsFile};
use crate::{Batch, Result};

/// An output repo.
pub(crate) trait Repo {
    fn marker(&self) -> Option<Vec<u8>>;
    fn begin(&self) -> Result<Box<dyn RepoCommit>>;
    fn list(&self, below: &str, after: Option<&str>, limit: u32) -> Result<Vec<PfsFile>>;
    fn inspect(&self, path: &str) -> Result<Option<PfsFile>>;
    fn read(&self, path: &str, start: u64, length: u32) -> Result<Vec<u8>>;
}

/// Files on their way into a commit.
pub(crate) trait RepoFiles {
    fn put_file(&self, path: &str, how: Option<Mode>, bytes: &[u8]) -> Result<()>;
    fn open_file(&self, path: &str, how: Option<Mode>) -> Result<Box<dyn RepoWriter>>;
    fn put_batch(&self, path: Option<&str>, how: Option<Mode>, batch: Batch) -> Result<()>;
    fn delete_file(&self, path: &str) -> Result<()>;
}

/// A commit that is being filled.
pub(crate) trait RepoCommit: RepoFiles {
    fn set_marker(&mut self, marker: &[u8]) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<String>;
}

/// A file on its way into a commit.
pub(crate) trait RepoWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    fn close(self: Box<Self>) -> Result<u64>;
}
