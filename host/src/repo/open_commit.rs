//! A commit that is being filled: files become durable while rows still arrive.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{
    Error,
    branch::Layout,
    format::{Encoded, sha256},
    object::{Objects, Step},
    path,
    record::{Blob, FileAdded, Place, PutMode, TableInfo},
    repository::Repo,
    tree::encode_schema,
};
use crate::clock;

/// Files up to this size live inside the record, so that a small commit is one durable write.
pub(super) const INLINE_FILE: usize = 32 << 10;
/// All inline bytes of a record together.
pub(super) const INLINE_ALL: usize = 256 << 10;

/// Files on their way into a commit. Nothing of it is visible before [`BranchWriter::finish`](super::BranchWriter::finish);
/// dropping it leaves at most objects that no record names.
#[derive(Debug)]
pub struct OpenCommit {
    objects: Objects,
    pub(super) layout: Layout,
    id: String,
    objects_made: u32,
    inline: usize,
    pub(super) files: Vec<FileAdded>,
    pub(super) schemas: Vec<(String, String)>,
    /// Files to delete, and whether a put of this commit was taken back by it.
    pub(super) removed: Vec<(String, bool)>,
}

impl OpenCommit {
    pub(super) fn new(repo: &Repo) -> Self {
        Self {
            objects: repo.objects.clone(),
            layout: repo.layout.clone(),
            id: clock::nonce(),
            objects_made: 0,
            inline: 0,
            files: Vec::new(),
            schemas: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// Id that the commit will have.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
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
        let blob = self.blob(Step::Data, extension.unwrap_or("bin"), bytes, sha256).await?;
        self.add(FileAdded { path, how, blob, table: None });
        Ok(())
    }

    /// Puts a table. A large one is durable when this returns.
    ///
    /// # Errors
    /// [`Error::BadPath`], and what writing can end with.
    pub async fn put_table(&mut self, path: &str, how: PutMode, table: Encoded) -> Result<(), Error> {
        let path = path::file_path(path)?;
        let (schema, text) = encode_schema(&table.schema)
            .map_err(|source| Error::Encode { format: table.format.extension(), source: source.into() })?;
        let blob = self.blob(Step::Data, table.format.extension(), table.bytes, table.sha256).await?;
        if !self.schemas.iter().any(|(key, _)| *key == schema) {
            self.schemas.push((schema.clone(), text));
        }
        let table = TableInfo { format: table.format, rows: table.rows, schema, columns: table.columns };
        self.add(FileAdded { path, how, blob, table: Some(table) });
        Ok(())
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
    fn add(&mut self, file: FileAdded) {
        if file.how == PutMode::Overwrite {
            self.files.retain(|there| there.path != file.path);
        }
        self.files.push(file);
        let used: BTreeSet<_> =
            self.files.iter().filter_map(|file| Some(file.table.as_ref()?.schema.clone())).collect();
        self.schemas.retain(|(key, _)| used.contains(key));
    }

    /// Bytes in their place: inline if they are few, else an object that is durable before the record names it.
    pub(super) async fn blob(
        &mut self,
        step: Step,
        extension: &str,
        bytes: Bytes,
        sha256: String,
    ) -> Result<Blob, Error> {
        let size = bytes.len() as u64;
        if bytes.len() <= INLINE_FILE && self.inline + bytes.len() <= INLINE_ALL {
            self.inline += bytes.len();
            return Ok(Blob { place: Place::Inline(bytes), size, sha256 });
        }
        let name = format!("{}-{}.{extension}", self.id, self.objects_made);
        self.objects_made += 1;
        self.objects.create_fresh(step, &self.layout.object(&name), bytes).await?;
        Ok(Blob { place: Place::Object(name), size, sha256 })
    }
}

/// Only harmless extensions are carried over into object names.
fn plain(extension: &str) -> bool {
    (1..=10).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
