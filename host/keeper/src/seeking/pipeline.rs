//! The pipeline that a marker belongs to, as far as its spec is known.

use spout_api::{Problem, Result, SpecText};
use spout_data::Marker;
use spout_pipeline::{Links, Parts};
use spout_plugin::{Plugins, World};
use spout_producer::{Class, Goal, Source};
use spout_repo::Store;
use spout_spec::Loaded;

use super::usage;
use crate::{Error, Managed};

/// A pipeline whose spec is known.
#[derive(Debug)]
pub(super) struct Pipeline {
    loaded: Loaded,
    /// All that it may be linked with, itself included.
    beside: Vec<Loaded>,
    /// Whether the store says that it is not to run.
    pub(super) stopped: bool,
}

impl Pipeline {
    /// The pipeline `name` of a spec, or else of the store; `None` where neither has it.
    ///
    /// # Errors
    /// A spec that has no such pipeline, and what is wrong with it.
    pub(super) async fn find(name: &str, spec: Option<&SpecText>, managed: &Managed) -> Result<Option<Self>> {
        let wanted = managed.wanted().await?;
        let known = wanted.iter().find(|wanted| wanted.name == name);
        let stopped = known.is_some_and(|wanted| !wanted.wish.running);
        let beside = match spec {
            Some(text) => managed.read(std::slice::from_ref(text))?.into_iter().map(|(_, loaded)| loaded).collect(),
            None if managed.ran_specs().iter().any(|loaded| loaded.spec.pipeline.name == name) => {
                managed.ran_specs().to_vec()
            }
            None if known.is_some() => wanted.iter().filter_map(|wanted| wanted.load().ok()).collect::<Vec<_>>(),
            None => return Ok(None),
        };
        let Some(loaded) = beside.iter().find(|loaded| loaded.spec.pipeline.name == name).cloned() else {
            let place = spec.map_or_else(|| "the store".into(), |spec| spec.file.display().to_string());
            return usage(format!("{place} has no pipeline `{name}` that can be read; name its spec file with --spec"));
        };
        Ok(Some(Self { loaded, beside, stopped }))
    }

    /// The branch that it writes.
    pub(super) fn branch(&self) -> &str {
        &self.loaded.spec.commit.branch
    }

    /// The file that shows its marker.
    pub(super) fn marker_file(&self) -> Option<&str> {
        self.loaded.spec.spout.marker.as_deref()
    }

    /// The spout that decides itself where it goes on, if it is one.
    fn spout(&self) -> Option<Source> {
        let mut sources = self.loaded.spec.sources().map(|(_, source)| source);
        sources.find(|source| source.spec.promise().class == Class::SelfDriven)
    }

    /// Whether offsets of the producer of this name, of the only one if that is empty, can be passed over where they are reached.
    pub(super) fn passes_over(&self, producer: &str) -> bool {
        let mut all = self.loaded.spec.producers().map(|(_, producer)| producer);
        let named = all.find(|one| producer.is_empty() || one.name == producer);
        named.and_then(|one| one.source()).is_some_and(|source| source.spec.passes_over())
    }

    pub(super) fn is_spout(&self) -> bool {
        self.spout().is_some()
    }

    /// Whether its marker is files of the repo, and nothing else: that of a command which writes archives.
    pub(super) async fn keeps_files(&self, plugins: &Plugins) -> Result<bool> {
        let Some(spout) = self.spout() else { return Ok(false) };
        match spout.spec.plugin() {
            None => Ok(true),
            Some(plugin) => {
                let plugin = plugins.get(plugin.reference).await;
                let plugin = plugin.map_err(|error| Problem::of(&error).into_error())?;
                Ok(plugin.worlds().contains(&World::Command))
            }
        }
    }

    /// Where its sources would go on at `goal`.
    pub(super) async fn seek(
        &self,
        (store, marker): (&Store, &Marker),
        producer: Option<&str>,
        goal: Goal,
        plugins: &Plugins,
    ) -> Result<Marker> {
        let sought = async {
            let links = Links::between(&self.beside).map_err(Box::new)?;
            let parts = Parts::build(&self.loaded, plugins, &links).await.map_err(Box::new)?;
            Ok::<_, Error>(parts.seek(store, marker, producer, goal).await.map_err(Box::new)?)
        };
        Ok(sought.await?)
    }
}
