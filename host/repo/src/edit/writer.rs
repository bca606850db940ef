//! The one writer of a branch: claims it, and publishes each commit by one conditional creation.

use std::collections::BTreeMap;

use bytes::Bytes;
use spout_base::{clock, owner, panicked::go_on, spill};
use spout_data::{Advance, Counts, Marker, Part};
use spout_format::sha256;
use tokio::task::JoinHandle;

use super::{
    draft::{Contents, draft},
    invariants::taker,
    open_commit::OpenCommit,
};
use crate::{
    error::Error,
    log::{
        Attempts, Blob, Checkpoint, Claim, Commit, Head, Holder, Leader, Moved, Place, Process, PutMode, Record,
        RecordKind, State, Sweep, Taken, Upstream, slot,
    },
    object::Step,
    path,
    repo::{Repo, follow},
    tree::FileEntry,
};

/// Records between two checkpoints; few in tests, so that they meet many.
pub(crate) const EVERY: u64 = if cfg!(test) { 5 } else { 64 };

/// What a pipeline knows of a commit beyond its files.
#[derive(Clone, Debug, Default)]
pub struct CommitMeta {
    /// Name of the pipeline.
    pub pipeline: String,
    /// Digest of its spec.
    pub spec_digest: String,
    /// Digests of the plugins that ran, by name.
    pub plugins: BTreeMap<String, String>,
    /// How far each partition moves.
    pub advance: Advance,
    /// Handler snapshots, by handler and part. A part that is kept has to be in the head under the same name.
    pub state: BTreeMap<String, Part>,
    /// When the first row was taken.
    pub started_ms: i64,
    /// Why it was cut: rows, bytes, time, ended, force, memory, shutdown, schema.
    pub reason: String,
    /// What became of the messages that the offsets cover.
    pub counts: Counts,
    /// Shows the marker as this file too.
    pub marker_file: Option<String>,
    /// Commits of other repos that it was made from.
    pub provenance: Vec<Upstream>,
    /// The global id of those commits; its own id where there are none.
    pub global: Option<String>,
}

/// What became of a commit. Only `Committed` may be reported to the source.
#[must_use = "dropping this outcome would hide whether the commit exists"]
#[derive(Debug)]
pub enum Finished {
    /// It is durable, and the head.
    Committed(Commit),
    /// Somebody else's commit took its place; ours does not exist.
    Lost(Commit),
    /// It may be there or come to be there. Open the branch again to find out, and delete nothing before.
    Unknown(Box<Error>),
}

/// The writer of a branch. There is one at a time; a newer one fences this one. Commits that others make meanwhile without
/// claiming the branch (a compaction, a squash) are taken in, unless they move what this writer moves.
#[derive(Debug)]
pub struct BranchWriter {
    repo: Repo,
    nonce: String,
    epoch: u64,
    state: State,
    /// Who wrote the branch before and may still do so.
    took_over: Option<Holder>,
    /// Hashes of the handler snapshots of the newest commit that is ours.
    stated: Vec<(String, String)>,
    /// False from before a creation until its outcome is known, also if the future is dropped in between.
    settled: bool,
    checkpoint: Option<JoinHandle<Result<Written, Error>>>,
    /// Collections that were announced while the newest commit was published: files of the next may have been there by then.
    announced: Vec<Sweep>,
}

/// A checkpoint with the generations of the indexes it was made from.
type Written = (Checkpoint, (u64, u64));

impl Repo {
    /// Takes over `branch` for `pipeline`: reads the head, and raises the epoch by a claim record, so that an older writer
    /// is fenced at its next commit. The branch is made if it does not exist.
    ///
    /// # Errors
    /// [`Error::OwnedBranch`] if another pipeline writes it, [`Error::BadRecord`] and its like if it cannot be read,
    /// [`Error::Contended`] if others keep writing it.
    pub async fn writer(&self, branch: &str, pipeline: &str) -> Result<BranchWriter, Error> {
        path::branch_name(branch)?;
        BranchWriter::claim(self, branch, pipeline, None).await
    }

    /// The same, and its claim says who it is to the processes that share its work. It does not take the branch over from anybody who
    /// has claimed it after epoch `seen`.
    ///
    /// # Errors
    /// Those of [`Repo::writer`], and [`Error::Fenced`] if somebody has.
    pub async fn leading_writer(
        &self,
        branch: &str,
        pipeline: &str,
        leader: &Leader,
        seen: u64,
    ) -> Result<BranchWriter, Error> {
        path::branch_name(branch)?;
        BranchWriter::claim(self, branch, pipeline, Some((leader, seen))).await
    }

