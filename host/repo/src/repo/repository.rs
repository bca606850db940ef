//! A repo as readers see it: branches, commits, files, bytes.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use spout_format::{Format, TableWriter, adapt, csv_header, decode, sha256};

use crate::{
    error::Error,
    layout::Layout,
    log::{Blob, Commit, Header, Piece, Place, Record, State, pack, seal, slot},
    object::{ByHash, Objects, PARALLEL},
    tree::{FileEntry, Tree},
};
use arrow::datatypes::SchemaRef;
use spout_base::near::did_you_mean;

/// A file tree with history.
#[derive(Clone, Debug)]
pub struct Repo {
    pub(crate) objects: Objects,
    pub(crate) layout: Layout,
    name: String,
}

/// A branch in a listing.
#[derive(Clone, Debug, Serialize)]
pub struct BranchInfo {
    /// Its name.
    pub name: String,
    /// Its newest commit.
    pub head: Option<Commit>,
    /// Commits that lead to it, itself included; squashed ones are not counted.
    pub commits: u64,
    /// Writers that have claimed it so far.
    pub epoch: u64,
    /// The pipeline that claimed it.
    pub pipeline: String,
}

impl Repo {
    pub(crate) fn new(objects: Objects, name: &str) -> Self {
        Self { objects, layout: Layout::of(name), name: name.to_owned() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All branches, sorted by name.
    ///
    /// # Errors
    /// Those of reading records.
    pub async fn branches(&self) -> Result<Vec<BranchInfo>, Error> {
        let states = stream::iter(self.branch_names().await?).map(|name| async move { self.state(&name).await });
        let states: Vec<State> = states.buffered(PARALLEL).try_collect().await?;
        let there = states.into_iter().filter(|state| !state.deleted && !state.is_new());
        Ok(there
            .map(|state| BranchInfo {
                commits: state.visible(),
                name: state.branch,
                epoch: state.head.epoch,
                pipeline: state.owner,
                head: state.head.commit,
            })
            .collect())
    }

    /// Names of all branches, deleted ones too.
    pub(crate) async fn branch_names(&self) -> Result<Vec<String>, Error> {
        self.objects.directories(&self.layout.branches()).await
    }

    /// What `branch` is now; empty if there is none.
    pub(crate) async fn state(&self, branch: &str) -> Result<State, Error> {
        Box::pin(State::load(&self.objects, &self.layout, &self.name, branch)).await
    }

    /// What `branch` is now.
    pub(crate) async fn known(&self, branch: &str) -> Result<State, Error> {
        let state = self.state(branch).await?;
        if state.is_new() || state.deleted {
            let names = self.branch_names().await?;
            let nearest = did_you_mean(branch, names.iter().map(String::as_str).filter(|name| *name != branch));
            return Err(Error::UnknownBranch { repo: self.name.clone(), branch: branch.to_owned(), nearest });
        }
        Ok(state)
    }

    /// What the branch of `commit` was right after it.
    pub(crate) async fn state_at<M: Sync>(&self, commit: &Commit<M>) -> Result<State, Error> {
        let Header { branch, sequence, .. } = &commit.header;
        match Box::pin(State::at(&self.objects, &self.layout, &self.name, branch, *sequence)).await {
            Err(Error::MissingRecord { object }) => match self.held(&commit.header.id).await? {
                Some(base) => Ok(State::of_base(&self.objects, &self.layout, base)),
                None if self.boundary(branch).await? > *sequence => Err(self.collected(commit)),
                None => Err(Error::MissingRecord { object }),
            },
            state => state,
        }
    }

    fn collected<M>(&self, commit: &Commit<M>) -> Error {
        let why = "its branch keeps only newer commits";
        Error::Collected { repo: self.name.clone(), commit: commit.header.id.clone(), why }
    }

    /// The first sequence of `branch` that is kept; 0 if all are.
    pub(crate) async fn boundary(&self, branch: &str) -> Result<u64, Error> {
        slot::boundary(&self.objects, &self.layout, branch).await
    }

    /// Where its objects are, and what they are called.
    pub(crate) fn place(&self) -> (&Objects, &Layout) {
        (&self.objects, &self.layout)
    }

    /// The files of `commit`.
    ///
    /// # Errors
    /// Those of reading records; [`Error::Collected`] if it is no longer kept.
    pub async fn tree<M: Sync>(&self, commit: &Commit<M>) -> Result<Tree, Error> {
        match Tree::of(&self.state_at(commit).await?).await {
            // A collection may have exchanged the index while it was read.
            Err(Error::BadIndex { .. }) => Tree::of(&self.state_at(commit).await?).await,
            tree => tree,
        }
    }

    /// The bytes of the file at `path`, verified against what was committed. A Parquet or Arrow file that grew by several
    /// commits is put together into one file; a CSV file has one header.
    ///
    /// # Errors
    /// [`Error::UnknownFile`], [`Error::DamagedFile`], [`Error::MixedTypes`] where the pieces of a table do not fit.
    pub async fn read_file(&self, tree: &Tree, path: &str) -> Result<Bytes, Error> {
        let file = tree.file(path)?;
        if let [only] = file.pieces.as_slice() {
            return self.piece(file, only).await;
        }
        match file.format {
            Some(Format::Parquet | Format::Arrow) => self.as_one_table(tree, file).await,
            Some(Format::Csv) if !same_columns(tree, file) => self.as_one_table(tree, file).await,
            _ => self.joined(tree, file).await,
        }
    }

    async fn joined(&self, tree: &Tree, file: &FileEntry) -> Result<Bytes, Error> {
        // What the record says of its size is compared with what is there, not allocated.
        let mut whole = BytesMut::new();
        for (index, piece) in file.pieces.iter().enumerate() {
            let bytes = self.piece(file, piece).await?;
            let header = match (index, file.format, tree.schema(piece)) {
                (1.., Some(Format::Csv), Some(schema)) => csv_header(schema),
                _ => Vec::new(),
            };
            whole.extend_from_slice(bytes.strip_prefix(header.as_slice()).unwrap_or(&bytes));
        }
        Ok(whole.freeze())
    }

    async fn as_one_table(&self, tree: &Tree, file: &FileEntry) -> Result<Bytes, Error> {
        let format = file.format.unwrap_or_default();
        let schema = tree.columns([file])?;
        let mut writer = TableWriter::new(format, SchemaRef::clone(&schema))?;
        for piece in &file.pieces {
            let Some(own) = tree.schema(piece) else { continue };
            let bytes = self.piece(file, piece).await?;
            for batch in decode(&file.path, format, own, bytes, None)? {
                let batch = adapt(&batch?, &schema);
                writer.write(&batch.map_err(|source| Error::encode(format.extension(), source))?)?;
            }
        }
        Ok(writer.finish()?.bytes)
    }

    /// The verified bytes of one piece of a file.
    ///
    /// # Errors
    /// [`Error::DamagedFile`], and those of reading.
    pub async fn piece(&self, file: &FileEntry, piece: &Piece) -> Result<Bytes, Error> {
        self.blob(&file.path, &piece.blob).await
    }

    /// The bytes `range` of the object `name`, as they are: nothing is verified. `None` if there is no such object.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn part(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        self.objects.read_range(&self.layout.object(name), range).await
    }

    /// The object `name` as messages show it.
    #[must_use]
    pub fn shown(&self, name: &str) -> String {
        self.objects.shown(&self.layout.object(name))
    }

    /// The part `key` of the state that `commit` holds, if it holds one.
    ///
    /// # Errors
    /// [`Error::DamagedFile`], and those of reading.
    pub async fn state_part(&self, commit: &Commit, key: &str) -> Result<Option<Bytes>, Error> {
        match commit.state.get(key) {
            Some(blob) => self.blob(&format!("the state of handler `{key}`"), blob).await.map(Some),
            None => Ok(None),
        }
    }

    /// The verified bytes of a blob of a commit; `what` is for messages.
    pub(crate) async fn blob(&self, what: &str, blob: &Blob) -> Result<Bytes, Error> {
        let (object, bytes) = match &blob.place {
            Place::Inline(bytes) => ("its record".to_owned(), Some(bytes.clone())),
            Place::Object(name) => {
                let path = self.layout.object(name);
                (self.objects.shown(&path), self.objects.find(&path).await?)
            }
            Place::Record(at) => {
                let path = self.layout.record(&at.branch, at.sequence);
                let object = self.objects.shown(&path);
                let held = self.objects.small().get(&path, &blob.sha256);
                let record = if held.is_some() { None } else { self.objects.find(&path).await? };
                let kept = match &record {
                    Some(bytes) => {
                        let small = small_files(&seal::parse(&object, bytes)?);
                        let kept = small.get(&blob.sha256).cloned();
                        self.objects.small().hold(&path, small);
                        kept
                    }
                    None => held,
                };
                // A writer that slept may have put a record that counts for nothing into a slot that was collected.
                let inline = match kept {
                    Some(bytes) => Some(bytes),
                    None => pack::find(&self.objects, &self.layout, at, blob).await?,
                };
                if inline.is_none() && record.is_none() {
                    return Err(Error::MissingRecord { object });
                }
                (object, inline)
            }
        };
        let damaged = |reason: &str| Error::DamagedFile {
            object: object.clone(),
            path: what.to_owned(),
            reason: reason.to_owned(),
        };
        let bytes = bytes.ok_or_else(|| damaged("it is missing"))?;
        if bytes.len() as u64 != blob.size {
            return Err(damaged(&format!("it has {} bytes, but {} were committed", bytes.len(), blob.size)));
        }
        if sha256(&bytes) == blob.sha256 { Ok(bytes) } else { Err(damaged("its bytes do not match their hash")) }
    }
}

/// The bytes that are in `record` itself, by the hash that it gives them.
fn small_files(record: &Record) -> ByHash {
    let Record::Commit(commit) = record else { return ByHash::new() };
    let blobs = commit.files.iter().map(|file| &file.blob).chain(commit.state.values());
    let small = blobs.filter_map(|blob| match &blob.place {
        Place::Inline(bytes) => Some((blob.sha256.clone(), bytes.clone())),
        _ => None,
    });
    small.collect()
}

fn same_columns(tree: &Tree, file: &FileEntry) -> bool {
    let key = |piece: &Piece| piece.table.as_ref().map(|table| table.schema.clone());
    let first = file.pieces.first().and_then(key);
    file.pieces.iter().all(|piece| key(piece) == first && tree.schema(piece).is_some())
}
