//! Keyed state of handler plugins: a sorted map held by the host, whose snapshot costs what changed.
//!
//! [`KeyedState`] is what snapshots hold: immutable sorted [runs](run), the newest last, and the changes since. Large runs lie
//! in files, so it may be larger than memory. A [`View`] is
//! what one instance sees of it: that state, what its answered calls changed, and what the running call changes. A crash
//! drops the view; its owner opens another instance on the same state and repeats the calls since.
//!
//! ```text
//! put ──► View::pending ── the call answers ──► View::fresh ── absorb ──► KeyedState::changes ── snapshot ──► a run (New)
//! ```
//!
//! **Invariant**: a snapshot writes the changes since the last one, and runs that it merges; every other run is kept.

mod filter;
mod imports;
mod merge;
mod piece;
mod run;
mod state;
mod view;

use std::collections::BTreeMap;

pub use self::state::KeyedState;
pub(super) use self::view::{Refused, View};

/// An entry of a run or of changes; without a value, the key was removed.
type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// What an entry in memory takes besides its bytes.
const OVERHEAD: usize = 64;

/// Changed keys with their values; `None` for one that was removed.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    entries: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    bytes: usize,
}

impl Changes {
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.insert(key.into(), value.map(Into::into));
    }

    fn insert(&mut self, key: Box<[u8]>, value: Option<Box<[u8]>>) {
        let size = |value: &Option<Box<[u8]>>| value.as_ref().map_or(0, |value| value.len());
        self.bytes += key.len() + size(&value) + OVERHEAD;
        let taken = key.len() + OVERHEAD;
        if let Some(old) = self.entries.insert(key, value) {
            self.bytes -= taken + size(&old);
        }
    }

    fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.entries.get(key).map(Option::as_deref)
    }

    /// Takes later changes.
    fn append(&mut self, later: Self) {
        if self.entries.is_empty() {
            *self = later;
        } else {
            later.entries.into_iter().for_each(|(key, value)| self.insert(key, value));
        }
    }

    fn from(&self, first: &[u8]) -> impl Iterator<Item = Entry<'_>> + use<'_> {
        let range = (std::ops::Bound::Included(first), std::ops::Bound::Unbounded);
        self.entries.range::<[u8], _>(range).map(|(key, value)| (key.as_ref(), value.as_deref()))
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests;
