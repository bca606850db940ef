//! Directories of the host's own, which no guest is ever granted: store, plugins, compiled code.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Directories that no guest may reach, each with what it is called.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    dirs: Vec<(&'static str, PathBuf)>,
}

/// A directory as the file system knows it, by whatever name it was reached.
type Identity = (u64, u64);

impl Reserved {
    pub(super) fn new(dirs: Vec<(&'static str, PathBuf)>) -> Self {
        Self { dirs }
    }

    /// The first of them that lies in `granted`, is `granted`, or holds it; links are followed first. A granted directory
    /// that is not there overlaps nothing.
    pub(super) fn overlap(&self, granted: &Path) -> Option<(&'static str, &Path)> {
        let lineage = lineage(granted);
        let own = *lineage.first().filter(|_| granted.exists())?;
        let overlaps = |(_, dir): &&(&str, PathBuf)| {
            let theirs = self::lineage(dir);
            let within = dir.exists() && theirs.first().is_some_and(|dir| lineage.contains(dir));
            within || theirs.contains(&own)
        };
        self.dirs.iter().find(overlaps).map(|(what, dir)| (*what, dir.as_path()))
    }
}

/// `path` and every directory above it, those that are there, nearest first.
fn lineage(path: &Path) -> Vec<Identity> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    // What is not there yet will be made below what is.
    let existing = absolute.ancestors().find_map(|path| path.canonicalize().ok()).unwrap_or_default();
    let identity = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    existing.ancestors().filter_map(identity).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn check(reserved: &Path, granted: &Path, expected: bool) {
        let all = Reserved::new(vec![("the store", reserved.to_path_buf())]);
        let found = all.overlap(granted);
        assert_eq!(found.is_some(), expected, "{} against {}", granted.display(), reserved.display());
    }

    #[test]
    fn a_directory_overlaps_what_it_holds_and_what_holds_it() {
        let place = tempfile::tempdir().unwrap();
        let dir = |name: &str| place.path().join(name);
        fs::create_dir_all(dir("work/.spout/store/repos")).unwrap();
        fs::create_dir_all(dir("work/data")).unwrap();
        let store = dir("work/.spout/store");
        for overlapping in
            ["work/.spout/store", "work/.spout/store/repos", "work/.spout", "work", "", "work/data/../.spout"]
        {
            check(&store, &dir(overlapping), true);
        }
        for apart in ["work/data", "work/nowhere", "work/.spout/store2"] {
            check(&store, &dir(apart), false);
        }
        fs::create_dir(dir("work/.spout/store2")).unwrap();
        check(&store, &dir("work/.spout/store2"), false);
        // By links, on both sides.
        symlink(dir("work/.spout"), dir("work/data/link")).unwrap();
        symlink(dir("work/.spout/store"), dir("linked-store")).unwrap();
        check(&store, &dir("work/data/link"), true);
        check(&dir("linked-store"), &dir("work/.spout/store/repos"), true);
        check(&dir("linked-store"), &dir("work/data"), false);
    }

    #[test]
    fn what_is_made_later_is_reserved_already() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("data")).unwrap();
        let store = place.path().join(".spout/store");
        check(&store, place.path(), true);
        check(&store, &place.path().join("data"), false);
        check(&place.path().join("data/deep/store"), &place.path().join("data"), true);
    }
}
