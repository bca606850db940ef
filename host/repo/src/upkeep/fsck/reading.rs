//! Reading bytes and comparing them with what was committed: the long part of a check, in parts that each need nothing but the store.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{Depth, mismatch, reason, tables};
use crate::{
    error::Error,
    log::{Blob, Place, TableInfo},
    path,
    repo::{Repo, Store},
    tree::decode_schema,
    upkeep::reach::Named,
};

/// Bytes that are held at once while a part is read, unless one object alone has more.
const ROOM: u32 = 256 << 20;
/// Unit in which room is taken.
const UNIT: u32 = 4 << 10;

/// Bytes that a repo needs, to be read and compared with what its records say of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadPart {
    repo: String,
    depth: Depth,
    pub(super) blobs: Vec<ToRead>,
    /// Schemas of their tables, by key.
    schemas: BTreeMap<String, String>,
}

/// One run of bytes of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ToRead {
    pub(super) blob: Blob,
    pub(super) what: String,
    table: Option<TableInfo>,
}

/// What came of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadDone {
    /// Bytes that were read.
    pub(super) bytes: u64,
    /// Tables that were decoded.
    pub(super) tables: u64,
    /// What is wrong, by the number of the run of bytes in its part.
    pub(super) wrong: BTreeMap<usize, String>,
}

/// Who reads the parts of a check.
pub trait ReadsParts: Sync {
    /// Why a part may not be read.
    type Error: From<Error>;

    /// Bytes of a part at most, unless one object alone has more; and runs of bytes.
    fn most(&self) -> (u64, usize);

    /// Reads all of `parts`; what came of each, in their order.
    fn read<'a>(&'a self, parts: &'a [ReadPart]) -> BoxFuture<'a, Result<Vec<ReadDone>, Self::Error>>;
}

/// Reads them in this process.
#[derive(Debug)]
pub(super) struct Here<'a>(pub(super) &'a Store);

impl ReadsParts for Here<'_> {
    type Error = Error;

    fn most(&self) -> (u64, usize) {
        (u64::MAX, usize::MAX)
    }

    fn read<'a>(&'a self, parts: &'a [ReadPart]) -> BoxFuture<'a, Result<Vec<ReadDone>, Error>> {
        Box::pin(async move {
            let mut done = Vec::with_capacity(parts.len());
            for part in parts {
                done.push(part.read(self.0).await?);
            }
            Ok(done)
        })
    }
}

/// Cuts `blobs` of `repo` into parts of at most so many bytes and runs of bytes.
pub(super) fn parts(
    repo: &Repo,
    depth: Depth,
    blobs: impl Iterator<Item = Named>,
    schemas: &BTreeMap<String, String>,
    (bytes, runs): (u64, usize),
) -> Vec<ReadPart> {
    let fresh = || ReadPart { repo: repo.name().to_owned(), depth, blobs: Vec::new(), schemas: BTreeMap::new() };
    let (mut done, mut part, mut size) = (Vec::new(), fresh(), 0u64);
    for Named { blob, table, what } in blobs {
        if !part.blobs.is_empty() && (size.saturating_add(blob.size) > bytes || part.blobs.len() >= runs) {
            done.push(std::mem::replace(&mut part, fresh()));
            size = 0;
        }
        size = size.saturating_add(blob.size);
        let table = table.filter(|_| depth == Depth::Decoded);
        if let Some(key) = table.as_ref().map(|table| &table.schema)
            && let Some(text) = schemas.get(key)
        {
            part.schemas.entry(key.clone()).or_insert_with(|| text.clone());
        }
        part.blobs.push(ToRead { blob, what, table });
    }
    if !part.blobs.is_empty() {
        done.push(part);
    }
    done
}

impl ReadPart {
    /// Runs of bytes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Bytes that it should come to.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blobs.iter().fold(0, |sum, one| sum.saturating_add(one.blob.size))
    }

    /// Reads it out of `store`, several runs of bytes beside each other.
    ///
    /// # Errors
    /// [`Error::BadName`]; what is wrong with the bytes is part of the answer.
    pub async fn read(&self, store: &Store) -> Result<ReadDone, Error> {
        path::repo_name(&self.repo)?;
        let repo = Repo::new(store.objects().clone(), &self.repo);
        let schemas: BTreeMap<&str, Option<SchemaRef>> =
            self.schemas.iter().map(|(key, text)| (key.as_str(), decode_schema(text).ok())).collect();
        let room = Semaphore::new((ROOM / UNIT) as usize);
        let (repo, schemas, room) = (&repo, &schemas, &room);
        let beside = std::thread::available_parallelism().map_or(1, usize::from);
        let each = stream::iter(0..self.blobs.len()).map(|at| async move {
            let Some(one) = self.blobs.get(at) else { return (at, ReadDone::default()) };
            let units = u32::try_from(one.blob.size / u64::from(UNIT)).unwrap_or(u32::MAX);
            let _room = room.acquire_many(units.clamp(1, ROOM / UNIT)).await;
            let schema = one.table.as_ref().and_then(|table| schemas.get(table.schema.as_str()).cloned().flatten());
            (at, one.read(repo, schema).await)
        });
        let mut each = each.buffer_unordered(beside);
        let mut done = ReadDone::default();
        while let Some((at, one)) = each.next().await {
            done.bytes = done.bytes.saturating_add(one.bytes);
            done.tables += one.tables;
            done.wrong.extend(one.wrong.into_values().map(|wrong| (at, wrong)));
        }
        Ok(done)
    }
}

impl ReadDone {
    /// Whether it can be what came of `part`.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, part: &ReadPart) -> Result<(), String> {
        match self.wrong.keys().next_back().filter(|at| **at >= part.len()) {
            Some(at) => Err(format!("it names run {at} of a part of {}", part.len())),
            None if self.tables > part.len() as u64 => {
                Err(format!("it has decoded {} tables of a part of {}", self.tables, part.len()))
            }
            None => Ok(()),
        }
    }
}

impl ToRead {
    async fn read(&self, repo: &Repo, schema: Option<SchemaRef>) -> ReadDone {
        let wrong = |wrong: String| ReadDone { wrong: BTreeMap::from([(0, wrong)]), ..ReadDone::default() };
        let read = match &self.blob.place {
            Place::Object(name) => repo.objects.find(&repo.layout.object(name)).await,
            // Bytes of a record that is not kept have to be in a pack.
            Place::Record(_) | Place::Inline(_) => repo.blob(&self.what, &self.blob).await.map(Some),
        };
        let bytes = match read {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return wrong("it is missing".to_owned()),
            Err(error) => return wrong(reason(error)),
        };
        let own = self.clone();
        match tokio::task::spawn_blocking(move || own.compare(bytes, schema.as_ref())).await {
            Ok(done) => done,
            Err(panic) => wrong(format!("a bug: comparing it with its record failed: {panic}")),
        }
    }

    fn compare(&self, bytes: Bytes, schema: Option<&SchemaRef>) -> ReadDone {
        let read = bytes.len() as u64;
        let (wrong, tables) = match (mismatch(&self.blob, read, Some(&bytes)), &self.table) {
            (Some(wrong), _) => (Some(wrong), 0),
            (None, Some(table)) => (tables::check(&self.what, table, schema, bytes), 1),
            (None, None) => (None, 0),
        };
        ReadDone { bytes: read, tables, wrong: wrong.map(|wrong| (0, wrong)).into_iter().collect() }
    }
}
