//! Tags.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{MASTER, Store, TagInfo};

use crate::{Deleted, Result, within};

/// A tag in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The branch that its commit was made on.
    pub branch: String,
    /// Id of the commit it keeps.
    pub commit: String,
    /// When that was finished, in milliseconds since 1970.
    pub finished_ms: i64,
    /// When the tag was set, in milliseconds since 1970.
    pub tagged_ms: i64,
}

/// A tag to create, or to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTag {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The commit it keeps: a branch, a tag, an id, `master~2`.
    #[serde(default = "master")]
    pub head: String,
    /// Whether a tag that exists is moved.
    #[serde(default, rename = "move")]
    pub anew: bool,
}

fn master() -> String {
    MASTER.to_owned()
}

/// A tag that was created or moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagMade {
    /// Its repo.
    pub repo: String,
    /// Its name.
    pub tag: String,
    /// The commit it keeps.
    pub head: String,
}

impl From<TagInfo> for Tag {
    fn from(info: TagInfo) -> Self {
        let TagInfo { name, commit, at_ms } = info;
        let header = commit.header;
        Self { name, branch: header.branch, commit: header.id, finished_ms: header.at_ms, tagged_ms: at_ms }
    }
}

pub(crate) async fn list(store: &Store, repo: &str) -> Result<Vec<Tag>> {
    Ok(store.repo(repo).await?.tags().await?.into_iter().map(Into::into).collect())
}

pub(crate) async fn create(store: &Store, repo: &str, new: &NewTag) -> Result<TagMade> {
    let repo = store.repo(repo).await?;
    let head = repo.resolve(&within(repo.name(), MASTER, &new.head, "create tag")?).await?;
    repo.create_tag(&new.name, &head, new.anew).await?;
    Ok(TagMade { repo: repo.name().to_owned(), tag: new.name.clone(), head: head.header.id })
}

pub(crate) async fn delete(store: &Store, repo: &str, tag: &str) -> Result<Deleted> {
    store.repo(repo).await?.delete_tag(tag).await?;
    Ok(Deleted { deleted: "tag".into(), name: format!("{repo}@{tag}") })
}
