//! Takes messages by HTTP: a POST is answered when the commit that holds it is durable.

mod answer;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use axum::Router;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{reach::Reach, secret::SecretSpec};
use spout_data::{ByteSize, Period};
use spout_wire::{Gate, Identity, Web};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use self::answer::{busy, handle};
use super::listen::{Receive, Receiving, answer_within, crowd, is_here, listen, no_address, no_time, zero};
use crate::{
    Class, DecoderSpec, Error, FramingSpec, Guarantee, MetadataColumn, Peek, Producer, Promise, SourceContext,
    SourceSpec, certified,
    inbox::{Inbox, Letterbox},
    password::Password,
    unfinished::Unfinished,
};

/// A port that accepts messages over HTTP, as in `{listen: "0.0.0.0:8080", token: {env: TOKEN}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpSpec {
    /// Host and port to listen on, as in `127.0.0.1:8080`; with port 0 the system chooses one, and `spout run` prints it.
    pub listen: String,
    /// The path that accepts POSTs, as in `/events`; `GET /health` says whether the pipeline runs.
    #[serde(default = "path")]
    pub path: String,
    /// What clients must send as `Authorization: Bearer …`, as in `{env: TOKEN}`. Without it, anyone may post.
    #[serde(default)]
    pub token: Option<SecretSpec>,
    /// Chain of certificates in PEM, as in `chain.pem`; with `key`, clients talk TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Key of the certificate in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Where messages end in a body, as in `{type: none}` for one message a body. Without it, the content type says so:
    /// NDJSON and text by line, CSV by record, everything else whole.
    #[serde(default)]
    pub framing: Option<FramingSpec>,
    /// The largest body, as in `16MiB`, packed and unpacked. It may have a message for each four bytes of this, and 65,536 in
    /// any case.
    #[serde(default = "max_body", alias = "max_body")]
    pub max_body: ByteSize,
    /// Maximum concurrent requests, as in `256`, whose bodies have arrived and that wait for their commit; others are told to retry.
    #[serde(default = "max_requests", alias = "max_requests")]
    pub max_requests: u32,
    /// Maximum concurrent connections, as in `1024`; others are told to retry.
    #[serde(default = "max_connections", alias = "max_connections")]
    pub max_connections: u32,
    /// How many of them may come from one address (one /64 of IPv6), as in `64`. Without it half of `maxConnections`, or 32 if
    /// that is more, and from this machine as many as there are.
    #[serde(default, alias = "max_per_address")]
    pub max_per_address: Option<u32>,
    /// How long the head of a request may take to arrive, as in `30s`; a connection without requests is closed after it.
    #[serde(default = "head_time", alias = "head_time")]
    pub head_time: Period,
    /// How long a body may take to arrive, as in `30s`.
    #[serde(default = "body_time", alias = "body_time")]
    pub body_time: Period,
    /// How long a request waits for others to share its commit, as in `50ms`. Without it, a commit is cut as soon as the one
    /// before it is written, with all requests that arrived meanwhile.
    #[serde(default = "answer_within", alias = "answer_within")]
    pub answer_within: Period,
    /// Bytes received but not yet decoded, as in `64MiB`; when full, clients have to wait. As many again may be parts of bodies that
    /// are not complete.
    #[serde(default = "queue")]
    pub queue: ByteSize,
    /// How many of the last `Idempotency-Key`s are remembered in the commit, as in `256`: a request with one of them is
    /// answered without storing it again, or refused (422) if its messages are others.
    #[serde(default = "keys")]
    pub keys: u32,
    /// Whether every request must have an `Idempotency-Key`, as in `true`; `guarantee: effectively-once` needs this.
    #[serde(default, alias = "require_key")]
    pub require_key: bool,
    /// Columns added to every row, as in `[offset, timestamp]`; the timestamp is the time of arrival.
    #[serde(default)]
    pub metadata: Vec<MetadataColumn>,
}

fn path() -> String {
    "/".into()
}

fn max_body() -> ByteSize {
    ByteSize(16 << 20)
}

fn max_requests() -> u32 {
    256
}

fn max_connections() -> u32 {
    1024
}

fn head_time() -> Period {
    Period(Duration::from_secs(60))
}

fn body_time() -> Period {
    Period(Duration::from_secs(30))
}

fn queue() -> ByteSize {
    ByteSize(64 << 20)
}

fn keys() -> u32 {
    256
}

impl HttpSpec {
    /// What is wrong with the path, if anything is.
    fn no_path(&self) -> Option<(&'static str, String)> {
        let why = match self.path.as_str() {
            "/health" => "`/health` says whether the pipeline runs; choose another path",
            path if !path.starts_with('/') || path.contains(['?', '#', ' ']) => {
                "the path of a URL begins with a slash and has no `?`, `#` or blank, as in `/events`"
            }
            _ => return None,
        };
        Some(("path", why.to_owned()))
    }

    /// What is wrong with how many keys are remembered, if anything is.
    fn wrong_keys(&self) -> Option<(&'static str, String)> {
        let why = match self.keys {
            0 if self.require_key => "`requireKey` needs at least one remembered key; raise `keys`",
            4097.. => "every commit holds the keys; remember at most 4096",
            _ => return None,
        };
        Some(("keys", why.to_owned()))
    }
}

impl SourceSpec for HttpSpec {
    fn reach(&self) -> Option<Reach> {
        Some(Reach::Ports)
    }

    fn reads(&self) -> String {
        let scheme = if self.cert.is_some() { "https" } else { "http" };
        let clear = if self.token.is_some() && self.cert.is_none() && !is_here(&self.listen) {
            ", with the token in the clear"
        } else {
            ""
        };
        format!("what is posted to {scheme}://{}{}{clear}", self.listen, self.path)
    }

