//! The granted directory: what is in it, and reading files at any place. The only file that touches the file system.
//!
//! On WASI it speaks to the host itself: `std` does not say which file a name means there (its number), and ends a listing
//! at the first name that is not UTF-8.

use std::{cell::Cell, io, rc::Rc};

use crate::mark::{Content, Hints};

/// What a directory holds under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    Other,
}

/// A directory's entries.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<(String, Kind)>,
    /// Names that are not UTF-8, as far as they can be shown.
    pub(crate) unnamed: Vec<String>,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) length: u64,
    pub(crate) hints: Hints,
}

/// A granted directory. It counts what it is asked, and the files that are open.
#[derive(Debug)]
pub(crate) struct Disk {
    root: system::Root,
    open: Rc<Cell<usize>>,
    #[cfg(test)]
    pub(crate) asked: Asked,
}

/// How often a directory was asked.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) lists: Cell<usize>,
    pub(crate) stats: Cell<usize>,
    pub(crate) opens: Cell<usize>,
    /// The most files that were open at once.
    pub(crate) most: Cell<usize>,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Handle {
    file: system::File,
    open: Rc<Cell<usize>>,
}

impl Disk {
    pub(crate) fn open(topic: &str) -> io::Result<Self> {
        let (root, open) = (system::Root::open(topic)?, Rc::default());
        Ok(Self {
            root,
            open,
            #[cfg(test)]
            asked: Asked::default(),
        })
    }

    pub(crate) fn list(&self, below: &str) -> io::Result<Listing> {
        #[cfg(test)]
        self.asked.lists.update(|count| count + 1);
        self.root.list(below)
    }

    pub(crate) fn stat(&self, path: &str) -> io::Result<Stat> {
        #[cfg(test)]
        self.asked.stats.update(|count| count + 1);
        self.root.stat(path)
    }

    pub(crate) fn open_file(&self, path: &str) -> io::Result<Handle> {
        let file = self.root.open_file(path)?;
        self.open.set(self.open.get() + 1);
        #[cfg(test)]
        {
            self.asked.opens.update(|count| count + 1);
            self.asked.most.update(|most| most.max(self.open.get()));
        }
        Ok(Handle { file, open: Rc::clone(&self.open) })
    }

    /// Files that are open now.
    pub(crate) fn open_files(&self) -> usize {
        self.open.get()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.open.set(self.open.get().saturating_sub(1));
    }
}

impl Handle {
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        self.file.stat()
    }

    /// Reads up to `length` bytes at `from` into the end of `into`, fewer only at the end of the file; how many came.
    pub(crate) fn fill(&self, from: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let before = into.len();
        loop {
            let done = into.len() - before;
            if done >= length || self.file.read(from + done as u64, length - done, into)? == 0 {
                return Ok(done);
            }
        }
    }
}

impl Content for &Handle {
    fn bytes(&mut self, from: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length);
        self.fill(from, length, &mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(target_os = "wasi")]
mod system {
    //! WASI's own file system.

    use std::io;

    use wasip2::filesystem::{
        preopens,
        types::{Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags, PathFlags},
    };

    use super::{Kind, Listing, Stat};
    use crate::mark::Hints;

    const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;

    #[derive(Debug)]
    pub(super) struct Root(Descriptor);

    /// An open file, and its number, which stays.
    #[derive(Debug)]
    pub(super) struct File(Descriptor, u64);

    impl Root {
        pub(super) fn open(topic: &str) -> io::Result<Self> {
            let root = format!("/{topic}");
            let mut granted = preopens::get_directories().into_iter();
            let found = granted.find(|(_, name)| *name == root);
            Ok(Self(found.ok_or(io::ErrorKind::NotFound)?.0))
        }

        pub(super) fn list(&self, below: &str) -> io::Result<Listing> {
            let opened;
            let dir = if below.is_empty() {
                &self.0
            } else {
                opened = self.0.open_at(FOLLOW, below, OpenFlags::DIRECTORY, DescriptorFlags::READ).map_err(error)?;
                &opened
            };
            let stream = dir.read_directory().map_err(error)?;
            let mut listing = Listing::default();
            loop {
                match stream.read_directory_entry() {
                    Ok(Some(entry)) => listing.entries.push((entry.name, kind(entry.type_))),
                    Ok(None) => return Ok(listing),
                    Err(ErrorCode::IllegalByteSequence) => listing.unnamed.push("?".to_owned()),
                    // Gone between its listing and now.
                    Err(ErrorCode::NoEntry) => {}
                    Err(code) => return Err(error(code)),
                }
            }
        }

