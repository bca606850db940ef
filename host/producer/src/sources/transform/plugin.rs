//! A spout that is a plugin: what it calls of its repo becomes what [`Commits`] does.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use spout_plugin::{Answer, Overwrite, Pfs, PfsCommit, PfsFile, PfsWriter, PluginRef, Refused, SelfDriven, Task};
use spout_repo::{FileEntry, PutMode};
use tokio_util::sync::CancellationToken;

use super::{
    Again, Failed, Spout,
    commits::Commits,
    guest_commit::{FileWriter, GuestCommit},
};
use crate::Error;

/// A plugin that drives itself.
#[derive(Debug)]
pub(super) struct PluginSpout {
    plugin: String,
    driven: SelfDriven,
}

impl PluginSpout {
    /// The plugin of `task`, whose commits are `commits`.
    pub(super) fn new(task: Task, commits: &Commits) -> Self {
        let plugin = task.plugin.name().to_owned();
        Self { plugin, driven: SelfDriven::new(task, Arc::new(commits.clone())) }
    }
}

#[async_trait]
impl Spout for PluginSpout {
    async fn run(&self, _: &Commits, _: &CancellationToken) -> Result<(), Failed> {
        self.driven.run().await.map_err(|source| {
            let again = match &source {
                spout_plugin::Error::Retriable { retry_after, .. } => Again::Later(*retry_after),
                crash if crash.is_crash() => Again::Crashed,
                _ => Again::Never,
            };
            let why = Error::Spout { spout: PluginRef::parse(&self.plugin).label.to_owned(), source: Box::new(source) };
            Failed { why, again }
        })
    }

    fn resting(&self) -> bool {
        self.driven.resting()
    }
}

/// As the repo has it.
pub(super) fn mode(how: Overwrite) -> Option<PutMode> {
    how.map(|overwrite| if overwrite { PutMode::Overwrite } else { PutMode::Append })
}

/// For the guest.
pub(super) fn refused(error: Error) -> Refused {
    Box::new(error)
}

fn told(file: FileEntry) -> PfsFile {
    PfsFile { path: file.path, size: file.size, sha256: file.sha256, rows: file.rows }
}

impl Pfs for Commits {
    fn marker(&self) -> Option<Bytes> {
        Self::marker(self)
    }

    fn begin(&self) -> Result<Box<dyn PfsCommit>, Refused> {
        Ok(Box::new(Self::begin(self).map_err(refused)?))
    }

    fn list<'a>(&'a self, below: &'a str, after: Option<&'a str>, limit: usize) -> Answer<'a, Vec<PfsFile>> {
        Box::pin(async move {
            let files = Self::list(self, below, after, limit).await.map_err(refused)?;
            Ok(files.into_iter().map(told).collect())
        })
    }

    fn inspect<'a>(&'a self, path: &'a str) -> Answer<'a, Option<PfsFile>> {
        Box::pin(async move { Ok(Self::inspect(self, path).await.map_err(refused)?.map(told)) })
    }

    fn read<'a>(&'a self, path: &'a str, start: u64, length: usize) -> Answer<'a, Bytes> {
        Box::pin(async move { Self::read(self, path, start, length as u64).await.map_err(refused) })
    }
}

impl PfsCommit for GuestCommit {
    fn put_file<'a>(&'a mut self, path: &'a str, how: Overwrite, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move { Self::put_file(self, path, mode(how), &bytes[..]).await.map(drop).map_err(refused) })
    }

    fn open_file(&mut self, path: &str, how: Overwrite) -> Result<Box<dyn PfsWriter>, Refused> {
        Ok(Box::new(Self::open_file(self, path, mode(how)).map_err(refused)?))
    }

    fn put_batch<'a>(&'a mut self, path: Option<&'a str>, how: Overwrite, rows: RecordBatch) -> Answer<'a, ()> {
        Box::pin(async move {
            match path {
                Some(path) => self.put_table(path, mode(how), &rows).await,
                None => self.put_rows(rows),
            }
            .map_err(refused)
        })
    }

    fn delete_file<'a>(&'a mut self, path: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { Self::delete_file(self, path).await.map_err(refused) })
    }

    fn set_marker(&mut self, marker: Vec<u8>) -> Result<(), Refused> {
        Self::set_marker(self, marker).map_err(refused)
    }

    fn finish(self: Box<Self>) -> Answer<'static, String> {
        Box::pin(async move { Self::finish(*self).await.map(|committed| committed.id).map_err(refused) })
    }
}

impl PfsWriter for FileWriter {
    fn write(&mut self, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(async move { Self::write(self, &bytes).await.map_err(refused) })
    }

    fn close(self: Box<Self>) -> Answer<'static, u64> {
        Box::pin(async move { Self::close(*self).await.map_err(refused) })
    }
}
