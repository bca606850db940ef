//! What changes the history of a branch, or how much of it is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{Reference, Retention, Store};

use crate::{CommitInfo, Error, Result, branch_of, committed, within};

/// A commit that made a branch what it was before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Undone {
    /// The commit that did it.
    pub made: CommitInfo,
    /// The branch.
    pub branch: String,
    /// The head that there was, where that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<String>,
    /// The commit whose files, marker and state came back.
    pub restored: String,
}

/// Commits that were merged into the one after them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Squashed {
    /// The repo.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// The oldest of them.
    pub first: String,
    /// The newest of them.
    pub last: String,
    /// How many they were.
    pub commits: u64,
}

/// How much history a repo keeps from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// The repo.
    pub repo: String,
    /// The rules.
    pub retention: Retention,
}

pub(crate) async fn revert(store: &Store, repo: &str, branch: &str, to: &str) -> Result<Undone> {
    let repo = store.repo(repo).await?;
    let to = repo.resolve(&within(repo.name(), branch, to, "revert branch")?).await?;
    let made = CommitInfo::of(&committed(repo.revert(branch, &to).await?)?)?;
    Ok(Undone { made, branch: branch.to_owned(), undone: None, restored: to.header.id })
}

pub(crate) async fn drop_head(store: &Store, reference: &Reference) -> Result<Undone> {
    let usage = |what: String| Err(Error::Usage { verb: "drop commit", what });
    let repo = store.repo(&reference.repo).await?;
    let commit = repo.resolve(reference).await?;
    let branches = repo.branches().await?;
    let branch = branch_of(&branches, reference, &commit);
    let head = branches.iter().find(|there| there.name == branch).and_then(|branch| branch.head.as_ref());
    let id = &commit.header.id;
    let (shown, at) = (id.get(..12).unwrap_or(id), format!("{}@{branch}", repo.name()));
    if head.is_none_or(|head| head.header.id != *id) {
        return usage(format!(
            "commit {shown} is not the head of {at}; `spout squash commit` merges it into the one after it, and \
             `spout revert branch {at} --to COMMIT` goes back further"
        ));
    }
    if commit.parent.is_none() {
        return usage(format!("commit {shown} is the first of {at}; `spout delete branch {at}` deletes all"));
    }
    let parent = repo.resolve(&Reference { back: 1, ..Reference::head(repo.name(), &branch) }).await?;
    let made = CommitInfo::of(&committed(repo.revert(&branch, &parent).await?)?)?;
    Ok(Undone { made, branch, undone: Some(commit.header.id), restored: parent.header.id })
}

/// `commits` as they are written: a reference, or `repo@older..newer`.
pub(crate) async fn squash(store: &Store, commits: &str) -> Result<Squashed> {
    let (first, last) = commits.split_once("..").unwrap_or((commits, ""));
    let reference: Reference = first.parse()?;
    let repo = store.repo(&reference.repo).await?;
    let first = repo.resolve(&reference).await?;
    let branch = branch_of(&repo.branches().await?, &reference, &first);
    let last = match last {
        "" => first.clone(),
        last => repo.resolve(&within(repo.name(), &branch, last, "squash commit")?).await?,
    };
    repo.squash(&branch, &first, &last).await?;
    let commits = last.number - first.number + 1;
    let repo = repo.name().to_owned();
    Ok(Squashed { repo, branch, first: first.header.id, last: last.header.id, commits })
}

pub(crate) async fn retain(store: &Store, repo: &str, retention: Retention) -> Result<Kept> {
    let repo = store.repo(repo).await?;
    repo.retain(retention).await?;
    Ok(Kept { repo: repo.name().to_owned(), retention })
}
