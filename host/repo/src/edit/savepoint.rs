//! A point to which an open commit can go back.

use super::open_commit::OpenCommit;

/// What an open commit had at some time.
#[derive(Clone, Copy, Debug)]
pub struct Savepoint {
    files: usize,
    removed: usize,
}

impl OpenCommit {
    /// What it has now.
    #[must_use]
    pub fn savepoint(&self) -> Savepoint {
        Savepoint { files: self.files.len(), removed: self.removed.len() }
    }

    /// The paths that were put since `point`, and are still there.
    pub fn put_since(&self, point: Savepoint) -> impl Iterator<Item = &str> {
        self.files.iter().skip(point.files).map(|file| file.path.as_str())
    }

    /// Forgets what was put and deleted since `point`. What was put before may not have been overwritten or deleted since then.
    pub fn go_back(&mut self, point: Savepoint) {
        self.files.truncate(point.files);
        self.removed.truncate(point.removed);
    }
}

#[cfg(test)]
mod tests {
    use crate::{PutMode, Store};

    #[tokio::test]
    async fn what_was_put_since_can_be_forgotten() {
        let repo = Store::open("memory://").await.unwrap().repo_or_create("r", "").await.unwrap();
        let mut open = repo.open_commit();
        open.put_file("/a", PutMode::Append, "a".into()).await.unwrap();
        open.delete_file("/gone").unwrap();
        let point = open.savepoint();
        open.put_file("/b", PutMode::Append, "b".into()).await.unwrap();
        open.put_file("/b", PutMode::Overwrite, "c".into()).await.unwrap();
        open.delete_file("/gone2").unwrap();
        assert_eq!(open.put_since(point).collect::<Vec<_>>(), ["/b"]);
        open.go_back(point);
        assert!(open.put_since(point).next().is_none() && open.removed == [("/gone".to_owned(), false)]);
        assert_eq!(open.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["/a"]);
    }
}
