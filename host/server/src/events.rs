//! Routes that do not end: commits of a branch as they are made, and what pipelines say, as server-sent events.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{
        HeaderMap, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, Error as ApiError, Inspected, Local, at_path};
use spout_base::error::{Coded as _, Kind};
use spout_repo::{Follower, Reference};
use tokio::{sync::broadcast, time::timeout};

use crate::{
    Service,
    answer::Answer,
    endpoint::Endpoint,
    guard::Caller,
    pipelines::Said,
    request::{Asked, Names},
};

/// A line is sent at least this often, so that a connection that is gone is noticed.
const QUIET: Duration = Duration::from_secs(15);
/// How long a commit of another process may go unnoticed.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/repos/{repo}/branches/{branch}/events",
            "Commits of a branch as they are made, as server-sent events.",
            commits,
        )
        .asks::<After>()
        .gives_bytes("text/event-stream"),
        Endpoint::get("/v1/events", "What pipelines do, as server-sent events.", all).gives_bytes("text/event-stream"),
        Endpoint::get("/v1/pipelines/{name}/events", "What a pipeline does, as server-sent events.", of_pipeline)
            .gives_bytes("text/event-stream"),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct After {
    /// The commits after this one: an id, a tag, `master~2`; `Last-Event-ID` says the same. Without it, those made from now on.
    #[serde(default)]
    after: Option<String>,
    /// Whether all commits that are kept come first.
    #[serde(default)]
    all: bool,
}

pub(crate) fn answer(events: impl Stream<Item = Result<Bytes, ApiError>> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An event; JSON has no line ends.
pub(crate) fn event(name: &str, id: Option<&str>, data: &str) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {name}\ndata: {data}\n\n").into()
}

pub(crate) fn quiet() -> Bytes {
    Bytes::from_static(b": still here\n\n")
}

/// Commits on their way to one who subscribed.
struct Following {
    local: Arc<Local>,
    repo: String,
    follower: Follower,
    /// The number of the next one.
    next: u64,
}

async fn commits(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names((repo, branch)): Names<(String, String)>,
    Asked(asked): Asked<After>,
    headers: HeaderMap,
) -> Answer<Response> {
    let named = caller.local.store().repo(&repo).await.map_err(ApiError::from)?;
    let mut follower = named.follow(&at_path(&repo, &branch, None)?.target);
    let head = follower.refresh().await.map_err(ApiError::from)?;
    let (head, id) = head.map_or((0, None), |head| (head.number, Some(head.header.id.clone())));
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let next = match last.or(asked.after) {
        Some(after) => named.resolve(&at_path(&repo, &after, None)?).await.map_err(ApiError::from)?.number + 1,
        None if asked.all => follower.first().await.map_err(ApiError::from)?,
        None => head + 1,
    };
    let following = Following { local: caller.local, repo, follower, next };
    // One whose connection breaks before the first commit goes on after this one.
    let from = id.filter(|_| next == head + 1).map_or_else(quiet, |id| format!("id: {id}\n\n").into());
    let first = stream::once(async { Ok(from) });
    let events = stream::try_unfold(following, |mut following| async move {
        let bytes = following.next().await?;
        Ok(Some((bytes, following)))
    });
    let stop = service.stop.clone().cancelled_owned();
    Ok(answer(first.chain(events).take_until(Box::pin(stop))))
}

impl Following {
    /// The next commit, or a sign of life.
    async fn next(&mut self) -> Result<Bytes, ApiError> {
        let commit = async {
            loop {
                let head = self.follower.refresh().await?.map_or(0, |head| head.number);
                while self.next <= head {
                    let found = self.follower.commit(self.next).await?;
                    let told = match found {
                        Some(commit) => self.told(&commit.header.id).await?,
                        None => None,
                    };
                    // Only now: what is waited for before may be given up, and begun anew.
                    self.next += 1;
                    if let Some(bytes) = told {
                        return Ok::<_, ApiError>(bytes);
                    }
                }
                self.follower.wait(LOOK).await;
            }
        };
        timeout(QUIET, commit).await.unwrap_or_else(|_| Ok(quiet()))
    }

    /// The event of a commit; none for one that was squashed or collected meanwhile.
    async fn told(&self, id: &str) -> Result<Option<Bytes>, ApiError> {
        match self.local.commit(&Reference::head(&self.repo, id)).await {
            Ok(Inspected::Commit(info)) => {
                let text = serde_json::to_string(&info).unwrap_or_default();
                Ok(Some(event("commit", Some(id), &text)))
            }
            Ok(Inspected::Pending(_)) => Ok(None),
            Err(error) if error.kind() == Kind::Spec => Ok(None),
            Err(error) => Err(error),
        }
    }
}

async fn all(State(service): State<Arc<Service>>, caller: Caller) -> Answer<Response> {
    Ok(said(&service, move |said| caller.sees(&said.pipeline)))
}

async fn of_pipeline(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
) -> Answer<Response> {
    service.find(&name, &caller).await?;
    Ok(said(&service, move |said| *said.pipeline == *name))
}

/// What pipelines say from now on, as far as it is `wanted`.
fn said(service: &Service, wanted: impl Fn(&Said) -> bool + Send + Sync + 'static) -> Response {
    let first = stream::once(async { Ok(quiet()) });
    let from = (service.board.listen(), service.stop.clone(), wanted);
    let events = stream::unfold(from, |(mut listening, stop, wanted)| async move {
        let heard = tokio::select! {
            // What was said before the stop is told.
            biased;
            heard = timeout(QUIET, listening.recv()) => heard,
            () = stop.cancelled() => return None,
        };
        let bytes = match heard {
            Ok(Ok(said)) if wanted(&said) => event(&said.event, None, &said.text),
            Ok(Ok(_)) => Bytes::new(),
            Ok(Err(broadcast::error::RecvError::Lagged(missed))) => {
                event("missed", None, &format!("{{\"event\":\"missed\",\"updates\":{missed}}}"))
            }
            Ok(Err(broadcast::error::RecvError::Closed)) => return None,
            Err(_) => quiet(),
        };
        Some((Ok(bytes), (listening, stop, wanted)))
    });
    let events = events.filter(|bytes| {
        let some = bytes.as_ref().is_ok_and(|bytes| !bytes.is_empty());
        async move { some }
    });
    answer(first.chain(events))
}
