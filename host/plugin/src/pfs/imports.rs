//! `pfs` and `marker`: what a guest calls.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use spout_base::error::Kind;
use wasmtime::component::Resource;

use super::{Overwrite, Pfs, PfsCommit, PfsFile, PfsWriter, Refused};
use crate::{
    bindings::spout::plugin::{
        marker,
        pfs::{Error, File, Host, HostCommit, HostWriter, Mode, Parts, Schema},
        types::Fault,
    },
    convert,
    host::Held,
    instance::MESSAGE,
    log::clean,
};

/// Bytes and files of one answer to a guest.
pub(super) const READ: usize = 1 << 20;
const LISTED: usize = 1000;

/// What a plugin has that puts files, and no other.
#[derive(Debug)]
pub(crate) struct Drive {
    /// The repo of a plugin that drives itself; a transformer has the commit that it is given.
    pub(crate) pfs: Option<Arc<dyn Pfs>>,
    /// Whether it waits in `control.pause`: it has nothing for now.
    pub(crate) resting: Arc<AtomicBool>,
    /// Ticks that it has from one call to the host to the next.
    pub(crate) ticks: u64,
}

impl Drive {
    /// Notes that the guest rests, until what this returns is dropped.
    pub(crate) fn rest(&self) -> Resting {
        self.resting.store(true, Ordering::Relaxed);
        Resting(Arc::clone(&self.resting))
    }
}

/// A rest of the guest.
#[derive(Debug)]
pub(crate) struct Resting(Arc<AtomicBool>);

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A commit that the guest has begun.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Begun(pub(crate) Box<dyn PfsCommit>);

/// A file that the guest is writing.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Writing(Box<dyn PfsWriter>);

fn denied() -> Error {
    Error::Fatal(Fault {
        code: "pfs.denied".to_owned(),
        message: "only a self-driven spout has a repo of its own; other plugins answer with rows, or put files into the commit they get"
            .into(),
        retry_after_ms: None,
    })
}

/// In words for the guest. What passes is worth another try.
pub(super) fn refused(why: Refused) -> Error {
    let mut message = why.to_string();
    let mut cause = why.source();
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    let fault = Fault { code: format!("pfs.{}", why.code()), message: clean(&message, MESSAGE), retry_after_ms: None };
    if why.kind() == Kind::Unavailable { Error::Retriable(fault) } else { Error::Fatal(fault) }
}

fn overwrites(how: Option<Mode>) -> Overwrite {
    how.map(|how| matches!(how, Mode::Overwrite))
}

fn told(file: PfsFile) -> File {
    let PfsFile { path, size, sha256, rows } = file;
    File { path, size, sha256, rows }
}

impl Held {
    /// The repo of the guest, if it has one.
    fn pfs(&self) -> Result<Arc<dyn Pfs>, Error> {
        self.drive.as_ref().and_then(|drive| drive.pfs.clone()).ok_or_else(denied)
    }

    fn begun(&mut self, commit: &Resource<Begun>) -> wasmtime::Result<&mut dyn PfsCommit> {
        Ok(self.table.get_mut(commit)?.0.as_mut())
    }
}

impl marker::Host for Held {
    fn load(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        self.breathe();
        Ok(self.drive.as_ref().and_then(|drive| drive.pfs.as_ref()?.marker()).map(Vec::from))
    }
}

impl Host for Held {
    async fn list(
        &mut self,
        below: String,
        after: Option<String>,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<File>, Error>> {
        let answer = match self.pfs() {
            Ok(pfs) => pfs.list(&below, after.as_deref(), LISTED.min(limit as usize)).await.map_err(refused),
            Err(denied) => Err(denied),
        };
        self.breathe();
        Ok(answer.map(|files| files.into_iter().map(told).collect()))
    }

    async fn inspect(&mut self, path: String) -> wasmtime::Result<Result<Option<File>, Error>> {
        let answer = match self.pfs() {
            Ok(pfs) => pfs.inspect(&path).await.map_err(refused),
            Err(denied) => Err(denied),
        };
        self.breathe();
        Ok(answer.map(|file| file.map(told)))
    }

    async fn read(&mut self, path: String, start: u64, length: u32) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let answer = match self.pfs() {
            Ok(pfs) => pfs.read(&path, start, READ.min(length as usize)).await.map_err(refused),
            Err(denied) => Err(denied),
        };
        self.breathe();
        Ok(answer.map(Vec::from))
    }
}

