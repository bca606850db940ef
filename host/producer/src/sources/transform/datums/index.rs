//! What was made of which file of the input: files of the output that the host keeps in `/.datums/`, a line for each input.
//!
//! Inputs are spread over 256 files by the hash of their paths, so that a commit writes those alone whose inputs have changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spout_repo::path::DATUMS;

use super::{super::guest_commit::GuestCommit, error::PerFileError, head::Head};
use crate::Error;

/// What was made of one file of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Datum {
    /// Its path in the input.
    pub(super) input: String,
    /// Hash of what it held.
    pub(super) sha256: String,
    /// What was made of it.
    pub(super) output: BTreeSet<String>,
}

/// What was made of which input, as far as it was asked for.
pub(super) struct Index {
    head: Arc<Head>,
    shards: BTreeMap<String, Shard>,
}

/// The inputs of one file.
#[derive(Default)]
struct Shard {
    datums: BTreeMap<String, Datum>,
    /// Whether the newest commit has it.
    there: bool,
    changed: bool,
}

impl Index {
    /// That of the newest commit.
    pub(super) fn new(head: Arc<Head>) -> Self {
        Self { head, shards: BTreeMap::new() }
    }

    /// What was made of `input`.
    pub(super) async fn get(&mut self, input: &str) -> Result<Option<&Datum>, Error> {
        Ok(self.shard(shard_of(input)).await?.datums.get(input))
    }

    pub(super) async fn put(&mut self, datum: Datum) -> Result<(), Error> {
        let shard = self.shard(shard_of(&datum.input)).await?;
        shard.changed = true;
        shard.datums.insert(datum.input.clone(), datum);
        Ok(())
    }

    pub(super) async fn remove(&mut self, input: &str) -> Result<(), Error> {
        let shard = self.shard(shard_of(input)).await?;
        shard.changed |= shard.datums.remove(input).is_some();
        Ok(())
    }

    /// All inputs.
    pub(super) async fn inputs(&mut self) -> Result<Vec<String>, Error> {
        self.load_all().await?;
        Ok(self.shards.values().flat_map(|shard| shard.datums.keys().cloned()).collect())
    }

    /// The input that the file at `output` was made of, if it was made of one.
    pub(super) async fn owner(&mut self, output: &str) -> Result<Option<String>, Error> {
        self.load_all().await?;
        let mut all = self.shards.values().flat_map(|shard| shard.datums.values());
        Ok(all.find(|datum| datum.output.contains(output)).map(|datum| datum.input.clone()))
    }

    /// Puts what has changed into `commit`.
    pub(super) async fn write(&self, commit: &mut GuestCommit) -> Result<(), Error> {
        for (name, shard) in self.shards.iter().filter(|(_, shard)| shard.changed) {
            let path = file(name);
            if shard.datums.is_empty() {
                if shard.there {
                    commit.delete_own_file(&path)?;
                }
                continue;
            }
            let mut text = Vec::new();
            for datum in shard.datums.values() {
                serde_json::to_writer(&mut text, datum).map_err(|source| damaged(&path, &source))?;
                text.push(b'\n');
            }
            commit.put_own_file(&path, &text[..]).await?;
        }
        Ok(())
    }

    async fn load_all(&mut self) -> Result<(), Error> {
        for number in 0..=u8::MAX {
            self.shard(format!("{number:02x}")).await?;
        }
        Ok(())
    }

    async fn shard(&mut self, name: String) -> Result<&mut Shard, Error> {
        if !self.shards.contains_key(&name) {
            let path = file(&name);
            let shard = match self.head.read(&path).await? {
                Some(text) => read(&path, &text)?,
                None => Shard::default(),
            };
            self.shards.insert(name.clone(), shard);
        }
        Ok(self.shards.entry(name).or_default())
    }
}

fn read(path: &str, text: &Bytes) -> Result<Shard, Error> {
    let lines = serde_json::Deserializer::from_slice(text).into_iter::<Datum>();
    let datums = lines.map(|datum| datum.map(|datum| (datum.input.clone(), datum)));
    let datums = datums.collect::<Result<_, _>>().map_err(|source| damaged(path, &source))?;
    Ok(Shard { datums, there: true, changed: false })
}

fn damaged(path: &str, source: &serde_json::Error) -> Error {
    PerFileError::Index { path: path.to_owned(), reason: source.to_string() }.into()
}

/// The shard that an input is in.
fn shard_of(input: &str) -> String {
    spout_format::sha256(input.as_bytes()).get(..2).unwrap_or("00").to_owned()
}

fn file(shard: &str) -> String {
    format!("{DATUMS}{shard}.ndjson")
}
