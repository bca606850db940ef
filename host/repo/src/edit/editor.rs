//! Commits beside a pipeline's: files put by people, reverts, compactions. They claim nothing, so that they fence nobody.

use spout_base::clock;
use spout_data::Counts;

use super::{
    draft::{Contents, draft},
    open_commit::OpenCommit,
    writer::CommitMeta,
    writer::Finished,
};
use crate::{
    error::Error,
    log::{Attempts, Base, Commit, Moved, Record, State, Taken, Upstream, slot},
    object::Step,
    path,
    repo::{Repo, follow},
    tree::FileEntry,
};

/// What an edit says about itself.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// What is done, as the history shows it: `put file`, `revert`.
    pub reason: String,
    /// Rows in the files that it adds.
    pub rows: u64,
    /// Files that must still be what they were, by path and hash; `None` for one that must not be there.
    pub unchanged: Vec<(String, Option<String>)>,
    /// Whether the files hold the same rows as before.
    pub compaction: bool,
    /// Commits of other repos that it was made from.
    pub provenance: Vec<Upstream>,
    /// Their global id.
    pub global: Option<String>,
}

impl Edit {
    /// An edit of this reason.
    #[must_use]
    pub fn new(reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..Self::default() }
    }
}

/// Somebody who changes a branch without owning it.
#[derive(Debug)]
pub struct Editor {
    repo: Repo,
    state: State,
    settled: bool,
}

impl Repo {
    /// Opens `branch` for commits beside its pipeline's. A branch that does not exist is made by the first of them.
    ///
    /// # Errors
    /// [`Error::BadName`], and those of reading the branch.
    pub async fn edit(&self, branch: &str) -> Result<Editor, Error> {
        path::branch_name(branch)?;
        if self.tag(branch).await?.is_some() {
            return Err(Error::NameTaken { repo: self.name().to_owned(), what: "tag", name: branch.to_owned() });
        }
        let state = self.state(branch).await?;
        let state = match state.deleted {
            // A deleted branch of that name does not come back by an edit of what it was.
            true => {
                self.create_branch(branch, None, true).await?;
                self.state(branch).await?
            }
            false => state,
        };
        Ok(Editor { repo: self.clone(), state, settled: true })
    }

    /// Makes the head of `branch` what `to` was: files, marker and state. History keeps what was in between.
    ///
    /// # Errors
    /// [`Error::UnknownBranch`], [`Error::Collected`], and those of writing.
    pub async fn revert(&self, branch: &str, to: &Commit) -> Result<Finished, Error> {
        self.known(branch).await?;
        let base = self.state_at(to).await?.base().await?;
        let mut editor = self.edit(branch).await?;
        let edit = Edit::new(&format!("revert to {}", to.header.id.get(..12).unwrap_or(&to.header.id)));
        editor.publish(self.open_commit_on(branch), edit, base).await
    }

    /// Makes the head of `branch` what it was before its first commit: no file, no marker, no state. History keeps what was in
    /// between. `None` if there is no commit.
    ///
    /// # Errors
    /// Those of reading the branch and of writing.
    pub async fn begin_anew(&self, branch: &str) -> Result<Option<Finished>, Error> {
        let mut editor = self.edit(branch).await?;
        let Some(Base { commit, ids, schemas, hidden, .. }) = editor.state.base().await? else { return Ok(None) };
        let (files, removed, marker, state) = Default::default();
        let commit = Commit { files, removed, marker, state, ..commit };
        let base = Base { commit, files: Vec::new(), ids, schemas, hidden };
        editor.publish(self.open_commit_on(branch), Edit::new("begin anew"), Some(base)).await.map(Some)
    }
}

impl Editor {
    /// The newest commit.
    #[must_use]
    pub fn head(&self) -> Option<&Commit> {
        self.state.head.commit.as_ref()
    }

    /// The file of the head at `path`, if there is one.
    ///
    /// # Errors
    /// Those of reading the index.
    pub async fn file(&self, path: &str) -> Result<Option<FileEntry>, Error> {
        let entry = self.state.files.get(&path::folded(path)).await?;
        Ok(entry.filter(|entry| entry.path == path).and_then(FileEntry::of_entry))
    }

