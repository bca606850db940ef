//! Looking after a store: smaller files, Delta logs, data that nothing needs, damage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::ByteSize;
use spout_repo::{Collect, Collected, Compacted, Depth, Publisher, Reference, Report, Store, fsck, repair};

use crate::{Result, Tables};

/// What is to be checked, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// This repo; none is every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// How much is read: `structure` are records, and names and sizes of data; `everything` is every byte; `decoded` is every table too.
    pub depth: Depth,
    /// Whether what can be repaired safely is.
    #[serde(default)]
    pub repair: bool,
}

pub(crate) async fn compact(store: &Store, branch: &Reference, target: ByteSize) -> Result<Compacted> {
    Ok(store.repo(&branch.repo).await?.compact(&branch.target, target).await?)
}

pub(crate) async fn publish(store: &Store, branch: &Reference, rebuild: bool) -> Result<Tables> {
    let repo = store.repo(&branch.repo).await?;
    let mut publisher = Publisher::new(&repo, &branch.target);
    Ok(if rebuild { publisher.rebuild().await? } else { publisher.publish().await? }.into())
}

pub(crate) async fn collect(store: &Store, repo: &str, how: Collect) -> Result<Collected> {
    Ok(store.repo(repo).await?.collect(how).await?)
}

pub(crate) async fn check(store: &Store, check: &Check) -> Result<Report> {
    let only = check.repo.as_deref();
    let report =
        if check.repair { repair(store, only, check.depth).await? } else { fsck(store, only, check.depth).await? };
    Ok(report)
}
