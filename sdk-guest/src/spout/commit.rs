//! A commit of a spout while it is being filled.

use std::{fmt, io};

use super::repo::{RepoCommit, RepoWriter};
use crate::{Batch, Result};

/// What a put does with a file that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The bytes go behind those that it has.
    Append,
    /// The bytes take the place of those that it has.
    Overwrite,
}

/// One atomic commit: files, rows and marker become visible together or not at all. Dropping it unfinished aborts it.
pub struct Commit(Box<dyn RepoCommit>);

impl Commit {
    pub(crate) fn new(commit: Box<dyn RepoCommit>) -> Self {
        Self(commit)
    }

    /// Puts a file; `spout.overwrite` of the spec says what becomes of one that is there.
    ///
    /// # Errors
    /// The path is none, or belongs to the host.
    pub fn put(&mut self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.0.put_file(path, None, bytes.as_ref())
    }

    /// Puts bytes behind those that a file has.
    ///
    /// # Errors
    /// As for [`Commit::put`].
    pub fn append(&mut self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.0.put_file(path, Some(Mode::Append), bytes.as_ref())
    }

    /// Puts bytes in the place of those that a file has.
    ///
    /// # Errors
    /// As for [`Commit::put`].
    pub fn overwrite(&mut self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.0.put_file(path, Some(Mode::Overwrite), bytes.as_ref())
    }

    /// Begins a file that is written piece by piece, which may be larger than the plugin's memory. Without a mode it is put as
    /// by [`Commit::put`].
    ///
    /// # Errors
    /// As for [`Commit::put`]; 16 files are being written.
    pub fn open_file(&mut self, path: &str, how: Option<Mode>) -> Result<Writer> {
        self.0.open_file(path, how).map(Writer::new)
    }

    /// Puts rows of the pipeline: they pass the handlers and consumers of the spec, and are committed where `commit.path` says,
    /// with dead letters and handler state, in this commit.
    ///
    /// # Errors
    /// Open commits hold more than 256 MiB: rows, markers, and a kibibyte for each file.
    pub fn put_rows(&mut self, rows: Batch) -> Result<()> {
        self.0.put_batch(None, None, rows)
    }

    /// Puts rows as a file, as they are, in the format that its name says: `.parquet`, `.arrow`, `.ndjson` or `.csv`.
    ///
    /// # Errors
    /// As for [`Commit::put`]; the name says no format.
    pub fn put_table(&mut self, path: &str, how: Option<Mode>, rows: Batch) -> Result<()> {
        self.0.put_batch(Some(path), how, rows)
    }

    /// Deletes a file that the newest commit has, or takes back what this one has put there.
    ///
    /// # Errors
    /// As for [`Commit::put`]. That there is no such file is found by [`Commit::finish`].
    pub fn delete_file(&mut self, path: &str) -> Result<()> {
        self.0.delete_file(path)
    }

    /// What [`Pfs::marker`](super::Pfs::marker) returns once this commit is finished, a mebibyte at most. Without this call it
    /// stays as it was.
    ///
    /// # Errors
    /// It is larger.
    pub fn set_marker(&mut self, marker: impl AsRef<[u8]>) -> Result<()> {
        self.0.set_marker(marker.as_ref())
    }

    /// Makes the commit and returns its id when it is durable. If nothing was put, deleted or set, there is no commit; the id is
    /// then that of the newest one, empty if there is none.
    ///
    /// # Errors
    /// Why there is no such commit.
    pub fn finish(self) -> Result<String> {
        self.0.finish()
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Commit")
    }
}

/// A file on its way into a commit, which has it once it is closed. Dropping it abandons the file.
pub struct Writer(Box<dyn RepoWriter>);

impl Writer {
    pub(crate) fn new(writer: Box<dyn RepoWriter>) -> Self {
        Self(writer)
    }

    /// Ends the file; its size.
    ///
    /// # Errors
    /// It could not be written.
    pub fn close(self) -> Result<u64> {
        self.0.close()
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes);
        written.map(|()| bytes.len()).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}
