//! Files that one process has put, on their way to the one that publishes them.

use serde::{Deserialize, Serialize};

use super::open_commit::{INLINE_ALL, OpenCommit, Staged};
use crate::{
    error::Error,
    log::{Place, PutMode},
};

/// What an [`OpenCommit`] of one process holds, for a commit that another process publishes. Its objects are durable, and nothing
/// names them before.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prepared(Staged);

impl Prepared {
    /// Bytes of its files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.files.iter().map(|file| file.blob.size).sum()
    }

    /// Whether nothing was put.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.files.is_empty() && self.0.removed.is_empty()
    }
}

impl Prepared {
    /// What it is made of.
    pub(crate) fn staged(&self) -> &Staged {
        &self.0
    }
}

impl OpenCommit {
    /// The same as one of `parts` that become one commit: the record holds as many bytes of all of them together as it does of one.
    #[must_use]
    pub fn as_one_of(mut self, parts: usize) -> Self {
        self.inline_most = INLINE_ALL / u32::try_from(parts).unwrap_or(u32::MAX).max(1);
        self
    }

    /// What was put so far, to be sent to whoever publishes it.
    #[must_use]
    pub fn prepared(&self) -> Prepared {
        Prepared(self.staged())
    }

    /// Adds what another process has put for this commit. A file that is replaced there is replaced once: what several of them put to
    /// one path follows each other, as the parts of one process do.
    ///
    /// # Errors
    /// [`Error::BadPath`].
    pub fn join(&mut self, prepared: Prepared) -> Result<(), Error> {
        let Prepared(mut staged) = prepared;
        for file in &mut staged.files {
            if self.files.iter().any(|there| there.path == file.path) {
                file.how = PutMode::Append;
            }
            if let Place::Inline(bytes) = &file.blob.place {
                self.inline += bytes.len();
            }
        }
        for blob in staged.state.values().flatten() {
            if let Place::Inline(bytes) = &blob.place {
                self.inline += bytes.len();
            }
        }
        self.restage(staged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CommitMeta, Finished, Leader, Store};

    #[tokio::test]
    async fn files_of_several_processes_become_one_commit() {
        let place = tempfile::tempdir().unwrap();
        let url = place.path().display().to_string();
        let repo = Store::open(&url).await.unwrap().repo_or_create("r", "").await.unwrap();
        let leader = Leader { id: "one".into(), address: "10.0.0.1:7000".into() };
        let mut writer = repo.leading_writer("master", "p", &leader, 0).await.unwrap();
        let (epoch, holder) = repo.holder("master").await.unwrap();
        assert_eq!((epoch, holder.unwrap().leader), (writer.epoch(), Some(leader.clone())));
        // Whoever has not seen that claim does not take the branch from it.
        let late = repo.leading_writer("master", "p", &leader, 0).await.unwrap_err();
        assert!(matches!(late, Error::Fenced { ours: 0, theirs: 1, .. }), "{late}");
        for round in 0..2 {
            let mut whole = repo.open_commit();
            for part in 0..3 {
                // Each process has a store of its own.
                let other = Store::open(&url).await.unwrap().repo("r").await.unwrap();
                let mut open = other.open_commit().as_one_of(3);
                let large = vec![b'a' + part; 200 << 10];
                open.put_file("/all.txt", PutMode::Overwrite, format!("{round}{part}\n").into()).await.unwrap();
                open.put_file(&format!("/{round}-{part}.bin"), PutMode::Append, large.into()).await.unwrap();
                let sent = serde_json::to_vec(&open.prepared()).unwrap();
                let arrived: Prepared = serde_json::from_slice(&sent).unwrap();
                assert_eq!(arrived.size(), (200 << 10) + 3);
                whole.join(arrived).unwrap();
            }
            let meta = CommitMeta { pipeline: "p".into(), reason: "rows".into(), ..CommitMeta::default() };
            assert!(matches!(writer.finish(whole, meta).await.unwrap(), Finished::Committed(_)));
        }
        let head = repo.edit("master").await.unwrap().head().cloned().unwrap();
        let tree = repo.tree(&head).await.unwrap();
        let read = async |path: &str| repo.read_file(&tree, path).await.unwrap();
        assert_eq!(read("/all.txt").await, "10\n11\n12\n");
        assert_eq!(read("/1-2.bin").await, vec![b'c'; 200 << 10]);
        assert_eq!(tree.below("/").count(), 7);
    }

    #[tokio::test]
    async fn inline_bytes_of_all_parts_fit_into_one_record() {
        let place = tempfile::tempdir().unwrap();
        let repo = Store::open(&place.path().display().to_string()).await.unwrap();
        let repo = repo.repo_or_create("r", "").await.unwrap();
        let mut inline = 0;
        for _ in 0..8 {
            let mut open = repo.open_commit().as_one_of(8);
            for file in 0..4 {
                open.put_file(&format!("/{file}"), PutMode::Append, vec![0; 30 << 10].into()).await.unwrap();
            }
            inline += open.inline_bytes();
        }
        assert!(inline > 0 && inline <= INLINE_ALL as usize, "{inline}");
    }
}
