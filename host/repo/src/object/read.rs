//! Reads and listings.

use std::{io, ops::Range};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStoreExt, path::Path};

use super::Objects;
use crate::error::Error;

impl Objects {
    /// The object's bytes, or `None` if there is none.
    pub(crate) async fn find(&self, path: &Path) -> Result<Option<Bytes>, Error> {
        let got = match self.inner.get(path).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        self.present(path, got)
    }

    /// The bytes of `range` of the object, or `None` if there is no object. A range that ends behind the end gives what
    /// is there; one that starts there is an error.
    pub(crate) async fn read_range(&self, path: &Path, range: Range<u64>) -> Result<Option<Bytes>, Error> {
        if range.is_empty() {
            return Ok(self.size(path).await?.map(|_| Bytes::new()));
        }
        let got = self.inner.get_range(path, range).await;
        self.present(path, got)
    }

    /// The object's size, or `None` if there is none.
    pub(crate) async fn size(&self, path: &Path) -> Result<Option<u64>, Error> {
        let got = self.inner.head(path).await.map(|meta| meta.size);
        self.present(path, got)
    }

    /// When the object was made, in milliseconds since 1970, as the store says; `None` if there is none.
    pub(crate) async fn made_ms(&self, path: &Path) -> Result<Option<i64>, Error> {
        let got = self.inner.head(path).await.map(|meta| meta.last_modified.timestamp_millis());
        self.present(path, got)
    }

    /// What was got, or `None` where there is no such object.
    fn present<T>(&self, path: &Path, got: object_store::Result<T>) -> Result<Option<T>, Error> {
        match got {
            Ok(got) => Ok(Some(got)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.unreadable(path, source)),
        }
    }

    /// Names and sizes of the objects directly or indirectly below `prefix`, sorted (a local directory lists in any order).
    pub(crate) async fn list(&self, prefix: &Path) -> Result<Vec<(Path, u64)>, Error> {
        let listed = self.inner.list(Some(prefix));
        self.sorted(prefix, listed, |meta| (meta.location, meta.size)).await
    }

    /// The same of those whose names sort behind `offset`, which need not exist.
    pub(crate) async fn list_from(&self, prefix: &Path, offset: &Path) -> Result<Vec<(Path, u64)>, Error> {
        let listed = self.inner.list_with_offset(Some(prefix), offset);
        self.sorted(prefix, listed, |meta| (meta.location, meta.size)).await
    }

    /// Names, sizes and times of the last change in milliseconds since 1970, sorted by name. The times are the store's,
    /// whose clock need not be ours.
    pub(crate) async fn list_aged(&self, prefix: &Path) -> Result<Vec<(Path, u64, i64)>, Error> {
        let listed = self.inner.list(Some(prefix));
        self.sorted(prefix, listed, |meta| (meta.location, meta.size, meta.last_modified.timestamp_millis())).await
    }

    /// Whether anything is stored below `prefix`. A directory without files is nothing.
    pub(crate) async fn any(&self, prefix: &Path) -> Result<bool, Error> {
        let first = self.inner.list(Some(prefix)).try_next().await;
        Ok(first.map_err(|source| self.unreadable(prefix, source))?.is_some())
    }

    async fn sorted<T: Ord>(
        &self,
        prefix: &Path,
        listed: impl futures::Stream<Item = object_store::Result<ObjectMeta>>,
        of: impl Fn(ObjectMeta) -> T,
    ) -> Result<Vec<T>, Error> {
        let all = listed.map(|entry| entry.map(&of)).try_collect().await;
        let mut all: Vec<_> = all.map_err(|source| self.unreadable(prefix, source))?;
        all.sort_unstable();
        Ok(all)
    }

    /// Names of the directories directly below `prefix`, sorted.
    pub(crate) async fn directories(&self, prefix: &Path) -> Result<Vec<String>, Error> {
        Ok(self.entries(prefix).await?.0)
    }

    /// Names of the directories and of the objects directly below `prefix`, each sorted.
    pub(crate) async fn entries(&self, prefix: &Path) -> Result<(Vec<String>, Vec<String>), Error> {
        let listed = self.inner.list_with_delimiter(Some(prefix)).await;
        let listed = listed.map_err(|source| self.unreadable(prefix, source))?;
        let sorted = |paths: &mut dyn Iterator<Item = &Path>| {
            let mut names: Vec<_> = paths.filter_map(|path| path.filename().map(str::to_owned)).collect();
            names.sort_unstable();
            names
        };
        let directories = sorted(&mut listed.common_prefixes.iter());
        Ok((directories, sorted(&mut listed.objects.iter().map(|meta| &meta.location))))
    }

    /// Names of the objects directly below `prefix`, in any order. Of a directory they are read without leaving the
    /// thread: this is asked at every commit, and the directory is empty or nearly so.
    pub(crate) async fn names(&self, prefix: &Path) -> Result<Vec<String>, Error> {
        let Some(root) = &self.root else { return self.entries(prefix).await.map(|(_, names)| names) };
        let entries = match std::fs::read_dir(root.join(prefix.as_ref())) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::read(self.shown(prefix), source)),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_, _>>().map_err(|source| Error::read(self.shown(prefix), source))
    }
}
