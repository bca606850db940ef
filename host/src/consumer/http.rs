//! `http`: rows posted to a web address, batch by batch or commit by commit.

use std::{collections::BTreeMap, path::Path, sync::Once, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{
    Client, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Consumer, Error, Surroundings,
    encode::{self, failed, pieces},
    offsets::Offsets,
    outbox::{Deliver, Outbox, QueueSpec, Room},
    retry::Retry,
};
use crate::{
    clock,
    data::{Batch, ByteSize, Period},
    secret::SecretSpec,
};

/// Posts rows to a web address. At least once: after a crash some come again, with the same `Idempotency-Key` where they
/// are the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpSpec {
    /// Where to, as in `https://example.com/hook`.
    pub url: String,
    /// `ndjson` (the default), `json` (one array), or `arrow` (an Arrow IPC stream).
    #[serde(default)]
    pub format: HttpFormat,
    /// What one request holds: the rows of a `batch` (the default), or of a `commit`.
    #[serde(default)]
    pub per: Per,
    /// Most bytes of rows in one request, as in `8MiB`; more are cut into several.
    #[serde(default = "body")]
    pub body: ByteSize,
    /// Headers of every request, as in `{X-Source: spout}`. Not for secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Where the bearer token is, as in `{env: HOOK_TOKEN}` or `{file: /run/secrets/hook}`.
    #[serde(default)]
    pub token: Option<SecretSpec>,
    /// How long one request may take, as in `30s`.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// How long to try again what fails with 5xx, 429 or no answer, as in `1m`. Then the pipeline starts again from its last
    /// commit.
    #[serde(default = "retry_for")]
    pub retry_for: Period,
    /// What a 4xx does: `fail` (the default) stops the pipeline, `drop` counts the rows and leaves them out.
    #[serde(default)]
    pub on_error: OnRefusal,
    /// What waits while the receiver is slow.
    #[serde(default)]
    pub queue: QueueSpec,
}

fn body() -> ByteSize {
    ByteSize(8 << 20)
}

fn timeout() -> Period {
    Period(Duration::from_secs(30))
}

fn retry_for() -> Period {
    Period(Duration::from_secs(60))
}

/// What a body holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HttpFormat {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// One JSON array.
    Json,
    /// An Arrow IPC stream.
    Arrow,
}

impl HttpFormat {
    fn word(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Json => "application/json",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// What one request holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// The rows of one batch.
    #[default]
    Batch,
    /// The rows of one commit.
    Commit,
}

/// What a refusal (4xx) does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnRefusal {
    /// The pipeline stops.
    #[default]
    Fail,
    /// The rows are counted and left out.
    Drop,
}

/// Headers that the consumer sets itself.
const OWN: [&str; 6] =
    ["content-type", "content-length", "idempotency-key", "spout-pipeline", "spout-offsets", "transfer-encoding"];

impl HttpSpec {
    /// What cannot be, by key.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        match Url::parse(&self.url) {
            Err(_) => {
                return Some((
                    "url",
                    format!("`{}` is no web address; write it like https://example.com/hook", self.url),
                ));
            }
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                return Some(("url", "a web address starts with https:// or http://".into()));
            }
            Ok(url) if url.password().is_some() => {
                return Some(("url", "a password in the address would be in logs; use `token`".into()));
            }
            Ok(_) => {}
        }
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                return Some(("headers", format!("`{name}: {value}` cannot be a header")));
            }
            if OWN.contains(&lower.as_str()) || (lower == "authorization" && self.token.is_some()) {
                return Some(("headers", format!("the header `{name}` is set by the consumer itself; leave it out")));
            }
        }
        (self.body.0 == 0).then(|| ("body", "a request has to hold something; leave it out for 8MiB".into()))
    }

    pub(super) fn describe(&self) -> String {
        let per = match self.per {
            Per::Batch => "batch",
            Per::Commit => "commit",
        };
        format!("http POST {}, {}, a request a {per}", self.url, self.format.word())
    }
}

