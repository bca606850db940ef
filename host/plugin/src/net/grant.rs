//! What a spec grants of the network and the environment, as it is written there.

use std::{borrow::Cow, collections::BTreeMap, fmt, net::IpAddr, path::Path, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use spout_base::secret::SecretSpec;

use super::{
    range::Range,
    target::{Host, Target},
};

/// Where a plugin may connect to: `broker:9092`, `*.example.com:443`, `10.0.0.0/8:5432`, `[2001:db8::/32]:9092-9094`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetGrant {
    pub(super) hosts: Hosts,
    pub(super) ports: Ports,
}

/// The hosts of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    /// Addresses, dialled by number.
    Range(Range),
    /// One name.
    Name(String),
    /// Every name that ends with a dot and this.
    Below(String),
}

/// The ports of a grant, first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports(u16, u16);

impl Ports {
    pub(super) fn contains(self, port: u16) -> bool {
        (self.0..=self.1).contains(&port)
    }

    fn covers(self, other: Self) -> bool {
        self.0 <= other.0 && other.1 <= self.1
    }
}

impl NetGrant {
    /// Whether it is about `name`, which is written as [`name`] writes it.
    pub(super) fn names(&self, name: &str) -> bool {
        match &self.hosts {
            Hosts::Range(_) => false,
            Hosts::Name(granted) => granted == name,
            Hosts::Below(domain) => name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.')),
        }
    }

    /// Whether it opens `ip`, dialled by number.
    pub(super) fn opens(&self, ip: IpAddr) -> bool {
        matches!(&self.hosts, Hosts::Range(range) if range.opens(ip))
    }

    /// How narrowly it is about `target`, if it is: one host before the names below one or a range, and fewer of them before more.
    pub(super) fn fits(&self, target: &Target) -> Option<(u8, usize)> {
        let fits = match &target.host {
            Host::Name(name) => self.names(name),
            Host::Number(ip) => self.opens(*ip),
        };
        let narrow = match &self.hosts {
            Hosts::Range(range) => (0, range.bits()),
            Hosts::Below(domain) => (0, domain.len()),
            Hosts::Name(_) => (1, 0),
        };
        (fits && self.ports.contains(target.port)).then_some(narrow)
    }

    /// Where it leads, if that is one host and one port.
    pub(super) fn single(&self) -> Option<Target> {
        let host = match &self.hosts {
            Hosts::Range(range) => Host::Number(range.single()?),
            Hosts::Name(name) => Host::Name(name.clone()),
            Hosts::Below(_) => return None,
        };
        (self.ports.0 == self.ports.1).then_some(Target { host, port: self.ports.0 })
    }

    /// Whether it is about addresses dialled by number.
    pub(super) fn numeric(&self) -> bool {
        matches!(self.hosts, Hosts::Range(_))
    }

    /// Whether what `asked` asks for is granted with it.
    pub(crate) fn covers(&self, asked: &Self) -> bool {
        let hosts = match (&self.hosts, &asked.hosts) {
            (_, Hosts::Name(name)) => self.names(name),
            (own, hosts) => own == hosts,
        };
        hosts && self.ports.covers(asked.ports)
    }
}

/// A name as grants and lookups compare it; none if it cannot be the name of a host.
pub(super) fn name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    (name.len() <= 253 && name.split('.').all(label)).then_some(name)
}

const HOW: &str = "write it like broker:9092, *.example.com:443, 10.0.0.0/8:5432 or [2001:db8::1]:9092";

