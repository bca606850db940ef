//! A commit that is being filled: files become durable while rows still arrive.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use spout_base::clock;
use spout_data::Part;
use spout_format::{Encoded, Format, sha256};
use tokio::io::AsyncRead;

use super::draft::{Contents, draft};
use crate::{
    error::Error,
    layout::Layout,
    log::{Blob, FileAdded, Place, PutMode, Sweep, TableInfo},
    object::{Objects, Step},
    path,
    repo::{Follower, MASTER, Repo},
    tree::{FileEntry, Tree, encode_schema},
};

/// Files up to this size live inside the record, so that a small commit is one durable write.
pub(crate) const INLINE_FILE: usize = 32 << 10;
/// All inline bytes of a record together.
pub(crate) const INLINE_ALL: u32 = 256 << 10;

/// Files on their way into a commit. Nothing of it is visible before [`BranchWriter::finish`](super::BranchWriter::finish);
/// dropping it leaves at most objects that no record names.
#[derive(Debug)]
pub struct OpenCommit {
    objects: Objects,
    pub(crate) layout: Layout,
    branch: String,
    id: String,
    objects_made: u32,
    pub(super) inline: usize,
    /// Most of them.
    pub(super) inline_most: u32,
    pub(crate) files: Vec<FileAdded>,
    pub(crate) schemas: Vec<(String, String)>,
    /// Files to delete, and whether a put of this commit was taken back by it.
    pub(crate) removed: Vec<(String, bool)>,
    /// Parts of state that were put beside the files; none for those that stay as the head has them.
    pub(crate) state: BTreeMap<String, Option<Blob>>,
}

impl Repo {
    /// A commit to put files of `master` into.
    #[must_use]
    pub fn open_commit(&self) -> OpenCommit {
        self.open_commit_on(MASTER)
    }

    /// A commit to put files into. It is independent of the writer, so that rows can be taken while the commit before it
    /// is still being written. `branch` decides only where tables are kept.
    #[must_use]
    pub fn open_commit_on(&self, branch: &str) -> OpenCommit {
        OpenCommit::new(self, branch)
    }
}

impl OpenCommit {
    pub(crate) fn new(repo: &Repo, branch: &str) -> Self {
        Self {
            objects: repo.objects.clone(),
            layout: repo.layout.clone(),
            branch: branch.to_owned(),
            id: clock::nonce(),
            objects_made: 0,
            inline: 0,
            inline_most: INLINE_ALL,
            files: Vec::new(),
            schemas: Vec::new(),
            removed: Vec::new(),
            state: BTreeMap::new(),
        }
    }

    /// Id that the commit will have.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The same, to become the commit of this id.
    pub(crate) fn with_id(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// Bytes that the record will carry in itself.
    #[must_use]
    pub fn inline_bytes(&self) -> usize {
        self.inline
    }

    /// Whether nothing was put or deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.removed.is_empty()
    }

    /// Puts a file of any bytes. A large one is durable when this returns.
    ///
    /// # Errors
    /// [`Error::BadPath`], and what writing can end with.
    pub async fn put_file(&mut self, path: &str, how: PutMode, bytes: Bytes) -> Result<(), Error> {
        let path = path::file_path(path)?;
        let extension = path.rsplit_once('.').map(|(_, extension)| extension).filter(|extension| plain(extension));
        let sha256 = sha256(&bytes);
        let blob = self.blob(Step::Data, "data", extension.unwrap_or("bin"), bytes, sha256).await?;
        self.add(FileAdded { path, how, blob, table: None });
        Ok(())
    }

    /// Puts a file of any bytes as they come, holding a few megabytes of them at a time. A large one is durable when this
    /// returns.
    ///
    /// # Errors
    /// [`Error::BadPath`], what reading `from` ends with, and what writing can end with.
    pub async fn put_stream(
        &mut self,
        path: &str,
        how: PutMode,
        from: impl AsyncRead + Unpin + Send,
    ) -> Result<u64, Error> {
        let uploaded = self.begin_upload(path, how)?.write(from).await?;
        let size = uploaded.size();
        self.add_uploaded(uploaded).await?;
        Ok(size)
    }

    /// Puts the file `from` of a commit of the same repo at `to`, without copying a byte.
    ///
    /// # Errors
    /// [`Error::BadPath`], [`Error::Format`].
    pub fn copy_file(&mut self, tree: &Tree, from: &FileEntry, to: &str, how: PutMode) -> Result<(), Error> {
        let path = path::file_path(to)?;
        for (index, piece) in from.pieces.iter().enumerate() {
            if let Some((table, schema)) = piece.table.as_ref().zip(tree.schema(piece)) {
                self.know(table.format, schema)?;
            }
            let how = if index == 0 { how } else { PutMode::Append };
            let (blob, table) = (piece.blob.clone(), piece.table.clone());
            self.add(FileAdded { path: path.clone(), how, blob, table });
        }
        Ok(())
    }

    /// Puts a table. A large one is durable when this returns.
    ///
    /// # Errors
    /// [`Error::BadPath`], and what writing can end with.
    pub async fn put_table(&mut self, path: &str, how: PutMode, table: Encoded) -> Result<(), Error> {
        let path = path::file_path(path)?;
        let schema = self.know(table.format, &table.schema)?;
        let directory = match table.format {
            Format::Parquet => format!("tables/{}{}", self.branch, path::table(&path)),
            _ => "data".to_owned(),
        };
        let Encoded { bytes, sha256, format, rows, columns, portable, .. } = table;
        let blob = self.blob(Step::Data, &directory, format.extension(), bytes, sha256).await?;
        let table = TableInfo { format, rows, schema, columns, portable };
        self.add(FileAdded { path, how, blob, table: Some(table) });
        Ok(())
    }

