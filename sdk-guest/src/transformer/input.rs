//! The file that a transformer is given, as bytes to read.

use std::{
    fmt,
    io::{self, BufRead, Read},
};

use crate::Result;

/// Bytes that are fetched at once.
const PIECE: u32 = 256 << 10;

/// A file, be it of the host or of a test.
pub(crate) trait Given {
    fn path(&self) -> String;
    fn size(&self) -> u64;
    fn read(&self, start: u64, length: u32) -> Result<Vec<u8>>;
}

/// A file of the input repo. It is read piece by piece, so it may be larger than the plugin's memory: as [`Read`] or line by line
/// as [`BufRead`] from its beginning to its end, or anywhere with [`InputFile::read_at`].
pub struct InputFile<'a> {
    file: &'a dyn Given,
    /// What was fetched, and how much of it was read.
    piece: Vec<u8>,
    read: usize,
    /// Where the next piece begins.
    next: u64,
}

impl<'a> InputFile<'a> {
    pub(crate) fn new(file: &'a dyn Given) -> Self {
        Self { file, piece: Vec::new(), read: 0, next: 0 }
    }

    /// Its path in the input repo, as in `/dir/name.txt`.
    #[must_use]
    pub fn path(&self) -> String {
        self.file.path()
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.file.size()
    }

    /// Bytes from `start` on: at most `length`, and at most a mebibyte; none at its end.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read_at(&self, start: u64, length: u32) -> Result<Vec<u8>> {
        self.file.read(start, length)
    }
}

impl Read for InputFile<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(to)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for InputFile<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.piece.len() {
            self.piece = self.file.read(self.next, PIECE).map_err(io::Error::other)?;
            self.read = 0;
            self.next += self.piece.len() as u64;
        }
        Ok(self.piece.get(self.read..).unwrap_or_default())
    }

    fn consume(&mut self, read: usize) {
        self.read += read;
    }
}

impl fmt::Debug for InputFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputFile").field("path", &self.path()).finish_non_exhaustive()
    }
}
