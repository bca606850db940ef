//! The files of one commit, the newest that a follower has seen or an older one, without reading the whole tree.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};

use super::{Follower, Repo};
use crate::{
    error::Error,
    log::{Blob, Commit, Piece, Place, Record, Slot, State, seal},
    path,
    tree::FileEntry,
};

/// The files of a commit, each looked up when it is asked for.
#[derive(Debug)]
pub struct CommitFiles {
    repo: Repo,
    state: State,
    /// The small files of the record that was read last, by hash: many files of a commit are in one.
    small: Mutex<Option<(Slot, HashMap<String, Bytes>)>>,
}

impl Repo {
    /// The files of `commit`.
    ///
    /// # Errors
    /// Those of reading records; [`Error::Collected`] if it is no longer kept.
    pub async fn files_of<M: Sync>(&self, commit: &Commit<M>) -> Result<CommitFiles, Error> {
        Ok(CommitFiles { repo: self.clone(), state: self.state_at(commit).await?, small: Mutex::default() })
    }

    /// The files that are in the record at `at` itself and are sound, by hash.
    async fn small_files(&self, at: &Slot) -> Result<HashMap<String, Bytes>, Error> {
        let (objects, layout) = self.place();
        let path = layout.record(&at.branch, at.sequence);
        let Some(bytes) = objects.find(&path).await? else { return Ok(HashMap::new()) };
        let Record::Commit(commit) = seal::parse(&objects.shown(&path), &bytes)? else { return Ok(HashMap::new()) };
        let small = commit.files.into_iter().filter_map(|file| match file.blob {
            Blob { place: Place::Inline(bytes), sha256, .. } if spout_format::sha256(&bytes) == sha256 => {
                Some((sha256, bytes))
            }
            _ => None,
        });
        Ok(small.collect())
    }
}

impl CommitFiles {
    /// The file at `path`, if there is one.
    ///
    /// # Errors
    /// [`Error::BadPath`], and those of reading the index.
    pub async fn file(&self, path: &str) -> Result<Option<FileEntry>, Error> {
        file_of(&self.state, path).await
    }

    /// The bytes `range` of a file, as [`Follower::range`].
    ///
    /// # Errors
    /// As there.
    pub async fn range(&self, file: &FileEntry, range: Range<u64>) -> Result<Bytes, Error> {
        match self.small(file).await? {
            Some(bytes) => {
                let within = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(within(range.start)..within(range.end.max(range.start))))
            }
            None => range_of(&self.repo, file, range).await,
        }
    }

    /// The bytes of a file that is in a record itself.
    async fn small(&self, file: &FileEntry) -> Result<Option<Bytes>, Error> {
        let [Piece { blob: Blob { place: Place::Record(at), sha256, .. }, .. }] = file.pieces.as_slice() else {
            return Ok(None);
        };
        if let Some((slot, small)) = &*self.small.lock().unwrap_or_else(PoisonError::into_inner)
            && slot == at
        {
            return Ok(small.get(sha256).cloned());
        }
        let small = self.repo.small_files(at).await?;
        let bytes = small.get(sha256).cloned();
        *self.small.lock().unwrap_or_else(PoisonError::into_inner) = Some((at.clone(), small));
        Ok(bytes)
    }
}

impl Follower {
    /// The repo that is followed.
    #[must_use]
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The file at `path`, if there is one.
    ///
    /// # Errors
    /// [`Error::BadPath`], and those of reading the index.
    pub async fn file(&self, path: &str) -> Result<Option<FileEntry>, Error> {
        match self.state() {
            Some(state) => file_of(state, path).await,
            None => path::file_path(path).map(|_| None),
        }
    }

    /// Files below the directory `below`, or all of them for `/`: at most `limit`, those that follow `after` in the order of
    /// their folded paths.
    ///
    /// # Errors
    /// [`Error::BadPath`], and those of reading the index.
    pub async fn files(&self, below: &str, after: Option<&str>, limit: usize) -> Result<Vec<FileEntry>, Error> {
        let below = match below.trim_matches('/') {
            "" => "/".to_owned(),
            inner => format!("{}/", path::folded(&path::file_path(inner)?)),
        };
        let after = after.map(path::file_path).transpose()?.map(|after| path::folded(&after));
        let Some(state) = self.state() else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        let mut scan = match &after {
            Some(after) => state.files.scan_from(&below, after),
            None => state.files.scan(&below),
        };
        while files.len() < limit
            && let Some((key, entry)) = scan.next().await?
        {
            if after.as_ref().is_none_or(|after| key > *after) {
                files.extend(FileEntry::of_entry(entry));
            }
        }
        Ok(files)
    }

    /// The bytes `range` of a file, fewer at its end. What is read of a large one is not compared with its hash.
    ///
    /// # Errors
    /// [`Error::DamagedFile`], and those of reading.
    pub async fn range(&self, file: &FileEntry, range: Range<u64>) -> Result<Bytes, Error> {
        range_of(&self.repo, file, range).await
    }
}

async fn file_of(state: &State, path: &str) -> Result<Option<FileEntry>, Error> {
    let path = path::file_path(path)?;
    let entry = state.files.get(&path::folded(&path)).await?;
    Ok(entry.filter(|entry| entry.path == path).and_then(FileEntry::of_entry))
}

async fn range_of(repo: &Repo, file: &FileEntry, range: Range<u64>) -> Result<Bytes, Error> {
    let mut out = BytesMut::new();
    let mut begin = 0;
    for piece in &file.pieces {
        let end = begin + piece.blob.size;
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from < to {
            let within = from - begin..to - begin;
            out.extend_from_slice(&match &piece.blob.place {
                Place::Object(name) => {
                    let damaged = |reason: &str| Error::DamagedFile {
                        object: repo.shown(name),
                        path: file.path.clone(),
                        reason: reason.to_owned(),
                    };
                    let expected = to - from;
                    let bytes = repo.part(name, within).await?.ok_or_else(|| damaged("it is missing"))?;
                    if bytes.len() as u64 != expected {
                        return Err(damaged("it is shorter than what was committed"));
                    }
                    bytes
                }
                Place::Inline(_) | Place::Record(_) => {
                    let bytes = repo.piece(file, piece).await?;
                    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                    bytes.slice(at(within.start)..at(within.end))
                }
            });
        }
        begin = end;
    }
    Ok(out.freeze())
}
