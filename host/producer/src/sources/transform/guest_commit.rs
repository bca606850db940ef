//! One commit of a spout while it is being filled.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::array::RecordBatch;
use bytes::Bytes;
use spout_base::owner;
use spout_data::{Counts, Provenance};
use spout_format::{Format, TableWriter};
use spout_repo::{OpenCommit, PutMode, Savepoint, Uploaded, path};
use tokio::{
    io::{AsyncRead, AsyncWriteExt as _, DuplexStream},
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
};

use super::commits::{Commits, Committed};
use crate::{Error, PerFileError};

/// Bytes of a marker: it is part of every commit.
const MARKER: usize = 1 << 20;
/// What is known of a file until its commit is made.
const PUT: usize = 1 << 10;
/// Bytes of a file between who writes it and who uploads it.
const PIPE: usize = 256 << 10;
/// Where the host itself puts files.
const OWN: [&str; 3] = ["/dead-letter/", "/late/", path::DATUMS];

/// The rows of a commit, in order, with the room that they take.
pub(super) type Rows = VecDeque<(RecordBatch, OwnedSemaphorePermit)>;

/// A commit that is being filled. Dropping it aborts it.
#[derive(Debug)]
pub(super) struct GuestCommit {
    commits: Commits,
    files: OpenCommit,
    /// Files that were written piece by piece, in the order in which they were closed.
    written: Written,
    /// How many are being written.
    writing: Arc<()>,
    rows: Rows,
    marker: Option<Bytes>,
    provenance: Vec<Provenance>,
    counts: Counts,
    /// Room for the marker, and for what is known of each file.
    held: OwnedSemaphorePermit,
    _permit: OwnedSemaphorePermit,
}

/// What a commit had at some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    files: Savepoint,
    held: usize,
}

type Written = Arc<Mutex<Vec<Uploaded>>>;

impl GuestCommit {
    /// One that takes `held` before anything is put.
    pub(super) fn new(
        commits: Commits,
        files: OpenCommit,
        held: OwnedSemaphorePermit,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let (written, writing, rows) = (Written::default(), Arc::default(), Rows::new());
        let (marker, provenance, counts) = (None, Vec::new(), Counts::default());
        Self { commits, files, written, writing, rows, marker, provenance, counts, held, _permit: permit }
    }

    /// What it has now.
    pub(super) fn point(&self) -> Point {
        Point { files: self.files.savepoint(), held: self.held.num_permits() }
    }

