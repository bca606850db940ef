//! Where reading goes on: what the next request says, and what of its answer was read before.

use serde::{Deserialize, Serialize};

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
