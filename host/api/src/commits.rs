//! Commits: what was made, what waits to be finished.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use spout_data::{Counts, Marker, Upstream};
use spout_repo::{
    Commit, Edit, Error as RepoError, FileAdded, MASTER, PutMode, Reference, Repo, Started as StartedCommit, Store,
};

use crate::{Error, Result, Target, committed};

/// Names of tags, by the id of the commit they are at.
type Tags = BTreeMap<String, Vec<String>>;

/// A commit: its record without the bytes that live inside it, with its tags, and with its counts beside the other fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommitInfo {
    /// 32 hexadecimal digits, unique in the world.
    pub id: String,
    /// Its repo.
    pub repo: String,
    /// The branch it was made on.
    pub branch: String,
    /// How many commits lead to it, itself included.
    pub number: u64,
    /// The commit before it.
    pub parent: Option<String>,
    /// The commit whose files came back in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Tags that are at it.
    pub tags: Vec<String>,
    /// When its first row was taken, in milliseconds since 1970.
    pub started_ms: i64,
    /// When it was finished, in milliseconds since 1970.
    pub at_ms: i64,
    /// Place in the branch, counting records of every kind.
    pub sequence: u64,
    /// Writers that had claimed the branch.
    pub epoch: u64,
    /// The pipeline that made it; empty for a commit by people.
    pub pipeline: String,
    /// Digest of the pipeline's spec.
    pub spec_digest: String,
    /// Digests of the plugins that ran, by name.
    pub plugins: BTreeMap<String, String>,
    /// Why it was cut.
    pub reason: String,
    /// Whether it holds the same rows as its parent in other files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compaction: bool,
    /// What became of the messages that its offsets cover.
    #[serde(flatten)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub counts: Counts,
    /// What was put, in order.
    pub files: Vec<FilePut>,
    /// Paths that were deleted before.
    pub removed: Vec<String>,
    /// Where each partition goes on.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub marker: Marker,
    /// Handler snapshots, by handler.
    pub state: BTreeMap<String, StateBlob>,
    /// Commits of other repos that it was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub provenance: Vec<Upstream>,
    /// Shared by all commits that one commit led to: the id of the first of them.
    pub global: String,
    /// What else the record says.
    #[serde(flatten)]
    pub record: Map<String, Value>,
}

/// A put of a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FilePut {
    /// Its path.
    pub path: String,
    /// `append` or `overwrite`.
    pub how: String,
    /// Where its bytes are, how many, and their hash.
    pub blob: StateBlob,
    /// Rows, columns and statistics, for table files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Map<String, Value>>,
}

/// Bytes of a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateBlob {
    /// The object or record that holds them.
    pub place: Value,
    /// How many.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: String,
}

impl FilePut {
    /// Rows, for table files.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        self.table.as_ref()?.get("rows")?.as_u64()
    }
}

impl CommitInfo {
    /// Bytes in the files this commit added.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.blob.size).sum()
    }

    /// `commit` as it is shown, without tags.
    ///
    /// # Errors
    /// If the record has something that JSON has not.
    pub fn of(commit: &Commit) -> Result<Self> {
        Self::tagged(commit, &Tags::new())
    }

    fn tagged(commit: &Commit, tags: &Tags) -> Result<Self> {
        let shown = shown(commit, tags).and_then(serde_json::from_value);
        shown.map_err(|source| {
            RepoError::BadRecord { object: commit.header.id.clone(), reason: source.to_string() }.into()
        })
    }
}

fn shown(commit: &Commit, tags: &Tags) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(commit)?;
    // The record holds the commit whose files came back with its whole index.
    let base = value.pointer("/base/commit/id").cloned();
    without_bytes(&mut value);
    if let Some(fields) = value.as_object_mut() {
        if let Some(Value::Object(counts)) = fields.remove("counts") {
            fields.extend(counts);
        }
        fields.insert("tags".into(), json!(tags.get(&commit.header.id).cloned().unwrap_or_default()));
        base.map(|base| fields.insert("base".into(), base));
    }
    Ok(value)
}

/// `{"inline": "…base64…"}` says where bytes are and holds them; where they are is enough.
fn without_bytes(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(inline) = fields.get_mut("place").filter(|place| place.get("inline").is_some()) {
                *inline = "inline".into();
            }
            fields.values_mut().for_each(without_bytes);
        }
        Value::Array(items) => items.iter_mut().for_each(without_bytes),
        _ => {}
    }
}

async fn tags_of(repo: &Repo) -> Result<Tags> {
    let mut tags = Tags::new();
    for tag in repo.tags().await? {
        tags.entry(tag.commit.header.id).or_default().push(tag.name);
    }
    Ok(tags)
}

/// A commit that waits to be finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// Its repo.
    pub repo: String,
    /// The branch it will go to.
    pub branch: String,
    /// The id that it will have.
    pub commit: String,
    /// When it was started, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A commit that files can be put into, whatever was named: the one that was started, or a fresh one to a branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Opened {
    /// The commit.
    #[serde(flatten)]
    pub started: Started,
    /// Whether it was started for this, and waits to be closed.
    pub fresh: bool,
}

/// What a started commit holds so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pending {
    /// The commit.
    #[serde(flatten)]
    pub started: Started,
    /// False.
    pub finished: bool,
    /// What was put.
    pub put: Vec<PendingFile>,
    /// What was deleted.
    pub deleted: Vec<String>,
}

/// A file of a started commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingFile {
    /// Its path.
    pub path: String,
    /// `append` or `overwrite`.
    pub how: String,
    /// Bytes.
    pub size: u64,
    /// Rows, for table files.
    pub rows: Option<u64>,
}

