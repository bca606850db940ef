//! What a position says: how much was read, and as of when.

use serde::{Deserialize, Serialize};
use spout_guest::{Error, Position, Result};

use crate::Lsn;

/// A place in the history of the tables, as a position's token has it.
///
/// Of every row up to the [`Cursor`], everything committed before `lsn` was given, and the first `skip` changes of the
/// transaction whose commit is there; of rows after it, nothing. Once all rows are read, there is no cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The database system, as its control file has it; none before anything was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<String>,
    /// Where to go on.
    pub(crate) lsn: Lsn,
    /// Changes of the transaction that is committed at `lsn` which were given, as the server counts them.
    #[serde(default, skip_serializing_if = "Place::is_zero")]
    pub(crate) skip: u64,
    /// Which rows are still to be read.
    #[serde(default, skip_serializing_if = "Rest::is_none")]
    pub(crate) rest: Rest,
}

/// What is left to do before changes alone are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rest {
    /// Nothing.
    #[default]
    None,
    /// Changes are read from `lsn` on, or from where the slot begins if that is later.
    Slot,
    /// All rows.
    Rows,
    /// Those after this one.
    After(Cursor),
}

/// The last row that was read of the tables as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cursor {
    /// Its table.
    pub(crate) schema: String,
    /// Its table.
    pub(crate) table: String,
    /// Its key: names of columns and their values.
    pub(crate) key: Vec<(String, String)>,
}

impl Rest {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl Place {
    fn is_zero(number: &u64) -> bool {
        *number == 0
    }

    /// Before the first row of all tables.
    #[must_use]
    pub(crate) fn rows() -> Self {
        Self { rest: Rest::Rows, ..Self::default() }
    }

    /// Where the slot begins, but not before `lsn`.
    #[must_use]
    pub(crate) fn slot(lsn: Lsn) -> Self {
        Self { rest: Rest::Slot, lsn, ..Self::default() }
    }

    /// The place with its offset.
    #[must_use]
    pub(crate) fn at(&self, offset: u64) -> Position {
        Position { offset, token: serde_json::to_vec(self).ok() }
    }

    /// What a position says; `None` if it is an offset alone, other than the first.
    ///
    /// # Errors
    /// The token is none of this plugin.
    pub(crate) fn of(position: &Position, first: &Self) -> Result<Option<Self>> {
        match &position.token {
            Some(token) => serde_json::from_slice(token).map(Some).map_err(|error| {
                Error::fatal("postgres.position", format!("the position's token is none of this plugin: {error}"))
            }),
            None if position.offset == 0 => Ok(Some(first.clone())),
            None => Ok(None),
        }
    }

    /// The offset of something at `lsn` that comes after everything below `next`. Offsets follow the log, so their distance is
    /// one in bytes; where more happens at a place than it has bytes, they run ahead for a while.
    #[must_use]
    pub(crate) fn offset(next: u64, lsn: Lsn) -> u64 {
        next.max(lsn.0)
    }
}