impl FromStr for NetGrant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, ports) = text.rsplit_once(':').ok_or_else(|| format!("`{text}` names no port; {HOW}"))?;
        let ports = ports.parse().map_err(|_| format!("`{ports}` is not a port or a range of ports; {HOW}"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let numeric =
            host.split('/').next().is_some_and(|host| host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        let hosts = if let Some(range) = bracketed {
            Hosts::Range(self::range(range)?)
        } else if numeric {
            Hosts::Range(self::range(host)?)
        } else {
            let (domain, below) = host.strip_prefix("*.").map_or((host, false), |domain| (domain, true));
            let name = name(domain).ok_or_else(|| format!("`{host}` is not the name of a host; {HOW}"))?;
            if below { Hosts::Below(name) } else { Hosts::Name(name) }
        };
        Ok(Self { hosts, ports })
    }
}

/// A range, or why it is none and how to write it.
fn range(text: &str) -> Result<Range, String> {
    text.parse().map_err(|error: String| if error.contains("; ") { error } else { format!("{error}; {HOW}") })
}

impl FromStr for Ports {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(());
        match text.split_once('-') {
            Some((first, last)) => Some(Self(port(first)?, port(last)?)).filter(|ports| ports.0 <= ports.1).ok_or(()),
            None => port(text).map(|port| Self(port, port)),
        }
    }
}

impl fmt::Display for NetGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Range(range) if range.to_string().contains(':') => write!(f, "[{range}]"),
            Hosts::Range(range) => range.fmt(f),
            Hosts::Name(name) => f.write_str(name),
            Hosts::Below(domain) => write!(f, "*.{domain}"),
        }?;
        match self.ports {
            Ports(first, last) if first == last => write!(f, ":{first}"),
            Ports(first, last) => write!(f, ":{first}-{last}"),
        }
    }
}

/// Where a plugin may listen: `8000` is a port of loopback, `0.0.0.0:8000` one of every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ListenGrant {
    /// A port of loopback.
    Port(u16),
    /// A port of this address.
    Address(ListenAddress),
}

/// An address and a port, as in `0.0.0.0:8000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress(std::net::SocketAddr);

impl ListenGrant {
    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Port(port) => *port,
            Self::Address(ListenAddress(address)) => address.port(),
        }
    }

    /// Whether a plugin may listen at `address` by it.
    pub(super) fn allows(&self, address: std::net::SocketAddr) -> bool {
        let at = match self {
            Self::Port(_) => address.ip().is_loopback(),
            Self::Address(ListenAddress(granted)) => {
                granted.ip() == address.ip()
                    || (granted.ip().is_unspecified() && granted.is_ipv4() == address.is_ipv4())
            }
        };
        at && self.port() == address.port()
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<std::net::SocketAddr>().ok().filter(|address| address.port() > 0);
        let why = || format!("`{text}` is not a port or an address with one; write it like 8000 or 0.0.0.0:8000");
        address.map(Self).ok_or_else(why)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ListenGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "loopback, port {port}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Texts that are written as they are shown, with the format that `spout check` knows them by.
macro_rules! text {
    ($kind:ident, $format:literal, $about:literal) => {
        impl TryFrom<String> for $kind {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }

        impl JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                stringify!($kind).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "format": $format, "description": $about})
            }
        }
    };
}
text!(NetGrant, "net-grant", "Where a plugin may connect to: `broker:9092`, `*.example.com:443`, `10.0.0.0/8:5432`.");
text!(ListenAddress, "listen-address", "An address and a port, as in `0.0.0.0:8000`.");

/// The value of an environment variable of a plugin: written out, or a secret that is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EnvGrant {
    /// The value itself.
    Text(String),
    /// A number, which is its digits.
    Number(i64),
    /// Where the value is: `{env: KAFKA_KEY}` or `{file: /run/secrets/key}`.
    Secret(SecretSpec),
}

impl EnvGrant {
    /// The value; a relative path starts at `base`.
    ///
    /// # Errors
    /// Why the secret cannot be read.
    pub fn read(&self, base: &Path) -> Result<Cow<'_, str>, String> {
        Ok(match self {
            Self::Text(text) => text.into(),
            Self::Number(number) => number.to_string().into(),
            Self::Secret(secret) => secret.read(base)?.reveal().to_owned().into(),
        })
    }

    /// The same with a path that starts at `base` if it is relative.
    #[must_use]
    pub fn absolute(&self, base: &Path) -> Self {
        match self {
            Self::Secret(SecretSpec::File(path)) => Self::Secret(SecretSpec::File(base.join(path))),
            other => other.clone(),
        }
    }
}

