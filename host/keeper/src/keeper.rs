//! Makes what runs like what is to run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use spout_base::{
    clock::{self, Instant},
    error::{Coded as _, Kind},
};
use spout_pipeline::{Error as PipelineError, Host, Links, Parts, RunOptions, Update};
use spout_plugin::Plugins;
use spout_repo::{Follower, MASTER, Store};
use spout_spec::Loaded;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Specs,
    group::{Group, groups},
    status::{Phase, Statuses},
    wanted::Wanted,
};

/// How soon to look again at what another process may have changed.
const LOOK: Duration = Duration::from_millis(500);
/// Pauses before a pipeline that failed is started again; they double.
const FIRST_TRY: Duration = Duration::from_secs(10);
const LAST_TRY: Duration = Duration::from_secs(600);

/// Keeps the pipelines of a store running.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    /// Once somebody has created a pipeline.
    specs: Option<(Specs, Follower)>,
    plugins: Plugins,
    fixed: Vec<Loaded>,
    options: RunOptions,
    statuses: Statuses,
    /// Changes when everything that was read is to be committed now.
    commit: watch::Sender<()>,
    updates: mpsc::UnboundedSender<Update>,
    running: BTreeMap<Group, Running>,
    /// Groups that have ended, as long as they are made of the same.
    resting: BTreeMap<Group, Resting>,
}

/// A group that runs.
#[derive(Debug)]
struct Running {
    made_of: MadeOf,
    parts: Vec<Parts>,
    /// What ran before with other plugins, until this one has committed something.
    before: Option<(MadeOf, Vec<Parts>)>,
    stop: CancellationToken,
    task: JoinHandle<Ended>,
}

/// How a group ended by itself: what failed, if anything did, and whether something was committed before.
#[derive(Debug)]
struct Ended {
    error: Option<PipelineError>,
    committed: bool,
}

/// What a group is made of: another one has to be started where this is another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MadeOf {
    /// Digests of the specs, by pipeline.
    specs: BTreeMap<String, String>,
    /// The files of the plugins, by name.
    plugins: BTreeMap<String, Option<(SystemTime, u64)>>,
}

/// A group that has ended.
#[derive(Debug)]
struct Resting {
    made_of: MadeOf,
    /// After a failure: how long it rests, and until when.
    until: Option<(Duration, Instant)>,
}

impl Keeper {
    /// A keeper of the pipelines of `store`, and of those of the files `fixed`, which run whatever the store says; what they
    /// say goes to `updates` too.
    #[must_use]
    pub fn new(
        store: &Store,
        plugins: &Plugins,
        fixed: Vec<Loaded>,
        options: RunOptions,
        updates: mpsc::UnboundedSender<Update>,
    ) -> Self {
        Self {
            fixed,
            store: store.clone(),
            specs: None,
            plugins: plugins.clone(),
            options,
            statuses: Statuses::default(),
            commit: watch::Sender::new(()),
            updates,
            running: BTreeMap::new(),
            resting: BTreeMap::new(),
        }
    }

    /// What the pipelines are doing, as it changes.
    #[must_use]
    pub fn statuses(&self) -> Statuses {
        self.statuses.clone()
    }

    /// What is sent here has every pipeline commit what it has read.
    #[must_use]
    pub fn committer(&self) -> watch::Sender<()> {
        self.commit.clone()
    }

    /// Keeps pipelines running until `stop` is cancelled; then each commits what it has read.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut wanted = Vec::new();
        let mut seen = None;
        while !stop.is_cancelled() {
            match self.look(&mut seen).await {
                Ok(Some(new)) => wanted = new,
                Ok(None) => {}
                // What runs, runs on.
                Err(error) => tracing::warn!(code = error.code(), %error, "cannot read what is to run"),
            }
            self.reap().await;
            self.match_up(&wanted).await;
            let rest = async {
                match &mut self.specs {
                    Some((_, follower)) => follower.wait(LOOK).await,
                    None => tokio::time::sleep(LOOK).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = rest => {}
            }
        }
        for group in self.running.keys().cloned().collect::<Vec<_>>() {
            self.stop(&group).await;
        }
    }

