//! What each pipeline is doing, for whoever asks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spout_base::{
    clock,
    error::{Coded, chain},
};
use spout_pipeline::Update;

/// What a pipeline is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Its name, which is that of its repo.
    pub name: String,
    /// What it is doing.
    pub state: Phase,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// Where it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Commits since the start.
    pub commits: u64,
    /// Its newest commit.
    pub head: Option<String>,
    /// What is wrong, or was wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The code of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The digests of its plugins, by name.
    #[serde(default)]
    pub plugins: BTreeMap<String, String>,
    /// Counts since the start.
    #[serde(default)]
    pub counts: Map<String, Value>,
    /// What its plugins have said of themselves since the start, by plugin and name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
    /// What is wrong is so until it starts anew, however well it runs.
    #[serde(skip)]
    pub(super) lasting: bool,
}

/// What a pipeline is doing, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Another server of the store runs it.
    Elsewhere,
    /// It is not to run.
    Stopped,
    /// Its source has ended.
    Finished,
    /// It cannot go on as it is.
    Failed,
}

impl Phase {
    /// Whether it may write its branch.
    #[must_use]
    pub fn is_at_work(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping)
    }
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

    fn of<T>(&self, name: &str, act: impl FnOnce(&mut Status) -> T) -> T {
        self.with(|all| act(all.entry(name.to_owned()).or_insert_with(|| Status::new(name, Phase::Starting))))
    }

    pub(super) fn set(&self, name: &str, state: Phase) {
        self.of(name, |status| {
            if status.state != state {
                (status.state, status.since_ms) = (state, clock::wall_ms());
            }
        });
    }

    /// What is wrong with it, whatever it is doing.
    pub(super) fn fault(&self, name: &str, code: &str, error: &str) {
        self.of(name, |status| (status.error, status.code) = (Some(error.to_owned()), Some(code.to_owned())));
    }

    /// What is wrong with what was to replace it: it runs as it was, and commits do not change that.
    pub(super) fn lasting_fault(&self, name: &str, code: &str, error: &str) {
        tracing::warn!(pipeline = name, code, "it runs as it was: {error}");
        self.fault(name, code, error);
        self.of(name, |status| status.lasting = true);
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

    pub(super) fn starts_with(&self, name: &str, plugins: &BTreeMap<String, String>) {
        self.set(name, Phase::Starting);
        self.of(name, |status| {
            if std::mem::take(&mut status.lasting) {
                (status.error, status.code) = (None, None);
            }
            status.address = None;
            status.plugins.clone_from(plugins);
        });
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
                self.set(name, Phase::Running);
                if let Ok(Value::Object(mut said)) = serde_json::to_value(update) {
                    said.retain(|key, _| key != "event" && key != "pipeline");
                    self.of(name, |status| status.counts = said);
                }
            }
            Update::Committed { commit, .. } => {
                self.set(name, Phase::Running);
                self.of(name, |status| {
                    status.head = Some(commit.clone());
                    status.commits += 1;
                    if !status.lasting {
                        (status.error, status.code) = (None, None);
                    }
                });
            }
            Update::Retrying { error, code, .. } => {
                self.set(name, Phase::Retrying);
                self.fault(name, code, error);
            }
            Update::Failed { error, code, .. } => {
                tracing::error!(pipeline = name, code, "{error}");
                self.set(name, Phase::Failed);
                self.fault(name, code, error);
            }
            Update::Stopped { .. } => self.set(name, Phase::Finished),
            Update::Metrics { plugins, .. } => {
                if let Ok(Value::Object(said)) = serde_json::to_value(plugins) {
                    self.of(name, |status| status.metrics = said);
                }
            }
            Update::Waiting { .. } => {}
        }
    }
}

impl Status {
    pub(super) fn new(name: &str, state: Phase) -> Self {
        Self {
            name: name.to_owned(),
            state,
            since_ms: clock::wall_ms(),
            address: None,
            commits: 0,
            head: None,
            error: None,
            code: None,
            plugins: BTreeMap::new(),
            counts: Map::new(),
            metrics: Map::new(),
            lasting: false,
        }
    }
}
