//! Requests and answers: addresses, the token, errors.

use std::{path::Path, sync::Once, time::Duration};

use reqwest::{
    Client, ClientBuilder, Method, RequestBuilder, Response,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect::Policy,
};
use serde::{Serialize, de::DeserializeOwned};
use spout_api::{Error, Problem, Result};
use spout_base::secret::Secret;
use url::Url;

/// A server that is not reached within this time is not there.
const CONNECT: Duration = Duration::from_secs(10);
/// A query may find nothing for as long as the server lets it.
const SILENT: Duration = Duration::from_secs(330);
/// The server closes a connection that is idle for a minute; one that might be closed at this moment is not used again.
const IDLE: Duration = Duration::from_secs(30);
/// How often TCP asks whether the other side is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How much of an answer that is no JSON is shown.
const SHOWN: usize = 200;

/// Makes TLS possible, once a process.
pub(crate) fn use_ring() {
    static RING: Once = Once::new();
    RING.call_once(|| {
        // Only fails where somebody else has chosen a provider, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
}

/// An error with its causes, each said once.
pub(crate) fn said(error: &reqwest::Error) -> String {
    let mut what = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !what.contains(&said) {
            what = format!("{what}: {said}");
        }
        cause = inner.source();
    }
    what
}

/// What to do where the two sides do not agree about TLS.
fn about_tls(said: &str) -> &'static str {
    let advice = [
        (
            "CaUsedAsEndEntity",
            "; a certificate that signs others is none of a server: make one with `basicConstraints=CA:FALSE`",
        ),
        ("certificate", "; `SSL_CERT_FILE=ca.pem` names the certificates that are to be trusted"),
        ("invalid HTTP version", "; where a server has a certificate, its address begins with https://"),
    ];
    advice.into_iter().find(|(what, _)| said.contains(what)).map(|(_, advice)| advice).unwrap_or_default()
}

/// A server, and what lets us in.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    client: Client,
    /// The same for what may say nothing for long.
    patient: Client,
    base: Url,
    shown: String,
}

impl Link {
    pub(crate) fn new(server: &str, token: Option<&Secret>) -> Result<Self> {
        Self::through(server, token, |builder| builder)
    }

    /// A process at a socket of this machine; of its address only the path is used.
    pub(crate) fn at_socket(socket: &Path) -> Result<Self> {
        let made = Self::through("http://localhost", None, |builder| builder.unix_socket(socket))?;
        Ok(Self { shown: socket.display().to_string(), ..made })
    }

    fn through(server: &str, token: Option<&Secret>, how: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Self> {
        use_ring();
        let wrong = |what: String| Error::Foreign { server: server.to_owned(), what };
        let base: Url = server.parse().map_err(|error| wrong(format!("the address is no URL: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(wrong("its address does not begin with http:// or https://".into()));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
            let mut value = value.map_err(|_| wrong("the token has characters that no header may have".into()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let builder = || {
            // A token must not follow a redirect to somebody else.
            let builder = Client::builder().default_headers(headers.clone()).redirect(Policy::none());
            how(builder.connect_timeout(CONNECT).pool_idle_timeout(IDLE).tcp_keepalive(KEEP_ALIVE))
        };
        let made = |client: reqwest::Result<Client>| {
            client.map_err(|error| wrong(format!("no HTTP client can be made: {error}")))
        };
        let (client, patient) = (made(builder().read_timeout(SILENT).build())?, made(builder().build())?);
        Ok(Self { client, patient, shown: server.trim_end_matches('/').to_owned(), base })
    }

    /// The address of the server as it was given.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// A request to `/v1/` and the segments that follow.
    pub(crate) fn request<'a>(
        &self,
        method: Method,
        segments: impl IntoIterator<Item = &'a str>,
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        self.client.request(method, self.url(segments, query))
    }

    /// A POST whose answer may take hours; that the server is still there, TCP finds out.
    pub(crate) fn long<'a>(
        &self,
        segments: impl IntoIterator<Item = &'a str>,
        query: &[(&str, &str)],
    ) -> RequestBuilder {
        self.patient.post(self.url(segments, query))
    }

    fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The answer of a request that succeeded.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let answer = request.send().await.map_err(|error| self.broken(&error))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = answer.bytes().await.map_err(|error| self.broken(&error))?;
        match serde_json::from_slice::<Problem>(&text) {
            Ok(problem) => Err(problem.into_error()),
            Err(_) => {
                let text: String = String::from_utf8_lossy(&text).chars().take(SHOWN).collect();
                Err(self.foreign(format!("{status} {text}")))
            }
        }
    }

    /// The JSON that answers a request.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let bytes = self.send(request).await?.bytes().await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| self.foreign(error.to_string()))
    }

    /// The same for a request with a body.
    pub(crate) async fn post<T: DeserializeOwned>(&self, request: RequestBuilder, body: &impl Serialize) -> Result<T> {
        let body = serde_json::to_vec(body).map_err(|error| self.foreign(error.to_string()))?;
        self.json(request.header("content-type", "application/json").body(body)).await
    }

    /// The connection failed, or was cut.
    pub(crate) fn broken(&self, error: &reqwest::Error) -> Error {
        let said = said(error);
        Error::Unreachable { server: self.shown.clone(), what: format!("{said}{}", about_tls(&said)) }
    }

    pub(crate) fn foreign(&self, what: String) -> Error {
        Error::Foreign { server: self.shown.clone(), what }
    }
}
