//! Requests to a collector, one after the other. What it does not take is said once a minute at most.

use std::{
    fs,
    io::{Read as _, Write as _},
    sync::Once,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use reqwest::{
    Certificate, Client, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use spout_base::{
    clock::{self, Instant},
    error::chain,
};

use super::{Error, Signal};

/// How often it is said that a collector takes nothing.
const SAID: Duration = Duration::from_secs(60);
/// How long it is waited before something is sent for the second time, which is the last one.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes that the file of authorities may have.
const AUTHORITIES: u64 = 4 << 20;

/// Sends one kind of things.
#[derive(Debug)]
pub(crate) struct Sender {
    what: &'static str,
    signal: Signal,
    client: Client,
    said: Option<Instant>,
    /// What was left out since then.
    lost: u64,
}

/// Why something was not taken.
struct Refused {
    why: String,
    /// Whether it may be taken later.
    later: bool,
}

impl Sender {
    /// One that sends `what` as `signal` says.
    ///
    /// # Errors
    /// What of that cannot be used.
    pub(crate) fn new(what: &'static str, signal: Signal) -> Result<Self, Error> {
        static RING: Once = Once::new();
        RING.call_once(|| {
            // Only fails where somebody else has chosen a provider, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        });
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if signal.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in &signal.headers {
            let wrong = || Error::Setting {
                name: "OTEL_EXPORTER_OTLP_HEADERS".into(),
                why: format!("`{}` is no header of HTTP, or its value is none", name.escape_debug()),
            };
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(name.as_str()).map_err(|_| wrong())?, value);
        }
        // A secret must not follow a redirect to somebody else.
        let builder = Client::builder().default_headers(headers).redirect(Policy::none()).timeout(signal.timeout);
        let builder = match &signal.certificate {
            None => builder,
            Some(path) => {
                let wrong = |why: String| Error::Setting {
                    name: "OTEL_EXPORTER_OTLP_CERTIFICATE".into(),
                    why: format!("{}: {why}", path.display()),
                };
                let mut pem = Vec::new();
                let read = fs::File::open(path).and_then(|file| file.take(AUTHORITIES).read_to_end(&mut pem));
                read.map_err(|error| wrong(error.to_string()))?;
                let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(chain(&error)))?;
                builder.tls_certs_only(authorities)
            }
        };
        let client = builder.build().map_err(|error| Error::Client { why: chain(&error) })?;
        Ok(Self { what, signal, client, said: None, lost: 0 })
    }

    /// Sends a request that holds so many things, a second time if that may help; then they are left out.
    pub(crate) async fn send(&mut self, bytes: Vec<u8>, holds: u64) {
        let bytes = if self.signal.gzip { packed(&bytes) } else { bytes };
        let mut refused = match self.post(bytes.clone()).await {
            Ok(()) => return self.works(),
            Err(refused) => refused,
        };
        if refused.later {
            tokio::time::sleep(clock::jittered(AGAIN)).await;
            refused = match self.post(bytes).await {
                Ok(()) => return self.works(),
                Err(refused) => refused,
            };
        }
        self.lose(holds, &refused.why);
    }

    /// Leaves out so many things.
    pub(crate) fn lose(&mut self, things: u64, why: &str) {
        self.lost += things;
        let now = clock::now();
        if self.said.is_none_or(|said| now.duration_since(said) >= SAID) {
            let (lost, what) = (std::mem::take(&mut self.lost), self.what);
            let at = address(&self.signal);
            tracing::warn!(
                at,
                what,
                lost,
                "the OpenTelemetry collector does not take what it is sent: {why}; it is left out"
            );
            self.said = Some(now);
        }
    }

    fn works(&mut self) {
        if self.said.take().is_some() {
            let (at, what, lost) = (address(&self.signal), self.what, std::mem::take(&mut self.lost));
            tracing::info!(at, what, lost, "the OpenTelemetry collector takes what it is sent again");
        }
    }

    async fn post(&self, bytes: Vec<u8>) -> Result<(), Refused> {
        let sent = self.client.post(self.signal.url.clone()).body(bytes).send().await;
        // The address is said apart, without what it may hold besides.
        let response = sent.map_err(|error| Refused { why: chain(&error.without_url()), later: true })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let busy = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        Err(Refused { why: format!("it answers {status}"), later: busy.contains(&status) })
    }
}

/// Where it goes, without a password or a query.
fn address(signal: &Signal) -> String {
    let url = &signal.url;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    // Memory takes whatever it is given.
    drop(packer.write_all(bytes));
    packer.finish().unwrap_or_default()
}
