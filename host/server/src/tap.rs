//! The route of rows after a handler of a running pipeline, a sample at a time, as server-sent events.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::Tapped;
use spout_keeper::Statuses;
use spout_pipeline::{Sample, Tap};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    Access, Error, Service,
    answer::{Answer, Failure},
    endpoint::Endpoint,
    events::{answer, event, quiet},
    guard::Caller,
    request::{Asked, Names},
};

/// A line is sent at least this often, so that a connection that is gone is noticed.
const QUIET: Duration = Duration::from_secs(5);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/pipelines/{name}/tap",
            "Rows after a handler of a running pipeline, as server-sent events `rows`. Nothing waits for who reads them.",
            tap,
        )
        .asks::<What>()
        .gives_bytes("text/event-stream"),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct What {
    /// The id of the handler whose rows are shown, or `decode` for those of the decoder. The last handler where nothing is said: its
    /// rows are those of the repo; others take the scope `run` of the pipeline.
    #[serde(default)]
    after: Option<String>,
    /// One of so many rows; each where nothing is said.
    #[serde(default)]
    every: Option<u64>,
    /// The answer ends after so many rows. It does not end where nothing is said.
    #[serde(default)]
    rows: Option<u64>,
}

/// One who reads, and how many rows are left for them.
struct Reading {
    tap: Tap,
    left: u64,
    statuses: Statuses,
    name: String,
    stop: CancellationToken,
}

async fn tap(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Names(name): Names<String>,
    Asked(asked): Asked<What>,
) -> Answer<Response> {
    service.find(&name, &caller).await?;
    let (statuses, handler) = (service.board.statuses(), asked.after.as_deref());
    let taps = statuses.taps(&name).ok_or_else(|| Error::NoPipeline { name: name.clone() })?;
    if !taps.is_last(handler) {
        // What later handlers take out, who may read the repo may not see.
        caller.may(Access::Run, Some(&name))?;
    }
    let tap = taps.open(handler, asked.every.unwrap_or(1)).map_err(|error| Failure::of(&error))?;
    let left = asked.rows.unwrap_or(u64::MAX);
    let reading = Reading { tap, left, statuses, name, stop: service.stop.clone() };
    let samples = stream::unfold(reading, |mut reading| async move {
        let bytes = reading.next().await?;
        Some((Ok(bytes), reading))
    });
    // At once, so that whoever waits knows that it is looked at.
    let begin = stream::once(async { Ok(quiet()) });
    Ok(answer(begin.chain(samples)))
}

impl Reading {
    /// The next rows, or a sign of life; nothing where there were enough.
    async fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let sample = tokio::select! {
            sample = timeout(QUIET, self.tap.next()) => sample,
            () = self.stop.cancelled() => return None,
        };
        match sample {
            Ok(sample) => Some(self.told(&sample?)),
            // It was made anew, or is no more: nothing will come through this one.
            Err(_) if !self.statuses.taps(&self.name).is_some_and(|taps| self.tap.is_of(&taps)) => None,
            Err(_) => Some(quiet()),
        }
    }

    fn told(&mut self, sample: &Sample) -> Bytes {
        let mut rows = sample.rows();
        rows.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= rows.len() as u64;
        let Sample { handler, of, missed, .. } = sample;
        let told = Tapped { handler: handler.clone(), columns: sample.columns(), rows, of: *of, missed: *missed };
        event("rows", None, &serde_json::to_string(&told).unwrap_or_default())
    }
}
