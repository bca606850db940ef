//! The file system of tests.

use std::{
    fs, io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
};

use crate::{Hints, Kind, Listing, Stat};

#[derive(Debug)]
pub(crate) struct Root(PathBuf);

#[derive(Debug)]
pub(crate) struct File(fs::File);

impl Root {
    pub(crate) fn open(topic: &str) -> io::Result<Self> {
        let root = PathBuf::from(format!("/{}", topic.trim_start_matches('/')));
        fs::read_dir(&root).map(|_| Self(root))
    }

    pub(crate) fn list(&self, below: &str) -> io::Result<Listing> {
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

    pub(crate) fn stat(&self, path: &str) -> io::Result<Stat> {
        fs::metadata(self.0.join(path)).map(|found| stat_of(&found))
    }

    pub(crate) fn open_file(&self, path: &str) -> io::Result<File> {
        let file = fs::File::open(self.0.join(path))?;
        // Root may read everything.
        if file.metadata()?.mode() & 0o444 == 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(File(file))
    }
}

impl File {
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        self.0.metadata().map(|found| stat_of(&found))
    }

    pub(crate) fn read(&self, from: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
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
