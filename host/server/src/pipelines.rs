//! Pipelines that run beside the server: what they said last, and what they say now.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use spout_base::clock;
use spout_pipeline::Update;
use tokio::sync::broadcast;

use crate::{
    Error, Service,
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    request::Names,
};

/// Updates that a slow listener may be behind.
const BEHIND: usize = 1024;

/// What is known of the pipelines of this process.
#[derive(Debug)]
pub struct Board {
    pipelines: Mutex<BTreeMap<String, Pipeline>>,
    updates: broadcast::Sender<Said>,
}

/// An update of a pipeline, as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) pipeline: Arc<str>,
    pub(crate) event: Arc<str>,
    pub(crate) text: Arc<str>,
}

/// A pipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Pipeline {
    /// Its name, which is that of its repo.
    pub name: String,
    /// `starting`, `running`, `retrying`, `stopped` or `failed`.
    pub state: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// Where it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Commits since the start.
    pub commits: u64,
    /// Its newest commit.
    pub head: Option<String>,
    /// What failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The code of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Counts since the start.
    #[serde(default)]
    pub counts: Map<String, Value>,
}

impl Board {
    /// A board for pipelines of these names.
    #[must_use]
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let pipeline = |name: &str| {
            let new = Pipeline {
                name: name.to_owned(),
                state: "starting".into(),
                since_ms: clock::wall_ms(),
                ..Pipeline::default()
            };
            (name.to_owned(), new)
        };
        Self { pipelines: Mutex::new(names.into_iter().map(pipeline).collect()), updates: broadcast::channel(BEHIND).0 }
    }

    /// Takes note of what a pipeline has said.
    pub fn note(&self, update: &Update) {
        let name = update.pipeline();
        let Ok(Value::Object(said)) = serde_json::to_value(update) else { return };
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let pipeline = pipelines.entry(name.to_owned()).or_default();
        name.clone_into(&mut pipeline.name);
        let mut turn = |state: &str| {
            if pipeline.state != state {
                state.clone_into(&mut pipeline.state);
                pipeline.since_ms = clock::wall_ms();
            }
        };
        match update {
            Update::Started { head, .. } => {
                turn("running");
                pipeline.head.clone_from(head);
            }
            Update::Listening { address, .. } => pipeline.address = Some(address.clone()),
            Update::Committed { commit, .. } => {
                turn("running");
                pipeline.head = Some(commit.clone());
                pipeline.commits += 1;
            }
            Update::Progress { .. } => {
                turn("running");
                pipeline.counts = said.clone();
                pipeline.counts.retain(|key, _| key != "event" && key != "pipeline");
            }
            Update::Retrying { error, code, .. } => {
                turn("retrying");
                (pipeline.error, pipeline.code) = (Some(error.clone()), Some(code.clone()));
            }
            Update::Failed { error, code, .. } => {
                turn("failed");
                (pipeline.error, pipeline.code) = (Some(error.clone()), Some(code.clone()));
            }
            Update::Stopped { .. } => turn("stopped"),
            Update::Metrics { .. } | Update::Waiting { .. } => {}
        }
        drop(pipelines);
        let event = said.get("event").and_then(Value::as_str).unwrap_or_default().into();
        let text = Value::Object(said).to_string().into();
        // Nobody may be listening.
        drop(self.updates.send(Said { pipeline: name.into(), event, text }));
    }

    /// What pipelines say from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Said> {
        self.updates.subscribe()
    }

    fn all(&self) -> Vec<Pipeline> {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The pipeline of this name, to one who may see it.
    pub(crate) fn find(&self, name: &str, caller: &Caller) -> Result<Pipeline, Error> {
        let found = self.all().into_iter().find(|pipeline| pipeline.name == name && caller.sees(name));
        found.ok_or_else(|| Error::NoPipeline { name: name.to_owned() })
    }
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/pipelines", "The pipelines that run on this server.", list).gives::<Vec<Pipeline>>(),
        Endpoint::get("/v1/pipelines/{name}", "A pipeline.", inspect).gives::<Pipeline>(),
    ]
}

async fn list(State(service): State<Arc<Service>>, caller: Caller) -> Answer<Json<Vec<Pipeline>>> {
    Ok(Json(service.board.all().into_iter().filter(|pipeline| caller.sees(&pipeline.name)).collect()))
}

async fn inspect(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Json<Pipeline>> {
    Ok(Json(service.board.find(&name, &caller)?))
}
