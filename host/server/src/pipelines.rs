//! Pipelines that run beside the server: what they said last, and what they say now.

use std::sync::Arc;

use axum::extract::State;
use serde_json::Value;
use spout_api::{Graph, Pipelines as _, ShownSpec, Status};
use spout_keeper::Statuses;
use spout_pipeline::Update;
use spout_repo::Store;
use tokio::sync::broadcast;

use crate::{
    Error, Service,
    answer::{Answer, Json},
    endpoint::Endpoint,
    guard::Caller,
    health::Vital,
    journal::Journal,
    request::Names,
    veil::Veil,
};

/// Updates that a slow listener may be behind.
const BEHIND: usize = 1024;

/// What is known of the pipelines of this process.
#[derive(Debug)]
pub struct Board {
    statuses: Statuses,
    updates: broadcast::Sender<Said>,
    pub(crate) journal: Journal,
    pub(crate) vital: Vital,
    veil: Veil,
}

/// An update of a pipeline, as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) pipeline: Arc<str>,
    pub(crate) event: Arc<str>,
    pub(crate) text: Arc<str>,
}

impl Board {
    /// A board for pipelines of `store` whose statuses somebody else keeps.
    #[must_use]
    pub fn new(store: &Store, statuses: Statuses) -> Self {
        let veil = Veil::over(store);
        Self {
            statuses,
            updates: broadcast::channel(BEHIND).0,
            journal: Journal::new(veil.clone()),
            vital: Vital::default(),
            veil,
        }
    }

    pub(crate) fn statuses(&self) -> Statuses {
        self.statuses.clone()
    }

    /// Passes on what a pipeline has said.
    pub fn note(&self, update: &Update) {
        self.journal.note(update);
        let Ok(said) = serde_json::to_value(update) else { return };
        let event = said.get("event").and_then(Value::as_str).unwrap_or_default().into();
        let text = self.veil.text(&said.to_string()).into();
        // Nobody may be listening.
        drop(self.updates.send(Said { pipeline: update.pipeline().into(), event, text }));
    }

    /// Takes down what was logged about a pipeline.
    pub fn log(&self, pipeline: &str, level: &str, text: &str) {
        self.journal.write(pipeline, level, text);
    }

    /// What pipelines say from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Said> {
        self.updates.subscribe()
    }

    fn all(&self) -> Vec<Status> {
        let all = self.statuses.all().into_values();
        all.map(|status| self.shown(Status { partitions: Vec::new(), ..status })).collect()
    }

    /// As callers may see it.
    pub(crate) fn shown(&self, mut status: Status) -> Status {
        status.error = status.error.map(|error| self.veil.text(&error));
        for partition in &mut status.partitions {
            partition.error = partition.error.take().map(|error| self.veil.text(&error));
        }
        status
    }
}

impl Service {
    /// What the pipeline of this name is doing, to one who may see it. One that was only just created is starting.
    pub(crate) async fn find(&self, name: &str, caller: &Caller) -> Answer<Status> {
        caller.knows(name)?;
        if let Some(known) = self.board.statuses.one(name) {
            return Ok(self.board.shown(known));
        }
        let wanted = self.managed.about_to(name).await?;
        wanted.ok_or_else(|| Error::NoPipeline { name: name.to_owned() }.into())
    }
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/pipelines", "The pipelines that run on this server.", list).gives::<Vec<Status>>(),
        Endpoint::get("/v1/pipelines/{name}", "A pipeline, with each of its partitions.", inspect).gives::<Status>(),
        Endpoint::get("/v1/pipelines/{name}/spec", "What a pipeline is made of; what may be a secret is hidden.", spec)
            .gives::<ShownSpec>(),
        Endpoint::get("/v1/graph", "Who feeds whom: pipelines, repos, and what is outside of the store.", graph)
            .gives::<Graph>(),
    ]
}

async fn list(State(service): State<Arc<Service>>, caller: Caller) -> Answer<Json<Vec<Status>>> {
    Ok(Json(service.board.all().into_iter().filter(|pipeline| caller.sees(&pipeline.name)).collect()))
}

async fn inspect(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Json<Status>> {
    Ok(Json(service.find(&name, &caller).await?))
}

async fn spec(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Json<ShownSpec>> {
    caller.knows(&name)?;
    Ok(Json(service.managed.spec(&name).await?))
}

async fn graph(State(service): State<Arc<Service>>, caller: Caller) -> Answer<Json<Graph>> {
    Ok(Json(service.managed.graph().await?.seen(|name| caller.sees(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_pipelines_say_does_not_tell_where_the_store_is() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().to_str().unwrap();
        let store = Store::open(place).await.unwrap();
        let board = Board::new(&store, Statuses::default());
        let (mut events, (_, mut lines)) = (board.listen(), board.journal.listen("p", 10));
        let error = format!("cannot read {place}/repos/p/repo.json");
        board.note(&Update::Failed { pipeline: "p".into(), error, code: "E0503".into() });
        let (event, line) = (events.recv().await.unwrap().text, lines.recv().await.unwrap().line.text);
        for text in [&*event, &line] {
            assert!(text.contains("cannot read repos/p/repo.json"), "{text}");
        }
    }
}
