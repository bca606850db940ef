//! The host's side of keyed state: its `state` interface, or natively a plain map.

/// Keys with their values.
pub(super) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

#[cfg(target_arch = "wasm32")]
pub(crate) use self::host::Store;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use self::native::Store;

#[cfg(target_arch = "wasm32")]
mod host {
    use super::Entries;
    use crate::wit::{base::spout::plugin::types::Blobs, handler::spout::plugin::state};

    /// Bytes handed over in one call, about.
    const CALL: usize = 1 << 20;

    /// The map that the host holds.
    #[derive(Debug, Default)]
    pub(crate) struct Store;

    impl Store {
        pub(crate) fn get(&self, keys: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
            let found = state::get(&blobs(keys.iter()));
            let mut missing = found.missing.iter().peekable();
            let value = |at: usize| match missing.next_if(|missing| **missing as usize == at) {
                Some(_) => None,
                None => Some(entry(&found.values, at)),
            };
            (0..keys.len()).map(value).collect()
        }

        pub(crate) fn put(&mut self, entries: &[(&[u8], &[u8])]) {
            for part in parts(entries, |(key, value)| key.len() + value.len()) {
                let (keys, values) = (blobs(part.iter().map(|entry| entry.0)), blobs(part.iter().map(|entry| entry.1)));
                state::put(&state::Entries { keys, values });
            }
        }

        pub(crate) fn delete(&mut self, keys: &[&[u8]]) {
            parts(keys, |key| key.len()).into_iter().for_each(|part| state::delete(&blobs(part.iter())));
        }

        pub(crate) fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: u32) -> Entries {
            let page = state::scan(prefix, after, limit);
            let count = page.keys.bounds.len().saturating_sub(1);
            (0..count).map(|at| (entry(&page.keys, at), entry(&page.values, at))).collect()
        }
    }

    /// `entries` in parts of about [`CALL`] bytes.
    fn parts<T>(entries: &[T], size: impl Fn(&T) -> usize) -> Vec<&[T]> {
        let mut bytes = 0;
        let same = |_: &T, next: &T| {
            bytes += size(next);
            let fits = bytes < CALL;
            if !fits {
                bytes = 0;
            }
            fits
        };
        entries.chunk_by(same).collect()
    }

    fn blobs<T: AsRef<[u8]>>(entries: impl Iterator<Item = T>) -> Blobs {
        let mut blobs = Blobs { bounds: vec![0], bytes: Vec::new() };
        for entry in entries {
            blobs.bytes.extend_from_slice(entry.as_ref());
            blobs.bounds.push(blobs.bytes.len() as u32);
        }
        blobs
    }

    fn entry(blobs: &Blobs, at: usize) -> Vec<u8> {
        let bound = |at: usize| blobs.bounds.get(at).map_or(0, |bound| *bound as usize);
        blobs.bytes.get(bound(at)..bound(at + 1)).unwrap_or_default().to_vec()
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::{
        collections::BTreeMap,
        ops::Bound::{Excluded, Included, Unbounded},
    };

    use super::Entries;

    /// A map in the host's place.
    #[derive(Debug, Default)]
    pub(crate) struct Store {
        pub(crate) entries: BTreeMap<Vec<u8>, Vec<u8>>,
        /// How often it was called.
        pub(crate) calls: usize,
    }

    impl Store {
        pub(crate) fn get(&mut self, keys: &[Vec<u8>]) -> Vec<Option<Vec<u8>>> {
            self.calls += 1;
            keys.iter().map(|key| self.entries.get(key).cloned()).collect()
        }

        pub(crate) fn put(&mut self, entries: &[(&[u8], &[u8])]) {
            self.calls += 1;
            self.entries.extend(entries.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        }

        pub(crate) fn delete(&mut self, keys: &[&[u8]]) {
            self.calls += 1;
            for key in keys {
                self.entries.remove(*key);
            }
        }

        pub(crate) fn scan(&mut self, prefix: &[u8], after: Option<&[u8]>, limit: u32) -> Entries {
            self.calls += 1;
            let first = match after {
                Some(after) if after >= prefix => Excluded(after),
                _ => Included(prefix),
            };
            let range = self.entries.range::<[u8], _>((first, Unbounded));
            let own = range.take_while(|(key, _)| key.starts_with(prefix)).take(limit as usize);
            own.map(|(key, value)| (key.clone(), value.clone())).collect()
        }
    }
}
