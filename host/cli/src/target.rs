//! Where a command puts and deletes files: a branch, whose next commit that is, or a commit that was started.

use anyhow::Result;
use serde::Serialize;
use spout_repo::{Edit, Error as RepoError, FileAdded, Finished, OpenCommit, PutMode, Reference, Repo, Started, Store};

use super::{
    Global,
    error::Error,
    names::is_id,
    print::{Printer, count, short, size},
};

/// A branch, or a started commit to it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) repo: Repo,
    pub(super) branch: String,
    pub(super) started: Option<Started>,
}

/// A file that was put, as it is told.
#[derive(Debug, Serialize)]
pub(super) struct Put {
    pub(super) path: String,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
}

/// What a command changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) put: Vec<Put>,
    pub(super) deleted: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    repo: &'a str,
    branch: &'a str,
    commit: &'a str,
    finished: bool,
    put: &'a [Put],
    deleted: &'a [String],
}

impl Target {
    /// What `reference` names, which has to be something that can change.
    pub(super) async fn of(global: &Global, reference: &Reference) -> Result<Self> {
        Self::in_store(&global.store_to_write().await?, reference).await
    }

    pub(super) async fn in_store(store: &Store, reference: &Reference) -> Result<Self> {
        let repo = store.repo(&reference.repo).await?;
        let fixed = |why: String| Error::NotWritable { reference: reference.to_string(), why };
        if reference.back > 0 || reference.at_ms.is_some() {
            return Err(fixed("it is an earlier commit, and commits never change".into()).into());
        }
        let target = &reference.target;
        let branch = |started| Self { repo: repo.clone(), branch: target.clone(), started };
        if !is_id(target) || repo.branches().await?.iter().any(|branch| branch.name == *target) {
            return Ok(branch(None));
        }
        let unknown = match repo.started_commit(target).await {
            Ok(started) => return Ok(Self { branch: started.branch.clone(), started: Some(started), repo }),
            Err(unknown @ RepoError::UnknownStarted { .. }) => unknown,
            Err(other) => return Err(other.into()),
        };
        match repo.resolve(&Reference::head(repo.name(), target)).await {
            Ok(commit) => {
                Err(fixed(format!("commit {} is finished, and commits never change", commit.header.id)).into())
            }
            Err(RepoError::UnknownBranch { .. }) if target.len() == 32 => Err(unknown.into()),
            // `beef` is a name as good as others.
            Err(RepoError::UnknownBranch { .. }) => Ok(branch(None)),
            Err(other) => Err(other.into()),
        }
    }

    /// A commit to fill.
    pub(super) fn open(&self) -> OpenCommit {
        self.repo.open_commit_on(&self.branch)
    }

    /// What was put and deleted in the started commit so far; nothing for a branch.
    pub(super) async fn pending(&self) -> Result<(Vec<FileAdded>, Vec<String>)> {
        match &self.started {
            Some(started) => Ok(self.repo.pending(started).await?),
            None => Ok((Vec::new(), Vec::new())),
        }
    }

    /// Makes `open` the next commit of the branch, or a part of the started one, and says so.
    pub(super) async fn finish(
        &self,
        open: OpenCommit,
        edit: Edit,
        changes: &Changes,
        printer: &mut Printer,
    ) -> Result<()> {
        if let Some(started) = &self.started {
            self.repo.stage(started, &open).await?;
            return self.report(&started.id, false, changes, printer);
        }
        let mut editor = self.repo.edit(&self.branch).await?;
        match editor.finish(open, edit).await? {
            Finished::Committed(commit) => self.report(&commit.header.id, true, changes, printer),
            Finished::Lost(winner) => {
                let branch = format!("{}@{}", self.repo.name(), self.branch);
                Err(Error::ChangedMeanwhile { branch, commit: short(&winner.header.id) }.into())
            }
            Finished::Unknown(error) => Err((*error).into()),
        }
    }

    fn report(&self, commit: &str, finished: bool, changes: &Changes, printer: &mut Printer) -> Result<()> {
        let (repo, branch, Changes { put, deleted }) = (self.repo.name(), self.branch.as_str(), changes);
        if printer.json() {
            return printer.value(&Done { repo, branch, commit, finished, put, deleted });
        }
        let what = [(put.len(), "put"), (deleted.len(), "deleted")];
        let what = what.iter().filter(|(files, _)| *files > 0);
        let mut what: Vec<String> =
            what.map(|(files, verb)| format!("{} {verb}", count(*files as u64, "file"))).collect();
        if !put.is_empty() {
            what.push(size(put.iter().map(|file| file.size).sum()));
        }
        let what = what.join(", ");
        printer.line(if finished {
            format!("{repo}@{branch}: {what}, in commit {}", short(commit))
        } else {
            let id = short(commit);
            format!(
                "{repo}@{branch}: {what}, in started commit {id}; `spout finish commit {repo}@{id}` makes it visible"
            )
        })
    }
}

/// The commit that an operation of the library made.
pub(super) fn committed(finished: Finished) -> Result<spout_repo::Commit> {
    match finished {
        Finished::Committed(commit) => Ok(commit),
        Finished::Lost(winner) => {
            let branch = format!("{}@{}", winner.header.repo, winner.header.branch);
            Err(Error::ChangedMeanwhile { branch, commit: short(&winner.header.id) }.into())
        }
        Finished::Unknown(error) => Err((*error).into()),
    }
}

/// Whether files grow or are replaced, as `-a` and `-o` say.
pub(super) fn how(append: bool) -> PutMode {
    if append { PutMode::Append } else { PutMode::Overwrite }
}