    /// Forgets what was put since `point`, when it was not being written.
    pub(super) fn go_back(&mut self, point: Point) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.files.go_back(point.files);
        drop(self.held.split(self.held.num_permits().saturating_sub(point.held)));
    }

    /// The paths that were put since `point`.
    ///
    /// # Errors
    /// [`Error::Unclosed`], and those of writing.
    pub(super) async fn put_since(&mut self, point: Point) -> Result<BTreeSet<String>, Error> {
        self.settle().await?;
        Ok(self.files.put_since(point.files).map(str::to_owned).collect())
    }

    /// Takes back what was put at `path` since `point`.
    ///
    /// # Errors
    /// [`PerFileError::NotPut`] if nothing was.
    pub(super) async fn take_back(&mut self, path: &str, point: Point) -> Result<(), Error> {
        self.take_written().await?;
        let path = self.path(path)?;
        if !self.files.put_since(point.files).any(|put| put == path) {
            return Err(PerFileError::NotPut { path }.into());
        }
        self.files.delete_file(&path).map_err(|source| Error::commit("deleting a file in", source))
    }

    /// Notes a commit that it is made from.
    pub(super) fn made_from(&mut self, commit: Provenance) {
        self.provenance.push(commit);
    }

    /// Notes what became of what it is made from.
    pub(super) fn count(&mut self, counts: &Counts) {
        self.counts.add(counts);
    }

    /// Holds so many bytes more in memory.
    fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        self.held.merge(self.commits.room(bytes)?);
        Ok(())
    }

    /// Puts a file, of which a few megabytes are in memory at a time; its size. Without a mode, `spout.overwrite` decides.
    ///
    /// # Errors
    /// A path that is none or not the spout's, and those of reading and writing.
    pub(super) async fn put_file(
        &mut self,
        path: &str,
        how: Option<PutMode>,
        from: impl AsyncRead + Unpin + Send,
    ) -> Result<u64, Error> {
        self.take_written().await?;
        let path = self.path(path)?;
        self.hold(PUT)?;
        let how = how.unwrap_or_else(|| self.commits.usual());
        self.files.put_stream(&path, how, from).await.map_err(|source| Error::commit("putting a file into", source))
    }

    /// Puts a file that is the host's to put: the marker or part of it, or what it notes in places of its own. It takes the place of
    /// the one before; its size.
    ///
    /// # Errors
    /// A path that is none, and those of reading and writing.
    pub(super) async fn put_own_file(&mut self, path: &str, from: impl AsyncRead + Unpin + Send) -> Result<u64, Error> {
        self.hold(PUT)?;
        let put = self.files.put_stream(path, PutMode::Overwrite, from).await;
        put.map_err(|source| Error::commit("putting a file of the host into", source))
    }

    /// Deletes a file of the newest commit, whoever put it.
    ///
    /// # Errors
    /// A path that is none.
    pub(super) fn delete_own_file(&mut self, path: &str) -> Result<(), Error> {
        self.hold(PUT)?;
        self.files.delete_file(path).map_err(|source| Error::commit("deleting a file in", source))
    }

    /// Begins a file whose bytes are to come. The commit has it once it is closed.
    ///
    /// # Errors
    /// As for [`GuestCommit::put_file`], and [`Error::ManyFiles`].
    pub(super) fn open_file(&mut self, path: &str, how: Option<PutMode>) -> Result<FileWriter, Error> {
        let path = self.path(path)?;
        let permit = self.commits.writing()?;
        self.hold(PUT)?;
        let how = how.unwrap_or_else(|| self.commits.usual());
        let upload =
            self.files.begin_upload(&path, how).map_err(|source| Error::commit("putting a file into", source))?;
        let (to, from) = tokio::io::duplex(PIPE);
        let upload = Uploading(owner::spawn(upload.write(from)));
        Ok(FileWriter {
            to,
            upload,
            written: Arc::clone(&self.written),
            _writing: Arc::clone(&self.writing),
            _permit: permit,
        })
    }

    /// Deletes a file of the newest commit, or takes back what this one has put there.
    ///
    /// # Errors
    /// A path that is none or not the spout's. That there is no such file is found when the commit is finished.
    pub(super) async fn delete_file(&mut self, path: &str) -> Result<(), Error> {
        self.take_written().await?;
        let path = self.path(path)?;
        self.hold(PUT)?;
        self.files.delete_file(&path).map_err(|source| Error::commit("deleting a file in", source))
    }

    /// Sets the marker that the commit leaves.
    ///
    /// # Errors
    /// [`Error::LargeMarker`], [`Error::ManyHeld`].
    pub(super) fn set_marker(&mut self, marker: Vec<u8>) -> Result<(), Error> {
        if marker.len() > MARKER {
            return Err(Error::LargeMarker { size: marker.len(), most: MARKER });
        }
        self.hold(marker.len())?;
        self.marker = Some(marker.into());
        Ok(())
    }

    /// Puts rows of the pipeline: they pass its handlers and consumers.
    ///
    /// # Errors
    /// [`Error::ManyHeld`].
    pub(super) fn put_rows(&mut self, rows: RecordBatch) -> Result<(), Error> {
        if rows.num_rows() > 0 {
            let room = self.commits.room(rows.get_array_memory_size())?;
            self.rows.push_back((rows, room));
        }
        Ok(())
    }

    /// Puts rows as a file, in the format that its name says. They pass nothing.
    ///
    /// # Errors
    /// As for [`GuestCommit::put_file`]; a name that says no format, and rows that it cannot hold.
    pub(super) async fn put_table(
        &mut self,
        path: &str,
        how: Option<PutMode>,
        rows: &RecordBatch,
    ) -> Result<(), Error> {
        self.take_written().await?;
        let path = self.path(path)?;
        self.hold(PUT)?;
        let how = how.unwrap_or_else(|| self.commits.usual());
        let format = Format::of_path(&path).ok_or_else(|| Error::NoTable { path: path.clone() })?;
        let failed = |source: spout_format::Error| Error::commit("putting rows into", source.into());
        let mut table = TableWriter::new(format, rows.schema()).map_err(failed)?;
        table.write(rows).map_err(failed)?;
        let table = table.finish().map_err(failed)?;
        self.files.put_table(&path, how, table).await.map_err(|source| Error::commit("putting rows into", source))
    }

    /// Makes the commit; it, once it is durable. Of one that has nothing in it nothing is made, and the newest one is the answer.
    ///
    /// # Errors
    /// Why it cannot be made; nothing of it is then.
    pub(super) async fn finish(mut self) -> Result<Committed, Error> {
        self.settle().await?;
        if self.files.is_empty() && self.rows.is_empty() && self.marker.is_none() {
            return self.commits.newest().await;
        }
        let Self { commits, files, rows, marker, provenance, counts, .. } = self;
        commits.make(files, rows, marker, (provenance, counts)).await
    }

    /// Puts all that was written; nothing may be on its way any more.
    async fn settle(&mut self) -> Result<(), Error> {
        if Arc::strong_count(&self.writing) > 1 {
            return Err(Error::Unclosed);
        }
        self.take_written().await
    }

    /// Puts what was written piece by piece since the last put.
    async fn take_written(&mut self) -> Result<(), Error> {
        let written = std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        for uploaded in written {
            let put = self.files.add_uploaded(uploaded).await;
            put.map_err(|source| Error::commit("putting a file into", source))?;
        }
        Ok(())
    }

    /// The canonical form of a path, if the file there is the spout's.
    fn path(&self, path: &str) -> Result<String, Error> {
        let path = path::file_path(path).map_err(|source| Error::commit("putting a file into", source))?;
        let marker = self.commits.output().marker.as_deref().map(|marker| marker.trim_start_matches('/'));
        let why = match marker {
            Some(marker) if is_at(&path, marker) => "it shows the marker; set that",
            _ if OWN.iter().any(|own| path.to_ascii_lowercase().starts_with(own)) => {
                "the host keeps files of its own there; choose another directory"
            }
            _ => return Ok(path),
        };
        Err(Error::OwnFile { path, why })
    }
}

