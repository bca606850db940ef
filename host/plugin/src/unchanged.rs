//! Files of plugins that need not be read again: what the file system says of them is what it said when they were read.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use spout_base::clock;

use super::Plugin;

/// A file that changed later than this before it was read may change again without any time of it changing: clocks of file
/// systems tick, the slowest of them every two seconds.
const TICK_SECONDS: i64 = 2;

/// What stays the same as long as nobody writes to a file or puts another into its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// That of the file at `path`, if it has not changed just now.
    pub(super) fn settled(path: &Path) -> Option<Self> {
        Self::of(path).filter(|identity| identity.changed.0 + TICK_SECONDS < clock::wall_ms() / 1000)
    }

    fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        Some(Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

/// The plugins that were read from files, by name, with what these files were.
#[derive(Debug, Default)]
pub(super) struct Unchanged(Mutex<BTreeMap<String, (Identity, Arc<Plugin>)>>);

impl Unchanged {
    /// The plugin `name`, if the file at `path` is what it was read from.
    pub(super) fn get(&self, name: &str, path: &Path) -> Option<Arc<Plugin>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.filter(|(identity, _)| Identity::of(path) == Some(*identity)).map(|(_, plugin)| plugin)
    }

    /// Remembers what was read from a file that was `identity` before.
    pub(super) fn put(&self, name: &str, identity: Option<Identity>, plugin: &Arc<Plugin>) {
        if let Some(identity) = identity {
            let known = (identity, Arc::clone(plugin));
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these bytes, last changed long ago as far as that can be said: its own times are what they are.
    #[test]
    fn a_file_that_was_written_again_or_exchanged_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a.wasm"), dir.path().join("b.wasm"));
        fs::write(&path, "one").unwrap();
        assert_eq!(Identity::settled(&path), None, "it was written just now");
        let first = Identity::of(&path);
        assert_eq!(Identity::of(&path), first);
        fs::write(&other, "two").unwrap();
        let times = fs::metadata(&path).unwrap().modified().unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(times).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(Identity::of(&path), first, "another file with the same size and time of writing");
        let second = Identity::of(&path);
        // The time of the change moves on with the clock of the file system.
        while Identity::of(&path) == second {
            fs::write(&path, "six").unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(times).unwrap();
        }
        assert_eq!(Identity::of(&dir.path().join("none")), None);
    }
}
