//! The bytes of a file, as they are read: piece by piece, a large one part by part.

use std::{collections::VecDeque, fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use sha2::{Digest as _, Sha256};
use spout_base::counted::counted;
use spout_repo::{Error as RepoError, FileEntry, Piece, Place, Reference, Repo, Tree, path::file_path};

use crate::{Error, Result};

/// A piece up to this size is read whole and verified before any of it is given away.
const WHOLE: u64 = 8 << 20;

/// Which bytes of a file are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first to the last of them, inclusive; `None` is the end of the file.
    From(u64, Option<u64>),
    /// As many as this before the end.
    Last(u64),
}

impl ByteRange {
    /// The bytes of a file of this size; `None` if it has none of them.
    #[must_use]
    pub fn of(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From(first, last) => first..last.map_or(size, |last| last.saturating_add(1)).min(size),
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// The bytes of a file, or some of them.
pub struct Content {
    /// Its path.
    pub path: String,
    /// Hash of the whole file, as listings have it.
    pub sha256: String,
    /// Bytes of the whole file.
    pub size: u64,
    /// Which of them come.
    pub range: Range<u64>,
    /// The bytes; an error after some of them means that those are not to be used.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, size, range, .. } = self;
        f.debug_struct("Content").field("path", path).field("size", size).field("range", range).finish_non_exhaustive()
    }
}

impl Content {
    /// The next bytes.
    ///
    /// # Errors
    /// Those of reading; what came before is not to be used.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.bytes.try_next().await
    }
}

/// The file or directory at `path`, as it is without a reference around it, of the commit `at` of `repo`.
///
/// # Errors
/// That of a wrong reference or path.
pub fn at_path(repo: &str, at: &str, path: Option<&str>) -> Result<Reference> {
    let at: Reference = format!("{repo}@{at}").parse()?;
    let path = match path {
        None => None,
        Some("" | "/") => Some("/".to_owned()),
        Some(path) => Some(file_path(path.strip_suffix('/').unwrap_or(path))?),
    };
    if at.path.is_some() {
        return Err(Error::Usage { verb: "get file", what: format!("`{at}` names a file where a commit is meant") });
    }
    Ok(Reference { path, ..at })
}

/// Whether a file is its pieces one after the other, so that it need not be held as a whole.
fn is_plain(entry: &FileEntry) -> bool {
    entry.format.is_none() || entry.pieces.len() == 1
}

/// The file that `reference` names.
pub(crate) fn named<'a>(tree: &'a Tree, reference: &Reference) -> Result<&'a FileEntry> {
    let usage = |what| Error::Usage { verb: "get file", what };
    let Some(path) = reference.path.as_deref().filter(|path| *path != "/") else {
        let what = format!("`{reference}` names no file; add :/path (`spout list file {reference}` lists the files)");
        return Err(usage(what));
    };
    let below = tree.below(path).count();
    if tree.get(path).is_none() && below > 0 {
        let files = counted(below as u64, "file");
        let what = format!(
            "`{path}` is a directory with {files}; add -r -o DIR for all, or name one: `spout list file {reference}`"
        );
        return Err(usage(what));
    }
    Ok(tree.file(path)?)
}

