//! The pipeline that a marker belongs to, as far as its spec is known.

use std::path::Path;

use anyhow::Result;
use spout_data::Marker;
use spout_keeper::Specs;
use spout_pipeline::{Links, Parts};
use spout_plugin::World;
use spout_producer::{Class, Goal, Source};
use spout_repo::Store;
use spout_spec::{Loaded, load_all};

use crate::{Global, error::Error};

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
    /// The pipeline `name` of a spec file, or else of the store; `None` where neither has it.
    ///
    /// # Errors
    /// A file that has no such pipeline, and what is wrong with its spec.
    pub(super) async fn find(name: &str, file: Option<&Path>, store: &Store) -> Result<Option<Self>> {
        let wanted = match Specs::existing(store).await? {
            Some(specs) => specs.all().await?,
            None => Vec::new(),
        };
        let stopped = wanted.iter().any(|wanted| wanted.name == name && !wanted.wish.running);
        let beside = match file {
            Some(file) => load_all(&[file])?,
            None if wanted.iter().any(|wanted| wanted.name == name) => {
                wanted.iter().filter_map(|wanted| wanted.load().ok()).collect()
            }
            None => return Ok(None),
        };
        let Some(loaded) = beside.iter().find(|loaded| loaded.spec.pipeline.name == name).cloned() else {
            let place = file.map_or_else(|| "the store".into(), |file| file.display().to_string());
            let what = format!("{place} has no pipeline `{name}` that can be read; name its spec file with --spec");
            return Err(Error::Usage { verb: "marker seek", what }.into());
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

    pub(super) fn is_spout(&self) -> bool {
        self.spout().is_some()
    }

    /// Whether its marker is files of the repo, and nothing else: that of a command which writes archives.
    pub(super) async fn keeps_files(&self, global: &Global) -> Result<bool> {
        let Some(spout) = self.spout() else { return Ok(false) };
        match spout.spec.plugin() {
            None => Ok(true),
            Some(plugin) => {
                let plugin = global.open_plugins()?.get(plugin.reference).await?;
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
        global: &Global,
    ) -> Result<Marker> {
        let links = Links::between(&self.beside)?;
        let parts = Parts::build(&self.loaded, &global.open_plugins()?, &links).await?;
        Ok(parts.seek(store, marker, producer, goal).await?)
    }
}