/// The value, or the place of the secret, never the secret.
impl fmt::Display for EnvGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "`{text}`"),
            Self::Number(number) => write!(f, "`{number}`"),
            Self::Secret(SecretSpec::Env(name)) => write!(f, "a secret, from the environment variable {name}"),
            Self::Secret(SecretSpec::File(path)) => write!(f, "a secret, from {}", path.display()),
        }
    }
}

/// What cannot be the name of an environment variable.
pub(crate) fn misnamed(env: &BTreeMap<String, EnvGrant>) -> Option<&str> {
    let sound = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    env.keys().map(String::as_str).find(|name| !sound(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_and_shown_as_written() {
        for text in [
            "broker:9092",
            "*.example.com:443",
            "10.0.0.0/8:5432",
            "127.0.0.1:1-65535",
            "[2001:db8::/32]:9092",
            "_srv.host-1.local:53",
        ] {
            assert_eq!(text.parse::<NetGrant>().unwrap().to_string(), text);
        }
        assert_eq!("Broker.Example.COM.:80".parse::<NetGrant>().unwrap().to_string(), "broker.example.com:80");
        for text in [
            "broker",
            "broker:",
            "broker:0",
            "broker:65536",
            "broker:9-1",
            ":80",
            "*:80",
            "*.:80",
            "a.*.b:80",
            "a b:80",
            "http://a:80",
            "2001:db8::1:80",
            "10.0.0.1/8:80",
            "1.2.3:80",
            "[a]:80",
            "münchen.de:80",
            "a..b:80",
        ] {
            let error = text.parse::<NetGrant>().unwrap_err();
            assert!(error.contains("; write "), "{text}: {error}");
        }
    }

    #[test]
    fn a_pattern_is_for_names_below_it() {
        let check = |grant: &str, asked: &str, expected: bool| {
            let grant: NetGrant = grant.parse().unwrap();
            assert_eq!(grant.names(&name(asked).unwrap()), expected, "{grant} {asked}");
        };
        check("*.example.com:443", "a.example.com", true);
        check("*.example.com:443", "A.b.Example.com.", true);
        check("*.example.com:443", "example.com", false);
        check("*.example.com:443", "evilexample.com", false);
        check("*.example.com:443", "example.com.evil.org", false);
        check("broker:9092", "broker", true);
        check("broker:9092", "broker.evil.org", false);
    }

    #[test]
    fn a_grant_covers_what_is_asked_within_it() {
        let check = |grant: &str, asked: &str, expected: bool| {
            let (grant, asked): (NetGrant, NetGrant) = (grant.parse().unwrap(), asked.parse().unwrap());
            assert_eq!(grant.covers(&asked), expected, "{grant} {asked}");
        };
        check("*.example.com:1-1000", "a.example.com:443", true);
        check("*.example.com:443", "*.example.com:443", true);
        check("a.example.com:443", "*.example.com:443", false);
        check("a.example.com:443", "a.example.com:80", false);
        check("10.0.0.0/8:80", "10.0.0.0/8:80", true);
    }

    #[test]
    fn a_port_is_of_loopback_unless_an_address_is_written() {
        let check = |grant: &str, address: &str, expected: bool| {
            let grant: ListenGrant = serde_json::from_str(grant).unwrap();
            assert_eq!(grant.allows(address.parse().unwrap()), expected, "{grant} {address}");
        };
        check("8000", "127.0.0.1:8000", true);
        check("8000", "[::1]:8000", true);
        check("8000", "127.0.0.1:8001", false);
        check("8000", "0.0.0.0:8000", false);
        check("8000", "[::]:8000", false);
        check("8000", "10.0.0.1:8000", false);
        check("\"0.0.0.0:8000\"", "0.0.0.0:8000", true);
        check("\"0.0.0.0:8000\"", "10.0.0.1:8000", true);
        check("\"0.0.0.0:8000\"", "[::]:8000", false);
        check("\"10.0.0.1:8000\"", "0.0.0.0:8000", false);
        assert!(serde_json::from_str::<ListenGrant>("\"somewhere\"").is_err());
    }
}
