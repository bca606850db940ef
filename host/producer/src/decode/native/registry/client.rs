//! Asks a registry, which may be slow, gone, or hostile.

use std::{path::Path, sync::Once, time::Duration};

use bytes::BytesMut;
use reqwest::{
    Certificate, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION},
    redirect::Policy,
};
use serde::{Deserialize, de::DeserializeOwned};
use spout_base::{
    bounded, clock,
    secret::{Secret, SecretSpec},
};
use spout_data::Period;

use super::{RegistryError, RegistrySpec};
use crate::Error;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MOST: usize = 8 << 20;
/// Most bytes of what is said with an error.
const MOST_SAID: usize = 64 << 10;
/// Most bytes of a file of authorities.
const AUTHORITIES: u64 = 4 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What is said of an answer that nobody can read.
const NONE: &str = "its answer is not that of a registry";

/// A registry.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    urls: Vec<Url>,
    /// What it is sent to know us by, which it may send back.
    shown: Vec<Secret>,
}

/// What a registry answers.
#[derive(Debug)]
pub(super) enum Answer<T> {
    Found(T),
    /// It says that there is no such thing.
    Missing,
}

/// Why there is no answer yet.
enum Trouble {
    /// It may be otherwise in a moment.
    Later(String),
    /// It stays so.
    Refused(String),
}

/// What a registry says with an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    error_code: u32,
}

