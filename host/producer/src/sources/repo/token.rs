//! What a position in a branch holds besides the number of a commit.

use serde::{Deserialize, Serialize};
use spout_data::Position;

/// What a position holds besides the number of the newest commit that was read whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    /// Id of that commit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) after: String,
    /// How far the run of commits behind it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) part: Option<Place>,
    /// It began at a branch without commits: `latest` must not mean a later one after a crash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) begun: bool,
}

/// A place within a run of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sources) struct Place {
    /// Number of the last commit of the run.
    pub(in crate::sources) last: u64,
    /// Everything that this commit holds is read, because the history before it is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::sources) whole: bool,
    /// The file that is next.
    pub(super) file: usize,
    /// Rows or messages of it that were read.
    pub(super) done: u64,
}

impl Place {
    /// The beginning of everything that the commit `last` holds.
    pub(in crate::sources) fn whole(last: u64) -> Self {
        Self { last, whole: true, file: 0, done: 0 }
    }
}

impl Token {
    pub(super) fn read(position: &Position) -> Self {
        // One that cannot be read says nothing: the number alone has to do.
        position.token.as_deref().and_then(|token| serde_json::from_slice(token).ok()).unwrap_or_default()
    }

    pub(super) fn at(&self, number: u64) -> Position {
        if *self == Self::default() {
            Position::at(number)
        } else {
            Position { offset: number, token: serde_json::to_vec(self).ok() }
        }
    }
}
