//! Directories for files that live no longer than who uses them. What a killed process has left, the next one removes.
//!
//! Each directory is locked as long as its process lives, and the system takes the lock away however that ends: one that can be
//! locked belongs to nobody.
//!
//! **Invariant**: only this user can look into one.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File, Metadata, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tempfile::TempDir;

/// What all their names begin with.
const PREFIX: &str = "spout-tmp-";
/// Characters that follow.
const RANDOM: usize = 6;
/// Tries to make one that nobody takes for one that was left.
const TRIES: u32 = 16;

/// A directory of this process. It goes with this value, or, if the process is killed, when the next one makes one.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    /// Locked, where the file system can do that.
    _lock: File,
}

impl Scratch {
    /// One where the system has temporary files.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> io::Result<Self> {
        Self::within(&env::temp_dir())
    }

    /// One in `parent`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn within(parent: &Path) -> io::Result<Self> {
        static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
        let made = Self::make(parent)?;
        if SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(parent.to_owned()) {
            made.sweep(parent)?;
        }
        Ok(made)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn make(parent: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX).rand_bytes(RANDOM).permissions(Permissions::from_mode(0o700));
            let dir = builder.tempdir_in(parent)?;
            // Until it is locked, another process may take it for one that was left.
            if let Ok(lock) = File::open(dir.path())
                && !matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
                && is_at(&lock.metadata()?, dir.path())
            {
                return Ok(Self { dir, _lock: lock });
            }
        }
        Err(io::Error::other(format!("other processes remove what is made in {}", parent.display())))
    }

    /// Removes those that processes of the same user have left in `parent`.
    fn sweep(&self, parent: &Path) -> io::Result<()> {
        let own = fs::metadata(self.path())?.uid();
        for entry in fs::read_dir(parent)?.flatten() {
            let named = entry.file_name().to_str().is_some_and(is_name);
            let ours = || entry.metadata().is_ok_and(|about| about.is_dir() && about.uid() == own);
            if named && ours() {
                remove_if_left(&entry.path());
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let random = name.strip_prefix(PREFIX);
    random.is_some_and(|random| random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Whether what is at `path` is what this is about.
fn is_at(about: &Metadata, path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (about.dev(), about.ino()))
}

fn remove_if_left(path: &Path) {
    // One that goes meanwhile was in use.
    let Ok(dir) = File::open(path) else { return };
    if dir.try_lock().is_ok() {
        // What cannot be removed is in nobody's way; the next process tries again.
        drop(fs::remove_dir_all(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_goes_and_what_is_in_use_or_somebody_elses_stays() {
        let place = tempfile::tempdir().unwrap();
        let parent = place.path();
        let [left, short, other] = ["spout-tmp-aB3xYz", "spout-tmp-mine", "another"].map(|name| parent.join(name));
        for path in [&left, &short, &other] {
            fs::create_dir_all(path.join("below")).unwrap();
            fs::write(path.join("below/file"), "x").unwrap();
        }
        let file = parent.join("spout-tmp-aaaaaa");
        fs::write(&file, "a file").unwrap();
        std::os::unix::fs::symlink(&other, parent.join("spout-tmp-bbbbbb")).unwrap();
        let used = Scratch::make(parent).unwrap();
        let scratch = Scratch::within(parent).unwrap();
        assert!(!left.exists(), "what was left is there");
        for path in [&short.join("below/file"), &other.join("below/file"), &file] {
            assert!(path.exists(), "{} is gone", path.display());
        }
        assert!(used.path().is_dir() && scratch.path().is_dir());
        assert_eq!(fs::metadata(scratch.path()).unwrap().mode() & 0o777, 0o700, "others can look into it");
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_is_being_made_is_not_taken_for_one_that_was_left() {
        let place = tempfile::tempdir().unwrap();
        let sweeper = Scratch::make(place.path()).unwrap();
        std::thread::scope(|scope| {
            let makers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..50 {
                            let scratch = Scratch::make(place.path()).unwrap();
                            fs::write(scratch.path().join("file"), "x").unwrap();
                            assert!(scratch.path().join("file").exists());
                        }
                    })
                })
                .collect();
            while !makers.iter().all(|maker| maker.is_finished()) {
                sweeper.sweep(place.path()).unwrap();
            }
        });
    }
}
