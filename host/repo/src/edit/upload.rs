//! A file on its way into a commit that takes others meanwhile.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::open_commit::{INLINE_FILE, OpenCommit};
use crate::{
    error::Error,
    log::{Blob, FileAdded, Place, PutMode},
    object::{Objects, Step},
    path,
};

/// A file that is being put. It belongs to the commit once [`OpenCommit::add_uploaded`] has it.
#[derive(Debug)]
pub struct Upload {
    objects: Objects,
    object: object_store::path::Path,
    name: String,
    path: String,
    how: PutMode,
}

/// A file whose bytes are durable, or few enough for the record.
#[derive(Debug)]
pub struct Uploaded {
    path: String,
    how: PutMode,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Few(bytes::Bytes),
    Object(Blob),
}

impl Uploaded {
    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.content {
            Content::Few(bytes) => bytes.len() as u64,
            Content::Object(blob) => blob.size,
        }
    }
}

impl OpenCommit {
    /// Begins to put a file, whose place among the puts of this commit is where it is added.
    ///
    /// # Errors
    /// [`Error::BadPath`].
    pub fn begin_upload(&mut self, path: &str, how: PutMode) -> Result<Upload, Error> {
        let path = path::file_path(path)?;
        let (objects, name, object) = self.fresh_object();
        Ok(Upload { objects, object, name, path, how })
    }

    /// Puts a file that was uploaded for this commit.
    ///
    /// # Errors
    /// What writing can end with.
    pub async fn add_uploaded(&mut self, uploaded: Uploaded) -> Result<(), Error> {
        let Uploaded { path, how, content } = uploaded;
        match content {
            Content::Few(bytes) => self.put_file(&path, how, bytes).await,
            Content::Object(blob) => {
                self.add(FileAdded { path, how, blob, table: None });
                Ok(())
            }
        }
    }
}

impl Upload {
    /// Takes the bytes as they come, holding a few megabytes of them at a time. What is large is durable when this returns.
    ///
    /// # Errors
    /// What reading `from` ends with, and what writing can end with.
    pub async fn write(self, mut from: impl AsyncRead + Unpin + Send) -> Result<Uploaded, Error> {
        let Self { objects, object, name, path, how } = self;
        let mut first = Vec::new();
        let failed = |source| Error::Input { object: objects.shown(&object), source };
        (&mut from).take(INLINE_FILE as u64 + 1).read_to_end(&mut first).await.map_err(failed)?;
        if first.len() <= INLINE_FILE {
            return Ok(Uploaded { path, how, content: Content::Few(first.into()) });
        }
        let whole = first.as_slice().chain(from);
        let (size, sha256) = objects.create_streamed(Step::Data, &object, whole).await?;
        let content = Content::Object(Blob { place: Place::Object(name), size, sha256 });
        Ok(Uploaded { path, how, content })
    }
}
