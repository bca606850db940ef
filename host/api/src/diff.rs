//! What became of the files between two commits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{Changed, Reference, Store, Tree, diff};

use crate::{Error, Result};

/// The files that differ between two commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Differences {
    /// The repo of the new one.
    pub repo: String,
    /// The new one.
    pub commit: String,
    /// The older one; none where the new one is the first of its branch.
    pub older: Option<Older>,
    /// What became of files, by path.
    pub changes: Vec<Changed>,
}

/// The older commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Older {
    /// Its repo.
    pub repo: String,
    /// Its id.
    pub commit: String,
}

pub(crate) async fn between(store: &Store, new: &Reference, old: Option<&Reference>) -> Result<Differences> {
    let path = diff_path(new, old)?;
    let (repo, commit) = store.resolve(new).await?;
    let after = repo.tree(&commit).await?;
    let (before, older) = match (old, &commit.parent) {
        (None, None) => (Tree::default(), None),
        (old, _) => {
            let before = Reference { back: new.back + 1, path: None, ..new.clone() };
            let (repo, older) = store.resolve(old.unwrap_or(&before)).await?;
            let shown = Older { repo: repo.name().to_owned(), commit: older.header.id.clone() };
            (repo.tree(&older).await?, Some(shown))
        }
    };
    let below = |changed: &Changed| {
        let rest = changed.path.strip_prefix(path.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let changes = diff(&before, &after).into_iter().filter(below).collect();
    Ok(Differences { repo: repo.name().to_owned(), commit: commit.header.id, older, changes })
}

/// The path that is compared, which is one.
///
/// # Errors
/// [`Error::Usage`] where two are named.
pub fn diff_path<'a>(new: &'a Reference, old: Option<&'a Reference>) -> Result<&'a str> {
    match (new.path.as_deref(), old.and_then(|old| old.path.as_deref())) {
        (Some(a), Some(b)) if a != b => {
            let what = format!("{a} and {b} are different paths; two commits are compared at one path");
            Err(Error::Usage { verb: "diff file", what })
        }
        (Some(path), _) | (None, Some(path)) => Ok(path),
        (None, None) => Ok("/"),
    }
}