    /// What is to run, if that is another than at the last look.
    async fn look(&mut self, seen: &mut Option<u64>) -> Result<Option<Vec<Wanted>>, Error> {
        if self.specs.is_none() {
            let specs = Specs::existing(&self.store).await?;
            self.specs = specs.map(|specs| (specs.clone(), specs.repo().follow(MASTER)));
        }
        let Some((specs, follower)) = &mut self.specs else { return Ok(None) };
        let Some(head) = follower.refresh().await? else { return Ok(None) };
        if *seen == Some(head.header.sequence) {
            return Ok(None);
        }
        let repo = specs.repo();
        let wanted = Wanted::all(repo, &repo.tree(head).await?).await?;
        *seen = Some(head.header.sequence);
        Ok(Some(wanted))
    }

    /// Takes note of groups that ended by themselves.
    async fn reap(&mut self) {
        let over: Vec<Group> = self
            .running
            .iter()
            .filter(|(_, running)| running.task.is_finished())
            .map(|(group, _)| group.clone())
            .collect();
        for group in over {
            let Some(Running { made_of, before, task, .. }) = self.running.remove(&group) else { continue };
            let Ok(Ended { error, committed }) = task.await else {
                // A panic, which was reported where it happened.
                group.iter().for_each(|name| self.statuses.set(name, Phase::Failed));
                self.give_up(group, made_of, None);
                continue;
            };
            let Some(error) = error else {
                self.resting.insert(group, Resting { made_of, until: None });
                continue;
            };
            match before {
                // A plugin that never worked: the one before did.
                Some((old, parts)) if !committed && matches!(error.kind(), Kind::Plugin | Kind::Spec) => {
                    for name in &group {
                        let code = error.code();
                        tracing::warn!(pipeline = name, code, %error, "a new plugin does not work; the one before runs again");
                        self.statuses.fault(name, code, &format!("a new plugin was taken back: {error}"));
                    }
                    // Tried again when the file is another one.
                    let made_of = MadeOf { plugins: made_of.plugins, ..old };
                    self.start(group, made_of, parts, None);
                }
                _ => self.give_up(group, made_of, Some(&error)),
            }
        }
    }

    /// Lets a group that failed rest, longer each time.
    fn give_up(&mut self, group: Group, made_of: MadeOf, error: Option<&PipelineError>) {
        let before =
            self.resting.get(&group).filter(|resting| resting.made_of == made_of).and_then(|resting| resting.until);
        let pause = before.map_or(FIRST_TRY, |(pause, _)| (pause * 2).min(LAST_TRY));
        if let (Some(error), [name]) = (error, group.as_slice()) {
            self.statuses.failed(name, error);
        }
        self.resting.insert(group, Resting { made_of, until: Some((pause, clock::now() + pause)) });
    }

    /// Starts, replaces and stops groups until what runs is what is wanted.
    async fn match_up(&mut self, wanted: &[Wanted]) {
        let mut specs = self.fixed.clone();
        let names: BTreeSet<String> = self.fixed.iter().map(|loaded| loaded.spec.pipeline.name.clone()).collect();
        let fixed = |name: &str| names.contains(name);
        for one in wanted.iter().filter(|one| !fixed(&one.name)) {
            match one.load() {
                Ok(loaded) if one.wish.running => specs.push(loaded),
                Ok(_) => {}
                Err(error) => self.statuses.failed(&one.name, &error),
            }
        }
        let mut to_run = groups(specs);
        for group in self.running.keys().filter(|group| !to_run.contains_key(*group)).cloned().collect::<Vec<_>>() {
            self.stop(&group).await;
        }
        self.resting.retain(|group, _| to_run.contains_key(group));
        self.statuses.forget(|name| fixed(name) || wanted.iter().any(|wanted| wanted.name == name));
        for stopped in wanted.iter().filter(|wanted| !wanted.wish.running && !fixed(&wanted.name)) {
            self.statuses.set(&stopped.name, Phase::Stopped);
        }
        while let Some((group, specs)) = to_run.pop_first() {
            self.keep(group, &specs).await;
        }
    }

