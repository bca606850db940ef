//! Markers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spout_data::Marker;
use spout_repo::{Reference, Store};

use crate::Result;

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

pub(crate) async fn show(store: &Store, reference: &Reference) -> Result<MarkerInfo> {
    let (repo, commit) = store.resolve(reference).await?;
    let header = commit.header;
    Ok(MarkerInfo { repo: repo.name().to_owned(), branch: header.branch, commit: header.id, marker: commit.marker })
}
