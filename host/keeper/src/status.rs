//! What each pipeline is doing, for whoever asks.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value};
use spout_api::{LastCommit, PartitionState, PartitionStatus, Phase, Status};
use spout_base::{
    clock,
    error::{Coded, chain},
};
use spout_data::PartitionId;
use spout_pipeline::{Figures, Parts, Taps, Update};
use spout_plugin::Progress;
use spout_producer::{Standing, Standings};
use spout_spec::Loaded;

use super::{Error, figures};

/// What is known of a pipeline.
#[derive(Clone, Debug)]
struct Known {
    status: Status,
    /// What is wrong is so until it starts anew, however well it runs.
    lasting: bool,
    /// How its partitions stand, while it runs here.
    standings: Standings,
    /// What its parts have done since the start.
    figures: Figures,
    /// What it is made of, where that is known here.
    spec: Option<Arc<Loaded>>,
    /// Where its rows can be looked at, if it was started here.
    taps: Option<Taps>,
    /// What the process says of it that leads it, where that is another one.
    told: Option<Box<Status>>,
}

/// What all pipelines are doing. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Statuses {
    all: Arc<Mutex<BTreeMap<String, Known>>>,
    /// Whether it was looked which pipelines there are.
    known: Arc<AtomicBool>,
}

impl Statuses {
    /// As of now, by name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Status> {
        let all = self.with(|all| all.clone());
        all.into_iter().map(|(name, known)| (name, known.now())).collect()
    }

    /// The same of those that no other process speaks for.
    #[must_use]
    pub fn of_this_process(&self) -> BTreeMap<String, Status> {
        let all = self.with(|all| all.clone());
        let own = all.into_iter().filter(|(_, known)| known.told.is_none());
        own.map(|(name, known)| (name, known.now())).collect()
    }

    /// As of now, that of one.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<Status> {
        self.with(|all| all.get(name).cloned()).map(Known::now)
    }

    /// Where the rows of one can be looked at, if it was started here.
    #[must_use]
    pub fn taps(&self, name: &str) -> Option<Taps> {
        self.with(|all| all.get(name)?.taps.clone())
    }

    /// Whether it was looked which pipelines are to run: before that there are none.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// All that are to run are there from now on.
    pub(super) fn now_known(&self) {
        self.known.store(true, Ordering::Release);
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Known>) -> T) -> T {
        // What is under the lock is sound at every moment.
        act(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn known<T>(&self, name: &str, act: impl FnOnce(&mut Known) -> T) -> T {
        let new = || Known {
            status: Status::new(name, Phase::Starting, clock::wall_ms()),
            lasting: false,
            standings: Standings::default(),
            figures: Figures::default(),
            spec: None,
            taps: None,
            told: None,
        };
        self.with(|all| act(all.entry(name.to_owned()).or_insert_with(new)))
    }

    fn of<T>(&self, name: &str, act: impl FnOnce(&mut Status) -> T) -> T {
        self.known(name, |known| act(&mut known.status))
    }

    pub(super) fn set(&self, name: &str, state: Phase) {
        self.known(name, |Known { status, told, .. }| {
            if status.state != state {
                (status.state, status.since_ms, status.retry_at_ms) = (state, clock::wall_ms(), None);
            }
            if state != Phase::Elsewhere {
                *told = None;
            }
        });
    }

    /// It is tried again after `pause`.
    pub(super) fn tried_again(&self, name: &str, pause: Duration) {
        let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        self.of(name, |status| status.retry_at_ms = Some(clock::wall_ms().saturating_add(pause)));
    }

    /// What is wrong with it, whatever it is doing.
    pub(super) fn fault(&self, name: &str, code: &str, error: &str) {
        self.of(name, |status| (status.error, status.code) = (Some(error.to_owned()), Some(code.to_owned())));
    }

    /// What is wrong with what was to replace it: it runs as it was, and commits do not change that.
    pub(super) fn lasting_fault(&self, name: &str, code: &str, error: &str) {
        tracing::warn!(pipeline = name, code, "it runs as it was: {error}");
        self.fault(name, code, error);
        self.known(name, |known| known.lasting = true);
    }

    /// What was wrong by this code is so no more.
    pub(super) fn heal(&self, name: &str, code: &str) {
        self.of(name, |status| {
            if status.code.as_deref() == Some(code) {
                (status.error, status.code) = (None, None);
            }
        });
    }

    pub(super) fn failed(&self, name: &str, error: &dyn Coded) {
        let text = chain(error);
        let known = self.of(name, |status| status.state == Phase::Failed && status.error.as_ref() == Some(&text));
        if !known {
            tracing::error!(pipeline = name, code = error.code(), "{text}");
            self.set(name, Phase::Failed);
            self.fault(name, error.code(), &text);
        }
    }

    pub(super) fn starts_with(&self, parts: &Parts) {
        let name = parts.name();
        self.set(name, Phase::Starting);
        self.known(name, |known| {
            let Known { status, lasting, standings, figures, taps, told, .. } = known;
            *told = None;
            if std::mem::take(lasting) {
                (status.error, status.code) = (None, None);
            }
            status.address = None;
            status.plugins.clone_from(parts.digests());
            standings.clone_from(parts.standings());
            figures.clone_from(parts.figures());
            // What was before this start is of another one.
            (status.commits, status.counts, status.metrics) = (0, Map::new(), Map::new());
            *taps = Some(parts.taps().clone());
        });
    }

    /// Another process runs it, which says this of it, if it could be asked; `why` says which.
    pub(super) fn elsewhere(&self, name: &str, why: &Error, told: Option<Status>) {
        self.set(name, Phase::Elsewhere);
        self.fault(name, why.code(), &why.to_string());
        self.known(name, |known| {
            known.told = told.map(Box::new);
            (known.taps, known.figures, known.standings) = (None, Figures::default(), Standings::default());
        });
    }

    /// What it is made of from now on.
    pub(super) fn made_of(&self, loaded: &Loaded) {
        self.known(&loaded.spec.pipeline.name, |known| {
            if known.spec.as_ref().is_none_or(|spec| spec.text != loaded.text) {
                known.spec = Some(Arc::new(loaded.clone()));
            }
        });
    }

    /// What those are made of that this process runs, or is to run.
    pub(super) fn specs(&self) -> Vec<Arc<Loaded>> {
        self.with(|all| all.values().filter_map(|known| known.spec.clone()).collect())
    }

    pub(super) fn forget(&self, known: impl Fn(&str) -> bool) {
        self.with(|all| all.retain(|name, _| known(name)));
    }

    /// Takes in what a running pipeline says.
    pub(super) fn hear(&self, update: &Update) {
        let name = update.pipeline();
        match update {
            Update::Started { head, .. } => {
                self.set(name, Phase::Running);
                self.of(name, |status| status.head.clone_from(head));
            }
            Update::Listening { address, .. } => self.of(name, |status| status.address = Some(address.clone())),
            Update::Progress { .. } => {
                let mut said = object(update);
                said.retain(|key, _| key != "event" && key != "pipeline");
                self.of(name, |status| status.counts = said);
                if self.of(name, |status| status.state) != Phase::Stopping {
                    self.set(name, Phase::Running);
                }
            }
            Update::Committed { commit, counts, reason, .. } => {
                // The last commit of one that stops does not make it run again.
                if self.of(name, |status| status.state) != Phase::Stopping {
                    self.set(name, Phase::Running);
                }
                self.known(name, |Known { status, lasting, .. }| {
                    status.head = Some(commit.clone());
                    let (id, at_ms) = (commit.clone(), clock::wall_ms());
                    status.last_commit = Some(LastCommit { id, at_ms, reason: reason.clone(), counts: object(counts) });
                    status.commits += 1;
                    if !*lasting {
                        (status.error, status.code) = (None, None);
                    }
                });
            }
            Update::Retrying { error, code, after_ms, .. } => {
                self.set(name, Phase::Retrying);
                self.tried_again(name, Duration::from_millis(*after_ms));
                self.fault(name, code, error);
            }
            Update::Failed { error, code, .. } => {
                self.set(name, Phase::Failed);
                self.fault(name, code, error);
            }
            Update::Stopped { counts, .. } => {
                // Whoever asked for its end did not let it come to its own.
                let asked = self.of(name, |status| status.state) == Phase::Stopping;
                self.set(name, if asked { Phase::Stopped } else { Phase::Finished });
                // Progress was told a while before the last commit.
                let last = object(counts);
                self.of(name, |status| status.counts.extend(last));
            }
            Update::Metrics { plugins, .. } => {
                self.of(name, |status| status.metrics = object(plugins));
            }
            Update::Paused { .. } => self.set(name, Phase::Stopped),
            Update::Waiting { .. } => {}
        }
    }
}

impl Known {
    /// As it is to be told, with its partitions as they are now.
    fn now(self) -> Status {
        if let Some(told) = self.told {
            return *told;
        }
        let (now, mut status) = (clock::wall_ms(), self.status);
        let at_work = status.state == Phase::Running;
        if let Some(trouble) = self.standings.trouble().filter(|_| at_work) {
            (status.error, status.code) = (Some(trouble.error), Some(trouble.code.into_owned()));
            status.retry_at_ms = Some(trouble.again_ms);
        }
        figures::put(&self.figures, &mut status);
        if !at_work {
            status.members.clear();
        }
        let owners = figures::owners(&self.figures);
        let told = |id: PartitionId, standing: &Standing| PartitionStatus {
            member: owners.get(&id).filter(|_| at_work).cloned(),
            ..told(id, standing, at_work, now)
        };
        status.with_partitions(self.standings.each(|(id, standing)| told(*id, standing)))
    }
}

/// What is said of a partition; nobody reads it where the pipeline is not at work.
fn told(id: PartitionId, standing: &Standing, at_work: bool, now_ms: i64) -> PartitionStatus {
    let trouble = standing.trouble.as_ref().filter(|_| at_work);
    PartitionStatus {
        partition: id.number,
        producer: standing.producer.clone(),
        label: standing.label.clone(),
        state: match standing.progress {
            _ if trouble.is_some() => PartitionState::Failing,
            _ if !at_work => PartitionState::Waiting,
            None => PartitionState::Waiting,
            Some(Progress::More) => PartitionState::Reading,
            Some(Progress::Idle) => PartitionState::Idle,
            Some(Progress::Ended) => PartitionState::Ended,
        },
        committed: standing.committed,
        fetched: at_work.then_some(standing.fetched),
        end: standing.end,
        lag: standing.lag().filter(|_| at_work),
        newest_ms: standing.newest_ms,
        time_lag_ms: standing.time_lag_ms(now_ms).filter(|_| at_work),
        reader: at_work.then_some(standing.reader),
        member: None,
        error: trouble.map(|trouble| trouble.error.clone()),
        code: trouble.map(|trouble| trouble.code.clone().into_owned()),
        retry_at_ms: trouble.map(|trouble| trouble.again_ms),
    }
}

fn object(said: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(said) {
        Ok(Value::Object(said)) => said,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_paused_is_never_finished() {
        let statuses = Statuses::default();
        let over =
            || Update::Stopped { pipeline: "p".into(), counts: Default::default(), commits: 0, reasons: Vec::new() };
        let state = || statuses.one("p").map(|status| status.state);
        statuses.set("p", Phase::Running);
        statuses.set("p", Phase::Stopping);
        statuses.hear(&over());
        assert_eq!(state(), Some(Phase::Stopped));
        statuses.set("p", Phase::Running);
        statuses.hear(&over());
        assert_eq!(state(), Some(Phase::Finished));
    }
}