pub(crate) async fn read(
    repo: &Repo,
    tree: &Arc<Tree>,
    reference: &Reference,
    range: Option<ByteRange>,
) -> Result<Content> {
    let entry = named(tree, reference)?;
    let (path, sha256) = (entry.path.clone(), entry.sha256.clone());
    let within = |size: u64| match range {
        None => Ok(0..size),
        Some(range) => range.of(size).ok_or_else(|| Error::NoSuchRange { path: entry.path.clone(), size }),
    };
    if !is_plain(entry) {
        let bytes = repo.read_file(tree, &entry.path).await?;
        let size = bytes.len() as u64;
        let range = within(size)?;
        let wanted = bytes.slice(place(range.start)..place(range.end));
        let bytes = stream::once(async move { Ok(wanted) }).boxed();
        return Ok(Content { path, sha256, size, range, bytes });
    }
    let range = within(entry.size)?;
    let reading = Reading { repo: repo.clone(), entry: entry.clone(), parts: parts(entry, &range) };
    let bytes = stream::try_unfold(reading, |mut reading| async move {
        let bytes = reading.next().await?;
        Ok::<_, Error>(bytes.map(|bytes| (bytes, reading)))
    });
    Ok(Content { path, sha256, size: entry.size, range, bytes: bytes.boxed() })
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// A piece, what is wanted of it, and the hash of what was read of it so far, where all is.
struct Part {
    piece: Piece,
    range: Range<u64>,
    hash: Option<Sha256>,
}

/// The parts of the pieces of a file that make `range`.
fn parts(entry: &FileEntry, range: &Range<u64>) -> VecDeque<Part> {
    let mut at = 0;
    let mut parts = VecDeque::new();
    for piece in &entry.pieces {
        let size = piece.blob.size;
        let (from, to) = (range.start.max(at), range.end.min(at + size));
        if from < to {
            let range = from - at..to - at;
            let whole = range == (0..size);
            parts.push_back(Part { piece: piece.clone(), range, hash: whole.then(Sha256::new) });
        }
        at += size;
    }
    parts
}

struct Reading {
    repo: Repo,
    entry: FileEntry,
    parts: VecDeque<Part>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(part) = self.parts.front_mut() else { return Ok(None) };
        let blob = &part.piece.blob;
        let Place::Object(object) = blob.place.clone() else { return self.whole().await };
        if blob.size <= WHOLE {
            return self.whole().await;
        }
        let next = part.range.start..part.range.end.min(part.range.start + WHOLE);
        let Some(bytes) = self.repo.part(&object, next.clone()).await? else {
            // It says what is missing.
            return self.whole().await;
        };
        let damaged = |reason: &str| RepoError::DamagedFile {
            object: self.repo.shown(&object),
            path: self.entry.path.clone(),
            reason: reason.to_owned(),
        };
        if bytes.len() as u64 != next.end - next.start {
            return Err(damaged("it is shorter than what was committed").into());
        }
        if let Some(hash) = &mut part.hash {
            hash.update(&bytes);
        }
        part.range.start = next.end;
        if part.range.is_empty() {
            let hash = part.hash.take().map(|hash| format!("{:x}", hash.finalize()));
            if hash.is_some_and(|hash| hash != part.piece.blob.sha256) {
                return Err(damaged("its bytes do not match their hash").into());
            }
            self.parts.pop_front();
        }
        Ok(Some(bytes))
    }

    /// The first part at once, verified.
    async fn whole(&mut self) -> Result<Option<Bytes>> {
        let Some(Part { piece, range, .. }) = self.parts.pop_front() else { return Ok(None) };
        let bytes = self.repo.piece(&self.entry, &piece).await?;
        Ok(Some(bytes.slice(place(range.start)..place(range.end))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_the_end() {
        let check = |range: ByteRange, size: u64, expected: Option<Range<u64>>| assert_eq!(range.of(size), expected);
        check(ByteRange::From(0, None), 5, Some(0..5));
        check(ByteRange::From(2, Some(3)), 5, Some(2..4));
        check(ByteRange::From(2, Some(u64::MAX)), 5, Some(2..5));
        check(ByteRange::From(5, None), 5, None);
        check(ByteRange::From(3, Some(1)), 5, None);
        check(ByteRange::Last(2), 5, Some(3..5));
        check(ByteRange::Last(9), 5, Some(0..5));
        check(ByteRange::Last(0), 5, None);
        check(ByteRange::From(0, None), 0, None);
    }

    #[test]
    fn a_range_takes_what_it_needs_of_each_piece() {
        let piece = |size| Piece {
            blob: spout_repo::Blob { place: Place::Object("x".into()), size, sha256: String::new() },
            table: None,
        };
        let pieces = vec![piece(3), piece(0), piece(4)];
        let entry = FileEntry { path: "/a".into(), format: None, size: 7, rows: None, sha256: String::new(), pieces };
        let check = |range: Range<u64>, expected: &[(Range<u64>, bool)]| {
            let found: Vec<_> =
                parts(&entry, &range).into_iter().map(|part| (part.range, part.hash.is_some())).collect();
            assert_eq!(found, expected, "{range:?}");
        };
        check(0..7, &[(0..3, true), (0..4, true)]);
        check(1..5, &[(1..3, false), (0..2, false)]);
        check(3..7, &[(0..4, true)]);
    }
}
