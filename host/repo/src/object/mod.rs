//! The object store under a repo: durable creation, reads, listings. All writes of this room go through here.

use std::{
    io,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use object_store::{
    CopyMode, CopyOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload, local::LocalFileSystem, memory::InMemory,
    path::Path,
};
use spout_base::clock;

use super::error::Error;
use super::fault;

mod answer;
mod bucket;
mod multipart;
pub(crate) mod probe;
mod read;
mod small;
mod step;
mod store_url;

pub use probe::TriedOut;
pub(super) use small::{ByHash, SmallFiles};
pub(super) use step::Step;
pub(super) use store_url::StoreUrl;

/// How many objects are read at once.
pub(super) const PARALLEL: usize = 32;
const LOCAL: &str = "LocalFileSystem";
/// How often a creation is tried that a bucket turns down because another one is on its way, and how long in between.
const MEETINGS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// Set, nothing is synced: for the test that has to see commits lost to a power cut then.
const UNSAFE: &str = "SPOUT_UNSAFE_NO_FSYNC";

/// What became of a creation.
#[derive(Debug)]
pub(super) enum Created {
    /// Our bytes are in the slot, durably.
    Ours,
    /// Something else is in the slot.
    Others,
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
    /// Size of a part of a large object.
    part: usize,
    small: SmallFiles,
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
        let synced = std::env::var_os(UNSAFE).is_none();
        if !synced {
            tracing::warn!("{UNSAFE} is set: commits to {shown} can be lost in a power failure");
        }
        let inner =
            LocalFileSystem::new_with_prefix(path).map_err(|source| Error::read(shown, source))?.with_fsync(synced);
        let root = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self {
            inner: Arc::new(inner),
            url: url.into(),
            root: Some(root.into()),
            prompt: true,
            part: multipart::PART,
            small: SmallFiles::default(),
        })
    }

    pub(super) fn memory() -> Self {
        Self::over(Arc::new(InMemory::new()), "memory://", true)
    }

    /// Any object store; `prompt` where a write that failed cannot take effect later.
    pub(super) fn over(inner: Arc<dyn ObjectStore>, url: &str, prompt: bool) -> Self {
        Self { inner, url: url.into(), root: None, prompt, part: multipart::PART, small: SmallFiles::default() }
    }

    /// The same with smaller parts.
    #[cfg(test)]
    pub(super) fn in_parts_of(self, part: usize) -> Self {
        Self { part, ..self }
    }

    /// Small files that were read lately with others of their record.
    pub(super) fn small(&self) -> &SmallFiles {
        &self.small
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
    /// request whose answer was lost, and then reports our own object as somebody else's; and it may turn down one of two
    /// requests that meet, although neither has landed.
    pub(super) async fn create(&self, step: Step, path: &Path, bytes: Bytes) -> Result<Created, Error> {
        for _ in 1..MEETINGS {
            let created = self.create_once(step, path, bytes.clone()).await?;
            match created {
                Created::Nothing(error) if answer::conflict(&error) => {
                    tokio::time::sleep(clock::jittered(PAUSE)).await;
                }
                created => return Ok(created),
            }
        }
        self.create_once(step, path, bytes).await
    }

    async fn create_once(&self, step: Step, path: &Path, bytes: Bytes) -> Result<Created, Error> {
        let Err(error) = self.try_create(step, path, bytes.clone()).await else { return Ok(Created::Ours) };
        let (in_doubt, settled) = (answer::in_doubt(&error), self.prompt || answer::refused(&error));
        let error = answer::short(error);
        Ok(match self.find(path).await {
            Ok(Some(there)) if there == bytes && in_doubt => Created::Unknown(error),
            Ok(Some(there)) if there == bytes => Created::Ours,
            Ok(Some(_)) => Created::Others,
            Ok(None) if settled => Created::Nothing(error),
            Ok(None) | Err(_) => Created::Unknown(error),
        })
    }

    pub(super) async fn try_create(&self, step: Step, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        let (before, after) = step.points();
        fault::point(before).map_err(generic)?;
        self.inner.put_opts(path, PutPayload::from(bytes), PutMode::Create.into()).await?;
        fault::point(after).map_err(generic)
    }

    /// Creates an object of a fresh name, durably; a large one in parts.
    pub(super) async fn create_fresh(&self, step: Step, path: &Path, bytes: Bytes) -> Result<(), Error> {
        if bytes.len() > multipart::WHOLE * self.part {
            return self.create_in_parts(step, path, bytes).await;
        }
        match self.create(step, path, bytes).await? {
            Created::Ours => Ok(()),
            Created::Nothing(source) | Created::Unknown(source) => Err(Error::write(self.shown(path), source)),
            Created::Others => {
                let source = io::Error::new(io::ErrorKind::AlreadyExists, "the name is taken by different content");
                Err(Error::write(self.shown(path), generic(source)))
            }
        }
    }

    /// Overwrites the object. Only for what saves time and decides nothing: two writers of it are not kept apart.
    pub(super) async fn overwrite(&self, step: Step, path: &Path, bytes: Bytes) -> Result<(), Error> {
        let (before, after) = step.points();
        let written = async {
            fault::point(before).map_err(generic)?;
            self.inner.put_opts(path, PutPayload::from(bytes), PutMode::Overwrite.into()).await?;
            fault::point(after).map_err(generic)
        };
        written.await.map_err(|source| self.unwritten(path, source))
    }

    /// Gives the object a second name within the store, durably; `false` if there is no such object. The name says what
    /// it holds, so that it is fine if it is there. S3 cannot copy on a condition and copies again then; a local
    /// directory has to, because a link that is renamed to another link of the same file stays behind.
    pub(super) async fn copy(&self, step: Step, from: &Path, to: &Path) -> Result<bool, Error> {
        let (before, after) = step.points();
        let copied = async {
            fault::point(before).map_err(generic)?;
            let created = CopyOptions::new().with_mode(CopyMode::Create);
            match self.inner.copy_opts(from, to, created).await {
                Ok(()) | Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                Err(object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. }) => {
                    self.inner.copy(from, to).await?;
                }
                Err(error) => return Err(error),
            }
            fault::point(after).map_err(generic).map(|()| true)
        };
        copied.await.map_err(|source| Error::write(self.shown(to), source))
    }

    /// Deletes the object; that it is not there is fine. On a local disk it may be back after a power loss.
    pub(super) async fn delete(&self, step: Step, path: &Path) -> Result<(), Error> {
        let (before, after) = step.points();
        let deleted = async {
            fault::point(before).map_err(generic)?;
            match self.inner.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => fault::point(after).map_err(generic),
                Err(error) => Err(error),
            }
        };
        deleted.await.map_err(|source| self.unwritten(path, source))
    }

    pub(super) fn unwritten(&self, path: &Path, source: object_store::Error) -> Error {
        Error::write(self.shown(path), answer::short(source))
    }

    fn unreadable(&self, path: &Path, source: object_store::Error) -> Error {
        let (denied, nowhere) = (answer::denied(&source), answer::nowhere(&source));
        let (object, source) = (self.shown(path), answer::short(source));
        match self.root {
            None if denied => Error::Refused { object, source: source.into() },
            None if nowhere => Error::NoBucket { url: self.url.to_string(), source: source.into() },
            _ => Error::read(object, source),
        }
    }
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
