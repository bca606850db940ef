//! Tar archives out of a stream of bytes and into one, entry by entry, none of them whole in memory.
//!
//! [`Archives`] reads one stream, which may hold several archives, one after the other, with any number of zero blocks between
//! them. What it says of each [`Step`] is final: an archive has ended only after its two zero blocks, and whatever is not a
//! sound archive is an [`ArchiveError`] that says where.
//!
//! It reads what GNU tar, Python, Go and libarchive write: ustar, PAX and GNU headers, long names, sizes of any length, sparse
//! files of every format; [`Unpacked`] unpacks what is packed with gzip. What has no place in a repo (links, devices) is an error,
//! not a file left out.
//!
//! **Invariant**: nothing that a header says is allocated before it is compared with a limit, and nothing is unpacked to disk.

mod content;
mod error;
#[cfg(test)]
mod fuzz;
mod header;
mod pax;
mod sparse;
mod stream;
#[cfg(test)]
mod tests;
mod unpacked;
mod write;

pub use self::{
    content::Content,
    error::{ArchiveError, Fault},
    stream::{Archives, Entry, Step},
    unpacked::Unpacked,
    write::{end, head, padding},
};
