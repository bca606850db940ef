//! The Delta tables of a branch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{Publication, PublishedTable, Reference, Store, published};

use crate::{Problem, Result};

/// The Delta tables of a branch, as they are published.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tables {
    /// The tables, sorted.
    pub tables: Vec<PublishedTable>,
    /// What is wrong with those that are not what was published.
    pub failures: Vec<Problem>,
}

impl From<Publication> for Tables {
    fn from(publication: Publication) -> Self {
        let Publication { tables, failures, .. } = publication;
        Self { tables, failures: failures.iter().map(|(_, error)| Problem::of(error)).collect() }
    }
}

pub(crate) async fn list(store: &Store, branch: &Reference) -> Result<Tables> {
    let repo = store.repo(&branch.repo).await?;
    Ok(published(&repo, &branch.target).await?.into())
}
