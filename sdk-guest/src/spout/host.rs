//! The output repo that the host keeps.

use std::time::Duration;

use super::{
    Mode, PfsFile,
    repo::{Repo, RepoCommit, RepoFiles, RepoWriter},
};
use crate::{
    Batch, Error, Result, boundary,
    wit::{
        base::spout::plugin::types as wit,
        spout::spout::plugin::{marker, pfs},
    },
};

/// The repo of the pipeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host;

/// What the host refused.
pub(crate) fn failed(error: wit::Error) -> Error {
    match error {
        wit::Error::Retriable(wit::Fault { code, message, retry_after_ms }) => {
            Error::Retriable { code, message, after: retry_after_ms.map(u64::from).map(Duration::from_millis) }
        }
        wit::Error::Fatal(fault) | wit::Error::Other(fault) | wit::Error::InvalidConfig(fault) => {
            Error::Fatal { code: fault.code, message: fault.message }
        }
        wit::Error::OutOfRange(_) | wit::Error::EndOfStream | wit::Error::Cancelled => {
            Error::fatal("pfs", "the host returned an error that is not one of a repo")
        }
    }
}

fn lowered(how: Mode) -> pfs::Mode {
    match how {
        Mode::Append => pfs::Mode::Append,
        Mode::Overwrite => pfs::Mode::Overwrite,
    }
}

fn raised(file: pfs::File) -> PfsFile {
    let pfs::File { path, size, sha256, rows } = file;
    PfsFile { path, size, sha256, rows }
}

impl Repo for Host {
    fn marker(&self) -> Option<Vec<u8>> {
        marker::load()
    }

    fn begin(&self) -> Result<Box<dyn RepoCommit>> {
        Ok(Box::new(pfs::Commit::begin().map_err(failed)?))
    }

    fn list(&self, below: &str, after: Option<&str>, limit: u32) -> Result<Vec<PfsFile>> {
        let files = pfs::list(below, after, limit).map_err(failed)?;
        Ok(files.into_iter().map(raised).collect())
    }

    fn inspect(&self, path: &str) -> Result<Option<PfsFile>> {
        Ok(pfs::inspect(path).map_err(failed)?.map(raised))
    }

    fn read(&self, path: &str, start: u64, length: u32) -> Result<Vec<u8>> {
        pfs::read(path, start, length).map_err(failed)
    }
}

impl RepoFiles for pfs::Commit {
    fn put_file(&self, path: &str, how: Option<Mode>, bytes: &[u8]) -> Result<()> {
        Self::put_file(self, path, how.map(lowered), bytes).map_err(failed)
    }

    fn open_file(&self, path: &str, how: Option<Mode>) -> Result<Box<dyn RepoWriter>> {
        Ok(Box::new(Self::open_file(self, path, how.map(lowered)).map_err(failed)?))
    }

    fn put_batch(&self, path: Option<&str>, how: Option<Mode>, batch: Batch) -> Result<()> {
        let (schema, parts) = boundary::parts::lower(batch);
        let schema = boundary::schema::lower(&schema);
        Self::put_batch(self, path, how.map(lowered), &schema, &parts).map_err(failed)
    }

    fn delete_file(&self, path: &str) -> Result<()> {
        Self::delete_file(self, path).map_err(failed)
    }
}

impl RepoCommit for pfs::Commit {
    fn set_marker(&mut self, marker: &[u8]) -> Result<()> {
        Self::set_marker(self, marker).map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<String> {
        Self::finish(*self).map_err(failed)
    }
}

impl RepoWriter for pfs::Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        // What crosses at once is limited.
        bytes.chunks(1 << 20).try_for_each(|piece| Self::write(self, piece).map_err(failed))
    }

    fn close(self: Box<Self>) -> Result<u64> {
        Self::close(*self).map_err(failed)
    }
}
