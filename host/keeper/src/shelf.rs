//! Plugins that a store keeps by digest: those that somebody has put there, and those that its pipelines run.
//!
//! They are files of the repo `_plugins`: `/NAME/DIGEST.wasm` for each version, and `/NAME.json`, which says what version the name
//! stands for where no file of the plugins directory has it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spout_api::{KeptPlugin, PluginVersion};
use spout_plugin::Shelf;
use spout_repo::{Edit, Finished, Follower, MASTER, PLUGINS, PutMode, Repo, Store, Tree, path};
use tokio::sync::Mutex as AsyncMutex;

use super::Error;

/// Tries of a change that others get in the way of.
const TRIES: u32 = 5;

/// The plugins of a store. Clones share what is known of them.
#[derive(Clone, Debug)]
pub struct PluginShelf {
    store: Store,
    known: Arc<Known>,
}

/// What was seen at the last look.
#[derive(Debug, Default)]
struct Known {
    follower: AsyncMutex<Option<(Follower, Option<u64>)>>,
    newest: Mutex<BTreeMap<String, String>>,
}

/// What `/NAME.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    newest: String,
}

fn version_path(name: &str, digest: &str) -> String {
    format!("/{name}/{}.wasm", digest.trim_start_matches("sha256:"))
}

fn name_path(name: &str) -> String {
    format!("/{name}.json")
}