/// A started commit that was forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// Its repo.
    pub repo: String,
    /// The branch it would have gone to.
    pub branch: String,
    /// Its id.
    pub dropped: String,
}

/// A commit, finished or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Inspected {
    /// A finished one.
    Commit(Box<CommitInfo>),
    /// One that was started.
    Pending(Pending),
}

pub(crate) async fn list(store: &Store, reference: &Reference, limit: usize) -> Result<Vec<CommitInfo>> {
    let repo = store.repo(&reference.repo).await?;
    let commits = match repo.history(reference, limit).await {
        Ok(commits) => commits,
        Err(error) => return nothing_yet(&repo, reference, error).await,
    };
    let tags = tags_of(&repo).await?;
    commits.iter().map(|commit| CommitInfo::tagged(commit, &tags)).collect()
}

/// A branch without a commit is there, and is no error.
async fn nothing_yet(repo: &Repo, reference: &Reference, error: RepoError) -> Result<Vec<CommitInfo>> {
    let branches = repo.branches().await.unwrap_or_default();
    let fresh = branches.iter().any(|branch| branch.name == reference.target && branch.head.is_none());
    if fresh && reference.back == 0 && reference.at_ms.is_none() { Ok(Vec::new()) } else { Err(error.into()) }
}

pub(crate) async fn started(store: &Store, repo: &str, branch: Option<&str>) -> Result<Vec<Started>> {
    let repo = store.repo(repo).await?;
    let all = repo.started().await?.into_iter();
    let here = all.filter(|started| branch.is_none_or(|branch| started.branch == branch));
    Ok(here.map(|started| line(&repo, &started)).collect())
}

fn line(repo: &Repo, started: &StartedCommit) -> Started {
    let StartedCommit { id, branch, at_ms, .. } = started;
    Started { repo: repo.name().to_owned(), branch: branch.clone(), commit: id.clone(), at_ms: *at_ms }
}

pub(crate) async fn inspect(store: &Store, reference: &Reference) -> Result<Inspected> {
    let repo = store.repo(&reference.repo).await?;
    match repo.resolve(reference).await {
        Ok(commit) => {
            // A head is known without the commit that came back in it; its record, which is found by id, says it.
            let whole = repo.resolve(&Reference::head(repo.name(), &commit.header.id)).await.unwrap_or(commit);
            Ok(Inspected::Commit(Box::new(CommitInfo::tagged(&whole, &tags_of(&repo).await?)?)))
        }
        Err(error @ RepoError::UnknownBranch { .. }) => match repo.started_commit(&reference.target).await {
            Ok(started) => pending(&repo, &started).await,
            Err(_) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

async fn pending(repo: &Repo, started: &StartedCommit) -> Result<Inspected> {
    let (put, deleted) = repo.pending(started).await?;
    let file = |file: FileAdded| PendingFile {
        how: how(file.how).to_owned(),
        size: file.blob.size,
        rows: file.table.as_ref().map(|table| table.rows),
        path: file.path,
    };
    let put = put.into_iter().map(file).collect();
    Ok(Inspected::Pending(Pending { started: line(repo, started), finished: false, put, deleted }))
}

fn how(how: PutMode) -> &'static str {
    match how {
        PutMode::Append => "append",
        PutMode::Overwrite => "overwrite",
    }
}

pub(crate) async fn start(store: &Store, repo: &str, branch: &str) -> Result<Started> {
    let repo = store.repo(repo).await?;
    let branch = if branch.is_empty() { MASTER } else { branch };
    if repo.tags().await?.iter().any(|tag| tag.name == branch) {
        let why = "it is a tag, and commits go to a branch".to_owned();
        return Err(Error::NotWritable { reference: format!("{}@{branch}", repo.name()), why });
    }
    Ok(line(&repo, &repo.start_commit(branch).await?))
}

pub(crate) async fn finish(store: &Store, repo: &str, id: &str) -> Result<CommitInfo> {
    let repo = store.repo(repo).await?;
    let started = repo.started_commit(id).await?;
    CommitInfo::of(&committed(repo.finish_commit(&started).await?)?)
}

pub(crate) async fn open(store: &Store, to: &Reference) -> Result<Opened> {
    let target = Target::of(store, to).await?;
    match &target.started {
        Some(started) => Ok(Opened { started: line(&target.repo, started), fresh: false }),
        None => {
            Ok(Opened { started: line(&target.repo, &target.repo.start_commit(&target.branch).await?), fresh: true })
        }
    }
}

/// Makes what was put into a commit that [`open`] started visible.
pub(crate) async fn close(store: &Store, repo: &str, id: &str) -> Result<CommitInfo> {
    let repo = store.repo(repo).await?;
    let started = repo.started_commit(id).await?;
    CommitInfo::of(&committed(repo.finish_commit_by(&started, Edit::new("put file")).await?)?)
}

pub(crate) async fn drop_started(store: &Store, repo: &str, id: &str) -> Result<Option<Dropped>> {
    let repo = store.repo(repo).await?;
    match repo.started_commit(id).await {
        Ok(started) => {
            repo.drop_commit(&started).await?;
            Ok(Some(Dropped { repo: repo.name().to_owned(), branch: started.branch, dropped: started.id }))
        }
        Err(RepoError::UnknownStarted { .. }) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_bytes_are_not_shown() {
        let mut value = json!({"files": [{"blob": {"place": {"inline": "AAAA"}, "size": 3}}, {"blob": {"place": {"object": "x"}}}]});
        without_bytes(&mut value);
        assert_eq!(
            value,
            json!({"files": [{"blob": {"place": "inline", "size": 3}}, {"blob": {"place": {"object": "x"}}}]})
        );
    }
}
