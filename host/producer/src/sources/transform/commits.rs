//! The commits of a spout: those that are open, the one on its way, and what the newest finished one holds.

use std::{
    fmt,
    sync::{
        Arc, Mutex as SyncMutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use spout_data::{Counts, Provenance};
use spout_repo::{CommitFiles, FileEntry, Follower, OpenCommit, PutMode, Repo, Store};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::guest_commit::{GuestCommit, Rows};
use crate::{Error, source::Output};

/// Commits that may be open at once.
pub(super) const OPEN: usize = 1000;
/// Bytes that open commits hold in memory, all together.
pub(super) const HELD: usize = 256 << 20;
/// Files that may be on their way into open commits at once: each holds a few megabytes.
pub(super) const WRITING: usize = 16;

/// What a spout has committed, and how it commits more. Clones are of the same spout.
#[derive(Clone)]
pub(super) struct Commits {
    shared: Arc<Shared>,
}

struct Shared {
    repo: Repo,
    output: Output,
    queue: mpsc::UnboundedSender<SpoutEvent>,
    /// Held by the commit on its way: the next one is checked against what that leaves.
    turn: Arc<Mutex<()>>,
    head: Mutex<Follower>,
    marker: SyncMutex<Option<Bytes>>,
    /// How many have become durable.
    count: AtomicU64,
    open: Arc<Semaphore>,
    held: Arc<Semaphore>,
    writing: Arc<Semaphore>,
}

/// A finished commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Committed {
    /// Its id; empty where nothing was ever committed.
    pub(super) id: String,
    /// Its place on the branch.
    pub(super) sequence: u64,
}

/// What a spout brings, in order.
#[derive(Debug)]
pub(super) enum SpoutEvent {
    /// A commit.
    Finished(Box<Finishing>),
    /// It has failed for good.
    Failed(Error),
    /// It has ended.
    Ended,
}

/// A commit that the spout has finished and the pipeline is to make.
#[derive(Debug)]
pub(super) struct Finishing {
    pub(super) files: OpenCommit,
    pub(super) rows: Rows,
    pub(super) marker: Option<Bytes>,
    /// The commits of the input that it is made from, and what became of their files.
    pub(super) provenance: Vec<Provenance>,
    pub(super) counts: Counts,
    pub(super) waiting: Waiting,
}

/// Who waits for a commit, which is the only one on its way.
#[derive(Debug)]
pub(super) struct Waiting {
    marker: Option<Bytes>,
    answer: oneshot::Sender<Committed>,
    _turn: OwnedMutexGuard<()>,
}

impl Commits {
    /// The commits of the spout of `pipeline`, whose newest one left `marker`; and what it finishes.
    pub(super) async fn open(
        pipeline: &str,
        store: &Store,
        output: &Output,
        marker: Option<Bytes>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<SpoutEvent>), Error> {
        let repo = store.repo(pipeline).await.map_err(|source| Error::commit("opening the repo for", source))?;
        let (queue, finished) = mpsc::unbounded_channel();
        let shared = Shared {
            head: Mutex::new(repo.follow(&output.branch)),
            repo,
            output: output.clone(),
            queue,
            turn: Arc::default(),
            marker: SyncMutex::new(marker),
            count: AtomicU64::new(0),
            open: Arc::new(Semaphore::new(OPEN)),
            held: Arc::new(Semaphore::new(HELD >> 10)),
            writing: Arc::new(Semaphore::new(WRITING)),
        };
        Ok((Self { shared: Arc::new(shared) }, finished))
    }

    /// Begins a commit. Several may be open at once.
    ///
    /// # Errors
    /// [`Error::ManyCommits`], [`Error::ManyHeld`].
    pub(super) fn begin(&self) -> Result<GuestCommit, Error> {
        let permit = Arc::clone(&self.shared.open).try_acquire_owned();
        let permit = permit.map_err(|_| Error::ManyCommits { most: OPEN })?;
        let files = self.shared.repo.open_commit_on(&self.shared.output.branch);
        Ok(GuestCommit::new(self.clone(), files, self.room(1)?, permit))
    }

    /// The marker that the newest finished commit left.
    pub(super) fn marker(&self) -> Option<Bytes> {
        self.stored_marker().clone()
    }

    /// Where commits go, and how.
    pub(super) fn output(&self) -> &Output {
        &self.shared.output
    }

    /// What a put without a mode does.
    pub(super) fn usual(&self) -> PutMode {
        if self.shared.output.overwrite { PutMode::Overwrite } else { PutMode::Append }
    }

    /// The newest commit of the branch, whoever made it.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) async fn newest(&self) -> Result<Committed, Error> {
        let mut head = self.shared.head.lock().await;
        let newest = head.refresh().await.map_err(|source| Error::commit("reading", source))?;
        Ok(newest.map_or_else(Committed::default, |newest| Committed {
            id: newest.header.id.clone(),
            sequence: newest.header.sequence,
        }))
    }

    /// The files of the newest commit; none before the first.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) async fn files(&self) -> Result<Option<CommitFiles>, Error> {
        let failed = |source| Error::commit("reading", source);
        let mut head = self.shared.head.lock().await;
        match head.refresh().await.map_err(failed)? {
            Some(newest) => self.shared.repo.files_of(newest).await.map(Some).map_err(failed),
            None => Ok(None),
        }
    }

    /// At most `limit` files of the newest commit below a directory, those after `after`.
    ///
    /// # Errors
    /// A path that is none, and those of reading.
    pub(super) async fn list(&self, below: &str, after: Option<&str>, limit: usize) -> Result<Vec<FileEntry>, Error> {
        let mut head = self.shared.head.lock().await;
        head.refresh().await.map_err(|source| Error::commit("reading", source))?;
        head.files(below, after, limit).await.map_err(|source| Error::commit("listing the files of", source))
    }

    /// The file of the newest commit at `path`, if there is one.
    ///
    /// # Errors
    /// A path that is none, and those of reading.
    pub(super) async fn inspect(&self, path: &str) -> Result<Option<FileEntry>, Error> {
        let mut head = self.shared.head.lock().await;
        head.refresh().await.map_err(|source| Error::commit("reading", source))?;
        head.file(path).await.map_err(|source| Error::commit("looking for a file in", source))
    }

    /// At most `length` bytes of the file at `path`, from `start` on.
    ///
    /// # Errors
    /// There is no such file, and those of reading.
    pub(super) async fn read(&self, path: &str, start: u64, length: u64) -> Result<Bytes, Error> {
        let mut head = self.shared.head.lock().await;
        let failed = |source| Error::commit("reading a file of", source);
        head.refresh().await.map_err(failed)?;
        match head.file(path).await.map_err(failed)? {
            Some(file) => head.range(&file, start..start.saturating_add(length)).await.map_err(failed),
            None => Err(Error::NoSuchFile { path: path.to_owned() }),
        }
    }

    /// Room for `bytes` that an open commit holds.
    ///
    /// # Errors
    /// [`Error::ManyHeld`].
    pub(super) fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let size = u32::try_from(bytes.div_ceil(1024).max(1)).unwrap_or(u32::MAX);
        Arc::clone(&self.shared.held).try_acquire_many_owned(size).map_err(|_| Error::ManyHeld { most: HELD })
    }

    /// Leave to put one more file piece by piece.
    ///
    /// # Errors
    /// [`Error::ManyFiles`].
    pub(super) fn writing(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.shared.writing).try_acquire_owned().map_err(|_| Error::ManyFiles { most: WRITING })
    }

    /// Hands a commit to the pipeline; it, once it is durable.
    pub(super) async fn make(
        &self,
        mut files: OpenCommit,
        rows: Rows,
        marker: Option<Bytes>,
        (provenance, counts): (Vec<Provenance>, Counts),
    ) -> Result<Committed, Error> {
        let turn = Arc::clone(&self.shared.turn).lock_owned().await;
        if let (Some(path), Some(marker)) = (&self.shared.output.marker, &marker) {
            let put = files.put_file(path, PutMode::Overwrite, marker.clone()).await;
            put.map_err(|source| Error::commit("putting the marker into", source))?;
        }
        if !files.is_empty() {
            let failed = |source| Error::commit("checking", source);
            let mut head = self.shared.head.lock().await;
            head.refresh().await.map_err(failed)?;
            files.check(&head).await.map_err(failed)?;
        }
        let (answer, durable) = oneshot::channel();
        let waiting = Waiting { marker: marker.clone(), answer, _turn: turn };
        let finishing = Box::new(Finishing { files, rows, marker, provenance, counts, waiting });
        let handed = self.shared.queue.send(SpoutEvent::Finished(finishing));
        handed.map_err(|_| Error::SpoutOver)?;
        durable.await.map_err(|_| Error::SpoutOver)
    }

    /// Answers who waits for a commit that is durable, and lets the next one come.
    pub(super) fn committed(&self, waiting: Waiting, committed: Committed) {
        if let Some(marker) = waiting.marker {
            *self.stored_marker() = Some(marker);
        }
        self.shared.count.fetch_add(1, Ordering::Relaxed);
        // Nobody waits any more for that of a spout that has crashed meanwhile.
        drop(waiting.answer.send(committed));
    }

    /// How many commits have become durable since it was opened.
    pub(super) fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Waits until no commit is on its way: then the marker is that of all that was finished.
    pub(super) async fn settled(&self) {
        drop(self.shared.turn.lock().await);
    }

    /// Whether a commit is on its way.
    #[cfg(test)]
    pub(super) fn on_its_way(&self) -> bool {
        self.shared.turn.try_lock().is_err()
    }

    /// Says that the spout has ended, or why it has failed; behind what was finished before.
    pub(super) fn end(&self, how: Result<(), Error>) {
        let event = how.map_or_else(SpoutEvent::Failed, |()| SpoutEvent::Ended);
        // Nobody receives it once the pipeline is over.
        drop(self.shared.queue.send(event));
    }

    fn stored_marker(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.shared.marker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Commits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commits").field("repo", &self.shared.repo.name()).finish_non_exhaustive()
    }
}