    /// Epoch of `branch`, and who claimed it last; nobody, where it was set to a commit since, or does not exist.
    ///
    /// # Errors
    /// Those of reading its records.
    pub async fn holder(&self, branch: &str) -> Result<(u64, Option<Holder>), Error> {
        path::branch_name(branch)?;
        let state = self.state(branch).await?;
        Ok((state.head.epoch, state.head.holder))
    }
}

impl BranchWriter {
    /// Reading the head and claiming the next slot together are safe: another writer in between takes the slot, and we
    /// read again. The sync of the directory that makes the claim durable also covers the entries of records that a
    /// killed writer had linked and not synced.
    pub(crate) async fn claim(
        repo: &Repo,
        branch: &str,
        pipeline: &str,
        leads: Option<(&Leader, u64)>,
    ) -> Result<Self, Error> {
        let nonce = clock::nonce();
        let mut state = repo.state(branch).await?;
        let mut attempts = Attempts::new();
        while attempts.another() {
            if !state.owner.is_empty() && state.owner != pipeline {
                return Err(Error::OwnedBranch {
                    repo: repo.name().to_owned(),
                    branch: branch.to_owned(),
                    owner: state.owner,
                    pipeline: pipeline.to_owned(),
                });
            }
            let before = state.head.holder.clone();
            if let Some((_, seen)) = leads.filter(|(_, seen)| state.head.epoch > *seen) {
                let (repo, branch) = (repo.name().to_owned(), branch.to_owned());
                let (theirs, by) = (state.head.epoch, taker(before.as_ref()));
                return Err(Error::Fenced { repo, branch, ours: seen, theirs, by });
            }
            let leader = leads.map(|(leader, _)| leader);
            if !raise(repo, &mut state, (pipeline, leader), &nonce).await? {
                state = repo.state(branch).await?;
                continue;
            }
            let (repo, epoch) = (repo.clone(), state.head.epoch);
            let stated = state.head.commit.as_ref().map(|commit| hashes(&commit.state)).unwrap_or_default();
            let took_over = before.filter(Holder::may_write);
            let mut writer = Self {
                repo,
                nonce,
                epoch,
                state,
                took_over,
                stated,
                settled: true,
                checkpoint: None,
                announced: Vec::new(),
            };
            writer.keep_up().await;
            return Ok(writer);
        }
        Err(Error::Contended { repo: repo.name().to_owned(), branch: branch.to_owned(), attempts: attempts.made })
    }

    /// The newest commit, without inline bytes.
    #[must_use]
    pub fn head(&self) -> Option<&Commit> {
        self.state.head.commit.as_ref()
    }

    /// Who wrote the branch before this writer, unless that one is known to have stopped. It is fenced now.
    #[must_use]
    pub fn took_over(&self) -> Option<&Holder> {
        self.took_over.as_ref()
    }

    /// Where each partition goes on.
    #[must_use]
    pub fn marker(&self) -> &Marker {
        self.state.head.marker()
    }

