//! Large objects: sent in parts while they are read, so that memory holds a few parts and never the whole.
//!
//! **Invariant**: the object is there whole and durably when this returns its size, or no record will name it.

use std::io;

use bytes::{Bytes, BytesMut};
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, path::Path};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    task::JoinSet,
};

use super::{Objects, Step, answer, generic};
use crate::{error::Error, fault};

/// Size of a part. S3 allows 10,000 parts, so that an object can have 78 GiB.
pub(super) const PART: usize = 8 << 20;
/// Bodies of up to so many parts are sent as a whole.
pub(super) const WHOLE: usize = 2;
/// Parts on their way at once, besides the one that is being filled.
const IN_FLIGHT: usize = 3;

impl Objects {
    /// Creates an object of a fresh name from what `reader` gives, durably; its size and SHA-256.
    ///
    /// # Errors
    /// [`Error::Input`] if the reader fails, or what writing can end with. Nothing is visible then.
    pub(crate) async fn create_streamed(
        &self,
        step: Step,
        path: &Path,
        mut reader: impl AsyncRead + Unpin,
    ) -> Result<(u64, String), Error> {
        let mut hash = Sha256::new();
        let failed = |source| Error::Input { object: self.shown(path), source };
        let first = fill(&mut reader, self.part).await.map_err(failed)?;
        hash.update(&first);
        let mut size = first.len() as u64;
        if first.len() < self.part {
            self.create_fresh(step, path, first).await?;
            return Ok((size, format!("{:x}", hash.finalize())));
        }
        let mut upload = self.upload(step, path).await?;
        let mut part = first;
        while !part.is_empty() {
            if let Err(source) = upload.send(part).await {
                return Err(self.broken(path, upload, source).await);
            }
            part = match fill(&mut reader, self.part).await {
                Ok(part) => part,
                Err(source) => {
                    upload.abort().await;
                    return Err(failed(source));
                }
            };
            hash.update(&part);
            size += part.len() as u64;
        }
        self.complete(step, path, upload, size).await?;
        Ok((size, format!("{:x}", hash.finalize())))
    }

    /// Creates a large object of a fresh name, durably.
    pub(super) async fn create_in_parts(&self, step: Step, path: &Path, mut bytes: Bytes) -> Result<(), Error> {
        let size = bytes.len() as u64;
        let mut upload = self.upload(step, path).await?;
        while !bytes.is_empty() {
            let part = bytes.split_to(bytes.len().min(self.part));
            if let Err(source) = upload.send(part).await {
                return Err(self.broken(path, upload, source).await);
            }
        }
        self.complete(step, path, upload, size).await
    }

    async fn upload(&self, step: Step, path: &Path) -> Result<Upload, Error> {
        let begun = async {
            fault::point(step.points().0).map_err(generic)?;
            self.inner.put_multipart(path).await
        };
        let inner = begun.await.map_err(|source| self.unwritten(path, source))?;
        Ok(Upload { inner, parts: JoinSet::new() })
    }

    async fn broken(&self, path: &Path, upload: Upload, source: object_store::Error) -> Error {
        upload.abort().await;
        self.unwritten(path, source)
    }

    /// Makes the parts one object. A lost answer is settled by the object itself: the name is fresh, so that what is
    /// there in full length can only be ours. A local file whose directory could not be synced is not settled by that.
    async fn complete(&self, step: Step, path: &Path, mut upload: Upload, size: u64) -> Result<(), Error> {
        let done = match upload.all_sent().await {
            Ok(()) => upload.complete().await,
            error => error,
        };
        let Err(source) = done else {
            let after = fault::point(step.points().1).map_err(generic);
            return after.map_err(|source| self.unwritten(path, source));
        };
        if !answer::in_doubt(&source) && matches!(self.size(path).await, Ok(Some(there)) if there == size) {
            return Ok(());
        }
        Err(self.broken(path, upload, source).await)
    }
}

/// The next part; shorter only at the end.
async fn fill(reader: &mut (impl AsyncRead + Unpin), size: usize) -> io::Result<Bytes> {
    let mut part = BytesMut::with_capacity(size);
    while part.len() < size {
        let mut rest = (&mut *reader).take((size - part.len()) as u64);
        if rest.read_buf(&mut part).await? == 0 {
            break;
        }
    }
    Ok(part.freeze())
}

/// Parts on their way to one object.
struct Upload {
    inner: Box<dyn MultipartUpload>,
    parts: JoinSet<object_store::Result<()>>,
}

impl Upload {
    /// Sends one more part, once there is room for it.
    async fn send(&mut self, part: Bytes) -> object_store::Result<()> {
        while self.parts.len() >= IN_FLIGHT {
            self.one_sent().await?;
        }
        let (before, after) = Step::Part.points();
        fault::point(before).map_err(generic)?;
        let sent = self.inner.put_part(PutPayload::from(part));
        self.parts.spawn(async move {
            sent.await?;
            fault::point(after).map_err(generic)
        });
        Ok(())
    }

    async fn one_sent(&mut self) -> object_store::Result<()> {
        match self.parts.join_next().await {
            None => Ok(()),
            Some(Ok(sent)) => sent,
            Some(Err(source)) => Err(generic(source.into())),
        }
    }

    async fn all_sent(&mut self) -> object_store::Result<()> {
        while !self.parts.is_empty() {
            self.one_sent().await?;
        }
        Ok(())
    }

    async fn complete(&mut self) -> object_store::Result<()> {
        let (before, after) = Step::Complete.points();
        fault::point(before).map_err(generic)?;
        self.inner.complete().await?;
        fault::point(after).map_err(generic)
    }

    /// Takes back what was sent. What cannot be taken back now is nothing that a reader sees, and the bucket's own rule for
    /// unfinished uploads removes it.
    async fn abort(mut self) {
        self.parts.shutdown().await;
        if let Err(error) = self.inner.abort().await {
            tracing::debug!(%error, "could not undo a failed upload");
        }
    }
}
