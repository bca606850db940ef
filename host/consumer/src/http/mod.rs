//! `http`: rows posted to a web address, batch by batch or commit by commit.

mod post;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr, path::Path, sync::Once, time::Duration};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{
    Client, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{reach::Reach, secret::SecretSpec};
use spout_data::{Batch, ByteSize, Period};

use self::post::{Poster, Request};
use super::{
    Consumer, ConsumerContext, Error,
    encode::{self, failed, pieces},
    offsets::Offsets,
    outbox::{Outbox, QueueSpec},
    spec::ConsumerKind,
};

/// Posts rows to a web address. At least once: after a crash some are sent again, with the same `Idempotency-Key` where
/// they are the same rows.
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
    /// Maximum bytes of rows in one request, as in `8MiB`; more are split into several.
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
    /// How long to retry after 5xx, 429 or no response, as in `1m`. Then the pipeline restarts from its last commit.
    #[serde(default = "retry_for")]
    pub retry_for: Period,
    /// What a 4xx does: `fail` (the default) stops the pipeline, `drop` counts and drops the rows.
    #[serde(default)]
    pub on_error: OnRefusal,
    /// Rows queued while the receiver is slow.
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

/// What a rejection (4xx) does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnRefusal {
    /// The pipeline stops.
    #[default]
    Fail,
    /// The rows are counted and dropped.
    Drop,
}

/// Headers that the consumer sets itself.
const OWN: [&str; 6] =
    ["content-type", "content-length", "idempotency-key", "spout-pipeline", "spout-offsets", "transfer-encoding"];

impl HttpSpec {
    /// Whether a token leaves this machine without TLS.
    fn token_in_the_clear(&self) -> bool {
        let here = |url: &Url| match url.host_str().unwrap_or_default().trim_matches(['[', ']']) {
            "localhost" => true,
            host => host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        };
        self.token.is_some() && Url::parse(&self.url).is_ok_and(|url| url.scheme() == "http" && !here(&url))
    }
}

#[async_trait]
impl ConsumerKind for HttpSpec {
    #[cfg(test)]
    fn example() -> &'static str {
        r#"{"type": "http", "url": "https://example.com/hook", "format": "json", "per": "commit",
            "headers": {"X-Source": "spout"}, "token": {"env": "HOOK_TOKEN"}, "retryFor": "1m", "onError": "drop"}"#
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        match Url::parse(&self.url) {
            Err(_) => {
                return Some((
                    "url",
                    format!("`{}` is not a web address; write it like https://example.com/hook", self.url),
                ));
            }
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                return Some(("url", "a web address starts with https:// or http://".into()));
            }
            Ok(url) if url.password().is_some() => {
                return Some(("url", "a password in the address would end up in logs; use `token`".into()));
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
        (self.body.0 == 0).then(|| ("body", "a request must be larger than 0 bytes; leave it out for 8MiB".into()))
    }

    fn describe(&self) -> String {
        let per = match self.per {
            Per::Batch => "batch",
            Per::Commit => "commit",
        };
        let clear = if self.token_in_the_clear() { ", with the token in the clear" } else { "" };
        format!("http POST {}, {}, a request a {per}{clear}", self.url, self.format.word())
    }

    fn reach(&self) -> Reach {
        Reach::Network
    }

    fn secret(&self) -> Option<&SecretSpec> {
        self.token.as_ref()
    }

    fn guarantee(&self) -> &'static str {
        match self.on_error {
            OnRefusal::Drop => {
                "at least once for rows that are not rejected: after a crash some rows are sent again, with the same Idempotency-Key where they are the same rows; rejected rows are counted and dropped"
            }
            OnRefusal::Fail => {
                "at least once: after a crash some rows are sent again, with the same Idempotency-Key where they are the same rows"
            }
        }
    }

    fn queue(&self) -> Option<&QueueSpec> {
        Some(&self.queue)
    }

    async fn open(&self, context: &ConsumerContext) -> Result<Box<dyn Consumer>, Error> {
        Ok(Box::new(HttpConsumer::open(self, context)?))
    }
}

/// A running `http` consumer.
#[derive(Debug)]
pub(crate) struct HttpConsumer {
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
    /// A secret that is not there, a spec that cannot work.
    fn open(spec: &HttpSpec, context: &ConsumerContext) -> Result<Self, Error> {
        if let Some((_, reason)) = spec.problem() {
            return Err(Error::Spec { consumer: "http", reason });
        }
        if spec.token_in_the_clear() {
            let (pipeline, url) = (&context.pipeline, &spec.url);
            tracing::warn!(
                pipeline,
                url,
                "the token is sent in the clear, and whoever sees it can use it; post to https://"
            );
        }
        let headers = headers(spec, &context.pipeline, &context.base)?;
        let drops = spec.on_error == OnRefusal::Drop;
        let poster = Poster::new(client(spec)?, spec.url.clone(), headers, spec.retry_for.0, drops);
        Ok(Self {
            format: spec.format,
            per: spec.per,
            body: spec.body.0,
            offsets: Offsets::new(&context.pipeline),
            outbox: Outbox::new("http", &spec.queue, context.stop.clone(), poster),
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

    async fn failed(&mut self) -> Error {
        self.outbox.failed().await
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
    // A redirected request may come as another, without its rows, or take the token to somebody else.
    let client = Client::builder().timeout(spec.timeout.0).redirect(Policy::none());
    client
        .build()
        .map_err(|source| Error::Spec { consumer: "http", reason: format!("cannot create an HTTP client: {source}") })
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