/// A file that is written piece by piece. Dropping it abandons the file.
#[derive(Debug)]
pub(super) struct FileWriter {
    to: DuplexStream,
    upload: Uploading,
    written: Written,
    _writing: Arc<()>,
    _permit: OwnedSemaphorePermit,
}

/// An upload that ends with who writes it.
#[derive(Debug)]
struct Uploading(JoinHandle<Result<Uploaded, spout_repo::Error>>);

impl Drop for Uploading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl FileWriter {
    /// Adds bytes to the file.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self.to.write_all(bytes).await {
            Ok(()) => Ok(()),
            Err(closed) => Err(self.uploaded().await.err().unwrap_or_else(|| unread(closed))),
        }
    }

    /// Ends the file, which the commit has then; its size.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) async fn close(mut self) -> Result<u64, Error> {
        // That its other end is gone is said by the upload.
        drop(self.to.shutdown().await);
        let uploaded = self.uploaded().await?;
        let size = uploaded.size();
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(uploaded);
        Ok(size)
    }

    async fn uploaded(&mut self) -> Result<Uploaded, Error> {
        match (&mut self.upload.0).await {
            Ok(uploaded) => uploaded.map_err(|source| Error::commit("writing a file of", source)),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::SpoutOver),
            },
        }
    }
}

/// Whether `path` is `file`, or below it.
fn is_at(path: &str, file: &str) -> bool {
    let path = path.trim_start_matches('/').to_ascii_lowercase();
    let rest = path.strip_prefix(&file.to_ascii_lowercase());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn unread(source: io::Error) -> Error {
    Error::commit("writing a file of", spout_repo::Error::Input { object: "a file".into(), source })
}
