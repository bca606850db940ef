//! A write-back cache of keyed state: what was read or changed since it was last emptied.

use std::collections::HashMap;

use super::store::{Entries, Store};

/// Bytes of entries that are kept after a call, about.
const MOST: usize = 32 << 20;
/// Keys fetched in one call.
const CALL: usize = 8192;
/// What an entry takes besides its bytes.
const OVERHEAD: usize = 64;

/// Entries of all tables of a handler.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    slots: HashMap<Vec<u8>, Slot>,
    bytes: usize,
    pub(crate) store: Store,
}

/// The entry of one key.
#[derive(Debug, Default)]
pub(super) struct Slot {
    value: Option<Vec<u8>>,
    /// Whether the host does not know it yet.
    changed: bool,
}

impl Slot {
    pub(super) fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    pub(super) fn set(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let value = self.value.get_or_insert_default();
        value.clear();
        write(value);
        self.changed = true;
    }

    pub(super) fn clear(&mut self) {
        (self.value, self.changed) = (None, true);
    }
}

impl Cache {
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.slots.contains_key(key)
    }

    /// Uses the slot of `key`, which is fetched if it is not there.
    pub(super) fn slot<T>(&mut self, key: &[u8], with: impl FnOnce(&mut Slot) -> T) -> T {
        if let Some(slot) = self.slots.get_mut(key) {
            return with(slot);
        }
        self.load(vec![key.to_vec()]);
        with(self.slots.entry(key.to_vec()).or_default())
    }

    /// Fetches the values of `keys`, which are not there.
    pub(super) fn load(&mut self, mut keys: Vec<Vec<u8>>) {
        if keys.is_empty() {
            return;
        }
        self.make_room();
        keys.sort_unstable();
        keys.dedup();
        let mut values = Vec::with_capacity(keys.len());
        for some in keys.chunks(CALL) {
            values.append(&mut self.store.get(some));
        }
        for (key, value) in keys.into_iter().zip(values) {
            self.bytes += key.len() + value.as_ref().map_or(0, Vec::len) + OVERHEAD;
            self.slots.insert(key, Slot { value, changed: false });
        }
    }

    pub(super) fn put(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        self.written(key, |slot| slot.set(write));
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.written(key, Slot::clear);
    }

    /// Entries after `after` that begin with `prefix`.
    pub(super) fn scan(&mut self, prefix: &[u8], after: Option<&[u8]>, limit: u32) -> Entries {
        self.write_back();
        self.store.scan(prefix, after, limit)
    }

    /// Hands what changed to the host; everything stays cached.
    pub(crate) fn write_back(&mut self) {
        let mut changed: Vec<(&[u8], Option<&[u8]>)> = Vec::new();
        for (key, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.changed) {
            slot.changed = false;
            changed.push((key, slot.value.as_deref()));
        }
        changed.sort_unstable();
        let put: Vec<(&[u8], &[u8])> = changed.iter().filter_map(|(key, value)| Some((*key, (*value)?))).collect();
        let gone: Vec<&[u8]> = changed.iter().filter(|entry| entry.1.is_none()).map(|entry| entry.0).collect();
        if !put.is_empty() {
            self.store.put(&put);
        }
        if !gone.is_empty() {
            self.store.delete(&gone);
        }
    }

    /// Writes back and forgets everything, if it has become much.
    pub(crate) fn make_room(&mut self) {
        if self.bytes > MOST {
            self.write_back();
            self.slots.clear();
            self.bytes = 0;
        }
    }

    /// Writes the slot of `key`, whatever the host has.
    fn written(&mut self, key: &[u8], write: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots.get_mut(key) {
            return write(slot);
        }
        self.make_room();
        let slot = self.slots.entry(key.to_vec()).or_default();
        write(slot);
        self.bytes += key.len() + slot.value.as_ref().map_or(0, Vec::len) + OVERHEAD;
    }
}