        pub(super) fn stat(&self, path: &str) -> io::Result<Stat> {
            let stat = self.0.stat_at(FOLLOW, path).map_err(error)?;
            // wasmtime makes the upper half of the lower one by a constant: both together would be the same for all files.
            let hash = self.0.metadata_hash_at(FOLLOW, path).map_err(error)?;
            Ok(stat_of(&stat, hash.lower))
        }

        pub(super) fn open_file(&self, path: &str) -> io::Result<File> {
            let opened = self.0.open_at(FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ);
            let file = opened.map_err(error)?;
            let number = file.metadata_hash().map_err(error)?.lower;
            Ok(File(file, number))
        }
    }

    impl File {
        pub(super) fn stat(&self) -> io::Result<Stat> {
            let stat = self.0.stat().map_err(error)?;
            Ok(stat_of(&stat, self.1))
        }

        /// Reads at most `length` bytes into the end of `into`; none at the end of the file.
        pub(super) fn read(&self, from: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
            let (bytes, _) = self.0.read(length as u64, from).map_err(error)?;
            into.extend_from_slice(&bytes);
            Ok(bytes.len())
        }
    }

    fn stat_of(stat: &DescriptorStat, inode: u64) -> Stat {
        let modified = stat.data_modification_timestamp.as_ref();
        let modified = modified.map_or(0, |at| at.seconds.saturating_mul(1_000_000_000) + u64::from(at.nanoseconds));
        Stat { kind: kind(stat.type_), length: stat.size, hints: Hints { inode, modified } }
    }

    fn kind(kind: DescriptorType) -> Kind {
        match kind {
            DescriptorType::RegularFile => Kind::File,
            DescriptorType::Directory => Kind::Directory,
            DescriptorType::SymbolicLink => Kind::Link,
            _ => Kind::Other,
        }
    }

    fn error(code: ErrorCode) -> io::Error {
        let kind = match code {
            ErrorCode::NoEntry => io::ErrorKind::NotFound,
            ErrorCode::Access | ErrorCode::NotPermitted => io::ErrorKind::PermissionDenied,
            ErrorCode::Interrupted => io::ErrorKind::Interrupted,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, code.message())
    }
}

#[cfg(not(target_os = "wasi"))]
mod system {
    //! The file system of tests.

    use std::{
        fs, io,
        os::unix::fs::{FileExt as _, MetadataExt as _},
        path::PathBuf,
    };

    use super::{Kind, Listing, Stat};
    use crate::mark::Hints;

    #[derive(Debug)]
    pub(super) struct Root(PathBuf);

    #[derive(Debug)]
    pub(super) struct File(fs::File);

    impl Root {
        pub(super) fn open(topic: &str) -> io::Result<Self> {
            let root = PathBuf::from(format!("/{}", topic.trim_start_matches('/')));
            fs::read_dir(&root).map(|_| Self(root))
        }

        pub(super) fn list(&self, below: &str) -> io::Result<Listing> {
            let mut listing = Listing::default();
            for entry in fs::read_dir(self.0.join(below))? {
                let entry = entry?;
                let Ok(kind) = entry.file_type() else { continue };
                match entry.file_name().into_string() {
                    Ok(name) => listing.entries.push((name, kind_of(kind))),
                    Err(name) => listing.unnamed.push(name.to_string_lossy().into_owned()),
                }
            }
            Ok(listing)
        }

        pub(super) fn stat(&self, path: &str) -> io::Result<Stat> {
            fs::metadata(self.0.join(path)).map(|found| stat_of(&found))
        }

        pub(super) fn open_file(&self, path: &str) -> io::Result<File> {
            let file = fs::File::open(self.0.join(path))?;
            // Root may read everything.
            if file.metadata()?.mode() & 0o444 == 0 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            Ok(File(file))
        }
    }

    impl File {
        pub(super) fn stat(&self) -> io::Result<Stat> {
            self.0.metadata().map(|found| stat_of(&found))
        }

        pub(super) fn read(&self, from: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
            let before = into.len();
            into.resize(before + length.min(1 << 20), 0);
            let read = self.0.read_at(into.get_mut(before..).unwrap_or_default(), from);
            into.truncate(before + *read.as_ref().unwrap_or(&0));
            read
        }
    }

    fn stat_of(found: &fs::Metadata) -> Stat {
        let nanos = u64::try_from(found.mtime_nsec()).unwrap_or(0);
        let modified = u64::try_from(found.mtime()).unwrap_or(0).saturating_mul(1_000_000_000) + nanos;
        let hints = Hints { inode: found.ino(), modified };
        Stat { kind: kind_of(found.file_type()), length: found.len(), hints }
    }

    fn kind_of(kind: fs::FileType) -> Kind {
        match kind {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        }
    }
}
