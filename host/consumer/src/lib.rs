//! How batches leave the node.
//!
//! [`Consumer`] is what `print`, `file`, `tcp`, `publish` and `http` do: they see every batch before it is committed, so
//! after a crash they see some again (at least once). Those that talk to others keep what waits in an `outbox`, which is
//! bounded, and a commit waits until it is empty. [`RepoConsumer`] writes the files of the next commit; it alone is exactly
//! once, because its files become visible with the marker or not at all.
//!
//! To add one, write its file with its `ConsumerKind` (`spec.rs`) and name it here.
//!
//! **Invariant**: only `repo.rs` touches the repo, and no consumer decides when a commit is cut.

mod dead_letters;
mod encode;
mod encoding;
mod error;
mod file;
mod fit;
mod http;
mod offsets;
mod outbox;
mod print;
mod publish;
mod repo;
mod retry;
mod set_aside;
mod spec;
mod tcp;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

pub use self::{
    error::Error,
    http::Per,
    outbox::{QueueSpec, WhenFull},
    publish::{PublishConsumer, PublishSpec},
    repo::{Pending, RepoConsumer, Target, Written},
};
use spout_data::Batch;

spec::consumers! {
    "print" => Print(print::PrintSpec), "Prints rows as a table.",
    "file" => File(file::FileSpec), "Writes rows to files outside the repo.",
    "tcp" => Tcp(tcp::TcpSpec), "Sends rows to a port.",
    "publish" => Publish(publish::PublishSpec), "Publishes rows over ZeroMQ.",
    "http" => Http(http::HttpSpec), "Posts rows to a web address.",
}

/// What a consumer knows of where it runs.
#[derive(Clone, Debug)]
pub struct ConsumerContext {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Where relative paths of the spec start.
    pub base: PathBuf,
    /// Whether rows are printed as NDJSON.
    pub json: bool,
    /// Cancelled when the pipeline wants to stop: from then on nothing is waited for without an end.
    pub stop: CancellationToken,
}

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

    /// Why it can take no more although nothing was asked of it, such as that a task of it panicked; never, as long as it can. The
    /// future may be dropped.
    async fn failed(&mut self) -> Error {
        std::future::pending().await
    }

    /// Ends in order, after the last commit: nothing will ever follow in this run.
    ///
    /// # Errors
    /// What could not be ended; everything taken is committed all the same.
    async fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The addresses it listens at, for people.
    fn addresses(&self) -> Vec<String> {
        Vec::new()
    }
}
