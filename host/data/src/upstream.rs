//! The commit of another repo that something was made from.

use serde::{Deserialize, Serialize};

/// A commit of another repo that a commit was made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Upstream {
    /// Its repo.
    pub repo: String,
    /// Its branch.
    pub branch: String,
    /// Its id.
    pub commit: String,
    /// How many commits were read as one, of which it is the last.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub commits: u64,
    /// Whether rows were only looked up in it: it is not what led to the commit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lookup: bool,
}

impl Upstream {
    /// One commit that something was made from.
    #[must_use]
    pub fn of(repo: String, branch: String, commit: String) -> Self {
        Self { repo, branch, commit, commits: 1, lookup: false }
    }

    /// One commit that rows were looked up in.
    #[must_use]
    pub fn looked_up(repo: String, branch: String, commit: String) -> Self {
        Self { lookup: true, ..Self::of(repo, branch, commit) }
    }
}

fn one() -> u64 {
    1
}

fn is_one(commits: &u64) -> bool {
    *commits == 1
}

/// Where rows come from, when they come from a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The commit.
    pub upstream: Upstream,
    /// The id that it shares with all commits that one commit led to.
    pub global: String,
}
