//! Branches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::SchemaText;
use spout_repo::{BranchInfo as Found, Commit, MASTER, Reference, Repo, Store, TreeTable};

use crate::{Column, Deleted, Error, Result, columns, within};

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

/// Everything about a branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BranchInfo {
    /// Its repo.
    pub repo: String,
    /// Its name.
    pub branch: String,
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
    /// The columns that its decoder keeps to; null where there is none, or nothing is settled.
    pub settled: Option<Vec<Column>>,
    /// Its tables.
    pub tables: Vec<TableLine>,
}

/// A table of a branch: what a directory of data files holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableLine {
    /// Its directory.
    pub table: String,
    /// Its files.
    pub files: usize,
    /// Their rows.
    pub rows: u64,
    /// Their columns.
    pub columns: Vec<Column>,
    /// Why its files have no columns in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixed: Option<String>,
}

impl From<TreeTable> for TableLine {
    fn from(table: TreeTable) -> Self {
        let TreeTable { name, files, rows, columns: of_table } = table;
        let (columns, mixed) = match of_table {
            Ok(schema) => (columns(&schema), None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        Self { table: name, files, rows, columns, mixed }
    }
}

impl From<Found> for Branch {
    fn from(info: Found) -> Self {
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

/// Everything about the branch that `reference` names.
pub(crate) async fn inspect(store: &Store, reference: &Reference) -> Result<BranchInfo> {
    let repo = store.repo(&reference.repo).await?;
    let found = repo.branches().await?.into_iter().find(|info| info.name == reference.target);
    let Some(found) = found.filter(|_| reference.back == 0 && reference.at_ms.is_none() && reference.path.is_none())
    else {
        // It may be a tag or a commit; where it is nothing at all, the repo says so.
        repo.resolve(reference).await?;
        let what = format!("`{reference}` is not a branch; `spout inspect commit {reference}` shows a tag or a commit");
        return Err(Error::Usage { verb: "inspect branch", what });
    };
    let (tables, settled) = match &found.head {
        Some(head) => (repo.tree(head).await?.tables(), settled(&repo, head).await?),
        None => (Vec::new(), None),
    };
    let tables = tables.into_iter().map(Into::into).collect();
    let Branch { name, head, finished_ms, commits, epoch, pipeline } = found.into();
    let repo = repo.name().to_owned();
    Ok(BranchInfo { repo, branch: name, head, finished_ms, commits, epoch, pipeline, settled, tables })
}

/// The columns that the decoder of a branch keeps to since `commit`: declared, or settled by what it met first.
pub(crate) async fn settled(repo: &Repo, commit: &Commit) -> Result<Option<Vec<Column>>> {
    let Some(text) = repo.state_part(commit, SchemaText::PART).await? else { return Ok(None) };
    match SchemaText::stored(&text) {
        Ok(schema) => Ok(Some(columns(&schema))),
        Err(reason) => Err(Error::Settled { commit: commit.header.id.clone(), reason }),
    }
}