/// A running `http` consumer.
#[derive(Debug)]
pub struct HttpConsumer {
    format: HttpFormat,
    per: Per,
    body: u64,
    offsets: Offsets,
    outbox: Outbox<Request>,
    kept: Vec<RecordBatch>,
    bytes: u64,
}

impl HttpConsumer {
    /// Makes ready to post; whoever listens need not be there yet.
    ///
    /// # Errors
    /// If the secret is not there, or the spec says what cannot be.
    pub fn open(spec: &HttpSpec, around: &Surroundings) -> Result<Self, Error> {
        if let Some((_, reason)) = spec.problem() {
            return Err(Error::Spec { consumer: "http", reason });
        }
        let poster = Poster {
            client: client(spec)?,
            url: spec.url.clone(),
            headers: headers(spec, &around.pipeline, &around.base)?,
            retry_for: spec.retry_for.0,
            drops: spec.on_error == OnRefusal::Drop,
            dropped: 0,
            retry: Retry::default(),
        };
        Ok(Self {
            format: spec.format,
            per: spec.per,
            body: spec.body.0,
            offsets: Offsets::new(&around.pipeline),
            outbox: Outbox::new("http", &spec.queue, around.stop.clone(), poster),
            kept: Vec::new(),
            bytes: 0,
        })
    }

