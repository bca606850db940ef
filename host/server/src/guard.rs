//! Who asks, and what of the store they are shown.

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    extract::{FromRequestParts, RawPathParams, Request, State},
    http::{
        HeaderMap, HeaderValue,
        header::{AUTHORIZATION, HOST, ORIGIN},
        request::Parts,
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use spout_api::Local;
use spout_repo::{PLUGINS, SPECS, path::repo_name};

use crate::{
    Access, Error, Service, Token,
    answer::{Failure, covered},
};

/// What a route asks of its callers.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) service: Arc<Service>,
    /// `None` lets in everyone.
    pub(crate) access: Option<Access>,
}

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The verbs on what they may see.
    pub(crate) local: Arc<Local>,
    token: Option<Token>,
}

impl Caller {
    fn new(service: &Service, token: Option<Token>) -> Self {
        let local = match &token {
            None => service.local.limited(|_| true),
            Some(token) => {
                let token = token.clone();
                service.local.limited(move |repo| token.allows(Access::Read, Some(repo)))
            }
        };
        Self { local: Arc::new(local), token }
    }

    /// Refuses what the token does not allow. What stands in the repos of pipelines and plugins runs, so that nobody changes them
    /// but by the routes that are made for it.
    pub(crate) fn may(&self, access: Access, name: Option<&str>) -> Result<(), Error> {
        if let Some(repo @ (SPECS | PLUGINS)) = name
            && matches!(access, Access::Write | Access::Admin)
        {
            return Err(Error::OwnRepo { repo: repo.to_owned() });
        }
        match &self.token {
            Some(token) if !token.allows(access, name) => {
                Err(Error::Forbidden { access, name: name.map(str::to_owned) })
            }
            _ => Ok(()),
        }
    }

    /// Refuses one who may not look after a repo. That changes nothing of what it holds, so that those of pipelines and plugins are
    /// looked after as any other.
    pub(crate) fn tends(&self, repo: &str) -> Result<(), Error> {
        match &self.token {
            Some(token) if !token.allows(Access::Admin, Some(repo)) => {
                Err(Error::Forbidden { access: Access::Admin, name: Some(repo.to_owned()) })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a pipeline that the caller may not know of.
    pub(crate) fn knows(&self, pipeline: &str) -> Result<(), Error> {
        if self.sees(pipeline) { Ok(()) } else { Err(Error::NoPipeline { name: pipeline.to_owned() }) }
    }

    /// Whether the caller may know of the repo.
    pub(crate) fn sees(&self, repo: &str) -> bool {
        self.may(Access::Read, Some(repo)).is_ok()
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // The guard has put it there; a route without one has no callers.
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Error::Unauthorized { why: "nobody has asked who calls" }.into())
    }
}

/// Lets a request through to its route, or says why not.
pub(crate) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match admitted(&guard, &mut parts).await {
        Ok(caller) => {
            caller.map(|caller| parts.extensions.insert(caller));
        }
        Err(failure) => return covered(failure.into_response(), &guard.service.veil),
    }
    let answer = AssertUnwindSafe(next.run(Request::from_parts(parts, body))).catch_unwind().await;
    let answer = answer.unwrap_or_else(|_| Failure::from(Error::Panicked).into_response());
    covered(answer, &guard.service.veil)
}

async fn admitted(guard: &Guard, parts: &mut Parts) -> Result<Option<Caller>, Failure> {
    let Some(access) = guard.access else { return Ok(None) };
    let token = match &guard.service.tokens {
        Some(tokens) => Some(tokens.find(bearer(&parts.headers)?)?),
        None => {
            ours(&parts.headers)?;
            None
        }
    };
    let caller = Caller::new(&guard.service, token);
    let names = RawPathParams::from_request_parts(parts, &()).await;
    let names = names.map_err(|error| Error::Request { why: error.to_string() })?;
    let named = names.iter().find(|(name, _)| ["repo", "name", "plugin"].contains(name));
    if let Some((_, name)) = named {
        // A name that is none must not be read as another one further on.
        repo_name(name).map_err(spout_api::Error::from)?;
    }
    match named {
        // What a caller may not know of is not there; the store says so, or the route.
        Some(("repo" | "name", name)) if !caller.sees(name) => {}
        named => caller.may(access, named.map(|(_, name)| name))?,
    }
    Ok(Some(caller))
}

/// Who asks at a route that lets in everyone, if they may know more than everyone.
pub(crate) fn known(service: &Service, headers: &HeaderMap) -> Option<Caller> {
    let token = match &service.tokens {
        Some(tokens) => Some(tokens.find(bearer(headers).ok()?).ok()?),
        None => {
            ours(headers).ok()?;
            None
        }
    };
    Some(Caller::new(service, token))
}

/// The token that was sent.
fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let sent = headers.get(AUTHORIZATION).ok_or(Error::Unauthorized { why: "this server asks for a token" })?;
    let sent = sent.to_str().ok().and_then(|sent| sent.split_once(' '));
    match sent {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Error::Unauthorized { why: "the Authorization header has no bearer token" }),
    }
}

/// Refuses the browser of somebody on this machine that a foreign page sends here: where there are no tokens, that the request
/// comes from this machine is all that lets it in. The page of the server itself, the console, has the name of the server for
/// its origin.
fn ours(headers: &HeaderMap) -> Result<(), Error> {
    let said = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = said(HOST).unwrap_or_default();
    let own = |origin: &str| {
        let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        place.is_some_and(|place| place.eq_ignore_ascii_case(host))
    };
    if headers.contains_key(ORIGIN) && !said(ORIGIN).is_some_and(own) {
        return Err(Error::CrossSite { why: "the Origin header names another page than this server's own" });
    }
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let local = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if local { Ok(()) } else { Err(Error::CrossSite { why: "the Host header does not name this machine" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_answered_without_tokens() {
        let check = |host: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(ours(&headers).is_ok(), expected, "{host}");
            headers.insert(ORIGIN, format!("http://{host}").parse().unwrap());
            assert_eq!(ours(&headers).is_ok(), expected, "the page of {host} itself");
            for foreign in
                ["null", "", "http://", "http://localhost", "http://evil.example:1653", "ftp://127.0.0.1:1653"]
            {
                headers.insert(ORIGIN, foreign.parse().unwrap());
                assert!(ours(&headers).is_err(), "{foreign:?} at {host}");
            }
            headers.insert(ORIGIN, format!("http://{host}.evil.example").parse().unwrap());
            assert!(ours(&headers).is_err(), "{host}");
        };
        check("127.0.0.1:1653", true);
        check("localhost:1653", true);
        check("[::1]:1653", true);
        check("127.0.0.1", true);
        check("evil.example:1653", false);
        check("127.0.0.1.evil.example", false);
        check("192.168.0.1:1653", false);
        check("", false);
    }
}
