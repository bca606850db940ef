//! What a process of a cluster has of a store: the pipelines that are to run, and what they are built of.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use futures::future::BoxFuture;
use spout_base::{
    error::{Coded as _, chain},
    reach::Reach,
};
use spout_data::ByteSize;
use spout_pipeline::{Builds, Parts};
use spout_plugin::Plugins;
use spout_repo::Store;
use spout_spec::Loaded;

use super::{Error, PluginShelf, Specs, building::Building, wanted::Wanted, watched::Watched};

/// What pipelines may have of the machine of a process, whatever their specs say.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// What they may reach of it.
    pub allowed: Vec<Reach>,
    /// Memory that all instances of a plugin of a pipeline may have together, in bytes.
    pub plugin_memory: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { allowed: Reach::ALL.to_vec(), plugin_memory: None }
    }
}

impl Bounds {
    /// The pipelines of a text, within these.
    fn read(&self, text: &str, file: &Path, base: &Path) -> Result<Vec<Loaded>, Error> {
        let mut all = spout_spec::parse_within(text, file, base, &self.allowed)?;
        if let Some(most) = self.plugin_memory {
            for limits in all.iter_mut().map(|loaded| &mut loaded.spec.limits) {
                limits.memory.0 = limits.memory.0.min(most);
                let total = limits.total_memory.map_or(most, |total| total.0.min(most));
                limits.total_memory = Some(ByteSize(total));
            }
        }
        Ok(all)
    }
}

/// Builds pipelines of a store, with the plugins of this process or those that the store keeps.
#[derive(Clone, Debug)]
pub struct Provisions {
    store: Store,
    building: Building,
    bounds: Bounds,
}

impl Provisions {
    /// Builds with `plugins`, and with those that `store` keeps, what stays within `bounds`.
    #[must_use]
    pub fn new(store: &Store, plugins: &Plugins, bounds: Bounds) -> Self {
        Self { store: store.clone(), building: Building::new(store, plugins, PluginShelf::new(store)), bounds }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The plugins that the store keeps.
    #[must_use]
    pub fn shelf(&self) -> PluginShelf {
        self.building.shelf.clone()
    }

    /// What loads plugins, also those that the store keeps.
    #[must_use]
    pub fn plugins(&self) -> Plugins {
        self.building.plugins.clone()
    }

    /// The parts of a pipeline that this process is to lead. The store keeps its plugins before this returns, so that every other
    /// process can build the same.
    ///
    /// # Errors
    /// What is wrong with the spec or a plugin, and those of the store.
    pub async fn to_lead(&self, wanted: &Wanted) -> Result<Parts, Error> {
        self.building.shelf.look().await?;
        // What is wrong with it is said as it is known.
        wanted.load()?;
        let specs = self.bounds.read(&wanted.text, &wanted.shown(), &wanted.wish.base)?;
        let mut all = self.building.now(&specs).await?;
        let parts = all.pop().ok_or_else(|| Error::Misnamed { name: wanted.name.clone() })?;
        for (name, digest) in parts.digests() {
            self.building.keep_one(name, digest).await?;
        }
        Ok(if wanted.wish.due().is_some() { parts.reprocessing() } else { parts })
    }

    /// Has the store run pipelines, those that it has already by these specs; with `reprocess` these begin anew.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn want(&self, wanted: &[Wanted], reprocess: bool) -> Result<(), Error> {
        let specs = Specs::open(&self.store).await?;
        for one in wanted {
            let same = |known: &Wanted| known.text == one.text && known.wish.base == one.wish.base;
            match specs.get(&one.name).await {
                Ok(known) if same(&known) && !reprocess => {}
                Ok(_) => drop(specs.update(std::slice::from_ref(one), reprocess).await?),
                Err(Error::Unknown { .. }) => {
                    specs.create(std::slice::from_ref(one)).await?;
                    // It may have run by itself before, so that there is something to make anew.
                    if reprocess {
                        specs.update(std::slice::from_ref(one), true).await?;
                    }
                }
                Err(error) => return Err(error),
            }
            specs.set_running(&one.name, true).await?;
        }
        Ok(())
    }

    /// Writes down that a pipeline has begun anew, if it was to, and has.
    pub async fn confirm(&self, wanted: &Wanted, parts: &Parts) {
        let Some(order) = wanted.wish.due().filter(|_| !parts.begins_anew()) else { return };
        let written = match Specs::open(&self.store).await {
            Ok(specs) => specs.begun_anew(&wanted.name, order).await,
            Err(error) => Err(error),
        };
        // Told again with the next commit; until then a restart begins anew once more.
        if let Err(error) = written {
            tracing::warn!(code = error.code(), error = chain(&error), "cannot write that a pipeline began anew");
        }
    }

    /// The pipelines of the store, as somebody wants them.
    #[must_use]
    pub fn wanted(&self) -> Watched {
        Watched::new(&self.store)
    }
}

impl Builds for Provisions {
    fn build<'a>(
        &'a self,
        text: &'a str,
        base: &'a Path,
        plugins: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Parts, String>> {
        Box::pin(async move {
            let file = PathBuf::from("the spec of the leader");
            let specs = self.bounds.read(text, &file, base).map_err(|error| chain(&error))?;
            let all = self.building.with(&specs, plugins).await.map_err(|error| chain(&error))?;
            all.into_iter().next().ok_or_else(|| "the spec of the leader has no pipeline".to_owned())
        })
    }
}
