//! What one instance sees of keyed state, and changes in it.

use spout_data::Blobs;

use super::{Changes, KeyedState, merge::Merged};

/// Bytes of one page of a scan, about.
const PAGE: usize = 1 << 20;

/// Why a call on the state cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The state would be larger than it may be.
    Full,
    /// The answer would be larger than an answer may be.
    Answer,
}

/// The state that an instance was opened with, and its changes: those of calls that answered, and of the one that runs.
#[derive(Debug)]
pub(crate) struct View {
    state: KeyedState,
    fresh: Changes,
    pending: Changes,
    /// Bytes of the state itself.
    base: usize,
    /// Most bytes of the state, and of one answer.
    limits: (usize, usize),
}

impl View {
    /// `state`, which may grow to `most` bytes and answer with `answer` bytes at once.
    pub(crate) fn new(state: KeyedState, most: usize, answer: usize) -> Self {
        let base = state.bytes();
        Self { state, fresh: Changes::default(), pending: Changes::default(), base, limits: (most, answer) }
    }

    /// The running call has answered, or not: whether its changes count.
    pub(crate) fn settle(&mut self, answered: bool) {
        let pending = std::mem::take(&mut self.pending);
        if answered {
            self.fresh.append(pending);
        }
    }

    /// The changes of all calls that answered since the view was opened or [`View::rebase`]d.
    pub(crate) fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.fresh)
    }

    /// Goes on over a state that has taken in these changes.
    pub(crate) fn rebase(&mut self, state: KeyedState) {
        (self.base, self.state) = (state.bytes(), state);
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        match self.pending.get(key).or_else(|| self.fresh.get(key)) {
            Some(changed) => changed,
            None => self.state.get(key),
        }
    }

    /// The values of keys, one after the other, as far as they may be one answer.
    pub(super) fn get_all<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Found, Refused> {
        let mut found = Found::default();
        for (index, key) in keys.enumerate() {
            match self.get(key) {
                Some(value) => found.values.push(value),
                None => {
                    found.missing.push(index as u32);
                    found.values.push(&[]);
                }
            }
            if found.values.bytes.len() > self.limits.1 {
                return Err(Refused::Answer);
            }
        }
        Ok(found)
    }

    /// Sets or removes keys.
    pub(super) fn change<'a>(
        &mut self,
        entries: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), Refused> {
        for (key, value) in entries {
            self.pending.put(key, value);
            if self.base + self.fresh.bytes + self.pending.bytes > self.limits.0 {
                return Err(Refused::Full);
            }
        }
        Ok(())
    }

    /// At most `limit` entries, and about [`PAGE`] bytes of them, whose keys begin with `prefix` and come after `after`.
    pub(super) fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> (Blobs, Blobs) {
        let first = after.filter(|after| *after > prefix).unwrap_or(prefix);
        let own = [Box::new(self.pending.from(first)) as Box<dyn Iterator<Item = _>>, Box::new(self.fresh.from(first))];
        let merged = Merged::new(own.into_iter().chain(self.state.layers(first)).collect());
        let entries = merged
            .skip_while(|(key, _)| after.is_some_and(|after| *key <= after))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, value)| Some((key, value?)));
        let (mut keys, mut values) = (Blobs::default(), Blobs::default());
        for (key, value) in entries.take(limit.max(1)) {
            keys.push(key);
            values.push(value);
            if keys.bytes.len() + values.bytes.len() > PAGE {
                break;
            }
        }
        (keys, values)
    }
}

/// Values of keys.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// One a key, empty for one without a value.
    pub(super) values: Blobs,
    /// Indices of the keys without a value.
    pub(super) missing: Vec<u32>,
}
