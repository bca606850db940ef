//! `datum`: the file that a transformer is given.

use bytes::Bytes;
use wasmtime::component::Resource;

use super::{
    Answer,
    imports::{READ, refused},
};
use crate::{
    bindings::spout::plugin::datum::{Error, Host, HostInput},
    host::Held,
};

/// A file that a transformer is to make others of.
pub trait PfsInput: std::fmt::Debug + Send + Sync {
    /// Its path in the repo that it is in.
    fn path(&self) -> &str;

    /// Bytes.
    fn size(&self) -> u64;

    /// At most `length` bytes of it, from `start` on.
    fn read(&self, start: u64, length: usize) -> Answer<'_, Bytes>;
}

/// A file that is lent to the guest for one call.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Lent(pub(crate) Box<dyn PfsInput>);

impl Host for Held {}

impl HostInput for Held {
    fn path(&mut self, input: Resource<Lent>) -> wasmtime::Result<String> {
        self.breathe();
        Ok(self.table.get(&input)?.0.path().to_owned())
    }

    fn size(&mut self, input: Resource<Lent>) -> wasmtime::Result<u64> {
        self.breathe();
        Ok(self.table.get(&input)?.0.size())
    }

    async fn read(
        &mut self,
        input: Resource<Lent>,
        start: u64,
        length: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let answer = self.table.get(&input)?.0.read(start, READ.min(length as usize)).await;
        self.breathe();
        Ok(answer.map(Vec::from).map_err(refused))
    }

    fn drop(&mut self, input: Resource<Lent>) -> wasmtime::Result<()> {
        self.table.delete(input)?;
        Ok(())
    }
}
