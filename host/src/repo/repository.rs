//! A repo as readers see it: branches, commits, files, bytes.

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use super::{
    Error,
    branch::{Layout, Log},
    error::nearest,
    format::{Format, TableWriter, adapt, csv_header, decode, merge, sha256},
    object::Objects,
    open_commit::OpenCommit,
    path,
    record::{self, Blob, Commit, Place, Record},
    reference::Reference,
    tree::{FileEntry, Piece, Tree},
    writer::BranchWriter,
};
use arrow::datatypes::SchemaRef;

/// Shorter starts of a commit id are not looked up.
const SHORTEST_PREFIX: usize = 4;

/// A file tree with history.
#[derive(Clone, Debug)]
pub struct Repo {
    pub(super) objects: Objects,
    pub(super) layout: Layout,
    name: String,
}

/// A branch in a listing.
#[derive(Clone, Debug, Serialize)]
pub struct BranchInfo {
    /// Its name.
    pub name: String,
    /// Its newest commit.
    pub head: Option<Commit>,
    /// Commits in it.
    pub commits: usize,
    /// Writers that have claimed it so far.
    pub epoch: u64,
    /// The pipeline that claimed it.
    pub pipeline: String,
}

impl Repo {
    pub(super) fn new(objects: Objects, name: &str) -> Self {
        Self { objects, layout: Layout::of(name), name: name.to_owned() }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes over `branch` for `pipeline`: reads the head, and raises the epoch by a claim record, so that an older writer
    /// is fenced at its next commit. The branch is made if it does not exist.
    ///
    /// # Errors
    /// [`Error::OwnedBranch`] if another pipeline writes it, [`Error::BadRecord`] and its like if it cannot be read,
    /// [`Error::Contended`] if others keep writing it.
    pub async fn writer(&self, branch: &str, pipeline: &str) -> Result<BranchWriter, Error> {
        path::branch_name(branch)?;
        BranchWriter::claim(self, branch, pipeline).await
    }

    /// A commit to put files into. It is independent of the writer, so that rows can be taken while the commit before it
    /// is still being written.
    #[must_use]
    pub fn open_commit(&self) -> OpenCommit {
        OpenCommit::new(self)
    }

    /// All branches, sorted by name.
    ///
    /// # Errors
    /// Those of reading records.
    pub async fn branches(&self) -> Result<Vec<BranchInfo>, Error> {
        let mut infos = Vec::new();
        for name in self.branch_names().await? {
            let log = Log::load(&self.objects, &self.layout, &name).await?;
            let head = log.head();
            infos.push(BranchInfo {
                name,
                commits: log.commits().count(),
                epoch: head.epoch,
                pipeline: log.records.last().map(|record| record.pipeline().to_owned()).unwrap_or_default(),
                head: head.commit,
            });
        }
        Ok(infos)
    }

    pub(super) async fn branch_names(&self) -> Result<Vec<String>, Error> {
        self.objects.directories(&self.layout.branches()).await
    }

    /// The commits of `branch`, newest first, without the bytes of inline files.
    ///
    /// # Errors
    /// [`Error::UnknownBranch`], and those of reading records.
    pub async fn log(&self, branch: &str) -> Result<Vec<Commit>, Error> {
        let log = self.known(branch).await?;
        Ok(log.commits().rev().cloned().collect())
    }

    async fn known(&self, branch: &str) -> Result<Log, Error> {
        let log = Log::load(&self.objects, &self.layout, branch).await?;
        if log.records.is_empty() {
            let names = self.branch_names().await?;
            let nearest = nearest(branch, names.iter().map(String::as_str));
            return Err(Error::UnknownBranch { repo: self.name.clone(), branch: branch.to_owned(), nearest });
        }
        Ok(log)
    }

    /// The commit that `reference` names: the head of a branch, a commit id or the start of one, or one before it.
    ///
    /// # Errors
    /// [`Error::UnknownBranch`], [`Error::UnknownCommit`], [`Error::AmbiguousCommit`], and those of reading records.
    pub async fn resolve(&self, reference: &Reference) -> Result<Commit, Error> {
        let target = &reference.target;
        let names = self.branch_names().await?;
        let unknown = |reason: String| Error::UnknownCommit { reference: reference.to_string(), reason };
        let (log, at) = if names.contains(target) {
            let log = self.known(target).await?;
            let commits = log.commits().count();
            let newest = commits.checked_sub(1).ok_or_else(|| unknown(format!("branch {target} has no commit yet")))?;
            (log, newest)
        } else {
            self.by_id(target, &names).await?
        };
        let back = usize::try_from(reference.back).ok().and_then(|back| at.checked_sub(back));
        let wanted = back.and_then(|index| log.commits().nth(index)).cloned();
        wanted.ok_or_else(|| unknown(format!("only {at} commits come before {target}")))
    }

    /// The branch and place of the commit whose id starts with `prefix`.
    async fn by_id(&self, prefix: &str, branches: &[String]) -> Result<(Log, usize), Error> {
        let prefix = &prefix.to_ascii_lowercase();
        let mut found = Vec::new();
        if prefix.len() >= SHORTEST_PREFIX && prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            for branch in branches {
                let log = Log::load(&self.objects, &self.layout, branch).await?;
                let here = log.commits().enumerate().filter(|(_, commit)| commit.id.starts_with(prefix));
                let here: Vec<_> = here.map(|(at, _)| at).collect();
                found.extend(here.into_iter().map(|at| (log.clone(), at)));
            }
        }
        match (found.pop(), found.len()) {
            (Some(only), 0) => Ok(only),
            (Some(_), more) => {
                Err(Error::AmbiguousCommit { repo: self.name.clone(), prefix: prefix.clone(), count: more + 1 })
            }
            (None, _) => Err(Error::UnknownBranch {
                repo: self.name.clone(),
                branch: prefix.clone(),
                nearest: nearest(prefix, branches.iter().map(String::as_str)),
            }),
        }
    }

