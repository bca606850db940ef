//! Packs: small files that lived inside records which were collected, and are still part of a commit that is kept.
//!
//! A pack holds the bytes one after the other, then a table of where each is. It is named after the branch and the first
//! record that was kept when it was made, so that a reader that misses a record finds the pack by name.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::record::{Blob, Slot};
use crate::{
    error::Error,
    layout::Layout,
    object::{Objects, Step},
};

/// Where the inline bytes of collected records are: by sequence and hash, first byte and length.
type Table = BTreeMap<String, (u64, u64)>;

/// The end of a pack: where its table starts.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    table: u64,
}

const END: usize = 40;

fn key(slot: &Slot, blob: &Blob) -> String {
    format!("{:020}/{}", slot.sequence, blob.sha256)
}

/// A pack being put together.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    body: BytesMut,
    table: Table,
}

impl Pack {
    pub(crate) fn add(&mut self, slot: &Slot, blob: &Blob, bytes: &[u8]) {
        let at = self.body.len() as u64;
        if self.table.insert(key(slot, blob), (at, bytes.len() as u64)).is_none() {
            self.body.extend_from_slice(bytes);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Makes it durable.
    pub(crate) async fn write(
        mut self,
        (objects, layout): (&Objects, &Layout),
        branch: &str,
        boundary: u64,
    ) -> Result<(), Error> {
        let wrong = |source: serde_json::Error| Error::encode("JSON", source);
        let at = self.body.len() as u64;
        self.body.extend_from_slice(&serde_json::to_vec(&self.table).map_err(wrong)?);
        let end = serde_json::to_string(&End { table: at }).map_err(wrong)?;
        self.body.extend_from_slice(format!("{end:>END$}").as_bytes());
        let path = layout.pack(branch, boundary);
        objects.overwrite(Step::Pack, &path, self.body.freeze()).await
    }
}

/// Whether the pack of a boundary is there and holds these and nothing else; also if there is none and nothing is wanted.
pub(crate) async fn holds<'a>(
    (objects, layout): (&Objects, &Layout),
    branch: &str,
    boundary: u64,
    wanted: impl Iterator<Item = (&'a Slot, &'a Blob)>,
) -> Result<bool, Error> {
    let wanted: BTreeSet<String> = wanted.map(|(slot, blob)| key(slot, blob)).collect();
    let path = layout.pack(branch, boundary);
    let Some(size) = objects.size(&path).await? else { return Ok(wanted.is_empty()) };
    let there = table(objects, &path, size).await?;
    Ok(there.is_some_and(|(table, _)| table.len() == wanted.len() && table.keys().all(|key| wanted.contains(key))))
}

/// The bytes of `blob`, which was inline in the collected record of `slot`.
pub(crate) async fn find(objects: &Objects, layout: &Layout, slot: &Slot, blob: &Blob) -> Result<Option<Bytes>, Error> {
    for (path, size) in objects.list(&layout.packs(&slot.branch)).await? {
        if Layout::sequence(&path).is_none_or(|boundary| boundary <= slot.sequence) {
            continue;
        }
        if let Some(bytes) = within(objects, &path, size, slot, blob).await? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

async fn within(objects: &Objects, path: &Path, size: u64, slot: &Slot, blob: &Blob) -> Result<Option<Bytes>, Error> {
    let Some((table, _)) = table(objects, path, size).await? else { return Ok(None) };
    let Some(&(at, length)) = table.get(&key(slot, blob)) else { return Ok(None) };
    objects.read_range(path, at..at.saturating_add(length)).await
}

/// The table of a pack, and where it starts.
async fn table(objects: &Objects, path: &Path, size: u64) -> Result<Option<(Table, u64)>, Error> {
    let damaged = |reason: &str| Error::BadIndex { object: objects.shown(path), reason: reason.to_owned() };
    let end = size.checked_sub(END as u64).ok_or_else(|| damaged("it is cut short"))?;
    let Some(bytes) = objects.read_range(path, end..size).await? else { return Ok(None) };
    let End { table: at } = serde_json::from_slice(&bytes).map_err(|_| damaged("it has no trailer"))?;
    if at >= end {
        return Err(damaged("its table is not where its trailer says"));
    }
    let Some(bytes) = objects.read_range(path, at..end).await? else { return Ok(None) };
    let table = serde_json::from_slice(&bytes).map_err(|source| damaged(&source.to_string()))?;
    Ok(Some((table, at)))
}
