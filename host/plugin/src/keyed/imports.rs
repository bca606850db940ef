//! `state`: what a guest calls.

use spout_data::Blobs;

use super::{Refused, View};
use crate::{
    bindings::spout::plugin::{
        state::{Entries, Found, Host},
        types::BlobsResult,
    },
    convert::messages::raise_blobs,
    host::{Held, Hit},
};

impl Host for Held {
    fn get(&mut self, keys: BlobsResult) -> wasmtime::Result<Found> {
        let keys = raised(keys, "keys")?;
        let found = view(self)?.get_all(entries(&keys));
        let found = found.map_err(|refused| refuse(self, refused))?;
        Ok(Found { values: lowered(found.values), missing: found.missing })
    }

    fn put(&mut self, told: Entries) -> wasmtime::Result<()> {
        let (keys, values) = (raised(told.keys, "keys")?, raised(told.values, "values")?);
        if keys.len() != values.len() {
            let what = format!("the guest put {} values for {} keys", values.len(), keys.len());
            return Err(wasmtime::Error::msg(what));
        }
        let changed = view(self)?.change(entries(&keys).zip(entries(&values).map(Some)));
        changed.map_err(|refused| refuse(self, refused))
    }

    fn delete(&mut self, keys: BlobsResult) -> wasmtime::Result<()> {
        let keys = raised(keys, "keys")?;
        let changed = view(self)?.change(entries(&keys).map(|key| (key, None)));
        changed.map_err(|refused| refuse(self, refused))
    }

    fn scan(&mut self, prefix: Vec<u8>, after: Option<Vec<u8>>, limit: u32) -> wasmtime::Result<Entries> {
        let (keys, values) = view(self)?.scan(&prefix, after.as_deref(), limit as usize);
        Ok(Entries { keys: lowered(keys), values: lowered(values) })
    }
}

fn view(held: &mut Held) -> wasmtime::Result<&mut View> {
    if held.keyed.is_none() {
        held.hit = Some(Hit::Stateless);
    }
    held.keyed.as_mut().ok_or_else(|| wasmtime::Error::msg("keyed state is for handlers with state"))
}

fn refuse(held: &mut Held, refused: Refused) -> wasmtime::Error {
    let (hit, what) = match refused {
        Refused::Full => (Hit::State, "state limit"),
        Refused::Answer => (Hit::Answer, "answer limit"),
    };
    held.hit = Some(hit);
    wasmtime::Error::msg(what)
}

fn entries(blobs: &Blobs) -> impl Iterator<Item = &[u8]> {
    (0..blobs.len()).map(|index| blobs.get(index))
}

fn raised(told: BlobsResult, name: &str) -> wasmtime::Result<Blobs> {
    raise_blobs(told, name).map_err(wasmtime::Error::msg)
}

fn lowered(blobs: Blobs) -> BlobsResult {
    BlobsResult { bounds: blobs.bounds, bytes: blobs.bytes }
}
