//! How batches leave the node.
//!
//! [`Consumer`] is what `print`, `file` and the like do: they see every batch before it is committed, so after a crash
//! they see some again (at least once). [`RepoConsumer`] writes the files of the next commit; it alone is exactly once,
//! because its files become visible with the marker or not at all.
//!
//! **Invariant**: only `repo.rs` touches the repo, and no consumer decides when a commit is cut.

mod dead_letters;
mod error;
mod file;
mod print;
mod repo;
mod spec;

use async_trait::async_trait;

pub use self::{
    error::Error,
    file::{FileConsumer, FileSpec},
    print::{PrintConsumer, PrintSpec},
    repo::{Pending, RepoConsumer, Target, Written},
    spec::ConsumerSpec,
};
use crate::data::Batch;

/// Takes batches from the node, at least once.
#[async_trait]
pub trait Consumer: Send {
    /// What it is, for errors.
    fn name(&self) -> &str;

    /// Takes one batch.
    ///
    /// # Errors
    /// What stops the pipeline before the next commit.
    async fn consume(&mut self, batch: &Batch) -> Result<(), Error>;

    /// Lets go of everything taken so far; called before each commit.
    ///
    /// # Errors
    /// As for [`Consumer::consume`].
    async fn flush(&mut self) -> Result<(), Error>;
}