impl Client {
    /// A client for the registry of `spec`; files start at `base`.
    ///
    /// # Errors
    /// What of the settings cannot be used.
    pub(super) fn new(spec: &RegistrySpec, base: &Path) -> Result<Self, Error> {
        static RING: Once = Once::new();
        RING.call_once(|| {
            // Only fails where somebody else has chosen a provider, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        });
        let wrong = |reason: String| Error::Schema { decoder: "registry".into(), reason };
        let urls = spec.addresses().map_err(wrong)?;
        if spec.in_the_clear(&urls) {
            tracing::warn!("the registry is sent a secret in the clear, and whoever sees it can use it; use https://");
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.schemaregistry.v1+json, application/json"));
        let mut shown = Vec::new();
        if let Some((mut value, secrets)) = authorization(spec, base)? {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
            shown = secrets;
        }
        // A secret must not follow a redirect to somebody else.
        let builder = reqwest::Client::builder().default_headers(headers).redirect(Policy::none());
        let mut builder = builder.connect_timeout(CONNECT).timeout(REQUEST);
        if let Some(ca) = &spec.ca {
            let path = base.join(ca);
            let unread = |reason: String| wrong(format!("`ca`: {}: {reason}", path.display()));
            let pem = bounded::read_regular(&path, AUTHORITIES).map_err(|error| unread(error.to_string()))?;
            let authorities = Certificate::from_pem_bundle(&pem).map_err(|error| unread(error.to_string()))?;
            builder = builder.tls_certs_only(authorities);
        }
        let http = builder.build().map_err(|error| wrong(format!("cannot create an HTTP client: {error}")))?;
        Ok(Self { http, urls, shown })
    }

    /// What is at `path`; asks again for as long as `patience`, and once at least, while what comes is not `sound`.
    ///
    /// # Errors
    /// The registry refuses to answer, or gives no answer all that time.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        patience: Duration,
        sound: impl Fn(&T) -> bool,
    ) -> Result<Answer<T>, Error> {
        let since = clock::now();
        let (mut pause, mut told) = (FIRST_PAUSE, false);
        let mut urls = self.urls.iter().cycle();
        loop {
            let Some(base) = urls.next() else { return Ok(Answer::Missing) };
            let mut url = base.clone();
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop_if_empty().extend(path);
            }
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            let what = match self.ask(&url).await {
                Ok(Answer::Found(found)) if !sound(&found) => NONE.into(),
                Ok(answer) => return Ok(answer),
                Err(Trouble::Refused(what)) => return Err(RegistryError::Refused { url: url.into(), what }.into()),
                Err(Trouble::Later(what)) => what,
            };
            let tried = since.elapsed();
            if tried >= patience {
                let tried = Period(Duration::from_secs(tried.as_secs()));
                return Err(RegistryError::Silent { url: url.into(), what, tried }.into());
            }
            if std::mem::replace(&mut told, true) {
                tracing::debug!(url = url.as_str(), what, "the registry does not answer; asking again");
            } else {
                tracing::warn!(url = url.as_str(), what, "the registry does not answer; asking again");
            }
            tokio::time::sleep(clock::jittered(pause)).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    async fn ask<T: DeserializeOwned>(&self, url: &Url) -> Result<Answer<T>, Trouble> {
        let later = |error: reqwest::Error| Trouble::Later(said(&error));
        let response = self.http.get(url.clone()).send().await.map_err(later)?;
        let status = response.status();
        match status {
            StatusCode::OK => {
                let bytes = body(response, MOST).await?;
                let answer = serde_json::from_slice(&bytes);
                answer.map(Answer::Found).map_err(|_| Trouble::Later(NONE.into()))
            }
            StatusCode::NOT_FOUND => {
                let said = serde_json::from_slice::<Said>(&body(response, MOST_SAID).await?).unwrap_or_default();
                // The subject, the version, the schema: 404 alone may come from whatever stands in front of a registry.
                match said.error_code {
                    40401..=40403 => Ok(Answer::Missing),
                    _ => Err(Trouble::Later("it answers 404 without saying that it is a registry; check `url`".into())),
                }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Trouble::Refused(format!(
                "it answers {status}; check `user`, `password` or `token`, and what they may read"
            ))),
            status if status.is_redirection() => {
                let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("somewhere else");
                let to = self.shown.iter().fold(to.to_owned(), |to, secret| to.replace(secret.reveal(), "[secret]"));
                let to: String = to.chars().take(200).collect();
                Err(Trouble::Refused(format!("it redirects to {to}; name in `url` where the registry is")))
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Trouble::Later(format!("it answers {status}")))
            }
            status if status.is_client_error() => Err(Trouble::Refused(format!("it answers {status}; check `url`"))),
            status => Err(Trouble::Later(format!("it answers {status}"))),
        }
    }
}

/// The header that says who asks, and what of it nobody may see.
fn authorization(spec: &RegistrySpec, base: &Path) -> Result<Option<(HeaderValue, Vec<Secret>)>, Error> {
    let read = |key: &str, secret: &SecretSpec| {
        let failed = |reason| Error::Secret { key: format!("decoder.{key}"), reason };
        secret.read(base).map_err(failed)
    };
    let (scheme, shown, secret) = match (&spec.user, &spec.password, &spec.token) {
        (Some(user), Some(password), _) => {
            use base64::Engine as _;
            let password = read("password", password)?;
            let pair = format!("{user}:{}", password.reveal());
            ("Basic", Secret::from(base64::engine::general_purpose::STANDARD.encode(pair)), password)
        }
        (_, _, Some(token)) => {
            let token = read("token", token)?;
            ("Bearer", token.clone(), token)
        }
        _ => return Ok(None),
    };
    let text = format!("{scheme} {}", shown.reveal());
    let wrong =
        |_| Error::Secret { key: "decoder.token".into(), reason: "it has characters that no header may have".into() };
    let value = HeaderValue::try_from(text).map_err(wrong)?;
    // What is shorter stands in half of all texts.
    let secrets = [shown, secret].into_iter().filter(|secret| secret.reveal().len() >= 4).collect();
    Ok(Some((value, secrets)))
}

/// At most `most` bytes of a body.
async fn body(mut response: reqwest::Response, most: usize) -> Result<BytesMut, Trouble> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Trouble::Later(said(&error)))? {
        if bytes.len() + chunk.len() > most {
            return Err(Trouble::Later(format!("its answer has more than {most} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The innermost cause, which says what happened; the others repeat the address.
fn said(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
