//! `pfs` and `marker`: linked so that any plugin links, and denied, because no task has a repo of its own yet.

use wasmtime::component::Resource;

use super::{
    bindings::spout::plugin::{
        marker,
        pfs::{Error, Host, HostCommit, Mode, Parts, Schema},
        types::Fault,
    },
    host::Held,
};

/// A commit that no plugin ever gets.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum NoCommit {}

fn denied() -> Error {
    Error::Fatal(Fault {
        code: "pfs.denied".to_owned(),
        message: "this task has no repo of its own; rows leave it through its answers".to_owned(),
        retry_after_ms: None,
    })
}

impl marker::Host for Held {
    fn load(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

impl Host for Held {}

impl HostCommit for Held {
    fn begin(&mut self) -> wasmtime::Result<Result<Resource<NoCommit>, Error>> {
        Ok(Err(denied()))
    }

    fn put_file(
        &mut self,
        _: Resource<NoCommit>,
        _: String,
        _: Mode,
        _: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(Err(denied()))
    }

    fn put_batch(
        &mut self,
        _: Resource<NoCommit>,
        _: String,
        _: Mode,
        _: Schema,
        _: Parts,
    ) -> wasmtime::Result<Result<(), Error>> {
        Ok(Err(denied()))
    }

    fn delete_file(&mut self, _: Resource<NoCommit>, _: String) -> wasmtime::Result<Result<(), Error>> {
        Ok(Err(denied()))
    }

    fn set_marker(&mut self, _: Resource<NoCommit>, _: Vec<u8>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: Resource<NoCommit>) -> wasmtime::Result<Result<String, Error>> {
        Ok(Err(denied()))
    }

    fn drop(&mut self, commit: Resource<NoCommit>) -> wasmtime::Result<()> {
        self.table.delete(commit).map(|commit| match commit {}).map_err(Into::into)
    }
}