    /// Posts what is kept, in requests of one schema each.
    async fn post(&mut self) -> Result<(), Error> {
        let kept = std::mem::take(&mut self.kept);
        self.bytes = 0;
        for rows in kept.chunk_by(|a, b| a.schema_ref() == b.schema_ref()) {
            let Some((first, rest)) = rows.split_first() else { continue };
            let count = rows.iter().map(RecordBatch::num_rows).sum();
            let encoded = match self.format {
                HttpFormat::Arrow => encode::arrow(first, rest),
                HttpFormat::Json => encode::json(rows),
                HttpFormat::Ndjson => {
                    rows.iter().map(encode::ndjson).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
                }
            };
            let body: Bytes = encoded.map_err(failed("http", self.format.word(), count))?.into();
            let size = body.len();
            let request = Request { key: self.offsets.key(&body), offsets: self.offsets.text(), body, rows: count };
            self.outbox.put(request, size, count).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Consumer for HttpConsumer {
    fn name(&self) -> &str {
        "http"
    }

    async fn consume(&mut self, batch: &Batch) -> Result<(), Error> {
        self.offsets.add(&batch.span);
        for piece in pieces(&batch.records, self.body) {
            let bytes = piece.get_array_memory_size() as u64;
            if self.bytes > 0 && self.bytes + bytes > self.body {
                self.post().await?;
            }
            self.bytes += bytes;
            self.kept.push(piece);
        }
        if self.per == Per::Batch {
            self.post().await?;
            self.offsets.begin();
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.post().await?;
        self.offsets.begin();
        self.outbox.flush().await
    }

    async fn finish(&mut self) -> Result<(), Error> {
        self.outbox.finish().await
    }
}

fn client(spec: &HttpSpec) -> Result<Client, Error> {
    static RING: Once = Once::new();
    RING.call_once(|| {
        // Only fails where somebody else has chosen a provider, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
    let client = Client::builder().timeout(spec.timeout.0).redirect(Policy::limited(3));
    client
        .build()
        .map_err(|source| Error::Spec { consumer: "http", reason: format!("no client can be made: {source}") })
}

fn headers(spec: &HttpSpec, pipeline: &str, base: &Path) -> Result<HeaderMap, Error> {
    let wrong = |what: &str| Error::Spec { consumer: "http", reason: format!("{what} cannot be a header") };
    let mut headers = HeaderMap::new();
    for (name, value) in &spec.headers {
        let name = HeaderName::try_from(name).map_err(|_| wrong(name))?;
        headers.append(name, HeaderValue::try_from(value).map_err(|_| wrong(value))?);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(spec.format.content_type()));
    headers.insert("spout-pipeline", HeaderValue::try_from(pipeline).map_err(|_| wrong(pipeline))?);
    if let Some(token) = &spec.token {
        let secret = token.read(base).map_err(|reason| Error::Secret { consumer: "http", reason })?;
        let bearer = format!("Bearer {}", secret.reveal());
        let mut value = HeaderValue::try_from(bearer).map_err(|_| wrong("the token"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// One request to make.
#[derive(Debug)]
struct Request {
    key: String,
    offsets: Option<String>,
    body: Bytes,
    rows: usize,
}

/// Posts one request after the other.
struct Poster {
    client: Client,
    url: String,
    headers: HeaderMap,
    retry_for: Duration,
    drops: bool,
    dropped: u64,
    retry: Retry,
}

/// What became of a request.
enum Answer {
    Taken,
    Refused(StatusCode, String),
    Later(String, Option<Duration>),
}

impl Poster {
    async fn post(&self, request: &Request) -> Answer {
        let mut post =
            self.client.post(&self.url).headers(self.headers.clone()).header("idempotency-key", &request.key);
        if let Some(offsets) = &request.offsets {
            post = post.header("spout-offsets", offsets);
        }
        let response = match post.body(request.body.clone()).send().await {
            Ok(response) => response,
            Err(error) => return Answer::Later(chain(&error), None),
        };
        let status = response.status();
        if status.is_success() {
            return Answer::Taken;
        }
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(retry_after);
        let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY];
        if status.is_server_error() || busy.contains(&status) {
            return Answer::Later(format!("it answered {status}"), after);
        }
        Answer::Refused(status, said(response).await)
    }
}

#[async_trait]
impl Deliver for Poster {
    type Parcel = Request;

    async fn deliver(&mut self, request: Request, _room: Room) -> Result<(), Error> {
        let since = clock::now();
        loop {
            let (what, after) = match self.post(&request).await {
                Answer::Taken => {
                    self.retry.worked();
                    return Ok(());
                }
                Answer::Refused(status, said) if self.drops => {
                    self.dropped += request.rows as u64;
                    let (url, dropped) = (&self.url, self.dropped);
                    tracing::warn!(url, %status, said, dropped, "the receiver refused rows; they are left out, as onError says");
                    return Ok(());
                }
                Answer::Refused(status, said) => {
                    return Err(Error::Refused { url: self.url.clone(), status: status.as_u16(), said });
                }
                Answer::Later(what, after) => (what, after),
            };
            let tried = since.elapsed();
            if tried >= self.retry_for {
                return Err(Error::Unanswered {
                    url: self.url.clone(),
                    what,
                    tried: Period(Duration::from_secs(tried.as_secs())),
                });
            }
            tracing::debug!(url = self.url, what, "a request failed; trying again");
            // A receiver may ask for more patience than the spec allows.
            let most = self.retry_for.saturating_sub(tried).max(Duration::from_millis(100));
            self.retry.pause(after.map(|after| after.min(most))).await;
        }
    }

    async fn close(self, _patience: Duration) -> Result<(), Error> {
        Ok(())
    }
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond();
    u64::try_from(at.saturating_sub(clock::wall_ms())).ok().map(Duration::from_millis)
}

/// The beginning of a body, on one line.
async fn said(mut response: reqwest::Response) -> String {
    const MOST: usize = 300;
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= MOST {
            break;
        }
    }
    let text = String::from_utf8_lossy(bytes.get(..MOST).unwrap_or(&bytes)).into_owned();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// An example, which a test reads.
#[cfg(test)]
pub(super) const EXAMPLE: &str = r#"{"type": "http", "url": "https://example.com/hook", "format": "json", "per": "commit",
    "headers": {"X-Source": "spout"}, "token": {"env": "HOOK_TOKEN"}, "retryFor": "1m", "onError": "drop"}"#;

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