    /// Puts a part of a handler's state, for a commit that another process publishes. A large one is durable when this returns.
    ///
    /// # Errors
    /// What writing can end with.
    pub async fn put_state(&mut self, key: &str, part: Part) -> Result<(), Error> {
        let blob = match part {
            Part::New(bytes) => {
                let sha256 = sha256(&bytes);
                Some(self.blob(Step::State, "data", "state", bytes, sha256).await?)
            }
            Part::Kept => None,
        };
        self.state.insert(key.to_owned(), blob);
        Ok(())
    }

    /// The key of a schema that the record will carry.
    fn know(&mut self, format: Format, schema: &arrow::datatypes::SchemaRef) -> Result<String, Error> {
        let (key, text) = encode_schema(schema).map_err(|source| Error::encode(format.extension(), source))?;
        if !self.schemas.iter().any(|(there, _)| *there == key) {
            self.schemas.push((key.clone(), text));
        }
        Ok(key)
    }

    /// Deletes the file at `path`, and takes back what this commit has put there so far.
    ///
    /// # Errors
    /// [`Error::BadPath`]. That there is no such file is found when the commit is finished.
    pub fn delete_file(&mut self, path: &str) -> Result<(), Error> {
        let path = path::file_path(path)?;
        let before = self.files.len();
        self.files.retain(|file| file.path != path);
        let taken_back = self.files.len() < before;
        match self.removed.iter_mut().find(|(there, _)| *there == path) {
            Some((_, there)) => *there |= taken_back,
            None => self.removed.push((path, taken_back)),
        }
        Ok(())
    }

    /// What an overwrite replaces within this commit was never visible, so the record does not mention it.
    pub(super) fn add(&mut self, file: FileAdded) {
        if file.how == PutMode::Overwrite {
            self.files.retain(|there| there.path != file.path);
        }
        self.files.push(file);
    }

    /// Bytes in their place: inline if they are few, else an object that is durable before the record names it.
    pub(crate) async fn blob(
        &mut self,
        step: Step,
        directory: &str,
        extension: &str,
        bytes: Bytes,
        sha256: String,
    ) -> Result<Blob, Error> {
        let size = bytes.len() as u64;
        if bytes.len() <= INLINE_FILE && self.inline + bytes.len() <= self.inline_most as usize {
            self.inline += bytes.len();
            return Ok(Blob { place: Place::Inline(bytes), size, sha256 });
        }
        let name = self.fresh(directory, extension);
        self.objects.create_fresh(step, &self.layout.object(&name), bytes).await?;
        Ok(Blob { place: Place::Object(name), size, sha256 })
    }

    /// Where objects are, and the name and path of one that holds the bytes of a file.
    pub(super) fn fresh_object(&mut self) -> (Objects, String, Path) {
        let name = self.fresh("data", "bin");
        let object = self.layout.object(&name);
        (self.objects.clone(), name, object)
    }

    fn fresh(&mut self, directory: &str, extension: &str) -> String {
        let name = format!("{directory}/{}-{}.{extension}", self.id, self.objects_made);
        self.objects_made += 1;
        name
    }

    /// Whether a collection leaves all objects of this commit alone.
    pub(crate) async fn survives(&self, sweep: &Sweep) -> Result<(), Error> {
        let swept = Error::Swept { branch: self.branch.clone() };
        let Some(list) = self.objects.find(&self.layout.object(&sweep.list)).await? else { return Err(swept) };
        let blobs = self.files.iter().map(|file| &file.blob).chain(self.state.values().flatten());
        let named: BTreeSet<&str> = blobs.filter_map(Blob::object).collect();
        let list = String::from_utf8_lossy(&list);
        if list.lines().any(|gone| named.contains(gone) || gone.contains(self.id.as_str())) {
            Err(swept)
        } else {
            Ok(())
        }
    }

    /// Whether its files could follow the newest commit that `head` has seen, with a marker that moves.
    ///
    /// # Errors
    /// Why not: a deleted file that is not there, a path that is also a directory.
    pub async fn check(&self, head: &Follower) -> Result<(), Error> {
        match head.state() {
            Some(state) if !self.is_empty() => {
                let state_of_head = state.head.commit.as_ref().map(|commit| commit.state.clone()).unwrap_or_default();
                let contents = Contents { epoch: state.head.epoch, state: state_of_head, ..Contents::default() };
                match draft(state, self, contents).await {
                    // Its marker moves.
                    Ok(_) | Err(Error::NothingMoved { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            _ => Ok(()),
        }
    }

    /// What a started commit keeps between two commands.
    pub(crate) fn staged(&self) -> Staged {
        let (files, schemas, removed) = (self.files.clone(), self.schemas.clone(), self.removed.clone());
        Staged { files, schemas, removed, state: self.state.clone() }
    }

    /// Adds what was kept, after what is there.
    pub(crate) fn restage(&mut self, staged: Staged) -> Result<(), Error> {
        for (path, taken_back) in staged.removed {
            self.delete_file(&path)?;
            if let Some(last) = self.removed.iter_mut().find(|(there, _)| *there == path) {
                last.1 |= taken_back;
            }
        }
        for schema in staged.schemas {
            if !self.schemas.contains(&schema) {
                self.schemas.push(schema);
            }
        }
        staged.files.into_iter().for_each(|file| self.add(file));
        self.state.extend(staged.state);
        Ok(())
    }
}

/// The changes of one command to a started commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Staged {
    pub(crate) files: Vec<FileAdded>,
    pub(crate) schemas: Vec<(String, String)>,
    pub(crate) removed: Vec<(String, bool)>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) state: BTreeMap<String, Option<Blob>>,
}

/// Only harmless extensions are carried over into object names.
fn plain(extension: &str) -> bool {
    (1..=10).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
