//! Repos.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{Error as RepoError, Store};

use crate::{Error, Result};

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

/// A repo that was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepoMade {
    /// Its name.
    pub repo: String,
    /// The store that it is in.
    pub store: String,
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

pub(crate) async fn create(store: &Store, new: &NewRepo) -> Result<RepoMade> {
    match store.repo(&new.name).await {
        Ok(_) => return Err(Error::RepoExists { repo: new.name.clone() }),
        Err(RepoError::UnknownRepo { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    store.repo_or_create(&new.name, &new.description).await?;
    Ok(RepoMade { repo: new.name.clone(), store: store.url().to_owned() })
}

pub(crate) async fn delete(store: &Store, name: &str, force: bool) -> Result<Deleted> {
    store.delete_repo(name, force).await?;
    Ok(Deleted { deleted: "repo".into(), name: name.to_owned() })
}
