//! A commit with its files by reference: what checkpoints, branches and tags hold, and what a restart begins with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    index::{Segment, Value},
    record::{Commit, Piece, Slot},
};
use crate::path::stored;

/// Everything that a commit stands for, in a size that does not depend on how many files it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// The commit, without inline bytes.
    pub(crate) commit: Commit,
    /// Its files, by folded path.
    pub(crate) files: Vec<Segment>,
    /// The commits that lead to it, by id.
    pub(crate) ids: Vec<Segment>,
    /// Arrow schemas (IPC, base64), by key.
    pub(crate) schemas: BTreeMap<String, String>,
    /// Numbers of commits that were squashed, first and last of each run.
    #[serde(deserialize_with = "stored::runs")]
    pub(crate) hidden: Vec<(u64, u64)>,
}

impl Base {
    /// The segments it needs.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.files.iter().chain(&self.ids)
    }
}

/// A file in the index, or a change to one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Path as it was put; the key is its folded form.
    #[serde(deserialize_with = "stored::path")]
    pub(crate) path: String,
    /// Whether it takes the place of what was there.
    pub(crate) fresh: bool,
    /// Oldest first; none for a file that was deleted.
    pub(crate) pieces: Vec<Piece>,
}

impl Value for Entry {
    fn stands_alone(&self) -> bool {
        self.fresh
    }

    fn over(mut self, older: Self) -> Self {
        if self.fresh {
            return self;
        }
        let mut pieces = older.pieces;
        pieces.append(&mut self.pieces);
        Self { path: self.path, fresh: older.fresh, pieces }
    }

    fn is_live(&self) -> bool {
        !self.pieces.is_empty()
    }
}

/// Where a commit is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Located {
    pub(crate) id: String,
    pub(crate) slot: Slot,
    #[serde(deserialize_with = "stored::count")]
    pub(crate) number: u64,
}

impl Value for Located {
    fn stands_alone(&self) -> bool {
        true
    }

    fn over(self, _: Self) -> Self {
        self
    }

    fn is_live(&self) -> bool {
        true
    }
}
