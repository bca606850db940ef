//! The route of queries: rows are sent while they are found.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use schemars::JsonSchema;
use serde::Deserialize;
use spout_api::{Api as _, Encoder, Error as ApiError, Format, Query, Rows};
use spout_base::error::chain;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{
    Access, Error, Service,
    answer::Answer,
    endpoint::Endpoint,
    guard::Caller,
    request::{Asked, Sent},
};

/// How long a query may take until its first rows, and between any two batches of them.
const LONGEST: Duration = Duration::from_secs(300);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/sql", "The rows of a query over the commits of repos.", ask)
            .needs(Some(Access::Read))
            .asks::<As>()
            .takes::<Query>()
            .gives_bytes("application/x-ndjson"),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
struct As {
    /// What rows are sent as; NDJSON where nothing is said.
    #[serde(default)]
    format: Format,
}

fn media(format: Format) -> &'static str {
    match format {
        Format::Ndjson => "application/x-ndjson",
        Format::Csv => "text/csv; charset=utf-8",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Arrow => "application/vnd.apache.arrow.file",
        Format::Stream => "application/vnd.apache.arrow.stream",
    }
}

/// A query on its way.
struct Asking {
    rows: Rows,
    /// Taken when the last rows were written.
    encoder: Option<Encoder>,
    _permit: Option<OwnedSemaphorePermit>,
}

async fn ask(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Asked(asked): Asked<As>,
    Sent(query): Sent<Query>,
) -> Answer<Response> {
    // It is closed by nobody.
    let permit = Arc::clone(&service.queries).acquire_owned().await.ok();
    let slow = |_| Error::QueryTime { seconds: LONGEST.as_secs() };
    let rows = timeout(LONGEST, caller.local.sql(&query)).await.map_err(slow)??;
    let encoder = Some(Encoder::new(asked.format, rows.schema())?);
    let mut asking = Asking { rows, encoder, _permit: permit };
    // The first rows are found before anything is said, so that what is wrong has a status.
    let first = timeout(LONGEST, asking.next()).await.map_err(slow)??;
    let rest = stream::try_unfold(asking, |mut asking| async move {
        let slow = |_| std::io::Error::other("the query took too long");
        let bytes = timeout(LONGEST, asking.next()).await.map_err(slow)?.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(bytes.map(|bytes| (bytes, asking)))
    });
    let rest = rest.map(|bytes| {
        bytes.inspect_err(|error| tracing::warn!(error = chain(error), "a query failed while its rows were sent"))
    });
    let mut response = Response::new(Body::from_stream(stream::iter(first.map(Ok)).chain(rest)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media(asked.format)));
    Ok(response)
}

impl Asking {
    /// The next bytes; `None` behind the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        while let Some(encoder) = &mut self.encoder {
            let bytes = match self.rows.next().await {
                Some(batch) => {
                    encoder.write(&batch?)?;
                    encoder.taken()
                }
                None => match self.encoder.take() {
                    Some(encoder) => encoder.finish()?,
                    None => Vec::new(),
                },
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes.into()));
            }
        }
        Ok(None)
    }
}
