//! A store as its readers see it, without ids and times: the same for every life that got equally far.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use spout_repo::{Commit, Repo, Store};

/// All repos, by name.
pub(crate) type Portrait = BTreeMap<String, OfRepo>;

/// What can be seen of one repo.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OfRepo {
    /// Commits of each branch, newest first.
    pub(crate) branches: BTreeMap<String, Vec<String>>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) keeps: Option<u64>,
    pub(crate) started: usize,
}

/// Looks at stores; what a commit says is looked at once, because it never changes.
#[derive(Debug, Default)]
pub(crate) struct Painter {
    known: HashMap<String, String>,
}

impl Painter {
    pub(crate) async fn paint(&mut self, store: &Store) -> Result<Portrait> {
        let mut portrait = Portrait::new();
        for info in store.repos().await? {
            let repo = store.repo(&info.name).await?;
            portrait.insert(info.name, Box::pin(self.of_repo(&repo)).await?);
        }
        Ok(portrait)
    }

    async fn of_repo(&mut self, repo: &Repo) -> Result<OfRepo> {
        let mut seen = OfRepo { keeps: repo.retention().await?.commits, ..OfRepo::default() };
        let mut ids = Vec::new();
        for branch in repo.branches().await? {
            let mut line = Vec::new();
            for commit in repo.log(&branch.name).await? {
                line.push(self.of_commit(repo, &commit).await?);
                ids.push(commit.header.id);
            }
            seen.branches.insert(branch.name, line);
        }
        for tag in repo.tags().await? {
            let of_commit = self.of_commit(repo, &tag.commit).await?;
            seen.tags.insert(tag.name, of_commit);
        }
        // One that was finished and whose parts are still there is finished.
        seen.started = repo.started().await?.iter().filter(|started| !ids.contains(&started.id)).count();
        Ok(seen)
    }

    async fn of_commit(&mut self, repo: &Repo, commit: &Commit) -> Result<String> {
        if let Some(known) = self.known.get(&commit.header.id) {
            return Ok(known.clone());
        }
        let mut hash = Sha256::new();
        let tree = repo.tree(commit).await?;
        for file in tree.files() {
            hash.update(format!("{} {} {:?} {}\n", nameless(&file.path), file.size, file.rows, file.sha256));
        }
        for (key, blob) in &commit.state {
            hash.update(format!("{key} {}\n", blob.sha256));
        }
        hash.update(serde_json::to_vec(&commit.marker)?);
        let what = if commit.reason.starts_with("revert") { "revert" } else { &commit.reason };
        let hash = format!("{:x}", hash.finalize());
        let seen = format!("{} {what}: {} files, {}", commit.number, tree.len(), hash.get(..16).unwrap_or(&hash));
        self.known.insert(commit.header.id.clone(), seen.clone());
        Ok(seen)
    }
}

/// A compacted file is named after its commit, whose id is drawn by lot.
fn nameless(path: &str) -> String {
    match path.split_once("-compact-") {
        Some((before, rest)) => format!("{before}-compact{}", rest.get(8..).unwrap_or_default()),
        None => path.to_owned(),
    }
}