impl PluginShelf {
    /// The plugins of `store`, none of which is known before the first [look](Self::look).
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), known: Arc::default() }
    }

    /// Finds out what names stand for now.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn look(&self) -> Result<(), Error> {
        let mut follower = self.known.follower.lock().await;
        if follower.is_none() {
            let Some(repo) = self.repo().await? else { return Ok(()) };
            *follower = Some((repo.follow(MASTER), None));
        }
        let Some((following, seen)) = follower.as_mut() else { return Ok(()) };
        let Some(head) = following.refresh().await? else { return Ok(()) };
        if *seen == Some(head.header.sequence) {
            return Ok(());
        }
        let sequence = head.header.sequence;
        let newest: BTreeMap<String, String> =
            self.list().await?.into_iter().filter_map(|kept| Some((kept.name, kept.newest?))).collect();
        *self.newest() = newest;
        *seen = Some(sequence);
        Ok(())
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        // What is under the lock is sound at every moment.
        self.known.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn repo(&self) -> Result<Option<Repo>, Error> {
        match self.store.repo(PLUGINS).await {
            Ok(repo) => Ok(Some(repo)),
            Err(spout_repo::Error::UnknownRepo { .. }) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The repo and the files of its head, if there are any.
    async fn tree(&self) -> Result<Option<(Repo, Tree)>, Error> {
        let Some(repo) = self.repo().await? else { return Ok(None) };
        let tree = match repo.edit(MASTER).await?.head() {
            Some(head) => repo.tree(head).await?,
            None => return Ok(None),
        };
        Ok(Some((repo, tree)))
    }

    /// All that are kept, by name.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn list(&self) -> Result<Vec<KeptPlugin>, Error> {
        let Some((repo, tree)) = self.tree().await? else { return Ok(Vec::new()) };
        let mut all: BTreeMap<String, KeptPlugin> = BTreeMap::new();
        for file in tree.below("/") {
            let path = file.path.trim_start_matches('/');
            let (name, version) = match path.split_once('/') {
                Some((name, rest)) => (name, rest.strip_suffix(".wasm")),
                None => (path.strip_suffix(".json").unwrap_or(path), None),
            };
            let fresh = || KeptPlugin { name: name.to_owned(), newest: None, versions: Vec::new() };
            let kept = all.entry(name.to_owned()).or_insert_with(fresh);
            match version {
                Some(hash) => kept.versions.push(PluginVersion { digest: format!("sha256:{hash}"), size: file.size }),
                None => {
                    let text = repo.read_file(&tree, &file.path).await?;
                    kept.newest = serde_json::from_slice::<Named>(&text).ok().map(|named| named.newest);
                }
            }
        }
        Ok(all.into_values().collect())
    }

    /// The plugin of this name.
    ///
    /// # Errors
    /// [`Error::NoPlugin`], and those of reading.
    pub async fn get(&self, name: &str) -> Result<KeptPlugin, Error> {
        let found = self.list().await?.into_iter().find(|kept| kept.name == name);
        found.ok_or_else(|| Error::NoPlugin { name: name.to_owned() })
    }

    /// Keeps a version, which the name stands for from now on.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn put(&self, name: &str, digest: &str, wasm: &[u8]) -> Result<(), Error> {
        path::repo_name(name)?;
        let named = Named { newest: digest.to_owned() };
        let text = serde_json::to_vec(&named).unwrap_or_default();
        let files = [(version_path(name, digest), Bytes::copy_from_slice(wasm)), (name_path(name), text.into())];
        self.change(&format!("put plugin {name}"), &files, &[]).await?;
        self.look().await
    }

    /// Keeps a version that a pipeline runs, unless it is kept already.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn keep(&self, name: &str, digest: &str, wasm: &[u8]) -> Result<(), Error> {
        if self.has(name, digest).await? {
            return Ok(());
        }
        let file = (version_path(name, digest), Bytes::copy_from_slice(wasm));
        self.change(&format!("keep plugin {name}"), &[file], &[]).await
    }

    /// Whether a version is kept.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn has(&self, name: &str, digest: &str) -> Result<bool, Error> {
        Ok(self.tree().await?.is_some_and(|(_, tree)| tree.get(&version_path(name, digest)).is_some()))
    }

    /// The bytes of a version, if it is kept.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn bytes(&self, name: &str, digest: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = version_path(name, digest);
        match self.tree().await? {
            Some((repo, tree)) if tree.get(&path).is_some() => Ok(Some(repo.read_file(&tree, &path).await?.to_vec())),
            _ => Ok(None),
        }
    }

    /// Removes all versions of a plugin.
    ///
    /// # Errors
    /// [`Error::NoPlugin`], and those of writing.
    pub async fn delete(&self, name: &str) -> Result<KeptPlugin, Error> {
        let kept = self.get(name).await?;
        let versions = kept.versions.iter().map(|version| version_path(name, &version.digest));
        let files: Vec<String> = versions.chain(kept.newest.iter().map(|_| name_path(name))).collect();
        self.change(&format!("delete plugin {name}"), &[], &files).await?;
        self.look().await?;
        Ok(kept)
    }

    /// Puts and deletes files, in one commit.
    async fn change(&self, reason: &str, put: &[(String, Bytes)], deleted: &[String]) -> Result<(), Error> {
        let repo = self.store.repo_or_create(PLUGINS, "the plugins of this store").await?;
        for _ in 0..TRIES {
            let mut editor = repo.edit(MASTER).await?;
            let mut open = repo.open_commit();
            for (path, bytes) in put {
                open.put_file(path, PutMode::Overwrite, bytes.clone()).await?;
            }
            deleted.iter().try_for_each(|path| open.delete_file(path))?;
            match editor.finish(open, Edit::new(reason)).await? {
                Finished::Committed(_) => return Ok(()),
                Finished::Lost(_) => {}
                Finished::Unknown(error) => return Err((*error).into()),
            }
        }
        Err(Error::Changed { name: PLUGINS.to_owned() })
    }
}

#[async_trait]
impl Shelf for PluginShelf {
    fn newest(&self, name: &str) -> Option<String> {
        self.newest().get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.newest().keys().cloned().collect()
    }

    async fn read(&self, name: &str, digest: &str) -> Result<Option<Vec<u8>>, String> {
        self.bytes(name, digest).await.map_err(|error| error.to_string())
    }

    fn place(&self, name: &str, digest: &str) -> String {
        format!("{PLUGINS}@{MASTER}:{}", version_path(name, digest))
    }
}
