//! Markers: where the partitions of a pipeline go on, and how that is changed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spout_base::clock;
use spout_data::Marker;
use spout_repo::{Commit, OpenCommit, PutMode, Reference, Repo, Seek as RepoSeek, Store, Writer};

use crate::{CommitInfo, Error, Result, committed};

/// How far the partitions of a pipeline were at a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MarkerInfo {
    /// The repo.
    pub repo: String,
    /// The branch that the commit was made on.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// Where each partition goes on.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub marker: Marker,
}

/// Where a pipeline is to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Seek {
    /// Its repo.
    pub repo: String,
    /// The branch that it writes.
    pub branch: String,
    /// The entries of its marker that become others; the rest stays.
    pub entries: Marker,
    /// The file of the repo that shows the marker.
    pub shown: ShownMarker,
    /// Why, for those who read the history.
    pub why: String,
    /// Whether the branch is taken away from who may still write it.
    pub force: bool,
}

/// The file of a repo that shows its marker.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ShownMarker {
    /// There is none.
    #[default]
    Nowhere,
    /// The host writes this file.
    Host(String),
    /// The spout's own, a file or a directory.
    Own(String, OwnMarker),
}

/// What becomes of the marker that a spout wrote itself.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnMarker {
    /// There is none, as before the first commit.
    Nothing,
    /// These bytes, as one file.
    Bytes(Bytes),
    /// What it was at this commit.
    As(Reference),
}

/// A marker that was moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sought {
    /// The commit that did it.
    pub made: CommitInfo,
    /// Where each partition went on before.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub before: Marker,
    /// Where each goes on now.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub after: Marker,
}

pub(crate) async fn show(store: &Store, reference: &Reference) -> Result<MarkerInfo> {
    let (repo, commit) = store.resolve(reference).await?;
    let header = commit.header;
    Ok(MarkerInfo { repo: repo.name().to_owned(), branch: header.branch, commit: header.id, marker: commit.marker })
}

pub(crate) async fn seek(store: &Store, seek: &Seek) -> Result<Sought> {
    let repo = store.repo(&seek.repo).await?;
    let branch = format!("{}@{}", seek.repo, seek.branch);
    let Some(Writer { pipeline, running }) = repo.written_by(&seek.branch).await? else {
        return Err(Error::NoMarker { branch });
    };
    if let Some(holder) = running.filter(|_| !seek.force) {
        let seconds = clock::wall_ms().saturating_sub(holder.seen_ms).max(0) / 1000;
        return Err(Error::InUse { branch, by: format!("{}, seen {seconds} s ago,", holder.process) });
    }
    let mut files = repo.open_commit_on(&seek.branch);
    let marker_file = match &seek.shown {
        ShownMarker::Nowhere => None,
        ShownMarker::Host(path) => Some(path.clone()),
        ShownMarker::Own(path, own) => {
            put_own(&repo, &seek.branch, (path, own), &mut files).await?;
            None
        }
    };
    let head = repo.resolve(&Reference::head(repo.name(), &seek.branch)).await?;
    let there = |(partition, entry): (_, &_)| head.marker.partitions.get(partition) == Some(entry);
    if files.is_empty() && seek.entries.partitions.iter().all(there) {
        let what = format!("{branch} goes on there already; `spout marker show {branch}` shows where");
        return Err(Error::Usage { verb: "marker seek", what });
    }
    let entries = seek.entries.partitions.iter().map(|(&partition, entry)| (partition, entry.clone())).collect();
    let asked = RepoSeek { entries, files, marker_file, why: seek.why.clone() };
    let (finished, before) = repo.seek(&seek.branch, &pipeline, asked).await?;
    let commit = committed(finished)?;
    Ok(Sought { made: CommitInfo::of(&commit)?, before, after: commit.marker })
}

/// Puts a spout's own marker into `files`, in the place of what is there.
async fn put_own(repo: &Repo, branch: &str, (path, own): (&str, &OwnMarker), files: &mut OpenCommit) -> Result<()> {
    let path = format!("/{}", path.trim_matches('/'));
    let head = repo.resolve(&Reference::head(repo.name(), branch)).await?;
    let mut gone = paths(repo, &head, &path).await?;
    match own {
        OwnMarker::Nothing => {}
        OwnMarker::Bytes(bytes) => {
            gone.remove(&path);
            files.put_file(&path, PutMode::Overwrite, bytes.clone()).await?;
        }
        OwnMarker::As(reference) => {
            let commit = repo.resolve(reference).await?;
            let tree = repo.tree(&commit).await?;
            for file in tree.below(&path) {
                gone.remove(&file.path);
                files.copy_file(&tree, file, &file.path, PutMode::Overwrite)?;
            }
        }
    }
    for path in gone {
        files.delete_file(&path)?;
    }
    Ok(())
}

/// The files of a commit at `path`, or below it.
async fn paths(repo: &Repo, commit: &Commit, path: &str) -> Result<BTreeSet<String>> {
    Ok(repo.tree(commit).await?.below(path).map(|file| file.path.clone()).collect())
}