    /// The branch it writes.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.state.branch
    }

    /// Number of this writer among those that claimed the branch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The file of the head at `path`, if there is one.
    ///
    /// # Errors
    /// Those of reading the index.
    pub async fn file(&self, path: &str) -> Result<Option<FileEntry>, Error> {
        let entry = self.state.files.get(&path::folded(path)).await?;
        Ok(entry.filter(|entry| entry.path == path).and_then(FileEntry::of_entry))
    }

    /// Handler snapshots of the head, by handler.
    ///
    /// # Errors
    /// [`Error::DamagedFile`] if one is not what was written; [`Error::Unspilled`] if there is no room for one that is large.
    pub async fn state(&self) -> Result<BTreeMap<String, Bytes>, Error> {
        let mut state = BTreeMap::new();
        for (key, blob) in self.head().iter().flat_map(|commit| &commit.state) {
            let what = format!("the state of handler `{key}`");
            let bytes = self.repo.blob(&what, blob).await?;
            state.insert(key.clone(), if bytes.len() < spill::LEAST { bytes } else { spill::spilled(&[&bytes])? });
        }
        Ok(state)
    }

    /// Publishes `open` as the new head. Files, marker and state become visible together or not at all.
    ///
    /// # Errors
    /// Nothing was committed: [`Error::Fenced`] if a newer writer owns the branch, an invariant's error, or what writing
    /// can end with where it is certain that nothing was written.
    pub async fn finish(&mut self, mut open: OpenCommit, meta: CommitMeta) -> Result<Finished, Error> {
        let (repo, branch) = (self.repo.name().to_owned(), self.branch().to_owned());
        if !self.settled {
            return Err(Error::Unsettled { repo, branch });
        }
        if open.layout != self.repo.layout {
            let (expected, found) = (self.repo.layout.root().to_string(), open.layout.root().to_string());
            return Err(Error::NotNext { branch, what: "its repo", expected, found });
        }
        for sweep in std::mem::take(&mut self.announced) {
            open.survives(&sweep).await?;
        }
        let state = self.put_state(&mut open, &meta.state).await?;
        let mut attempts = Attempts::new();
        while attempts.another() {
            let shown = match &meta.marker_file {
                Some(path) => self.show_marker(&mut open, path, &meta.advance.apply(self.marker())).await,
                None => Ok(()),
            };
            let contents = self.contents(&meta, state.clone());
            let drafted = match shown {
                Ok(()) => draft(&self.state, &open, contents).await,
                Err(error) => Err(error),
            };
            let mut commit = match drafted {
                Ok(commit) => commit,
                // It may be wrong only on top of a head that is no longer the newest.
                Err(error) => match self.new_records().await? {
                    none if none.is_empty() => return Err(error),
                    records => match self.take_in(records, &open, &meta.advance).await? {
                        Some(winner) => return Ok(Finished::Lost(winner)),
                        None => continue,
                    },
                },
            };
            self.settled = false;
            match slot::take(self.repo.place(), Step::Record, &branch, commit.header.sequence, &commit).await? {
                Taken::Ours(checksum) => {
                    commit.checksum = checksum;
                    return self.follow(commit).await.map(Finished::Committed);
                }
                Taken::Nothing(error) => {
                    self.settled = true;
                    return Err(error);
                }
                Taken::Unknown(error) => return Ok(Finished::Unknown(Box::new(error))),
                Taken::Void => return Err(self.fenced().await?),
                Taken::Others => {
                    // The slot is somebody else's, so nothing of ours can come to be there.
                    self.settled = true;
                    let records = self.new_records().await?;
                    if let Some(winner) = self.take_in(records, &open, &meta.advance).await? {
                        return Ok(Finished::Lost(winner));
                    }
                }
            }
        }
        Err(Error::Contended { repo, branch, attempts: attempts.made })
    }

    fn contents(&self, meta: &CommitMeta, state: BTreeMap<String, Blob>) -> Contents {
        let (nonce, epoch, meta) = (self.nonce.clone(), self.epoch, meta.clone());
        Contents { nonce, epoch, meta, state, base: None, compaction: false }
    }

    /// Takes a commit that is durable as the head.
    async fn follow(&mut self, commit: Commit<Moved>) -> Result<Commit, Error> {
        let object = self.repo.objects.shown(&self.repo.layout.record(self.branch(), commit.header.sequence));
        let commit = self.state.accept_commit(&object, commit)?;
        self.stated = hashes(&commit.state);
        self.settled = true;
        follow::announce();
        self.keep_up().await;
        Ok(commit)
    }

    /// The records that others wrote.
    async fn new_records(&mut self) -> Result<Vec<Record<Marker>>, Error> {
        // What came next may have been collected already, so that what is there now follows something else.
        if self.repo.boundary(self.branch()).await? > self.state.head.sequence {
            Err(self.fenced().await?)
        } else {
            self.state.catch_up(u64::MAX).await
        }
    }

    /// Takes in what others wrote. `None` if our commit can go on top of it, else the commit that it cannot.
    async fn take_in(
        &mut self,
        records: Vec<Record<Marker>>,
        open: &OpenCommit,
        ours: &Advance,
    ) -> Result<Option<Commit>, Error> {
        if records.is_empty() || self.state.head.epoch > self.epoch {
            return Err(self.fenced().await?);
        }
        let mut swept = false;
        for record in records {
            match record {
                Record::Commit(commit) => {
                    let moves = commit.advance.keys().any(|partition| ours.steps.contains_key(partition));
                    if moves || commit.base.is_some() || hashes(&commit.state) != self.stated {
                        return Ok(Some(*commit));
                    }
                }
                Record::Sweep(sweep) => {
                    open.survives(&sweep).await?;
                    self.announced.push(sweep);
                    swept = true;
                }
                Record::Squash(_) | Record::Claim(_) | Record::Point(_) => {}
            }
        }
        if swept {
            // Runs of the index that only we still knew may be gone.
            self.state = self.repo.state(self.branch()).await?;
            self.checkpoint = None;
        }
        self.settled = true;
        Ok(None)
    }

    /// Where the slot of this writer was collected, nothing follows it; other writers are further ahead.
    async fn fenced(&self) -> Result<Error, Error> {
        let Head { epoch: theirs, holder, .. } = if self.state.head.epoch > self.epoch {
            self.state.head.clone()
        } else {
            self.repo.state(self.branch()).await?.head
        };
        let (repo, branch) = (self.repo.name().to_owned(), self.branch().to_owned());
        Ok(if theirs > self.epoch {
            Error::Fenced { repo, branch, ours: self.epoch, theirs, by: taker(holder.as_ref()) }
        } else {
            Error::Swept { branch }
        })
    }

    /// Writes a checkpoint beside the commits when it is time.
    async fn keep_up(&mut self) {
        if let Some(task) = self.checkpoint.take_if(|task| task.is_finished()) {
            match task.await {
                Ok(Ok((checkpoint, generations))) => self.state.install(checkpoint, generations),
                Ok(Err(error)) => {
                    tracing::warn!(
                        code = spout_base::error::Coded::code(&error),
                        "could not write a checkpoint: {error}"
                    );
                    self.state.since = 0;
                }
                Err(ended) => {
                    self.state.since = 0;
                    go_on::<()>(Err(ended));
                }
            }
        }
        if self.checkpoint.is_none() && self.state.since >= EVERY {
            let frozen = self.state.freeze();
            self.checkpoint = Some(owner::spawn(async move {
                let checkpoint = frozen.write_checkpoint().await?;
                Ok((checkpoint, frozen.generations()))
            }));
        }
    }

    /// Puts the marker as a file, unless the file says the same already: a commit that moves nothing stays empty.
    async fn show_marker(&self, open: &mut OpenCommit, path: &str, marker: &Marker) -> Result<(), Error> {
        let path = path::file_path(path)?;
        let text = serde_json::to_vec_pretty(marker).map_err(|source| Error::encode("JSON", source))?;
        match self.file(&path).await? {
            Some(there) if there.sha256 == sha256(&text) => Ok(()),
            _ => open.put_file(&path, PutMode::Overwrite, text.into()).await,
        }
    }

    /// Snapshots in their places; one that did not change keeps the place it has.
    async fn put_state(
        &self,
        open: &mut OpenCommit,
        state: &BTreeMap<String, Part>,
    ) -> Result<BTreeMap<String, Blob>, Error> {
        let mut blobs = BTreeMap::new();
        let before = |key: &str| self.head().and_then(|head| head.state.get(key));
        for (key, part) in state {
            let bytes = match (part, before(key)) {
                (Part::New(bytes), _) => bytes,
                (Part::Kept, Some(blob)) => {
                    blobs.insert(key.clone(), blob.clone());
                    continue;
                }
                (Part::Kept, None) => {
                    return Err(Error::NoState { key: key.clone(), branch: self.branch().to_owned() });
                }
            };
            let sha256 = sha256(bytes);
            let same = before(key).filter(|blob| blob.sha256 == sha256);
            let blob = match same {
                Some(blob @ Blob { place: Place::Object(_), .. }) => blob.clone(),
                _ => open.blob(Step::State, "data", "state", bytes.clone(), sha256).await?,
            };
            blobs.insert(key.clone(), blob);
        }
        // What other processes have put; where it is in the head already, that is what collections know of.
        for (key, put) in &open.state {
            let kept = before(key).filter(|blob| put.as_ref().is_none_or(|put| same_object(put, blob)));
            match kept.or(put.as_ref()) {
                Some(blob) => drop(blobs.insert(key.clone(), blob.clone())),
                None => return Err(Error::NoState { key: key.clone(), branch: self.branch().to_owned() }),
            }
        }
        Ok(blobs)
    }
}

