//! Makes what runs like what is to run.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use spout_api::Phase;
use spout_base::{
    clock::{self, Instant},
    error::{Coded as _, Kind, chain},
};
use spout_pipeline::{Error as PipelineError, Host, Parts, RunOptions, Update};
use spout_plugin::Plugins;
use spout_repo::{Process, Store};
use spout_spec::Loaded;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Error, PluginShelf,
    building::Building,
    committer::Committer,
    error::ELSEWHERE,
    group::{Group, groups},
    peers::{Peers, leader},
    running::{Ended, MadeOf, Resting, Running, watch_over},
    status::Statuses,
    wanted::Wanted,
    watched::Watched,
};

/// How soon to look again at what other servers run.
const LOOK_AROUND: Duration = Duration::from_secs(3);
/// Pauses before a pipeline that failed is started again; they double.
const FIRST_TRY: Duration = Duration::from_secs(10);
const LAST_TRY: Duration = Duration::from_secs(600);

/// Keeps the pipelines of a store running.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    /// What somebody has created.
    watched: Watched,
    building: Building,
    peers: Peers,
    /// When they were looked at.
    looked: Option<Instant>,
    fixed: Vec<Loaded>,
    options: RunOptions,
    statuses: Statuses,
    /// Has pipelines commit what they have read.
    committer: Committer,
    updates: mpsc::UnboundedSender<Update>,
    running: BTreeMap<Group, Running>,
    /// Groups that have ended, as long as they are made of the same.
    resting: BTreeMap<Group, Resting>,
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
            watched: Watched::new(store),
            building: Building::new(store, plugins, PluginShelf::new(store)),
            peers: Peers::new(store),
            looked: None,
            options,
            statuses: Statuses::default(),
            committer: Committer::default(),
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

    /// What has pipelines commit what they have read.
    #[must_use]
    pub fn committer(&self) -> Committer {
        self.committer.clone()
    }

    /// Keeps pipelines running until `stop` is cancelled; then each commits what it has read.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut wanted = Vec::new();
        while !stop.is_cancelled() {
            let look = self.watched.look().await;
            let looked = look.is_ok();
            match look {
                Ok(Some(new)) => wanted = new,
                Ok(None) => {}
                // What runs, runs on.
                Err(error) => tracing::warn!(code = error.code(), error = chain(&error), "cannot read what is to run"),
            }
            if let Err(error) = self.building.shelf.look().await {
                tracing::warn!(code = error.code(), error = chain(&error), "cannot read which plugins are kept");
            }
            self.reap().await;
            self.confirm().await;
            self.match_up(&wanted).await;
            if looked {
                self.statuses.now_known();
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.watched.rest() => {}
            }
        }
        for group in self.running.keys().chain(self.resting.keys()).cloned().collect::<Vec<_>>() {
            self.retire(&group).await;
        }
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
            let Some(Running { made_of, before, orders, task, .. }) = self.running.remove(&group) else { continue };
            let Ok(Ended { error, committed }) = task.await else {
                self.died(&group);
                self.give_up(group, made_of, None).await;
                continue;
            };
            let Some(error) = error else {
                // No other server is to run it again either.
                self.resting.insert(group, Resting { made_of, until: None });
                continue;
            };
            match before {
                // A plugin that never worked: the one before did.
                Some(parts) if !committed && matches!(error.kind(), Kind::Plugin | Kind::Spec) => {
                    // The new one is tried again when its file is another one.
                    self.start(group.clone(), made_of, parts, None, orders);
                    for name in &group {
                        let why = format!("a new plugin was taken back: {}", chain(&error));
                        self.statuses.lasting_fault(name, error.code(), &why);
                    }
                }
                _ => self.give_up(group, made_of, Some(&error)).await,
            }
        }
    }

    /// Finds out what other servers run, now and then.
    async fn look_around(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_AROUND) {
            return;
        }
        match self.peers.look().await {
            Ok(()) => self.looked = Some(clock::now()),
            Err(error) => {
                tracing::warn!(code = error.code(), error = chain(&error), "cannot read what other servers run")
            }
        }
    }

    /// Tells other servers that a group does not run here any more.
    async fn left(&mut self, group: &Group) {
        if let Err(error) = self.peers.leave(group).await {
            tracing::warn!(
                code = error.code(),
                error = chain(&error),
                "other servers cannot be told what this one runs"
            );
        }
    }

    /// Writes down which orders to begin anew have been followed.
    async fn confirm(&mut self) {
        let Some(specs) = self.watched.specs() else { return };
        for Running { parts, orders, .. } in self.running.values_mut() {
            for begun in parts.iter().filter(|parts| !parts.begins_anew()) {
                let Some(order) = orders.get(begun.name()) else { continue };
                match specs.begun_anew(begun.name(), order).await {
                    Ok(()) | Err(Error::Unknown { .. }) => drop(orders.remove(begun.name())),
                    // Told again soon; until then a restart begins anew once more.
                    Err(error) => {
                        tracing::warn!(
                            code = error.code(),
                            error = chain(&error),
                            "cannot write that a pipeline began anew"
                        )
                    }
                }
            }
        }
    }

    /// Lets a group that failed rest, longer each time.
    async fn give_up(&mut self, group: Group, made_of: MadeOf, error: Option<&PipelineError>) {
        let before =
            self.resting.get(&group).filter(|resting| resting.made_of == made_of).and_then(|resting| resting.until);
        let pause = before.map_or(FIRST_TRY, |(pause, _)| (pause * 2).min(LAST_TRY));
        if let (Some(error), [name]) = (error, group.as_slice()) {
            self.statuses.failed(name, error);
        }
        self.left(&group).await;
        // Many that failed of one cause are not to come back at one moment.
        let wait = clock::jittered(pause);
        group.iter().for_each(|name| self.statuses.tried_again(name, wait));
        self.resting.insert(group, Resting { made_of, until: Some((pause, clock::now() + wait)) });
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
        specs.iter().for_each(|loaded| self.statuses.made_of(loaded));
        let mut to_run = groups(specs);
        let known = self.running.keys().chain(self.resting.keys());
        for group in known.filter(|group| !to_run.contains_key(*group)).cloned().collect::<Vec<_>>() {
            self.resting.remove(&group);
            self.retire(&group).await;
        }
        self.statuses.forget(|name| fixed(name) || wanted.iter().any(|wanted| wanted.name == name));
        for stopped in wanted.iter().filter(|wanted| !wanted.wish.running && !fixed(&wanted.name)) {
            self.statuses.set(&stopped.name, Phase::Stopped);
        }
        if !to_run.is_empty() {
            self.look_around().await;
        }
        while let Some((group, specs)) = to_run.pop_first() {
            self.keep(group, &specs, wanted).await;
        }
    }

    /// Has a group run that is made of these specs and the plugins that are there, unless another server runs it.
    async fn keep(&mut self, group: Group, specs: &[Loaded], wanted: &[Wanted]) {
        if let Some(holder) = self.peers.holder(&group).await {
            self.retire(&group).await;
            self.elsewhere(&group, &holder);
            return;
        }
        let of_group = || wanted.iter().filter(|wanted| group.contains(&wanted.name));
        let orders = of_group().filter_map(|one| Some((one.name.clone(), one.wish.orders()?))).collect();
        let due = of_group().filter_map(|one| Some((one.name.clone(), one.wish.due()?.to_owned())));
        let due: BTreeMap<String, String> = due.collect();
        let made_of = MadeOf::now(specs, &orders, &self.building.plugins);
        if self.running.get(&group).is_some_and(|running| running.made_of == made_of) {
            return;
        }
        let rests = |resting: &Resting| {
            resting.made_of == made_of && resting.until.is_none_or(|(_, until)| clock::now() < until)
        };
        if self.resting.get(&group).is_some_and(rests) {
            return;
        }
        let parts = match self.building.now(specs).await {
            Ok(parts) => parts,
            Err(error) => return self.cannot_build(group, specs, made_of, (&error, due)).await,
        };
        match leader(&self.store, specs).await {
            Ok(None) => {}
            Ok(Some(process)) => {
                self.retire(&group).await;
                return self.elsewhere(&group, &process);
            }
            Err(error) => {
                tracing::warn!(code = error.code(), error = chain(&error), "cannot see whether a cluster runs it")
            }
        }
        let before = match self.stop(&group).await {
            Some((old, before)) => Some(before).filter(|_| old.specs == made_of.specs),
            None => self.building.before(specs, &parts).await,
        };
        if self.take(&group).await {
            self.start(group, made_of, parts, before, due);
        }
    }

    /// What runs, runs on; what does not, runs with the plugins that it had before, if those are kept. It is tried again when
    /// something else has changed.
    async fn cannot_build(
        &mut self,
        group: Group,
        specs: &[Loaded],
        made_of: MadeOf,
        (error, due): (&Error, BTreeMap<String, String>),
    ) {
        if let Some(running) = self.running.get_mut(&group) {
            running.made_of = made_of;
        } else if let Some(before) = self.building.before(specs, &[]).await {
            if !self.take(&group).await {
                return;
            }
            self.start(group.clone(), made_of, before, None, due);
        } else {
            group.iter().for_each(|name| self.statuses.failed(name, error));
            return self.give_up(group, made_of, None).await;
        }
        group.iter().for_each(|name| self.statuses.lasting_fault(name, error.code(), &chain(error)));
    }

    /// Tells other servers that this one runs a group; whether none of them does.
    async fn take(&mut self, group: &Group) -> bool {
        match self.peers.take(group).await {
            Ok(None) => {
                group.iter().for_each(|name| self.statuses.heal(name, ELSEWHERE));
                return true;
            }
            Ok(Some(holder)) => self.elsewhere(group, &holder),
            Err(error) => group.iter().for_each(|name| self.statuses.failed(name, &error)),
        }
        false
    }

    fn elsewhere(&self, group: &Group, holder: &Process) {
        let error = Error::Elsewhere { holder: holder.to_string() };
        group.iter().for_each(|name| self.statuses.elsewhere(name, &error, None));
    }

    fn start(
        &mut self,
        group: Group,
        made_of: MadeOf,
        parts: Vec<Parts>,
        before: Option<Vec<Parts>>,
        orders: BTreeMap<String, String>,
    ) {
        let ordered = |parts: Parts| if orders.contains_key(parts.name()) { parts.reprocessing() } else { parts };
        let parts: Vec<Parts> = parts.into_iter().map(ordered).collect();
        for one in &parts {
            self.statuses.starts_with(one);
        }
        self.building.keep(&parts);
        let stop = CancellationToken::new();
        let started = Host::start(parts.clone(), &self.store, &self.options);
        let (statuses, updates) = (self.statuses.clone(), self.updates.clone());
        let task = tokio::spawn(watch_over(started, (statuses, updates), self.committer.orders(&group), stop.clone()));
        self.running.insert(group, Running { made_of, parts, before, orders, stop, task });
    }

    /// What watched over a group has panicked.
    fn died(&self, group: &Group) {
        let died = |name: &String| PipelineError::Task { pipeline: name.clone() };
        group.iter().for_each(|name| self.statuses.failed(name, &died(name)));
    }

    /// Has a group stop, so that other servers may run it.
    async fn retire(&mut self, group: &Group) {
        self.stop(group).await;
        self.left(group).await;
    }

    /// Has a group commit what it has read and stop; what it was.
    async fn stop(&mut self, group: &Group) -> Option<(MadeOf, Vec<Parts>)> {
        let Running { made_of, parts, stop, task, .. } = self.running.remove(group)?;
        group.iter().for_each(|name| self.statuses.set(name, Phase::Stopping));
        stop.cancel();
        if task.await.is_ok() {
            group.iter().for_each(|name| self.statuses.set(name, Phase::Stopped));
        } else {
            self.died(group);
        }
        Some((made_of, parts))
    }
}
