//! Whether this process is well, and whether it does what it is to do: for whoever restarts processes, and sends requests to them.
//!
//! **Invariant**: one who shows no token learns a word, and nothing of pipelines or of the store.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use schemars::JsonSchema;
use serde::Serialize;
use spout_api::{Condition, Phase, Status};
use spout_base::{
    clock::{self, Instant},
    error::{Coded as _, chain},
};
use tokio::{task::AbortHandle, time::timeout};

use crate::{Board, Service, answer::Json, endpoint::Endpoint, guard};

/// How long a store has to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long its last answer counts: those who ask need no token, and many of them are no load.
const FRESH: Duration = Duration::from_secs(1);

/// Whether the process is well.
#[derive(Debug, Serialize, JsonSchema)]
struct Health {
    /// `up`, or `down` where a task that has to run has ended: then the process does not recover.
    status: &'static str,
    /// The tasks that have ended, for those with a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dead: Vec<&'static str>,
}

/// Whether the process does what it is to do.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Readiness {
    /// `ready`, or `not ready`.
    status: &'static str,
    /// Why not, for those with a token: what is wrong with the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    /// The pipelines that are to run and do not, as far as the caller may see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pipelines: Vec<Missing>,
    /// Whatever else is awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A pipeline that is to run and does not.
#[derive(Debug, Serialize, JsonSchema)]
struct Missing {
    /// Its name.
    name: String,
    /// What it does instead.
    condition: Condition,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The code of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

/// Tasks that have to run as long as their process does.
#[derive(Debug, Default)]
pub(crate) struct Vital(Mutex<Vec<(&'static str, AbortHandle)>>);

impl Vital {
    fn dead(&self) -> Vec<&'static str> {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().filter(|(_, task)| task.is_finished()).map(|(name, _)| *name).collect()
    }
}

impl Board {
    /// From now on the process is well only while this task runs.
    pub fn depends_on(&self, name: &'static str, task: AbortHandle) {
        self.vital.0.lock().unwrap_or_else(PoisonError::into_inner).push((name, task));
    }
}

/// What a store answered last.
#[derive(Debug, Default)]
pub(crate) struct Answered(tokio::sync::Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    answer: Option<(Instant, Result<(), String>)>,
    /// The highest version of its format that it ever said: it never says a lower one, unless it is gone.
    version: u32,
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/health", "Whether the server is up, and none of its tasks has died.", health)
            .needs(None)
            .gives::<Health>()
            .says_503::<Health>(),
        Endpoint::get("/ready", "Whether the store answers, and every pipeline runs that is to run.", ready)
            .needs(None)
            .gives::<Readiness>()
            .says_503::<Readiness>(),
    ]
}

async fn health(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    let dead = service.dead();
    let up = dead.is_empty();
    let dead = if guard::known(&service, &headers).is_some() { dead } else { Vec::new() };
    said(up, Health { status: if up { "up" } else { "down" }, dead })
}

async fn ready(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    let store = service.store_answers().await.err();
    let statuses = service.board.statuses();
    let missing: Vec<Status> = statuses.all().into_values().filter(is_missing).collect();
    let reason = if !service.dead().is_empty() {
        Some("a task of the server has died; /health says which")
    } else if !statuses.are_known() {
        Some("the server has not looked yet which pipelines are to run")
    } else if service.stop.is_cancelled() {
        Some("the server stops")
    } else {
        None
    };
    let ready = store.is_none() && missing.is_empty() && reason.is_none();
    let status = if ready { "ready" } else { "not ready" };
    let Some(caller) = guard::known(&service, &headers) else {
        return said(ready, Readiness { status, ..Readiness::default() });
    };
    let pipelines = missing.into_iter().filter(|status| caller.sees(&status.name)).map(|status| {
        let Status { name, condition, error, code, .. } = service.board.shown(status);
        Missing { name, condition, error, code }
    });
    let store = store.map(|why| service.veil.text(&why));
    said(ready, Readiness { status, store, pipelines: pipelines.collect(), reason })
}

/// One that starts, or waits to do so after trouble, or cannot.
fn is_missing(status: &Status) -> bool {
    matches!(status.state, Phase::Starting | Phase::Retrying | Phase::Failed)
}

impl Service {
    /// What has died of the tasks that have to run. At a stop they may end.
    fn dead(&self) -> Vec<&'static str> {
        if self.stop.is_cancelled() { Vec::new() } else { self.board.vital.dead() }
    }

    /// Whether the store answers, as of now or just before.
    async fn store_answers(&self) -> Result<(), String> {
        let mut last = self.answered.0.lock().await;
        if let Some((_, answer)) = last.answer.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return answer.clone();
        }
        let answer = match timeout(PATIENCE, self.local.store().version()).await {
            Ok(Ok(version)) if version < last.version => Err("it is gone, or another is in its place".to_owned()),
            Ok(Ok(version)) => {
                last.version = version;
                Ok(())
            }
            Ok(Err(error)) => Err(format!("[{}] {}", error.code(), chain(&error))),
            Err(_) => Err(format!("it does not answer within {} s", PATIENCE.as_secs())),
        };
        last.answer = Some((clock::now(), answer.clone()));
        answer
    }
}

fn said(well: bool, answer: impl Serialize) -> Response {
    let mut response = Json(answer).into_response();
    if !well {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_down_once_a_vital_task_has_ended() {
        let vital = Vital::default();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            drop(ended.await);
        });
        vital.0.lock().unwrap().push(("keeper", task.abort_handle()));
        assert!(vital.dead().is_empty());
        end.send(()).unwrap();
        task.await.unwrap();
        assert_eq!(vital.dead(), ["keeper"]);
    }

    #[test]
    fn what_waits_or_cannot_is_missing() {
        let status = |state| Status::new("p", state, 1);
        let missing = [Phase::Starting, Phase::Retrying, Phase::Failed];
        assert!(missing.into_iter().all(|state| is_missing(&status(state))));
        let fine = [Phase::Running, Phase::Stopping, Phase::Elsewhere, Phase::Stopped, Phase::Finished];
        assert!(!fine.into_iter().any(|state| is_missing(&status(state))));
    }
}