    /// Has a group run that is made of these specs and the plugins that are there.
    async fn keep(&mut self, group: Group, specs: &[Loaded]) {
        let made_of = self.made_of(specs);
        if self.running.get(&group).is_some_and(|running| running.made_of == made_of) {
            return;
        }
        let rests = |resting: &Resting| {
            resting.made_of == made_of && resting.until.is_none_or(|(_, until)| clock::now() < until)
        };
        if self.resting.get(&group).is_some_and(rests) {
            return;
        }
        let parts = match self.build(specs).await {
            Ok(parts) => parts,
            Err(error) => {
                for name in &group {
                    match self.running.get_mut(&group) {
                        // What runs, runs on; it is tried again when something else has changed.
                        Some(running) => {
                            running.made_of = made_of.clone();
                            self.statuses.fault(name, error.code(), &error.to_string());
                        }
                        None => self.statuses.failed(name, &error),
                    }
                }
                if !self.running.contains_key(&group) {
                    self.give_up(group, made_of, None);
                }
                return;
            }
        };
        let before = self.stop(&group).await.filter(|(old, _)| old.specs == made_of.specs);
        self.start(group, made_of, parts, before);
    }

    fn made_of(&self, specs: &[Loaded]) -> MadeOf {
        let plugin = |used: &str| {
            let name = spout_plugin::PluginRef::parse(used).plugin.to_owned();
            let stamp = self.plugins.stamp(&name);
            (name, stamp)
        };
        let used = specs.iter().flat_map(|loaded| spout_spec::plugins(&loaded.spec));
        MadeOf {
            specs: specs.iter().map(|loaded| (loaded.spec.pipeline.name.clone(), loaded.digest.clone())).collect(),
            plugins: used.map(|(_, used)| plugin(used.reference)).collect(),
        }
    }

    async fn build(&self, specs: &[Loaded]) -> Result<Vec<Parts>, Error> {
        let links = Links::between(specs).map_err(Box::new)?;
        let mut parts = Vec::new();
        for loaded in specs {
            parts.push(Parts::build(loaded, &self.plugins, &links).await.map_err(Box::new)?);
        }
        Ok(parts)
    }

    fn start(&mut self, group: Group, made_of: MadeOf, parts: Vec<Parts>, before: Option<(MadeOf, Vec<Parts>)>) {
        for one in &parts {
            self.statuses.starts_with(one.name(), one.digests());
        }
        let stop = CancellationToken::new();
        let started = Host::start(parts.clone(), &self.store, &self.options);
        let (statuses, updates) = (self.statuses.clone(), self.updates.clone());
        let task = tokio::spawn(watch_over(started, (statuses, updates), self.commit.subscribe(), stop.clone()));
        self.running.insert(group, Running { made_of, parts, before, stop, task });
    }

    /// Has a group commit what it has read and stop; what it was.
    async fn stop(&mut self, group: &Group) -> Option<(MadeOf, Vec<Parts>)> {
        let Running { made_of, parts, stop, task, .. } = self.running.remove(group)?;
        group.iter().for_each(|name| self.statuses.set(name, Phase::Stopping));
        stop.cancel();
        // A panic there is reported where it happened.
        drop(task.await);
        group.iter().for_each(|name| self.statuses.set(name, Phase::Stopped));
        Some((made_of, parts))
    }
}

/// Passes on what running pipelines say, until they are over.
async fn watch_over(
    (mut host, mut said): (Host, mpsc::UnboundedReceiver<Update>),
    (statuses, updates): (Statuses, mpsc::UnboundedSender<Update>),
    mut commit: watch::Receiver<()>,
    stop: CancellationToken,
) -> Ended {
    let mut ended = Ended { error: None, committed: false };
    let (mut told, mut over, mut stopping) = (false, false, false);
    while !(told && over) {
        tokio::select! {
            update = said.recv(), if !told => match update {
                Some(update) => {
                    ended.committed |= matches!(update, Update::Committed { .. });
                    statuses.hear(&update);
                    // Whoever listened may have gone away.
                    drop(updates.send(update));
                }
                None => told = true,
            },
            failure = host.failure(), if !over => match failure {
                Some(error) => drop(ended.error.get_or_insert(error)),
                None => over = true,
            },
            Ok(()) = commit.changed() => host.commit(),
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                host.stop();
            }
        }
    }
    ended
}
