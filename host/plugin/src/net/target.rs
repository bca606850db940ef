//! Where a connection is to lead: a host by name or by number, and a port.

use std::{fmt, net::IpAddr};

use super::grant;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// As grants write it.
    Name(String),
    Number(IpAddr),
}

impl Target {
    /// `HOST:PORT`; an IPv6 address stands in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => Host::Number(rest.strip_suffix(']')?.parse::<IpAddr>().ok()?.to_canonical()),
            None => match host.parse::<IpAddr>() {
                Ok(ip) => Host::Number(ip),
                Err(_) => Host::Name(grant::name(host)?),
            },
        };
        Some(Self { host, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Number(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Number(ip) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}
