//! Repos.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{Error as RepoError, Retention, Store};

use crate::{Branch, Column, Error, Result, Started, branches::settled, commits};

/// A repo in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repo {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// How many branches it has.
    pub branches: usize,
    /// Commits of all branches.
    pub commits: u64,
}

/// A repo to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRepo {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
}

/// Everything about a repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepoInfo {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// How much history it keeps.
    pub retention: Retention,
    /// Its branches.
    pub branches: Vec<BranchOfRepo>,
    /// Its tags.
    pub tags: Vec<TagOfRepo>,
    /// Commits that were started and not finished.
    pub started: Vec<Started>,
}

/// A branch of a repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BranchOfRepo {
    /// The branch.
    #[serde(flatten)]
    pub branch: Branch,
    /// The columns that its decoder keeps to; null where there is none, or nothing is settled.
    pub settled: Option<Vec<Column>>,
}

/// A tag of a repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagOfRepo {
    /// Its name.
    pub name: String,
    /// The commit it keeps.
    pub commit: String,
}

/// A repo that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepoMade {
    /// Its name.
    pub repo: String,
}

/// Something that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    /// `repo`, `branch` or `tag`.
    pub deleted: String,
    /// Its name; of a branch or tag `repo@name`.
    pub name: String,
}

pub(crate) async fn list(store: &Store) -> Result<Vec<Repo>> {
    let mut repos = Vec::new();
    for info in store.repos().await? {
        let branches = store.repo(&info.name).await?.branches().await?;
        repos.push(Repo {
            name: info.name,
            description: info.description,
            created_ms: info.created_ms,
            branches: branches.len(),
            commits: branches.iter().map(|branch| branch.commits).sum(),
        });
    }
    Ok(repos)
}

/// Everything about the repo `name`.
pub(crate) async fn inspect(store: &Store, name: &str) -> Result<RepoInfo> {
    let repo = store.repo(name).await?;
    let about = store.repos().await?.into_iter().find(|info| info.name == name);
    let (description, created_ms) = about.map(|info| (info.description, info.created_ms)).unwrap_or_default();
    let mut branches = Vec::new();
    for branch in repo.branches().await? {
        let settled = match &branch.head {
            Some(head) => settled(&repo, head).await?,
            None => None,
        };
        branches.push(BranchOfRepo { branch: branch.into(), settled });
    }
    let tags = repo.tags().await?.into_iter().map(|tag| TagOfRepo { name: tag.name, commit: tag.commit.header.id });
    Ok(RepoInfo {
        name: name.to_owned(),
        description,
        created_ms,
        retention: repo.retention().await?,
        branches,
        tags: tags.collect(),
        started: commits::started(store, name, None).await?,
    })
}

pub(crate) async fn create(store: &Store, new: &NewRepo) -> Result<RepoMade> {
    match store.repo(&new.name).await {
        Ok(_) => return Err(Error::RepoExists { repo: new.name.clone() }),
        Err(RepoError::UnknownRepo { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    store.repo_or_create(&new.name, &new.description).await?;
    Ok(RepoMade { repo: new.name.clone() })
}

pub(crate) async fn delete(store: &Store, name: &str, force: bool) -> Result<Deleted> {
    store.delete_repo(name, force).await?;
    Ok(Deleted { deleted: "repo".into(), name: name.to_owned() })
}
