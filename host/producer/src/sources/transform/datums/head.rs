//! The newest commit of the output, which the one that is being made follows.

use bytes::Bytes;
use spout_repo::{CommitFiles, FileEntry};

use super::super::commits::Commits;
use crate::Error;

/// The files of the newest commit; none before the first.
#[derive(Debug)]
pub(super) struct Head(Option<CommitFiles>);

impl Head {
    /// Those that are there now. Only this pipeline makes commits that matter here, so they are looked up once for each.
    pub(super) async fn of(commits: &Commits) -> Result<Self, Error> {
        commits.files().await.map(Self)
    }

    /// The file at `path`, if there is one.
    pub(super) async fn file(&self, path: &str) -> Result<Option<FileEntry>, Error> {
        match &self.0 {
            Some(files) => files.file(path).await.map_err(|source| Error::commit("looking for a file in", source)),
            None => Ok(None),
        }
    }

    /// The bytes of the file at `path`, if there is one.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Bytes>, Error> {
        match (&self.0, self.file(path).await?) {
            (Some(files), Some(file)) => {
                let bytes = files.range(&file, 0..file.size).await;
                bytes.map(Some).map_err(|source| Error::commit("reading a file of", source))
            }
            _ => Ok(None),
        }
    }
}