    /// The files of `commit`.
    ///
    /// # Errors
    /// Those of reading records.
    pub async fn tree(&self, commit: &Commit) -> Result<Tree, Error> {
        let log = Log::load(&self.objects, &self.layout, &commit.branch).await?;
        log.tree(&self.objects, &self.layout, commit)
    }

    /// The bytes of the file at `path`, verified against what was committed. A Parquet or Arrow file that grew by several
    /// commits is put together into one file; a CSV file has one header.
    ///
    /// # Errors
    /// [`Error::UnknownFile`], [`Error::DamagedFile`], [`Error::MixedTypes`] where the pieces of a table do not fit.
    pub async fn read_file(&self, tree: &Tree, path: &str) -> Result<Bytes, Error> {
        let file = tree.file(path)?;
        if let [only] = file.pieces.as_slice() {
            return self.piece(tree, file, only).await;
        }
        match file.format {
            Some(Format::Parquet | Format::Arrow) => self.as_one_table(tree, file).await,
            Some(Format::Csv) if !same_columns(tree, file) => self.as_one_table(tree, file).await,
            _ => self.joined(tree, file).await,
        }
    }

    async fn joined(&self, tree: &Tree, file: &FileEntry) -> Result<Bytes, Error> {
        let mut whole = BytesMut::with_capacity(usize::try_from(file.size).unwrap_or(0));
        for (index, piece) in file.pieces.iter().enumerate() {
            let bytes = self.piece(tree, file, piece).await?;
            let header = match (index, file.format, tree.schema(piece)) {
                (1.., Some(Format::Csv), Some(schema)) => csv_header(schema)?,
                _ => Vec::new(),
            };
            whole.extend_from_slice(bytes.strip_prefix(header.as_slice()).unwrap_or(&bytes));
        }
        Ok(whole.freeze())
    }

