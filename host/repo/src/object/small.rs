//! The small files of the records that were read last: many of a commit are in one record, which is not to be parsed for each.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use object_store::path::Path;

/// Records whose files are held; each has a few hundred kilobytes of them at most.
const RECORDS: usize = 4;
/// Of fewer files it is as quick to read the record again.
const FEWEST: usize = 8;

/// The files of one record, by hash.
pub(crate) type ByHash = HashMap<String, Bytes>;

/// Small files of a store by the record that they are in. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SmallFiles(Arc<Mutex<VecDeque<(Path, ByHash)>>>);

impl SmallFiles {
    /// The file with this hash of the record at `path`, if it is held.
    pub(crate) fn get(&self, path: &Path, sha256: &str) -> Option<Bytes> {
        self.held().iter().find(|(held, _)| held == path)?.1.get(sha256).cloned()
    }

    /// Holds the files of the record at `path`, if they are many.
    pub(crate) fn hold(&self, path: &Path, files: ByHash) {
        if files.len() < FEWEST {
            return;
        }
        let mut held = self.held();
        held.retain(|(there, _)| there != path);
        held.truncate(RECORDS - 1);
        held.push_front((path.clone(), files));
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<(Path, ByHash)>> {
        // What is under the lock is sound at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_records_that_were_read_last_are_held() {
        let small = SmallFiles::default();
        let path = |number: usize| Path::from(format!("{number}.json"));
        let files = |count: usize| (0..count).map(|n| (n.to_string(), Bytes::from(vec![0; n]))).collect::<ByHash>();
        small.hold(&path(9), files(FEWEST - 1));
        assert_eq!(small.get(&path(9), "1"), None, "few files are not held");
        (0..=RECORDS).for_each(|number| small.hold(&path(number), files(FEWEST)));
        small.hold(&path(RECORDS), files(FEWEST));
        let held: Vec<usize> = (0..=RECORDS).filter(|number| small.get(&path(*number), "1").is_some()).collect();
        assert_eq!(held, (1..=RECORDS).collect::<Vec<_>>());
        assert_eq!(small.get(&path(1), "3").map(|bytes| bytes.len()), Some(3));
        assert_eq!(small.get(&path(1), "none"), None);
    }
}
