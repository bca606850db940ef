//! The parts of a group: with the plugins that are there now, or with those that worked before.

use std::{collections::BTreeMap, fs, sync::Arc};

use spout_base::{
    error::{Coded as _, chain},
    panicked::caught,
};
use spout_pipeline::{Links, Parts};
use spout_plugin::Plugins;
use spout_repo::Store;
use spout_spec::Loaded;

use super::{Error, shelf::PluginShelf};

/// What builds them.
#[derive(Clone, Debug)]
pub(super) struct Building {
    store: Store,
    pub(super) plugins: Plugins,
    pub(super) shelf: PluginShelf,
}

impl Building {
    /// Builds with `plugins`, and what of them the shelf keeps.
    pub(super) fn new(store: &Store, plugins: &Plugins, shelf: PluginShelf) -> Self {
        let plugins = plugins.clone().with_shelf(Arc::new(shelf.clone()));
        Self { store: store.clone(), plugins, shelf }
    }

    /// The parts with the plugins that are there now.
    pub(super) async fn now(&self, specs: &[Loaded]) -> Result<Vec<Parts>, Error> {
        build(specs, &self.plugins).await
    }

    /// The parts with the plugins that the last commits of these pipelines were made with, of the same specs, where those are kept
    /// and are others than `than`.
    pub(super) async fn before(&self, specs: &[Loaded], than: &[Parts]) -> Option<Vec<Parts>> {
        let mut digests = BTreeMap::new();
        for loaded in specs {
            let reference = format!("{}@{}", loaded.spec.pipeline.name, loaded.spec.commit.branch).parse().ok()?;
            let Ok((_, head)) = self.store.resolve(&reference).await else { continue };
            if head.spec_digest != loaded.digest {
                return None;
            }
            digests.extend(head.plugins);
        }
        let same = than.iter().flat_map(Parts::digests).all(|(name, digest)| digests.get(name) == Some(digest));
        if digests.is_empty() || (!than.is_empty() && same) {
            return None;
        }
        // Where they cannot be built either, what is wrong with the new ones is what counts.
        build(specs, &self.plugins.pinned(&digests)).await.ok()
    }

    /// Keeps the plugins that a group runs, so that it can run them again when their files are others. It runs also where that
    /// fails.
    pub(super) fn keep(&self, parts: &[Parts]) {
        for (name, digest) in parts.iter().flat_map(Parts::digests) {
            let (building, name, digest) = (self.clone(), name.clone(), digest.clone());
            tokio::spawn(async move {
                match Box::pin(caught(building.keep_one(&name, &digest))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::warn!(
                        plugin = name,
                        code = error.code(),
                        error = chain(&error),
                        "the plugin is not kept in the store"
                    ),
                    Err(panic) => {
                        tracing::error!(plugin = name, %panic, "a bug: keeping the plugin in the store panicked; please report it");
                    }
                }
            });
        }
    }

    /// The parts with the plugins of these digests.
    pub(super) async fn with(&self, specs: &[Loaded], digests: &BTreeMap<String, String>) -> Result<Vec<Parts>, Error> {
        build(specs, &self.plugins.pinned(digests)).await
    }

    /// Has the store keep the plugin `name` of this digest, unless it does.
    pub(super) async fn keep_one(&self, name: &str, digest: &str) -> Result<(), Error> {
        if self.shelf.has(name, digest).await? {
            return Ok(());
        }
        let pinned = self.plugins.pinned(&[(name.to_owned(), digest.to_owned())].into());
        // Where its file has been replaced meanwhile, there is nothing to keep.
        let Ok(plugin) = pinned.get(name).await else { return Ok(()) };
        match fs::read(plugin.path()) {
            Ok(wasm) if spout_plugin::digest(&wasm) == digest => self.shelf.keep(name, digest, &wasm).await,
            _ => Ok(()),
        }
    }
}

async fn build(specs: &[Loaded], plugins: &Plugins) -> Result<Vec<Parts>, Error> {
    let links = Links::between(specs).map_err(Box::new)?;
    let mut parts = Vec::new();
    for loaded in specs {
        parts.push(Parts::build(loaded, plugins, &links).await.map_err(Box::new)?);
    }
    Ok(parts)
}
