//! The route of what a pipeline says, line by line: what it said lately, and then, if somebody waits for it, what it says.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::Response,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::LogLine;
use spout_base::clock;
use tokio::{sync::broadcast::error::RecvError, time::timeout};

use crate::{
    Service,
    answer::Answer,
    endpoint::Endpoint,
    guard::Caller,
    request::{Asked, Names},
};

/// An empty line is sent at least this often, so that a connection that is gone is noticed.
const QUIET: Duration = Duration::from_secs(15);
/// Lines that are sent where nobody says how many.
const RECENT: usize = 100;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/pipelines/{name}/log", "What a pipeline has said lately, in lines of JSON.", log)
            .asks::<HowMuch>()
            .gives_bytes("application/x-ndjson"),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct HowMuch {
    /// At most so many of the lines that were said before; the server keeps about a thousand. 100 where nothing is said.
    #[serde(default)]
    recent: Option<usize>,
    /// Whether what it says from now on follows, without end.
    #[serde(default)]
    follow: bool,
}

async fn log(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
    Asked(asked): Asked<HowMuch>,
) -> Answer<Response> {
    service.find(&name, &caller).await?;
    let (recent, listening) = service.board.journal.listen(&name, asked.recent.unwrap_or(RECENT));
    let recent = stream::iter(recent).map(|line| text(&line));
    let now = stream::unfold((listening, service.stop.clone(), name), |(mut listening, stop, name)| async move {
        let heard = tokio::select! {
            // What was said before the stop is told.
            biased;
            heard = timeout(QUIET, listening.recv()) => heard,
            () = stop.cancelled() => return None,
        };
        let bytes = match heard {
            Ok(Ok(spoken)) if *spoken.pipeline == *name => text(&spoken.line),
            Ok(Ok(_)) => Bytes::new(),
            Ok(Err(RecvError::Lagged(missed))) => text(&LogLine {
                at_ms: clock::wall_ms(),
                level: "warn".into(),
                text: format!("{missed} lines of pipelines of this server were said faster than they were read"),
            }),
            Ok(Err(RecvError::Closed)) => return None,
            Err(_) => Bytes::from_static(b"\n"),
        };
        Some((bytes, (listening, stop, name)))
    });
    // At once, so that whoever waits knows that it is listened to.
    let begin = stream::iter(asked.follow.then(|| Bytes::from_static(b"\n")));
    let now = stream::iter(asked.follow.then_some(now)).flatten();
    let lines = begin.chain(recent).chain(now);
    let lines = lines.filter(|bytes| std::future::ready(!bytes.is_empty())).map(Ok::<_, std::io::Error>);
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn text(line: &LogLine) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
