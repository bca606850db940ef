//! Where a transformer puts what it makes.

use std::fmt;

use crate::{Batch, Mode, Result, Writer, spout::repo::RepoFiles};

/// The output of one file: what is put here is there as long as the file is as it was, and is part of the commit that the host
/// makes. Another file's output cannot be put.
pub struct Output<'a>(&'a dyn RepoFiles);

impl<'a> Output<'a> {
    pub(crate) fn new(files: &'a dyn RepoFiles) -> Self {
        Self(files)
    }

    /// Puts a file.
    ///
    /// # Errors
    /// The path is none, belongs to the host, or was put for another file of the input.
    pub fn put(&self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.0.put_file(path, Some(Mode::Overwrite), bytes.as_ref())
    }

    /// Puts bytes behind those that this call has put there.
    ///
    /// # Errors
    /// As for [`Output::put`].
    pub fn append(&self, path: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.0.put_file(path, Some(Mode::Append), bytes.as_ref())
    }

    /// Begins a file that is written piece by piece, which may be larger than the plugin's memory. Close it: a file that is dropped
    /// before is abandoned.
    ///
    /// # Errors
    /// As for [`Output::put`]; 16 files are being written.
    pub fn open_file(&self, path: &str) -> Result<Writer> {
        self.0.open_file(path, Some(Mode::Overwrite)).map(Writer::new)
    }

    /// Puts rows as a file, in the format that its name says: `.parquet`, `.arrow`, `.ndjson` or `.csv`. Rows that are put there
    /// again follow them.
    ///
    /// # Errors
    /// As for [`Output::put`]; the name says no format.
    pub fn put_table(&self, path: &str, rows: Batch) -> Result<()> {
        self.0.put_batch(Some(path), Some(Mode::Append), rows)
    }

    /// Takes back what this call has put at `path`.
    ///
    /// # Errors
    /// It has put nothing there.
    pub fn delete_file(&self, path: &str) -> Result<()> {
        self.0.delete_file(path)
    }
}

impl fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}
