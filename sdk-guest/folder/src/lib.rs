//! A granted directory: what is in it, and reading files at any place.
//!
//! On WASI it speaks to the host itself: `std` does not say which file a name means there (its number), and ends a listing
//! at the first name that is not UTF-8.

#[cfg(not(target_os = "wasi"))]
mod native;
#[cfg(target_os = "wasi")]
mod wasi;

#[cfg(not(target_os = "wasi"))]
use self::native as system;
#[cfg(target_os = "wasi")]
use self::wasi as system;

use std::io;

/// Directories below each other that are looked into.
pub const DEEP: usize = 32;

/// What a directory holds under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// A directory's entries.
#[derive(Debug, Default)]
pub struct Listing {
    /// Names and what they are; links are not followed.
    pub entries: Vec<(String, Kind)>,
    /// Names that are not UTF-8, as far as they can be shown.
    pub unnamed: Vec<String>,
}

/// How the file system names and dates a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Its number there; another file may get it later.
    pub inode: u64,
    /// When it was written last, in nanoseconds since 1970.
    pub modified: u64,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// What it is; links were followed.
    pub kind: Kind,
    /// Bytes that it has.
    pub length: u64,
    /// Its number and date.
    pub hints: Hints,
}

/// A granted directory.
#[derive(Debug)]
pub struct Root(system::Root);

/// An open file.
#[derive(Debug)]
pub struct File(system::File);

impl Root {
    /// The directory that is granted by this name; in tests a path.
    ///
    /// # Errors
    /// It is not granted, or is no directory.
    pub fn open(name: &str) -> io::Result<Self> {
        system::Root::open(name).map(Self)
    }

    /// What is in the directory `below`, or in this one if that is empty.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list(&self, below: &str) -> io::Result<Listing> {
        self.0.list(below)
    }

    /// What a path leads to.
    ///
    /// # Errors
    /// There is nothing, or it leads out of the directory.
    pub fn stat(&self, path: &str) -> io::Result<Stat> {
        self.0.stat(path)
    }

    /// Opens a file to be read.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open_file(&self, path: &str) -> io::Result<File> {
        self.0.open_file(path).map(File)
    }
}

impl File {
    /// What it is now.
    ///
    /// # Errors
    /// The file system fails.
    pub fn stat(&self) -> io::Result<Stat> {
        self.0.stat()
    }

    /// Reads up to `length` bytes at `from` into the end of `into`, fewer only at the end of the file; how many came.
    ///
    /// # Errors
    /// The file system fails.
    pub fn fill(&self, from: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        loop {
            let done = into.len() - before;
            if done >= length || self.0.read(from + done as u64, length - done, into)? == 0 {
                return Ok(done);
            }
        }
    }
}

/// A name below a directory.
#[must_use]
pub fn join(below: &str, name: &str) -> String {
    if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") }
}
