//! A store: where repos are, and how they are found and made.

use std::{fmt, path::PathBuf, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use spout_base::clock;

use super::{reference::Reference, repository::Repo, version};
use crate::{
    error::Error,
    layout::Layout,
    log::{Commit, Recorded, VERSION, seal},
    object::{Created, Objects, PARALLEL, Step, StoreUrl, TriedOut, probe},
    path,
};
use spout_base::{counted::counted, near::did_you_mean};

/// What `repo.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoInfo {
    /// Format version.
    pub version: u32,
    /// Name of the repo.
    pub name: String,
    /// What the pipeline's spec says it is.
    pub description: String,
    /// When it was made; for people.
    pub created_ms: i64,
    /// Its objects are being deleted; it does not exist any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// SHA-256 of the file with this field empty.
    pub checksum: String,
}

/// A directory, or a part of a bucket, that holds repos.
#[derive(Clone)]
pub struct Store {
    objects: Objects,
    shows: Option<Shows>,
}

/// Whether a repo of this name is shown.
type Shows = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &self.url()).field("limited", &self.shows.is_some()).finish()
    }
}

impl Store {
    /// Opens the store at `url` to write it: a directory, a `file://` URL, `memory://`, or a part of a bucket as
    /// `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`, whose credentials are in the environment. A
    /// directory that is not there is made. A store that is new to us is tried out before it is trusted.
    ///
    /// # Errors
    /// [`Error::StoreUrl`] for other URLs, [`Error::ReadOnly`] and its like where nothing can be written,
    /// [`Error::NotExclusive`] where two writers are not kept apart, [`Error::Foreign`] where something else is in the
    /// place of repos, [`Error::NewerStore`] for a store of a version that this build does not know, [`Error::Refused`] and
    /// [`Error::NoBucket`] for a bucket that cannot be used.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let (objects, proof) = match StoreUrl::of(url)? {
            StoreUrl::Memory => return Ok(Self { objects: Objects::memory(), shows: None }),
            StoreUrl::Directory(path) => (Objects::directory(url, &path, true)?, probe::proof("directory")),
            StoreUrl::Bucket(bucket) => {
                let (objects, place) = Objects::bucket(&bucket)?;
                (objects, probe::proof(&place))
            }
        };
        let (version, ()) = futures::try_join!(version::known(&objects), probe::admit(&objects, &proof))?;
        if version == version::UNMARKED {
            version::begin(&objects).await?;
        }
        Ok(Self { objects, shows: None })
    }

    /// Tries out whether two writers are kept apart here, and how far the clocks are apart. Nothing of that stays.
    ///
    /// # Errors
    /// Those of [`Store::open`] that writing can end with.
    pub async fn try_out(&self) -> Result<TriedOut, Error> {
        probe::try_out(&self.objects).await
    }

    /// The directory of the store at `url`, where it is one; nothing is opened.
    #[must_use]
    pub fn local(url: &str) -> Option<PathBuf> {
        match StoreUrl::of(url) {
            Ok(StoreUrl::Directory(path)) => Some(path),
            _ => None,
        }
    }

    /// Opens the store at `url` to look at it: makes nothing.
    ///
    /// # Errors
    /// Those of [`Store::open`] that reading can end with, and [`Error::NoStore`] if the directory is not there or nothing is at that
    /// place of the bucket.
    pub async fn open_existing(url: &str) -> Result<Self, Error> {
        let objects = match StoreUrl::of(url)? {
            StoreUrl::Memory => Objects::memory(),
            StoreUrl::Directory(path) => Objects::directory(url, &path, false)?,
            StoreUrl::Bucket(bucket) => {
                let (objects, place) = Objects::bucket(&bucket)?;
                let proof = probe::proof(&place);
                let (version, proved) = futures::try_join!(version::known(&objects), objects.find(&proof))?;
                let known = proved.is_some() || version != version::UNMARKED;
                if !known && objects.directories(&Layout::repos()).await?.is_empty() {
                    return Err(Error::NoStore { url: url.to_owned() });
                }
                return Ok(Self { objects, shows: None });
            }
        };
        version::known(&objects).await?;
        Ok(Self { objects, shows: None })
    }

    #[cfg(test)]
    pub(crate) fn of(objects: Objects) -> Self {
        Self { objects, shows: None }
    }

    /// A store over `inner`, which must keep two writers apart; messages call it `name`.
    #[must_use]
    pub fn over(inner: Arc<dyn ObjectStore>, name: &str) -> Self {
        Self { objects: Objects::over(inner, name, false), shows: None }
    }

    /// The same store for somebody who sees only the repos whose names `shows` lets through: the others are not there, and
    /// cannot be created.
    #[must_use]
    pub fn limited(&self, shows: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { objects: self.objects.clone(), shows: Some(Arc::new(shows)) }
    }

    fn shows(&self, name: &str) -> bool {
        self.shows.as_ref().is_none_or(|shows| shows(name))
    }

    /// The URL it was opened by.
    #[must_use]
    pub fn url(&self) -> &str {
        self.objects.url()
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Names of all repos, sorted.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = self.objects.directories(&Layout::repos()).await?;
        names.retain(|name| self.shows(name));
        Ok(names)
    }

    /// All repos, sorted by name.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::BadRecord`] for a damaged `repo.json`.
    pub async fn repos(&self) -> Result<Vec<RepoInfo>, Error> {
        let found: Vec<_> = stream::iter(self.names().await?)
            .map(|name| async move { self.info(&name).await })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn info(&self, name: &str) -> Result<Option<RepoInfo>, Error> {
        Ok(self.described(name).await?.filter(|info| !info.deleted))
    }

    /// Whether only what is left of a deletion is there.
    pub(crate) async fn is_deleted(&self, name: &str) -> Result<bool, Error> {
        Ok(matches!(self.described(name).await, Ok(Some(info)) if info.deleted))
    }

    async fn described(&self, name: &str) -> Result<Option<RepoInfo>, Error> {
        if !self.shows(name) {
            return Ok(None);
        }
        let path = Layout::of(name).about();
        let Some(bytes) = self.objects.find(&path).await? else { return Ok(None) };
        let object = self.objects.shown(&path);
        let text = seal::unseal(&object, &bytes)?;
        let info = serde_json::from_str(text);
        info.map(Some).map_err(|source| Error::BadRecord { object, reason: source.to_string() })
    }

    /// The repo `name`, which must exist.
    ///
    /// # Errors
    /// [`Error::UnknownRepo`], which names the nearest one.
    pub async fn repo(&self, name: &str) -> Result<Repo, Error> {
        path::repo_name(name)?;
        match self.info(name).await? {
            Some(_) => Ok(Repo::new(self.objects.clone(), name)),
            None => Err(self.unknown(name).await?),
        }
    }

    /// The repo of this name, of which the caller knows that it is there; nothing is read to find out.
    ///
    /// # Errors
    /// [`Error::BadName`], and [`Error::UnknownRepo`] where it is not shown.
    pub fn named(&self, name: &str) -> Result<Repo, Error> {
        path::repo_name(name)?;
        if self.shows(name) {
            Ok(Repo::new(self.objects.clone(), name))
        } else {
            Err(Error::UnknownRepo { repo: name.to_owned(), store: self.url().to_owned(), nearest: String::new() })
        }
    }

    async fn unknown(&self, name: &str) -> Result<Error, Error> {
        let nearest = did_you_mean(name, self.names().await?.iter().map(String::as_str));
        Ok(Error::UnknownRepo { repo: name.to_owned(), store: self.url().to_owned(), nearest })
    }

    /// The repo `name`, made with this description if it does not exist.
    ///
    /// # Errors
    /// [`Error::BadName`], or what writing can end with.
    pub async fn repo_or_create(&self, name: &str, description: &str) -> Result<Repo, Error> {
        path::repo_name(name)?;
        if !self.shows(name) {
            return Err(self.unknown(name).await?);
        }
        let described = self.described(name).await?;
        if described.as_ref().is_some_and(|info| info.deleted) {
            // A deletion that was killed is ended before anything new takes the name.
            self.remove(name).await?;
        }
        if described.is_none_or(|info| info.deleted) {
            let path = Layout::of(name).about();
            let object = self.objects.shown(&path);
            let info = RepoInfo {
                version: VERSION,
                name: name.to_owned(),
                description: description.to_owned(),
                created_ms: clock::wall_ms(),
                deleted: false,
                checksum: String::new(),
            };
            let (bytes, _) = seal::seal(&object, &info)?;
            match self.objects.create(Step::Create, &path, bytes).await? {
                Created::Ours | Created::Others => {}
                Created::Nothing(source) => return Err(Error::write(object, source)),
                Created::Unknown(source) => return Err(Error::Unconfirmed { object, source: source.into() }),
            }
        }
        Ok(Repo::new(self.objects.clone(), name))
    }

    /// Deletes the repo with all its commits. One that a pipeline has written, or that holds commits, only by `force`.
    ///
    /// # Errors
    /// [`Error::UnknownRepo`], [`Error::StillUsed`], and those of deleting; the repo is gone once this has begun, and is
    /// removed whole by the next attempt, or when a repo of its name is created.
    pub async fn delete_repo(&self, name: &str, force: bool) -> Result<(), Error> {
        if self.described(name).await?.is_some_and(|info| info.deleted) {
            return self.remove(name).await;
        }
        let repo = self.repo(name).await?;
        let branches = if force { Vec::new() } else { repo.branches().await? };
        let commits: u64 = branches.iter().map(|branch| branch.commits).sum();
        if commits > 0 {
            let owner = branches.iter().map(|branch| branch.pipeline.as_str()).find(|owner| !owner.is_empty());
            let of = owner.map(|owner| format!(" of pipeline {owner}")).unwrap_or_default();
            let reason = format!("it holds {}{of}; add --force to delete it all the same", counted(commits, "commit"));
            return Err(Error::StillUsed { what: format!("repo `{name}`"), reason });
        }
        let path = Layout::of(name).about();
        let info = RepoInfo {
            version: VERSION,
            name: name.to_owned(),
            description: String::new(),
            created_ms: clock::wall_ms(),
            deleted: true,
            checksum: String::new(),
        };
        let (bytes, _) = seal::seal(&self.objects.shown(&path), &info)?;
        self.objects.overwrite(Step::Remove, &path, bytes).await?;
        self.remove(name).await
    }

    /// Deletes the objects of a repo that is marked as deleted, the mark last.
    async fn remove(&self, name: &str) -> Result<(), Error> {
        let layout = Layout::of(name);
        for (path, _) in self.objects.list(&layout.root()).await? {
            if path != layout.about() {
                self.objects.delete(Step::Delete, &path).await?;
            }
        }
        self.objects.delete(Step::Delete, &layout.about()).await?;
        if let Some(root) = self.objects.root() {
            // Empty directories are no objects, but would be listed as repos.
            let directory = root.join(layout.root().as_ref());
            std::fs::remove_dir_all(&directory)
                .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
                .map_err(|source| Error::read(directory.display().to_string(), source))?;
        }
        Ok(())
    }

    /// The repo and the commit that `reference` names.
    ///
    /// # Errors
    /// Whatever part of it is not there, named.
    pub async fn resolve(&self, reference: &Reference) -> Result<(Repo, Commit), Error> {
        let repo = self.repo(&reference.repo).await?;
        let commit = repo.resolve(reference).await?;
        Ok((repo, commit))
    }

    /// The same as it is recorded, which saves reading what its marker comes of.
    ///
    /// # Errors
    /// Those of [`Store::resolve`].
    pub async fn recorded(&self, reference: &Reference) -> Result<(Repo, Commit<Recorded>), Error> {
        let repo = self.repo(&reference.repo).await?;
        let (_, commit) = repo.known_by(reference).await?;
        Ok((repo, commit))
    }
}
