//! The directory that a command sees as `/pfs`: the marker of the last commit, its id, and the place to write to.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use spout_base::scratch::Scratch;
use spout_plugin::OUT;
use spout_repo::FileEntry;
use tokio::{fs, io::AsyncWriteExt as _};

use crate::{
    Error,
    sources::transform::commits::{Commits, Committed},
};

/// The file that has the id of the newest commit, once there is one.
pub(super) const COMMIT: &str = ".commit";

/// What is written before it takes the place of another file.
pub(super) const NEW: &str = ".new";

/// Bytes of a marker that are read at once.
const PIECE: u64 = 1 << 20;
/// Files of a marker that are listed at once.
const FILES: usize = 1000;

/// A directory of its own for each run of a command; it goes with it, or, if the host is killed, with the start of the next one.
#[derive(Debug)]
pub(super) struct Pfs {
    dir: Scratch,
    /// Without slashes around it.
    marker: Option<String>,
}

impl Pfs {
    /// Makes one, with the marker that the newest commit has.
    pub(super) async fn open(commits: &Commits) -> Result<Self, Error> {
        let dir = Scratch::new().map_err(|source| Error::Pfs { path: std::env::temp_dir(), source })?;
        let marker = commits.output().marker.as_deref().map(|marker| marker.trim_matches('/').to_owned());
        let pfs = Self { dir, marker };
        let newest = commits.newest().await?;
        if !newest.id.is_empty() {
            pfs.write(COMMIT, newest.id.as_bytes()).await?;
        }
        if let Some(marker) = &pfs.marker {
            pfs.show_all(commits, marker).await?;
        }
        Ok(pfs)
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The place to write to.
    pub(super) fn out(&self) -> PathBuf {
        self.path().join(OUT)
    }

    /// Where the marker is, or will be.
    pub(super) fn marker(&self) -> Option<PathBuf> {
        self.marker.as_ref().map(|marker| self.path().join(marker))
    }

    /// Puts an empty file in the place to write to, for those who open it by a host that puts something else there.
    pub(super) fn stand_in(&self) -> Result<(), Error> {
        File::create(self.out()).map(drop).map_err(|source| Error::Pfs { path: self.out(), source })
    }

    /// Whether the entry at `path` is the marker, or part of it where that is a directory.
    pub(super) fn is_marker(&self, path: &str) -> bool {
        let Some(marker) = &self.marker else { return false };
        let rest = path.trim_start_matches('/').strip_prefix(marker.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Shows what a commit has changed of it.
    pub(super) async fn committed(
        &self,
        commits: &Commits,
        committed: &Committed,
        markers: &[String],
    ) -> Result<(), Error> {
        for path in markers {
            if let Some(file) = commits.inspect(path).await? {
                self.show(commits, &file).await?;
            }
        }
        // Last: who waits for it finds the marker of this commit.
        self.write(COMMIT, committed.id.as_bytes()).await
    }

    async fn show_all(&self, commits: &Commits, marker: &str) -> Result<(), Error> {
        if let Some(file) = commits.inspect(marker).await? {
            return self.show(commits, &file).await;
        }
        let (below, mut after) = (format!("/{marker}/"), None);
        loop {
            let files = commits.list(&below, after.as_deref(), FILES).await?;
            for file in &files {
                self.show(commits, file).await?;
            }
            match files.last() {
                Some(last) if files.len() == FILES => after = Some(last.path.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Copies a file of the repo, in one go for those who look.
    async fn show(&self, commits: &Commits, file: &FileEntry) -> Result<(), Error> {
        let path = self.path().join(file.path.trim_start_matches('/'));
        let new = self.path().join(NEW);
        let failed = |source| Error::Pfs { path: path.clone(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).await.map_err(failed)?;
        }
        let mut copy = fs::File::create(&new).await.map_err(failed)?;
        let mut at = 0;
        while at < file.size {
            let piece = commits.read(&file.path, at, PIECE).await?;
            if piece.is_empty() {
                break;
            }
            copy.write_all(&piece).await.map_err(failed)?;
            at += piece.len() as u64;
        }
        copy.flush().await.map_err(failed)?;
        fs::rename(&new, &path).await.map_err(failed)
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path().join(name);
        let new = self.path().join(NEW);
        let failed = |source| Error::Pfs { path: path.clone(), source };
        fs::write(&new, bytes).await.map_err(failed)?;
        fs::rename(&new, &path).await.map_err(failed)
    }
}