impl HostCommit for Held {
    fn begin(&mut self) -> wasmtime::Result<Result<Resource<Begun>, Error>> {
        self.breathe();
        Ok(match self.pfs().and_then(|pfs| pfs.begin().map_err(refused)) {
            Ok(commit) => Ok(self.table.push(Begun(commit))?),
            Err(error) => Err(error),
        })
    }

    async fn put_file(
        &mut self,
        commit: Resource<Begun>,
        path: String,
        how: Option<Mode>,
        bytes: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        let answer = self.begun(&commit)?.put_file(&path, overwrites(how), Bytes::from(bytes)).await;
        self.breathe();
        Ok(answer.map_err(refused))
    }

    fn open_file(
        &mut self,
        commit: Resource<Begun>,
        path: String,
        how: Option<Mode>,
    ) -> wasmtime::Result<Result<Resource<Writing>, Error>> {
        self.breathe();
        Ok(match self.begun(&commit)?.open_file(&path, overwrites(how)) {
            Ok(writer) => Ok(self.table.push(Writing(writer))?),
            Err(why) => Err(refused(why)),
        })
    }

    async fn put_batch(
        &mut self,
        commit: Resource<Begun>,
        path: Option<String>,
        how: Option<Mode>,
        schema: Schema,
        batch: Parts,
    ) -> wasmtime::Result<Result<(), Error>> {
        let schema = convert::schema::raise(&schema, &self.limits).map(Arc::new);
        let rows = schema.and_then(|schema| convert::parts::raise(schema, batch, &self.limits));
        // What is no batch is a bug of the guest, as it is in an answer.
        let rows = rows.map_err(|what| wasmtime::Error::msg(format!("the guest put a batch that is none: {what}")))?;
        let answer = self.begun(&commit)?.put_batch(path.as_deref(), overwrites(how), rows).await;
        self.breathe();
        Ok(answer.map_err(refused))
    }

    async fn delete_file(&mut self, commit: Resource<Begun>, path: String) -> wasmtime::Result<Result<(), Error>> {
        let answer = self.begun(&commit)?.delete_file(&path).await;
        self.breathe();
        Ok(answer.map_err(refused))
    }

    fn set_marker(&mut self, commit: Resource<Begun>, marker: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        self.breathe();
        Ok(self.begun(&commit)?.set_marker(marker).map_err(refused))
    }

    async fn finish(&mut self, commit: Resource<Begun>) -> wasmtime::Result<Result<String, Error>> {
        let Begun(commit) = self.table.delete(commit)?;
        let answer = commit.finish().await;
        self.breathe();
        Ok(answer.map_err(refused))
    }

    fn drop(&mut self, commit: Resource<Begun>) -> wasmtime::Result<()> {
        self.table.delete(commit)?;
        Ok(())
    }
}

impl HostWriter for Held {
    async fn write(&mut self, writer: Resource<Writing>, bytes: Vec<u8>) -> wasmtime::Result<Result<(), Error>> {
        let answer = self.table.get_mut(&writer)?.0.write(Bytes::from(bytes)).await;
        self.breathe();
        Ok(answer.map_err(refused))
    }

    async fn close(&mut self, writer: Resource<Writing>) -> wasmtime::Result<Result<u64, Error>> {
        let Writing(writer) = self.table.delete(writer)?;
        let answer = writer.close().await;
        self.breathe();
        Ok(answer.map_err(refused))
    }

    fn drop(&mut self, writer: Resource<Writing>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}