/// Whether `before` is an object with the same bytes.
fn same_object(new: &Blob, before: &Blob) -> bool {
    new.sha256 == before.sha256 && matches!(before.place, Place::Object(_))
}

fn hashes(state: &BTreeMap<String, Blob>) -> Vec<(String, String)> {
    state.iter().map(|(key, blob)| (key.clone(), blob.sha256.clone())).collect()
}

/// Creates the claim record; false if somebody else took the slot.
async fn raise(
    repo: &Repo,
    state: &mut State,
    (pipeline, leader): (&str, Option<&Leader>),
    nonce: &str,
) -> Result<bool, Error> {
    let mut claim = Claim {
        header: state.next(RecordKind::Claim, state.head.epoch + 1, nonce.to_owned()),
        pipeline: pipeline.to_owned(),
        process: Process::own(),
        leader: leader.cloned(),
        checksum: String::new(),
    };
    match slot::take(repo.place(), Step::Claim, &state.branch, claim.header.sequence, &claim).await? {
        Taken::Ours(checksum) => {
            claim.checksum = checksum;
            let object = repo.objects.shown(&repo.layout.record(&state.branch, claim.header.sequence));
            state.accept(&object, Record::Claim(claim)).map(|_| true)
        }
        Taken::Others | Taken::Void => Ok(false),
        Taken::Nothing(error) | Taken::Unknown(error) => Err(error),
    }
}
