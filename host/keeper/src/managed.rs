//! The verbs on the pipelines of a store, for whoever may change them.

use async_trait::async_trait;
use futures::stream::BoxStream;
use spout_api::{Error as ApiError, LogLine, PipelineLine, Pipelines, PipelinesChanged, Problem, Result, SpecText};
use spout_base::reach::Reach;
use spout_plugin::PluginRef;
use spout_producer::Class;
use spout_repo::{Commit, Store};
use spout_spec::Loaded;

use super::{
    Error, Specs,
    status::{Phase, Status},
    wanted::Wanted,
};

/// The pipelines of a store.
#[derive(Clone, Debug)]
pub struct Managed {
    store: Store,
    allowed: Vec<Reach>,
}

/// A pipeline whose spec was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its name.
    pub name: String,
    /// The repos that it reads, each with the key of the spec that says so.
    pub reads: Vec<(String, String)>,
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Problem::of(&error).into_error()
    }
}

impl Managed {
    /// Those of `store`, for somebody whose specs may reach so much of the machine that runs them.
    #[must_use]
    pub fn new(store: Store, allowed: &[Reach]) -> Self {
        Self { store, allowed: allowed.to_vec() }
    }

    /// The pipelines of these texts.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn sent(&self, specs: &[SpecText]) -> Result<Vec<Sent>> {
        let all = self.read(specs)?.into_iter();
        Ok(all.map(|(wanted, loaded)| Sent { name: wanted.name, reads: spout_spec::reads(&loaded.spec) }).collect())
    }

    /// What a pipeline of the store is about to do, if there is one of this name.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn status(&self, name: &str) -> Result<Option<Status>, Error> {
        let Some(specs) = Specs::existing(&self.store).await? else { return Ok(None) };
        match specs.get(name).await {
            Ok(wanted) if wanted.wish.running => Ok(Some(Status::new(name, Phase::Starting))),
            Ok(_) => Ok(Some(Status::new(name, Phase::Stopped))),
            Err(Error::Unknown { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Refuses a plugin that some pipeline of the store uses.
    ///
    /// # Errors
    /// [`Error::PluginUsed`], and those of reading.
    pub async fn unused(&self, plugin: &str) -> Result<(), Error> {
        for wanted in self.wanted().await? {
            let Ok(loaded) = wanted.load() else { continue };
            let used = spout_spec::plugins(&loaded.spec);
            if used.iter().any(|(_, used)| PluginRef::parse(used.reference).plugin == plugin) {
                return Err(Error::PluginUsed { name: plugin.to_owned(), pipeline: wanted.name });
            }
        }
        Ok(())
    }

    /// The pipelines of these texts, each checked on its own, and that no two of them have one name.
    pub(crate) fn read(&self, specs: &[SpecText]) -> Result<Vec<(Wanted, Loaded)>, Error> {
        let mut all = Vec::new();
        for SpecText { text, file, base } in specs {
            all.extend(Wanted::of_text(text, file, base, &self.allowed)?);
        }
        let loaded: Vec<Loaded> = all.iter().map(|(_, loaded)| loaded.clone()).collect();
        match spout_spec::together(&loaded).into_iter().next() {
            Some(clash) => Err(clash.into()),
            None => Ok(all),
        }
    }

    /// All that the store has by name.
    pub(crate) async fn wanted(&self) -> Result<Vec<Wanted>, Error> {
        match Specs::existing(&self.store).await? {
            Some(specs) => specs.all().await,
            None => Ok(Vec::new()),
        }
    }

    /// Its line in a list.
    async fn line(&self, wanted: Wanted) -> Result<PipelineLine, Error> {
        let loaded = wanted.load().ok();
        let branch = loaded.as_ref().map_or(spout_repo::MASTER, |loaded| loaded.spec.commit.branch.as_str());
        let branches = match self.store.repo(&wanted.name).await {
            Ok(repo) => repo.branches().await?,
            // It has not run yet.
            Err(spout_repo::Error::UnknownRepo { .. }) => Vec::new(),
            Err(other) => return Err(other.into()),
        };
        let branch = branches.into_iter().find(|there| there.name == branch);
        Ok(PipelineLine {
            wanted: if wanted.wish.running { "running" } else { "stopped" }.to_owned(),
            head: branch.as_ref().and_then(|branch| branch.head.as_ref()).map(|head| head.header.id.clone()),
            commits: branch.map_or(0, |branch| branch.commits),
            name: wanted.name,
            description: loaded.map(|loaded| loaded.spec.description).unwrap_or_default(),
        })
    }
}

#[async_trait]
impl Pipelines for Managed {
    async fn pipelines(&self) -> Result<Vec<PipelineLine>> {
        let mut lines = Vec::new();
        for wanted in self.wanted().await? {
            lines.push(self.line(wanted).await?);
        }
        Ok(lines)
    }

    async fn create_pipelines(&self, specs: &[SpecText]) -> Result<PipelinesChanged> {
        let (wanted, _): (Vec<_>, Vec<_>) = self.read(specs)?.into_iter().unzip();
        let commit = Specs::open(&self.store).await?.create(&wanted).await?;
        Ok(changed(names(&wanted), "created", Some(&commit)))
    }

    async fn update_pipelines(&self, specs: &[SpecText], reprocess: bool) -> Result<PipelinesChanged> {
        let (wanted, loaded): (Vec<_>, Vec<_>) = self.read(specs)?.into_iter().unzip();
        if reprocess {
            loaded.iter().try_for_each(can_reread)?;
        }
        let commit = Specs::open(&self.store).await?.update(&wanted, reprocess).await?;
        let done = if reprocess { "updated, to begin anew" } else { "updated" };
        Ok(changed(names(&wanted), done, Some(&commit)))
    }

    async fn set_running(&self, name: &str, running: bool) -> Result<PipelinesChanged> {
        let commit = Specs::open(&self.store).await?.set_running(name, running).await?;
        let done = match (running, &commit) {
            (true, Some(_)) => "started",
            (true, None) => "running already",
            (false, Some(_)) => "stopped",
            (false, None) => "stopped already",
        };
        Ok(changed(vec![name.to_owned()], done, commit.as_ref()))
    }

    async fn restart_pipeline(&self, name: &str) -> Result<PipelinesChanged> {
        let commit = Specs::open(&self.store).await?.restart(name).await?;
        Ok(changed(vec![name.to_owned()], "restarted", Some(&commit)))
    }

    async fn flush_pipeline(&self, name: &str) -> Result<PipelinesChanged> {
        Err(ApiError::OnlyServer { what: format!("what the pipeline `{name}` has read") })
    }

    async fn delete_pipeline(&self, name: &str) -> Result<PipelinesChanged> {
        let commit = Specs::open(&self.store).await?.delete(name).await?;
        Ok(changed(vec![name.to_owned()], "deleted", Some(&commit)))
    }

    async fn log(&self, name: &str, _: usize, _: bool) -> Result<BoxStream<'static, Result<LogLine>>> {
        Err(ApiError::OnlyServer { what: format!("what the pipeline `{name}` says") })
    }
}

/// Refuses to begin anew where nothing can be read again.
fn can_reread(loaded: &Loaded) -> Result<(), Error> {
    let gone = loaded.spec.sources().any(|(_, source)| source.spec.promise().class == Class::Push);
    if gone { Err(Error::NotRead { name: loaded.spec.pipeline.name.clone() }) } else { Ok(()) }
}

fn names(all: &[Wanted]) -> Vec<String> {
    all.iter().map(|wanted| wanted.name.clone()).collect()
}

fn changed(pipelines: Vec<String>, done: &str, commit: Option<&Commit>) -> PipelinesChanged {
    PipelinesChanged { pipelines, done: done.to_owned(), commit: commit.map(|commit| commit.header.id.clone()) }
}