    async fn as_one_table(&self, tree: &Tree, file: &FileEntry) -> Result<Bytes, Error> {
        let format = file.format.unwrap_or_default();
        let schema = table_schema(tree, [file])?;
        let mut writer = TableWriter::new(format, SchemaRef::clone(&schema))?;
        for piece in &file.pieces {
            let Some(own) = tree.schema(piece) else { continue };
            let bytes = self.piece(tree, file, piece).await?;
            for batch in decode(&file.path, format, own, bytes, None)? {
                let batch = adapt(&batch?, &schema);
                writer.write(
                    &batch.map_err(|source| Error::Encode { format: format.extension(), source: source.into() })?,
                )?;
            }
        }
        Ok(writer.finish()?.bytes)
    }

    /// The verified bytes of one piece of a file.
    pub(super) async fn piece(&self, tree: &Tree, file: &FileEntry, piece: &Piece) -> Result<Bytes, Error> {
        self.blob(&tree.branch, &file.path, &piece.blob).await
    }

    /// The verified bytes of a blob of a commit of `branch`; `what` is for messages.
    pub(super) async fn blob(&self, branch: &str, what: &str, blob: &Blob) -> Result<Bytes, Error> {
        let (object, bytes) = match &blob.place {
            Place::Inline(bytes) => ("its record".to_owned(), Some(bytes.clone())),
            Place::Object(name) => {
                let path = self.layout.object(name);
                (self.objects.shown(&path), self.objects.find(&path).await?)
            }
            Place::Record(sequence) => {
                let path = self.layout.record(branch, *sequence);
                let object = self.objects.shown(&path);
                let Some(bytes) = self.objects.find(&path).await? else {
                    return Err(Error::MissingRecord { object });
                };
                let inline = inline(&record::parse(&object, &bytes)?, blob);
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
            return Err(damaged(&format!("it has {} bytes, {} were committed", bytes.len(), blob.size)));
        }
        match sha256(&bytes) == blob.sha256 {
            true => Ok(bytes),
            false => Err(damaged("its bytes do not match their hash")),
        }
    }
}

/// The inline bytes of `record` that hash to what `blob` says.
fn inline(record: &Record, blob: &Blob) -> Option<Bytes> {
    let Record::Commit(commit) = record else { return None };
    let mut blobs = commit.files.iter().map(|file| &file.blob).chain(commit.state.values());
    blobs.find_map(|there| match &there.place {
        Place::Inline(bytes) if there.sha256 == blob.sha256 => Some(bytes.clone()),
        _ => None,
    })
}

fn same_columns(tree: &Tree, file: &FileEntry) -> bool {
    let key = |piece: &Piece| piece.table.as_ref().map(|table| table.schema.clone());
    let first = file.pieces.first().and_then(key);
    file.pieces.iter().all(|piece| key(piece) == first && tree.schema(piece).is_some())
}

/// The columns that hold the rows of all `files`.
pub(super) fn table_schema<'a>(
    tree: &Tree,
    files: impl IntoIterator<Item = &'a FileEntry>,
) -> Result<SchemaRef, Error> {
    let mut merged: Option<(SchemaRef, &str)> = None;
    for file in files {
        for schema in file.pieces.iter().filter_map(|piece| tree.schema(piece)) {
            merged = Some(match merged {
                None => (SchemaRef::clone(schema), &file.path),
                Some((there, from)) if there == *schema => (there, from),
                Some((there, from)) => {
                    let both = merge(&there, schema).map_err(|(column, left, right)| Error::MixedTypes {
                        column,
                        left: left.to_string(),
                        left_file: from.to_owned(),
                        right: right.to_string(),
                        right_file: file.path.clone(),
                    })?;
                    (both.into(), &file.path)
                }
            });
        }
    }
    Ok(merged.map_or_else(|| SchemaRef::new(arrow::datatypes::Schema::empty()), |(schema, _)| schema))
}
