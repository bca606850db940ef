//! The verbs on the pipelines of a store, for whoever may change them.

use std::path::PathBuf;

use async_trait::async_trait;
use futures::stream::BoxStream;
use spout_api::{
    Condition, Drawing, Error as ApiError, Graph, LastCommit, Local, LogLine, PartitionStatus, Phase, PipelineLine,
    Pipelines, PipelinesChanged, Problem, Result, ShownSpec, SpecText, Status,
};
use spout_base::{clock, reach::Reach};
use spout_plugin::PluginRef;
use spout_producer::Class;
use spout_repo::{Commit, Store};
use spout_spec::Loaded;

use super::{
    Error, Ran, Specs,
    blame::blamed,
    draw,
    status::Statuses,
    wanted::{Wanted, Wish},
};

/// The pipelines of a store.
#[derive(Clone, Debug)]
pub struct Managed {
    store: Store,
    allowed: Vec<Reach>,
    /// What the pipelines of this process are doing.
    statuses: Statuses,
    /// Those of them that it runs by itself.
    ran: Option<Ran>,
}

/// The text of a spec, with where it is from.
struct Written {
    text: String,
    file: PathBuf,
    /// Where its relative paths start.
    base: PathBuf,
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
        Self { store, allowed: allowed.to_vec(), statuses: Statuses::default(), ran: None }
    }

    /// The same beside pipelines of this process, those among them that it runs by itself included.
    #[must_use]
    pub fn beside(self, statuses: Statuses, ran: Option<Ran>) -> Self {
        Self { statuses, ran, ..self }
    }

    /// The specs of those that this process runs by itself.
    pub(crate) fn ran_specs(&self) -> &[Loaded] {
        self.ran.as_ref().map_or(&[], Ran::specs)
    }

    /// Those that this process runs by itself, if that is one of them.
    fn ran(&self, name: &str) -> Option<&Ran> {
        self.ran.as_ref().filter(|ran| ran.status(name).is_some())
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
    pub async fn about_to(&self, name: &str) -> Result<Option<Status>, Error> {
        let Some(specs) = Specs::existing(&self.store).await? else { return Ok(None) };
        let status = |phase| Some(Status::new(name, phase, clock::wall_ms()).with_partitions(Vec::new()));
        match specs.get(name).await {
            Ok(wanted) if wanted.wish.running => Ok(status(Phase::Starting)),
            Ok(_) => Ok(status(Phase::Stopped)),
            Err(Error::Unknown { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// What is known of a pipeline that no process runs which could be asked: what it has committed.
    async fn at_rest(&self, name: &str) -> Result<Option<Status>, Error> {
        let wanted = self.wanted().await?.into_iter().find(|wanted| wanted.name == name);
        let loaded = wanted.as_ref().and_then(|wanted| wanted.load().ok());
        let branch = loaded.map_or_else(|| spout_repo::MASTER.to_owned(), |loaded| loaded.spec.commit.branch);
        let paused = wanted.as_ref().is_some_and(|wanted| !wanted.wish.running);
        let repo = match self.store.repo(name).await {
            Ok(repo) => repo,
            Err(spout_repo::Error::UnknownRepo { .. }) if wanted.is_none() => return Ok(None),
            Err(spout_repo::Error::UnknownRepo { .. }) => {
                let status = Status::new(name, Phase::Stopped, clock::wall_ms()).with_partitions(Vec::new());
                let condition = if paused { Condition::Paused } else { Condition::NotRunning };
                return Ok(Some(Status { condition, ..status }));
            }
            Err(other) => return Err(other.into()),
        };
        let branch = repo.branches().await?.into_iter().find(|there| there.name == branch);
        let writer = match &branch {
            Some(branch) => repo.written_by(&branch.name).await?,
            None => None,
        };
        if wanted.is_none() && writer.is_none() {
            return Ok(None);
        }
        let elsewhere = writer.and_then(|writer| writer.running);
        let head = branch.and_then(|branch| branch.head);
        let partitions =
            head.iter().flat_map(|head| head.marker.partitions.iter()).map(|(id, entry)| PartitionStatus {
                partition: id.number,
                producer: entry.producer.clone(),
                label: entry.label.clone(),
                committed: Some(entry.position.offset),
                ..PartitionStatus::default()
            });
        let since_ms = head.as_ref().map_or_else(clock::wall_ms, |head| head.header.at_ms);
        let mut status = Status::new(name, Phase::Stopped, since_ms).with_partitions(partitions.collect());
        status.condition = match &elsewhere {
            Some(holder) => {
                status.state = Phase::Elsewhere;
                status.error = Some(format!("{} writes it, and cannot be asked from here", holder.process));
                Condition::Elsewhere
            }
            None if paused => Condition::Paused,
            None => Condition::NotRunning,
        };
        if let Some(head) = head {
            let counts = match serde_json::to_value(&head.counts) {
                Ok(serde_json::Value::Object(counts)) => counts,
                _ => serde_json::Map::new(),
            };
            let (id, at_ms, reason) = (head.header.id.clone(), head.header.at_ms, head.reason.clone());
            (status.head, status.plugins) = (Some(id.clone()), head.plugins.clone());
            status.last_commit = Some(LastCommit { id, at_ms, reason, counts });
        }
        Ok(Some(status))
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

    /// The specs of all pipelines that are known here: those that this process runs as it runs them.
    async fn specs(&self) -> Result<Vec<Loaded>, Error> {
        let mut all: Vec<Loaded> = self.statuses.specs().iter().map(|loaded| Loaded::clone(loaded)).collect();
        for loaded in self.wanted().await?.iter().filter_map(|wanted| wanted.load().ok()) {
            if !all.iter().any(|known| known.spec.pipeline.name == loaded.spec.pipeline.name) {
                all.push(loaded);
            }
        }
        Ok(all)
    }

    /// The spec of a pipeline, read and checked.
    ///
    /// # Errors
    /// What is wrong with it; there is no such pipeline, or nobody knows its spec.
    pub async fn loaded(&self, name: &str) -> Result<Loaded, Error> {
        let known = self.statuses.specs().into_iter().find(|loaded| loaded.spec.pipeline.name == name);
        if let Some(loaded) = known {
            return Ok(Loaded::clone(&loaded));
        }
        if let Some(wanted) = self.wanted().await?.into_iter().find(|wanted| wanted.name == name) {
            return wanted.load();
        }
        match self.at_rest(name).await? {
            Some(_) => Err(Error::NoSpec { name: name.to_owned() }),
            None => Err(Error::Unknown { name: name.to_owned() }),
        }
    }

    /// What a pipeline is made of, also where that is wrong.
    async fn written(&self, name: &str) -> Result<Written, Error> {
        let known = self.statuses.specs().into_iter().find(|loaded| loaded.spec.pipeline.name == name);
        if let Some(loaded) = known {
            let Loaded { text, path, base_dir, .. } = Loaded::clone(&loaded);
            return Ok(Written { text, file: path, base: base_dir });
        }
        if let Some(wanted) = self.wanted().await?.into_iter().find(|wanted| wanted.name == name) {
            return Ok(Written { file: wanted.shown(), base: wanted.wish.base, text: wanted.text });
        }
        match self.at_rest(name).await? {
            Some(_) => Err(Error::NoSpec { name: name.to_owned() }),
            None => Err(Error::Unknown { name: name.to_owned() }),
        }
    }

    /// The spec of a pipeline that replays the dead letters of one.
    ///
    /// # Errors
    /// What keeps its messages from being replayed.
    pub async fn replay(&self, name: &str, to: Option<&str>) -> Result<SpecText> {
        let Written { text, file, base } = self.written(name).await?;
        let to = to.map_or_else(|| format!("{name}-replayed"), str::to_owned);
        let loaded = spout_spec::parse(&text, &file, &base).map_err(Error::from)?;
        let loaded = loaded.into_iter().find(|loaded| loaded.spec.pipeline.name == name);
        let loaded = loaded.ok_or_else(|| Error::Misnamed { name: name.to_owned() })?;
        let text = loaded.replaying(&to).and_then(|replay| replay.replay_text()).map_err(Error::from)?;
        Ok(SpecText { text, file, base })
    }

    /// An error of the store about a pipeline: one that it does not have may run here all the same.
    fn whose(&self, name: &str, error: Error) -> Error {
        let here = self.statuses.one(name).is_some();
        match error {
            Error::Unknown { name } if here => Error::OfCommandLine { name },
            other => other,
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
            condition: match self.statuses.one(&wanted.name) {
                Some(status) => status.condition,
                None if wanted.wish.running => Condition::NotRunning,
                None => Condition::Paused,
            },
            head: branch.as_ref().and_then(|branch| branch.head.as_ref()).map(|head| head.header.id.clone()),
            commits: branch.map_or(0, |branch| branch.commits),
            name: wanted.name,
            description: loaded
                .map(|loaded| spout_spec::without_userinfo(&loaded.spec.description))
                .unwrap_or_default(),
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
        for spec in self.ran_specs().iter().map(|loaded| &loaded.spec) {
            let name = &spec.pipeline.name;
            if !lines.iter().any(|line| line.name == *name) {
                let status = self.statuses.one(name);
                lines.push(PipelineLine {
                    name: name.clone(),
                    wanted: "running".to_owned(),
                    condition: status.as_ref().map(|status| status.condition).unwrap_or_default(),
                    commits: status.as_ref().map_or(0, |status| status.commits),
                    head: status.and_then(|status| status.head),
                    description: spout_spec::without_userinfo(&spec.description),
                });
            }
        }
        Ok(lines)
    }

    async fn status(&self, name: &str) -> Result<Status> {
        if let Some(status) = self.statuses.one(name) {
            return Ok(status);
        }
        let unknown = || Error::Unknown { name: name.to_owned() }.into();
        self.at_rest(name).await?.ok_or_else(unknown)
    }

    async fn spec(&self, name: &str) -> Result<ShownSpec> {
        let Written { text, file, .. } = self.written(name).await?;
        let text = spout_spec::shown(&text, &file).map_err(Error::from)?;
        let error = self.statuses.one(name).and_then(|status| status.error);
        let line = error.and_then(|error| blamed(&text, &file, &error));
        Ok(ShownSpec { text, file: Some(file), line })
    }

    async fn graph(&self) -> Result<Graph> {
        let mut drawing = Drawing::default();
        draw(&self.specs().await?, &mut drawing);
        drawing.add_store(&Local::new(self.store.clone())).await?;
        Ok(drawing.into())
    }

    async fn replay_dead_letters(&self, name: &str, to: Option<&str>) -> Result<PipelinesChanged> {
        let replay = self.replay(name, to).await?;
        self.create_pipelines(&[replay]).await
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
        let updated = Specs::open(&self.store).await?.update(&wanted, reprocess).await;
        let commit = updated.map_err(|error| match &error {
            Error::Unknown { name } => self.whose(&name.clone(), error),
            _ => error,
        })?;
        let done = if reprocess { "updated, to begin anew" } else { "updated" };
        Ok(changed(names(&wanted), done, Some(&commit)))
    }

    async fn set_running(&self, name: &str, running: bool) -> Result<PipelinesChanged> {
        let specs = Specs::open(&self.store).await?;
        let commit = match self.ran(name) {
            Some(ran) => {
                let already = ran.set_running(name, running).await;
                if already { None } else { Some(specs.order(name, Wish { running, ..Wish::default() }).await?) }
            }
            None => specs.set_running(name, running).await.map_err(|error| self.whose(name, error))?,
        };
        let done = match (running, &commit) {
            (true, Some(_)) => "started",
            (true, None) => "running already",
            (false, Some(_)) => "stopped",
            (false, None) => "stopped already",
        };
        Ok(changed(vec![name.to_owned()], done, commit.as_ref()))
    }

    async fn restart_pipeline(&self, name: &str) -> Result<PipelinesChanged> {
        let specs = Specs::open(&self.store).await?;
        let commit = match self.ran(name) {
            Some(ran) => {
                let order = Wish { restart: Some(clock::nonce()), ..Wish::default() };
                let commit = specs.order(name, order).await?;
                ran.restart(name);
                commit
            }
            None => specs.restart(name).await.map_err(|error| self.whose(name, error))?,
        };
        Ok(changed(vec![name.to_owned()], "restarted", Some(&commit)))
    }

    async fn flush_pipeline(&self, name: &str) -> Result<PipelinesChanged> {
        Err(ApiError::OnlyServer { what: format!("what the pipeline `{name}` has read") })
    }

    async fn delete_pipeline(&self, name: &str) -> Result<PipelinesChanged> {
        let deleted = Specs::open(&self.store).await?.delete(name).await;
        let commit = deleted.map_err(|error| self.whose(name, error))?;
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
