//! Merging files: the long part of a compaction, in parts that each need nothing but the store. What they write no record names yet.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use spout_format::{Encoded, Format, TableWriter, decode, sha256};

use crate::{
    edit::Prepared,
    error::Error,
    log::{FileAdded, Piece, Place, PutMode},
    path,
    repo::{Repo, Store},
    tree::decode_schema,
};

/// Files of a branch that are to become fewer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergePart {
    pub(super) repo: String,
    pub(super) branch: String,
    /// How many parts there are.
    pub(super) of: usize,
    pub(super) groups: Vec<Group>,
    /// Schemas of the groups, by key.
    pub(super) schemas: BTreeMap<String, String>,
}

/// Files that become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Group {
    /// Where their rows go.
    pub(super) to: String,
    /// Those that are deleted for it.
    pub(super) gone: Vec<String>,
    /// Key of their schema.
    pub(super) schema: String,
    /// What they are made of, each with the path of its file, in order.
    pub(super) pieces: Vec<(String, Piece)>,
}

impl Group {
    pub(super) fn size(&self) -> u64 {
        self.pieces.iter().fold(0, |sum, (_, piece)| sum.saturating_add(piece.blob.size))
    }

    pub(super) fn rows(&self) -> u64 {
        self.pieces.iter().filter_map(|(_, piece)| piece.table.as_ref()).fold(0, |sum, table| sum + table.rows)
    }
}

/// Who merges the parts of a compaction.
pub trait MergesParts: Sync {
    /// Why a part may not be merged.
    type Error: From<Error>;

    /// Bytes of a part at most, unless one file that is made has more; and files that are made.
    fn most(&self) -> (u64, usize);

    /// Merges all of `parts`; what each has put, in their order.
    fn merge<'a>(&'a self, parts: &'a [MergePart]) -> BoxFuture<'a, Result<Vec<Prepared>, Self::Error>>;
}

/// Merges them in this process.
#[derive(Debug)]
pub(super) struct Here<'a>(pub(super) &'a Repo);

impl MergesParts for Here<'_> {
    type Error = Error;

    fn most(&self) -> (u64, usize) {
        (u64::MAX, usize::MAX)
    }

    fn merge<'a>(&'a self, parts: &'a [MergePart]) -> BoxFuture<'a, Result<Vec<Prepared>, Error>> {
        Box::pin(async move {
            let mut done = Vec::with_capacity(parts.len());
            for part in parts {
                done.push(part.merge_in(self.0).await?);
            }
            Ok(done)
        })
    }
}

/// Cuts `groups` into parts of at most so many bytes and groups.
pub(super) fn parts(
    repo: &Repo,
    branch: &str,
    groups: Vec<Group>,
    schemas: &BTreeMap<String, String>,
    (bytes, files): (u64, usize),
) -> Vec<MergePart> {
    let (mut done, mut open, mut size) = (Vec::new(), Vec::new(), 0u64);
    for group in groups {
        if !open.is_empty() && (size.saturating_add(group.size()) > bytes || open.len() >= files) {
            done.push(std::mem::take(&mut open));
            size = 0;
        }
        size = size.saturating_add(group.size());
        open.push(group);
    }
    if !open.is_empty() {
        done.push(open);
    }
    let of = done.len();
    let part = |groups: Vec<Group>| {
        let used: BTreeSet<&str> = groups.iter().map(|group| group.schema.as_str()).collect();
        let schemas = schemas.iter().filter(|(key, _)| used.contains(key.as_str()));
        let schemas = schemas.map(|(key, text)| (key.clone(), text.clone())).collect();
        MergePart { repo: repo.name().to_owned(), branch: branch.to_owned(), of, groups, schemas }
    };
    done.into_iter().map(part).collect()
}