    fn reads_files(&self) -> bool {
        self.cert.is_some() || self.key.is_some()
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        no_address(&self.listen)
            .or_else(|| self.no_path())
            .or_else(|| certified::half(self.cert.as_ref(), self.key.as_ref()))
            .or_else(|| self.framing.as_ref().and_then(FramingSpec::problem))
            .or_else(|| zero("maxBody", self.max_body.0))
            .or_else(|| zero("maxRequests", u64::from(self.max_requests)))
            .or_else(|| zero("maxConnections", u64::from(self.max_connections)))
            .or_else(|| self.max_per_address.and_then(|most| zero("maxPerAddress", u64::from(most))))
            .or_else(|| no_time("headTime", self.head_time))
            .or_else(|| zero("queue", self.queue.0))
            .or_else(|| self.wrong_keys())
    }

    fn metadata(&self) -> &[MetadataColumn] {
        &self.metadata
    }

    fn framing(&self) -> Option<&FramingSpec> {
        self.framing.as_ref()
    }

    fn may_end(&self) -> bool {
        false
    }

    fn secret(&self) -> Option<(&'static str, &SecretSpec)> {
        self.token.as_ref().map(|token| ("token", token))
    }

    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error> {
        let port = HttpPort {
            spec: self.clone(),
            pipeline: context.pipeline.to_owned(),
            decoder: context.decoder.clone(),
            token: context.secret.map(Password::of),
            identity: certified::identity(self.cert.as_deref(), self.key.as_deref(), context.base)?,
        };
        Ok(Box::new(Receiving::new(port, self.queue, self.answer_within)))
    }

    fn peek(&self) -> Peek {
        Peek::Harmful("what clients post meanwhile is kept nowhere, and they are told to send it again".into())
    }

    fn promise(&self) -> Promise {
        let (guarantee, but) = if self.require_key && self.keys > 0 {
            (
                Guarantee::EffectivelyOnce,
                "exactly once after the response; a repeated request is recognized by its Idempotency-Key, as long as that is one of the last `keys`",
            )
        } else {
            (
                Guarantee::AtLeastOnce,
                "exactly once after the response; a client that gets no response sends again, and both may be stored: set `requireKey: true` and have clients send an Idempotency-Key",
            )
        };
        Promise { class: Class::Push, guarantee: Some(guarantee), but }
    }
}

/// Listens on an HTTP port.
#[derive(Debug)]
struct HttpPort {
    spec: HttpSpec,
    pipeline: String,
    decoder: DecoderSpec,
    token: Option<Password>,
    identity: Option<Identity>,
}

/// What every request needs.
#[derive(Debug)]
struct Service {
    spec: HttpSpec,
    pipeline: String,
    decoder: DecoderSpec,
    requests: Semaphore,
    unfinished: Unfinished,
    stop: CancellationToken,
    token: Option<Password>,
    /// Gone when nothing is taken any more.
    letterbox: Mutex<Option<Letterbox>>,
}

#[async_trait]
impl Receive for HttpPort {
    const LABEL: &'static str = "http";

    fn keys(&self) -> usize {
        self.spec.keys as usize
    }

    async fn open(&mut self, inbox: &mut Inbox) -> Result<Option<SocketAddr>, Error> {
        let Self { spec, pipeline, decoder, token, identity } = self;
        let (listener, address) = listen("http", &spec.listen).await?;
        if !address.ip().is_loopback() {
            warn_of_others(pipeline, address, token.is_some(), identity.is_some());
        }
        inbox.fill(|letterbox, stop| {
            let service = Service {
                requests: Semaphore::new(spec.max_requests as usize),
                unfinished: Unfinished::new(spec.queue.0),
                spec: spec.clone(),
                pipeline: pipeline.clone(),
                decoder: decoder.clone(),
                token: *token,
                letterbox: Mutex::new(Some(letterbox)),
                stop,
            };
            serve(listener, identity.clone(), Arc::new(service))
        });
        Ok(Some(address))
    }
}

/// Says what whoever reaches the port, or what lies between, can do.
fn warn_of_others(pipeline: &str, address: SocketAddr, token: bool, tls: bool) {
    if token && tls {
        return;
    }
    if token {
        tracing::warn!(
            pipeline,
            %address,
            "the token is sent in the clear, and whoever sees it can write: set `cert` and `key`"
        );
    } else {
        tracing::warn!(pipeline, %address, "anyone who can reach this port can write; set `token`");
    }
}

async fn serve(listener: TcpListener, identity: Option<Identity>, service: Arc<Service>) {
    let spec = &service.spec;
    let crowd = crowd(spec.max_connections, spec.max_per_address);
    let name = format!("the http port of pipeline {}", service.pipeline);
    let gate = Gate::new(name, "`maxConnections` or `maxPerAddress`", crowd, 1);
    let web = Web::new(listener, gate, identity, spec.head_time.0, busy);
    let app = Router::new().fallback(handle).with_state(Arc::clone(&service));
    let closing = async {
        service.stop.cancelled().await;
        *service.letterbox.lock().unwrap_or_else(PoisonError::into_inner) = None;
    };
    // Who waits for the last commit is answered after it; the inbox knows for how long.
    tokio::join!(web.serve(app, service.stop.clone(), None), closing);
}

impl Service {
    /// Where messages are put, unless the pipeline stops.
    fn letterbox(&self) -> Option<Letterbox> {
        self.letterbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether `sent` is the token, if there is one.
    fn lets_in(&self, sent: Option<&[u8]>) -> bool {
        self.token.is_none_or(|token| token.is(sent.unwrap_or_default()))
    }
}
