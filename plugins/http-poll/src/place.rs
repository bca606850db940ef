//! Where reading goes on: what the next request says, and what of its answer was read before.

use serde::{Deserialize, Serialize};
use spout_guest::{Error, Position, Result};

/// What a position's token says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Place {
    /// The cursor, the number of the page, the address, the value, or the version; none at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    /// So many items of the page were read.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) read: usize,
    /// A hash of these.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) hash: u64,
    /// Hashes of the items with the value `at` that were read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) seen: Vec<u64>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Place {
    /// The place of a position; `None` if it has an offset without a token, from which nothing follows.
    pub(crate) fn parse(position: &Position) -> Result<Option<Self>> {
        match &position.token {
            None => Ok(Some(Self::default()).filter(|_| position.offset == 0)),
            Some(token) => serde_json::from_slice(token).map(Some).map_err(|_| {
                let token = String::from_utf8_lossy(token);
                Error::fatal(
                    "http.token",
                    format!("`{token}` at offset {} is no place in this source", position.offset),
                )
            }),
        }
    }

    pub(crate) fn position(&self, offset: u64) -> Position {
        let token = serde_json::to_vec(self).ok().filter(|_| offset > 0 || *self != Self::default());
        Position { offset, token }
    }
}
