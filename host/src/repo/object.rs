//! The object store under a repo: durable creation, reads, listings. All writes of this room go through here.

use std::{
    io,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, PutPayload, local::LocalFileSystem, memory::InMemory, path::Path,
};

use super::Error;
use crate::fault;

/// How many objects are read at once.
pub(super) const PARALLEL: usize = 32;
const LOCAL: &str = "LocalFileSystem";

/// A durable step of a commit; fail points stand on both sides of each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Create,
    Claim,
    Data,
    State,
    Record,
}

impl Step {
    fn points(self) -> (&'static str, &'static str) {
        match self {
            Self::Create => ("repo.create.before", "repo.create.after"),
            Self::Claim => ("repo.claim.before", "repo.claim.after"),
            Self::Data => ("repo.data.before", "repo.data.after"),
            Self::State => ("repo.state.before", "repo.state.after"),
            Self::Record => ("repo.record.before", "repo.record.after"),
        }
    }
}

/// What became of a creation.
#[derive(Debug)]
pub(super) enum Created {
    /// Our bytes are in the slot, durably.
    Ours,
    /// These are in the slot.
    Others(Bytes),
    /// The slot is empty and nothing of ours can arrive there any more.
    Nothing(object_store::Error),
    /// Our bytes may be there, may come to be there, or are there without being durable for certain.
    Unknown(object_store::Error),
}

/// The objects of one store.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    inner: Arc<dyn ObjectStore>,
    url: Arc<str>,
    root: Option<Arc<FilePath>>,
    /// Whether a write that failed cannot take effect later.
    prompt: bool,
}

impl Objects {
    /// A directory. `LocalFileSystem` stages a file, links it to its name, and with `with_fsync` syncs the file before
    /// the link and the directory, and every directory it had to create, after it (object_store 0.14.2, `local.rs`), so
    /// that nothing is left for us to sync but the root itself.
    pub(super) fn directory(url: &str, path: &FilePath, create: bool) -> Result<Self, Error> {
        let shown = path.display().to_string();
        if !path.is_dir() {
            if !create {
                return Err(Error::NoStore { url: shown });
            }
            create_root(path).map_err(|source| Error::write(shown.clone(), generic(source)))?;
        }
        let inner =
            LocalFileSystem::new_with_prefix(path).map_err(|source| Error::read(shown, source))?.with_fsync(true);
        let root = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { inner: Arc::new(inner), url: url.into(), root: Some(root.into()), prompt: true })
    }

    pub(super) fn memory() -> Self {
        Self::over(Arc::new(InMemory::new()), "memory://", true)
    }

    /// Any object store; `prompt` where a write that failed cannot take effect later.
    pub(super) fn over(inner: Arc<dyn ObjectStore>, url: &str, prompt: bool) -> Self {
        Self { inner, url: url.into(), root: None, prompt }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The directory, for what is not an object: leftovers of broken writes.
    pub(super) fn root(&self) -> Option<PathBuf> {
        self.root.as_deref().map(FilePath::to_owned)
    }

    /// `path` as people find it.
    pub(super) fn shown(&self, path: &Path) -> String {
        match &self.root {
            Some(root) => root.join(path.as_ref()).display().to_string(),
            None => format!("{}/{path}", self.url.trim_end_matches('/')),
        }
    }

    /// Creates the object unless the name is taken. Any error is settled by reading the slot back: a store may repeat a
    /// request whose answer was lost, and then reports our own object as somebody else's.
    pub(super) async fn create(&self, step: Step, path: &Path, bytes: Bytes) -> Result<Created, Error> {
        let Err(error) = self.try_create(step, path, bytes.clone()).await else { return Ok(Created::Ours) };
        Ok(match self.find(path).await {
            Ok(Some(there)) if there == bytes && in_doubt(&error) => Created::Unknown(error),
            Ok(Some(there)) if there == bytes => Created::Ours,
            Ok(Some(there)) => Created::Others(there),
            Ok(None) if self.prompt => Created::Nothing(error),
            Ok(None) | Err(_) => Created::Unknown(error),
        })
    }

    async fn try_create(&self, step: Step, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        let (before, after) = step.points();
        fault::point(before).map_err(generic)?;
        self.inner.put_opts(path, PutPayload::from(bytes), PutMode::Create.into()).await?;
        fault::point(after).map_err(generic)
    }

    /// Creates an object of a fresh name, durably.
    pub(super) async fn create_fresh(&self, step: Step, path: &Path, bytes: Bytes) -> Result<(), Error> {
        match self.create(step, path, bytes).await? {
            Created::Ours => Ok(()),
            Created::Nothing(source) | Created::Unknown(source) => Err(Error::write(self.shown(path), source)),
            Created::Others(_) => {
                let source = io::Error::new(io::ErrorKind::AlreadyExists, "the name is taken by other bytes");
                Err(Error::write(self.shown(path), generic(source)))
            }
        }
    }

    /// The object's bytes, or `None` if there is none.
    pub(super) async fn find(&self, path: &Path) -> Result<Option<Bytes>, Error> {
        let got = match self.inner.get(path).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        match got {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::read(self.shown(path), source)),
        }
    }

    /// Names and sizes of the objects directly or indirectly below `prefix`, sorted (a local directory lists in any order).
    pub(super) async fn list(&self, prefix: &Path) -> Result<Vec<(Path, u64)>, Error> {
        let listed = self.inner.list(Some(prefix)).map(|entry| entry.map(|meta| (meta.location, meta.size)));
        let mut all: Vec<_> = listed.try_collect().await.map_err(|source| Error::read(self.shown(prefix), source))?;
        all.sort_unstable();
        Ok(all)
    }

    /// Names of the directories directly below `prefix`, sorted.
    pub(super) async fn directories(&self, prefix: &Path) -> Result<Vec<String>, Error> {
        let listed = self.inner.list_with_delimiter(Some(prefix)).await;
        let listed = listed.map_err(|source| Error::read(self.shown(prefix), source))?;
        let mut names: Vec<_> =
            listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// A local write that failed although its name is there: the directory could not be synced. After a failed sync the
/// kernel forgets what it did not write, so that asking again proves nothing.
fn in_doubt(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { store, .. } if *store == LOCAL)
}

fn generic(source: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "spout", source: source.into() }
}

/// Creates the directory with its parents, and syncs each directory that got a new entry.
fn create_root(path: &FilePath) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    let there = path.ancestors().find(|parent| parent.is_dir()).map(FilePath::to_owned);
    std::fs::create_dir_all(&path)?;
    for parent in path.ancestors().skip(1) {
        #[cfg(unix)]
        std::fs::File::open(parent)?.sync_all()?;
        if there.as_deref() == Some(parent) {
            break;
        }
    }
    Ok(())
}
