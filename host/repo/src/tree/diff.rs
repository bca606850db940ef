//! What became of the files between two commits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::files::{FileEntry, Tree};

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// More was put behind what was there.
    Grown,
    /// It is another.
    Changed,
}

/// A file that is not the same in both commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// Its path.
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// Bytes before; `None` if it was not there.
    pub size_before: Option<u64>,
    /// Bytes after; `None` if it is not there.
    pub size_after: Option<u64>,
    /// Rows before, for table files.
    pub rows_before: Option<u64>,
    /// Rows after, for table files.
    pub rows_after: Option<u64>,
}

/// The files that differ, sorted by path. Files are compared by the hashes of their bytes: nothing is read.
#[must_use]
pub fn diff(before: &Tree, after: &Tree) -> Vec<Changed> {
    let (mut left, mut right) = (before.files().peekable(), after.files().peekable());
    let mut changes = Vec::new();
    loop {
        // Both are sorted by path: the lesser one has no counterpart.
        let pair = match (left.peek(), right.peek()) {
            (None, None) => return changes,
            (Some(old), Some(new)) if old.path == new.path => (left.next(), right.next()),
            (Some(old), Some(new)) if old.path < new.path => (left.next(), None),
            (Some(_), None) => (left.next(), None),
            (_, Some(_)) => (None, right.next()),
        };
        changes.extend(changed(pair.0, pair.1));
    }
}

fn changed(before: Option<&FileEntry>, after: Option<&FileEntry>) -> Option<Changed> {
    let change = match (before, after) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        (Some(old), Some(new)) if same(old, new) => return None,
        (Some(old), Some(new)) if grown(old, new) => Change::Grown,
        _ => Change::Changed,
    };
    Some(Changed {
        path: before.or(after)?.path.clone(),
        change,
        size_before: before.map(|file| file.size),
        size_after: after.map(|file| file.size),
        rows_before: before.and_then(|file| file.rows),
        rows_after: after.and_then(|file| file.rows),
    })
}

fn same(old: &FileEntry, new: &FileEntry) -> bool {
    (&old.sha256, old.size, old.format) == (&new.sha256, new.size, new.format)
}

/// Whether the pieces that were there are the first of those that are.
fn grown(old: &FileEntry, new: &FileEntry) -> bool {
    old.format == new.format
        && old.pieces.len() < new.pieces.len()
        && old
            .pieces
            .iter()
            .zip(&new.pieces)
            .all(|(old, new)| (&old.blob.sha256, old.blob.size) == (&new.blob.sha256, new.blob.size))
}

#[cfg(test)]
mod tests {
    use spout_format::Format;

    use super::*;
    use crate::log::{Blob, FileAdded, Place, PutMode, Slot, TableInfo};

    /// A tree of files, each by its path and the bytes of its pieces; a number is a table of as many rows.
    fn tree(files: &[(&str, &[&str])]) -> Tree {
        let mut tree = Tree::default();
        for (path, pieces) in files {
            for piece in *pieces {
                let rows = piece.parse().ok();
                let table = rows.map(|rows| TableInfo {
                    format: Format::Csv,
                    rows,
                    schema: String::new(),
                    columns: Vec::new(),
                    portable: false,
                });
                let blob = Blob {
                    place: Place::Record(Slot { branch: "master".into(), sequence: 1 }),
                    size: piece.len() as u64,
                    sha256: (*piece).to_owned(),
                };
                tree.put(&FileAdded { path: (*path).to_owned(), how: PutMode::Append, blob, table });
            }
        }
        tree
    }

    #[test]
    fn a_file_is_added_removed_grown_or_changed() {
        let check = |before: &[(&str, &[&str])], after: &[(&str, &[&str])], expected: &[(&str, Change)]| {
            let found = diff(&tree(before), &tree(after));
            let found: Vec<_> = found.iter().map(|file| (file.path.as_str(), file.change)).collect();
            assert_eq!(found, expected, "{before:?} {after:?}");
        };
        check(&[], &[], &[]);
        check(&[("/a", &["x"])], &[("/a", &["x"])], &[]);
        check(&[], &[("/b", &["x"]), ("/a", &["x"])], &[("/a", Change::Added), ("/b", Change::Added)]);
        check(&[("/a", &["x"])], &[("/b", &["x"])], &[("/a", Change::Removed), ("/b", Change::Added)]);
        check(&[("/a", &["x"])], &[("/a", &["x", "y"])], &[("/a", Change::Grown)]);
        check(&[("/a", &["x", "y"])], &[("/a", &["x"])], &[("/a", Change::Changed)]);
        check(&[("/a", &["x"])], &[("/a", &["y", "x"])], &[("/a", Change::Changed)]);
        check(&[("/a", &["x"])], &[("/a", &["1"])], &[("/a", Change::Changed)]);
        check(
            &[("/a", &["x"]), ("/c", &["x"]), ("/d", &["x"])],
            &[("/b", &["x"]), ("/c", &["x"])],
            &[("/a", Change::Removed), ("/b", Change::Added), ("/d", Change::Removed)],
        );
    }

    #[test]
    fn sizes_and_rows_are_those_of_each_side() {
        let found = diff(&tree(&[("/t", &["10"])]), &tree(&[("/t", &["10", "5"]), ("/x", &["abc"])]));
        let grown = &found[0];
        assert_eq!((grown.size_before, grown.size_after), (Some(2), Some(3)));
        assert_eq!((grown.rows_before, grown.rows_after), (Some(10), Some(15)));
        let added = &found[1];
        assert_eq!(
            (added.size_before, added.size_after, added.rows_before, added.rows_after),
            (None, Some(3), None, None)
        );
    }
}
