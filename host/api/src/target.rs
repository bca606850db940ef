//! Where files are put and deleted: a branch, whose next commit that is, or a commit that was started.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{Commit, Edit, Error as RepoError, FileAdded, Finished, OpenCommit, Reference, Repo, Started, Store};

use crate::{Error, Result, is_id};

/// A branch, or a started commit to it.
#[derive(Debug)]
pub struct Target {
    /// Its repo.
    pub repo: Repo,
    /// The branch.
    pub branch: String,
    /// The commit that was started.
    pub started: Option<Started>,
}

/// A file that was put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Put {
    /// Its path.
    pub path: String,
    /// Bytes that were put.
    pub size: u64,
    /// Rows, for tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// What was changed, and by which commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// The repo.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// Whether it can be seen; false for one that was started.
    pub finished: bool,
    /// Files that were put.
    pub put: Vec<Put>,
    /// Paths that were deleted.
    pub deleted: Vec<String>,
}

impl Target {
    /// What `reference` names, which has to be something that can change.
    ///
    /// # Errors
    /// [`Error::NotWritable`], and those of reading.
    pub async fn of(store: &Store, reference: &Reference) -> Result<Self> {
        let repo = store.repo(&reference.repo).await?;
        let fixed = |why: String| Error::NotWritable { reference: reference.to_string(), why };
        if reference.back > 0 || reference.at_ms.is_some() {
            return Err(fixed("it is an earlier commit, and commits never change".into()));
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
            Ok(commit) => Err(fixed(format!("commit {} is finished, and commits never change", commit.header.id))),
            Err(RepoError::UnknownBranch { .. }) if target.len() == 32 => Err(unknown.into()),
            // `beef` is a name as good as others.
            Err(RepoError::UnknownBranch { .. }) => Ok(branch(None)),
            Err(other) => Err(other.into()),
        }
    }

    /// A commit to put files into.
    #[must_use]
    pub fn open(&self) -> OpenCommit {
        self.repo.open_commit_on(&self.branch)
    }

    /// What was put and deleted in the started commit so far; nothing for a branch.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn pending(&self) -> Result<(Vec<FileAdded>, Vec<String>)> {
        match &self.started {
            Some(started) => Ok(self.repo.pending(started).await?),
            None => Ok((Vec::new(), Vec::new())),
        }
    }

    /// Makes `open` the next commit of the branch, or a part of the started one.
    ///
    /// # Errors
    /// [`Error::ChangedMeanwhile`], and those of writing.
    pub async fn finish(&self, open: OpenCommit, edit: Edit, put: Vec<Put>, deleted: Vec<String>) -> Result<Changes> {
        let (commit, finished) = match &self.started {
            Some(started) => {
                self.repo.stage(started, &open).await?;
                (started.id.clone(), false)
            }
            None => {
                let mut editor = self.repo.edit(&self.branch).await?;
                (committed(editor.finish(open, edit).await?)?.header.id, true)
            }
        };
        Ok(Changes { repo: self.repo.name().to_owned(), branch: self.branch.clone(), commit, finished, put, deleted })
    }
}

/// The commit that an operation of the library made.
///
/// # Errors
/// [`Error::ChangedMeanwhile`] where somebody else was first.
pub fn committed(finished: Finished) -> Result<Commit> {
    match finished {
        Finished::Committed(commit) => Ok(commit),
        Finished::Lost(winner) => {
            let branch = format!("{}@{}", winner.header.repo, winner.header.branch);
            let commit = winner.header.id.get(..12).unwrap_or(&winner.header.id).to_owned();
            Err(Error::ChangedMeanwhile { branch, commit })
        }
        Finished::Unknown(error) => Err((*error).into()),
    }
}