impl MergePart {
    /// Bytes of the files that it merges.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.groups.iter().fold(0, |sum, group| sum.saturating_add(group.size()))
    }

    /// Pieces that it merges, and files that it makes of them.
    #[must_use]
    pub fn files(&self) -> (usize, usize) {
        (self.groups.iter().map(|group| group.pieces.len()).sum(), self.groups.len())
    }

    /// Merges it out of and into `store`: what it puts no record names.
    ///
    /// # Errors
    /// Names that are none, and those of reading and writing.
    pub async fn merge(&self, store: &Store) -> Result<Prepared, Error> {
        path::branch_name(&self.branch)?;
        let repo = store.repo(&self.repo).await?;
        self.merge_in(&repo).await
    }

    async fn merge_in(&self, repo: &Repo) -> Result<Prepared, Error> {
        let mut open = repo.open_commit_on(&self.branch).as_one_of(self.of);
        for group in &self.groups {
            let table = self.together(repo, group).await?;
            for path in &group.gone {
                open.delete_file(path)?;
            }
            open.put_table(&group.to, PutMode::Overwrite, table).await?;
        }
        Ok(open.prepared())
    }

    fn schema(&self, group: &Group) -> Result<SchemaRef, Error> {
        let text = self.schemas.get(&group.schema).map(String::as_str).unwrap_or_default();
        Ok(decode_schema(text).map_err(|source| spout_format::Error::Decode {
            path: group.to.clone(),
            format: Format::Parquet.extension(),
            source: source.into(),
        })?)
    }

    async fn together(&self, repo: &Repo, group: &Group) -> Result<Encoded, Error> {
        let schema = self.schema(group)?;
        let mut writer = TableWriter::new(Format::Parquet, SchemaRef::clone(&schema))?;
        for (path, piece) in &group.pieces {
            let bytes = repo.blob(path, &piece.blob).await?;
            for batch in decode(path, Format::Parquet, &schema, bytes, None)? {
                writer.write(&batch?)?;
            }
        }
        Ok(writer.finish()?)
    }

    /// Whether `prepared` is this part, merged: no other file, no row more or less, and objects of its own that are there.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self, prepared: &Prepared, store: &Store) -> Result<(), String> {
        let staged = prepared.staged();
        let gone: BTreeSet<&str> = self.groups.iter().flat_map(|group| &group.gone).map(String::as_str).collect();
        let removed: BTreeSet<&str> = staged.removed.iter().map(|(path, _)| path.as_str()).collect();
        if gone != removed || staged.removed.iter().any(|(_, taken_back)| *taken_back) {
            return Err("it deletes other files than those that it was to merge".to_owned());
        }
        if staged.files.len() != self.groups.len() {
            return Err(format!("it puts {} files instead of {}", staged.files.len(), self.groups.len()));
        }
        let schemas: BTreeMap<&str, &str> =
            staged.schemas.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let repo = store.repo(&self.repo).await.map_err(|error| error.to_string())?;
        for (group, file) in self.groups.iter().zip(&staged.files) {
            self.of_group(group, file, &schemas)?;
            if let Place::Object(name) = &file.blob.place {
                let size = repo.objects.size(&repo.layout.object(name)).await.map_err(|error| error.to_string())?;
                if size != Some(file.blob.size) {
                    return Err(format!("its object {name} is not there as it says"));
                }
            }
        }
        Ok(())
    }

    fn of_group(&self, group: &Group, file: &FileAdded, schemas: &BTreeMap<&str, &str>) -> Result<(), String> {
        let Some(table) = &file.table else { return Err(format!("it puts {} as no table", file.path)) };
        let own = schemas.get(table.schema.as_str()).and_then(|text| decode_schema(text).ok());
        let same = file.path == group.to && file.how == PutMode::Overwrite && table.format == Format::Parquet;
        if !same || own.is_none() || own != self.schema(group).ok() {
            return Err(format!("it puts {}, which is not the table {} that it was to make", file.path, group.to));
        }
        if table.rows != group.rows() {
            return Err(format!("{} has {} rows of {}", file.path, table.rows, group.rows()));
        }
        let directory = format!("tables/{}{}/", self.branch, path::table(&group.to));
        match &file.blob.place {
            Place::Inline(bytes) if bytes.len() as u64 == file.blob.size && sha256(bytes) == file.blob.sha256 => Ok(()),
            Place::Object(name) if name.strip_prefix(&directory).is_some_and(is_fresh) => Ok(()),
            _ => Err(format!("the bytes of {} are not in a place of their own", file.path)),
        }
    }
}

/// Whether an object is called as those of open commits are: an id, a number, and what it is.
fn is_fresh(name: &str) -> bool {
    let parts = name.strip_suffix(".parquet").and_then(|stem| stem.split_once('-'));
    parts.is_some_and(|(id, number)| {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        id.len() == 32 && id.bytes().all(hex) && number.parse::<u32>().is_ok()
    })
}
