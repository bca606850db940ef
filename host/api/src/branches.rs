//! Branches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{BranchInfo, MASTER, Store};

use crate::{Deleted, Result, within};

/// A branch in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Branch {
    /// Its name.
    pub name: String,
    /// Id of its newest commit.
    pub head: Option<String>,
    /// When that was finished, in milliseconds since 1970.
    pub finished_ms: Option<i64>,
    /// Commits that lead to it, itself included.
    pub commits: u64,
    /// Writers that have claimed it so far.
    pub epoch: u64,
    /// The pipeline that writes it; empty where none does.
    pub pipeline: String,
}

/// A branch to create, or to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBranch {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The commit it starts at: a branch, a tag, an id, `master~2`. Without it the branch is empty.
    #[serde(default)]
    pub head: Option<String>,
    /// Whether a branch that exists is moved.
    #[serde(default, rename = "move")]
    pub anew: bool,
}

/// A branch that was created or moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BranchMade {
    /// Its repo.
    pub repo: String,
    /// Its name.
    pub branch: String,
    /// The commit it is at.
    pub head: Option<String>,
}

impl From<BranchInfo> for Branch {
    fn from(info: BranchInfo) -> Self {
        let header = info.head.map(|head| head.header);
        Self {
            name: info.name,
            finished_ms: header.as_ref().map(|header| header.at_ms),
            head: header.map(|header| header.id),
            commits: info.commits,
            epoch: info.epoch,
            pipeline: info.pipeline,
        }
    }
}

pub(crate) async fn list(store: &Store, repo: &str) -> Result<Vec<Branch>> {
    Ok(store.repo(repo).await?.branches().await?.into_iter().map(Into::into).collect())
}

pub(crate) async fn create(store: &Store, repo: &str, new: &NewBranch) -> Result<BranchMade> {
    let repo = store.repo(repo).await?;
    let head = match &new.head {
        Some(head) => Some(repo.resolve(&within(repo.name(), MASTER, head, "create branch")?).await?),
        None => None,
    };
    repo.create_branch(&new.name, head.as_ref(), new.anew).await?;
    let head = head.map(|head| head.header.id);
    Ok(BranchMade { repo: repo.name().to_owned(), branch: new.name.clone(), head })
}

pub(crate) async fn delete(store: &Store, repo: &str, branch: &str) -> Result<Deleted> {
    store.repo(repo).await?.delete_branch(branch).await?;
    Ok(Deleted { deleted: "branch".into(), name: format!("{repo}@{branch}") })
}
