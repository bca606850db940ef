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
    /// Whether rows were only looked up in it: it is not what led to the commit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lookup: bool,
}

/// Where rows come from, when they come from a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The commit.
    pub upstream: Upstream,
    /// The id that it shares with all commits that one commit led to.
    pub global: String,
}
