//! WASI's own file system.

use std::io;

use wasip2::filesystem::{
    preopens,
    types::{Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, OpenFlags, PathFlags},
};

use crate::{Hints, Kind, Listing, Stat};

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;

#[derive(Debug)]
pub(crate) struct Root(Descriptor);

/// An open file, and its number, which stays.
#[derive(Debug)]
pub(crate) struct File(Descriptor, u64);

impl Root {
    pub(crate) fn open(topic: &str) -> io::Result<Self> {
        let root = format!("/{topic}");
        let mut granted = preopens::get_directories().into_iter();
        let found = granted.find(|(_, name)| *name == root);
        Ok(Self(found.ok_or(io::ErrorKind::NotFound)?.0))
    }

    pub(crate) fn list(&self, below: &str) -> io::Result<Listing> {
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

    pub(crate) fn stat(&self, path: &str) -> io::Result<Stat> {
        let stat = self.0.stat_at(FOLLOW, path).map_err(error)?;
        // wasmtime makes the upper half of the lower one by a constant: both together would be the same for all files.
        let hash = self.0.metadata_hash_at(FOLLOW, path).map_err(error)?;
        Ok(stat_of(&stat, hash.lower))
    }

    pub(crate) fn open_file(&self, path: &str) -> io::Result<File> {
        let opened = self.0.open_at(FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ);
        let file = opened.map_err(error)?;
        let number = file.metadata_hash().map_err(error)?.lower;
        Ok(File(file, number))
    }
}

impl File {
    pub(crate) fn stat(&self) -> io::Result<Stat> {
        let stat = self.0.stat().map_err(error)?;
        Ok(stat_of(&stat, self.1))
    }

    /// Reads at most `length` bytes into the end of `into`; none at the end of the file.
    pub(crate) fn read(&self, from: u64, length: usize, into: &mut Vec<u8>) -> io::Result<usize> {
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
