//! What each pipeline is doing, for whoever asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use spout_base::{clock, error::Coded};
use spout_pipeline::Update;

/// What a pipeline is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// What is wrong, or was wrong last.
    pub error: Option<String>,
    /// The code of that.
    pub code: Option<String>,
    /// Its newest commit in this run.
    pub commit: Option<String>,
    /// The digests of its plugins, by name.
    pub plugins: BTreeMap<String, String>,
}

/// What a pipeline is doing, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It is being opened.
    Starting,
    /// It reads, or waits for something to read.
    Running,
    /// It waits to be started again after trouble.
    Retrying,
    /// It commits what it has read, and stops.
    Stopping,
    /// It is not to run.
    Stopped,
    /// Its source has ended.
    Finished,
    /// It cannot go on as it is.
    Failed,
}

/// What all pipelines are doing. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Statuses(Arc<Mutex<BTreeMap<String, Status>>>);

impl Statuses {
    /// As of now, by name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Status> {
        self.with(|all| all.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Status>) -> T) -> T {
        // What is under the lock is sound at every moment.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, name: &str, phase: Phase) {
        self.with(|all| {
            let status = all.entry(name.to_owned()).or_insert_with(|| Status::new(phase));
            if status.phase != phase {
                (status.phase, status.since_ms) = (phase, clock::wall_ms());
            }
        });
    }

    /// What is wrong with it, whatever it is doing.
    pub(super) fn fault(&self, name: &str, code: &str, error: &str) {
        self.with(|all| {
            let status = all.entry(name.to_owned()).or_insert_with(|| Status::new(Phase::Starting));
            (status.error, status.code) = (Some(error.to_owned()), Some(code.to_owned()));
        });
    }

    pub(super) fn failed(&self, name: &str, error: &dyn Coded) {
        self.set(name, Phase::Failed);
        self.fault(name, error.code(), &error.to_string());
    }

    pub(super) fn runs_with(&self, name: &str, plugins: &BTreeMap<String, String>) {
        self.with(|all| {
            if let Some(status) = all.get_mut(name) {
                status.plugins.clone_from(plugins);
            }
        });
    }

    pub(super) fn forget(&self, known: impl Fn(&str) -> bool) {
        self.with(|all| all.retain(|name, _| known(name)));
    }

    /// Takes in what a running pipeline says.
    pub(super) fn hear(&self, update: &Update) {
        let name = update.pipeline();
        match update {
            Update::Started { .. } | Update::Progress { .. } => self.set(name, Phase::Running),
            Update::Committed { commit, .. } => self.with(|all| {
                if let Some(status) = all.get_mut(name) {
                    (status.commit, status.error, status.code) = (Some(commit.clone()), None, None);
                }
            }),
            Update::Retrying { error, code, .. } => {
                self.set(name, Phase::Retrying);
                self.fault(name, code, error);
            }
            Update::Failed { error, code, .. } => {
                self.set(name, Phase::Failed);
                self.fault(name, code, error);
            }
            Update::Stopped { .. } => self.set(name, Phase::Finished),
            Update::Listening { .. } | Update::Metrics { .. } | Update::Waiting { .. } => {}
        }
    }
}

impl Status {
    fn new(phase: Phase) -> Self {
        Self { phase, since_ms: clock::wall_ms(), error: None, code: None, commit: None, plugins: BTreeMap::new() }
    }
}