    /// Publishes `open` on top of whatever the head is by then. Marker and handler state stay as they are.
    ///
    /// # Errors
    /// Nothing was committed: an invariant's error, or what writing can end with where it is certain that nothing was
    /// written.
    pub async fn finish(&mut self, open: OpenCommit, edit: Edit) -> Result<Finished, Error> {
        self.publish(open, edit, None).await
    }

    /// The same on top of the files of `base`, whose marker and state come back with them.
    async fn publish(&mut self, open: OpenCommit, edit: Edit, base: Option<Base>) -> Result<Finished, Error> {
        let (repo, branch) = (self.repo.name().to_owned(), self.state.branch.clone());
        if !self.settled {
            return Err(Error::Unsettled { repo, branch });
        }
        let (nonce, started_ms) = (clock::nonce(), clock::wall_ms());
        let mut attempts = Attempts::new();
        while attempts.another() {
            let contents = self.contents(&nonce, started_ms, &edit, base.clone());
            let mut commit = match self.drafted(&open, &edit, contents).await {
                Ok(Ok(commit)) => commit,
                Ok(Err(head)) => return Ok(Finished::Lost(head)),
                // It may be wrong only on top of a head that is no longer the newest.
                Err(error) => {
                    if self.repo.state(&branch).await?.head.sequence == self.state.head.sequence {
                        return Err(error);
                    } else {
                        self.catch_up(&open).await?;
                        continue;
                    }
                }
            };
            self.settled = false;
            match slot::take(self.repo.place(), Step::Record, &branch, commit.header.sequence, &commit).await? {
                Taken::Ours(checksum) => {
                    commit.checksum = checksum;
                    let object = self.repo.objects.shown(&self.repo.layout.record(&branch, commit.header.sequence));
                    let commit = self.state.accept_commit(&object, commit)?;
                    self.settled = true;
                    follow::announce();
                    return Ok(Finished::Committed(commit));
                }
                Taken::Nothing(error) => {
                    self.settled = true;
                    return Err(error);
                }
                Taken::Unknown(error) => return Ok(Finished::Unknown(Box::new(error))),
                Taken::Void => return Err(Error::Swept { branch }),
                Taken::Others => {
                    self.settled = true;
                    self.catch_up(&open).await?;
                }
            }
        }
        Err(Error::Contended { repo, branch, attempts: attempts.made })
    }

    async fn catch_up(&mut self, open: &OpenCommit) -> Result<(), Error> {
        let mut state = self.repo.state(&self.state.branch).await?;
        std::mem::swap(&mut self.state, &mut state);
        // What came next may have been collected already, so that what is there now follows something else.
        if self.repo.boundary(&state.branch).await? > state.head.sequence {
            return Err(Error::Swept { branch: state.branch });
        }
        for record in state.catch_up(u64::MAX).await? {
            if let Record::Sweep(sweep) = record {
                open.survives(&sweep).await?;
            }
        }
        self.settled = true;
        Ok(())
    }

    /// The record, or the head that it does not fit.
    async fn drafted(
        &self,
        open: &OpenCommit,
        edit: &Edit,
        contents: Contents,
    ) -> Result<Result<Commit<Moved>, Commit>, Error> {
        match self.moved(edit).await? {
            Some(head) => Ok(Err(head)),
            None => draft(&self.state, open, contents).await.map(Ok),
        }
    }

    /// The head, if a file is no longer what the edit takes for granted.
    async fn moved(&self, edit: &Edit) -> Result<Option<Commit>, Error> {
        for (path, expected) in &edit.unchanged {
            if self.file(path).await?.map(|file| file.sha256) != *expected {
                return Ok(self.head().cloned());
            }
        }
        Ok(None)
    }

    fn contents(&self, nonce: &str, started_ms: i64, edit: &Edit, base: Option<Base>) -> Contents {
        let kept = base.as_ref().map(|base| &base.commit).or(self.head());
        Contents {
            nonce: nonce.to_owned(),
            epoch: self.state.head.epoch,
            meta: CommitMeta {
                started_ms,
                counts: Counts { rows: edit.rows, ..Counts::default() },
                reason: edit.reason.clone(),
                provenance: edit.provenance.clone(),
                global: edit.global.clone(),
                ..CommitMeta::default()
            },
            state: kept.map(|commit| commit.state.clone()).unwrap_or_default(),
            base,
            compaction: edit.compaction,
        }
    }
}
