//! Endpoints as a spec grants them: where they are, and how the host talks TLS with them.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_wire::Trust;

use super::{grant::NetGrant, policy::Policy, target::Target};

/// A place that a plugin connects to by way of the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointGrant {
    /// Where it is, as in `broker:9093`, `*.kafka.example.com:9092-9094` or a list of them: all that the plugin may reach by it,
    /// also where it learns of servers by their names.
    pub address: Addresses,
    /// Whether the host talks TLS with it: `true`, or whom it trusts and what it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsGrant>,
}

/// One address, or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Addresses {
    /// One.
    One(NetGrant),
    /// Several.
    Several(Vec<NetGrant>),
}

/// Whether there is TLS, or how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TlsGrant {
    /// Whether there is.
    Flag(bool),
    /// There is.
    Files(TlsFiles),
}

/// Whom the host trusts, and what it shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TlsFiles {
    /// Certificates of the authorities that it trusts, in PEM; those of this machine if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A chain of certificates that it shows, in PEM; with `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The key of `cert`, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The name that the peer's certificate has to be for; the one that is dialled if there is none.
    #[serde(alias = "server_name", skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl TlsFiles {
    fn trust(&self) -> Result<Trust, String> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert.as_path(), key.as_path())),
            (None, None) => None,
            _ => return Err("`cert` and `key` go together".into()),
        };
        Trust::read(self.ca.as_deref(), identity, self.server_name.as_deref())
    }
}

impl EndpointGrant {
    /// Its addresses.
    #[must_use]
    pub fn addresses(&self) -> &[NetGrant] {
        match &self.address {
            Addresses::One(address) => std::slice::from_ref(address),
            Addresses::Several(addresses) => addresses,
        }
    }

    /// How there is TLS, if there is.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFiles> {
        match &self.tls {
            None | Some(TlsGrant::Flag(false)) => None,
            Some(TlsGrant::Flag(true)) => Some(TlsFiles::default()),
            Some(TlsGrant::Files(files)) => Some(files.clone()),
        }
    }

    /// The same with paths that start at `base` where they are relative.
    #[must_use]
    pub fn absolute(&self, base: &Path) -> Self {
        let tls = match &self.tls {
            Some(TlsGrant::Files(files)) => {
                let from = |path: &Option<PathBuf>| path.as_ref().map(|path| base.join(path));
                let (ca, cert, key) = (from(&files.ca), from(&files.cert), from(&files.key));
                Some(TlsGrant::Files(TlsFiles { ca, cert, key, ..files.clone() }))
            }
            other => other.clone(),
        };
        Self { tls, ..self.clone() }
    }

    /// The endpoint, with its files read.
    ///
    /// # Errors
    /// What cannot be used, and why.
    pub(crate) fn open(&self, pipeline: &str, plugin: &str, name: &str, net: &[NetGrant]) -> Result<Endpoint, String> {
        if self.addresses().is_empty() {
            return Err("it has no address".into());
        }
        let trust = self.tls().map(|files| files.trust()).transpose()?;
        Ok(Endpoint::new((pipeline, plugin), Some(name), self.addresses(), trust, net))
    }
}

/// Its addresses, and whether there is TLS.
impl fmt::Display for EndpointGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        f.write_str(&addresses.join(", "))?;
        let Some(files) = self.tls() else { return f.write_str(" in the clear") };
        f.write_str(" over TLS")?;
        if let Some(ca) = &files.ca {
            write!(f, ", trusting {}", ca.display())?;
        }
        if let Some(cert) = &files.cert {
            write!(f, ", showing {}", cert.display())?;
        }
        files.server_name.iter().try_for_each(|name| write!(f, ", as {name}"))
    }
}

/// A place that connections are made to; what `net` grants is one without a name.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Its name in the spec.
    pub(super) name: Option<String>,
    grants: Vec<NetGrant>,
    /// With whom there is TLS.
    pub(super) trust: Option<Trust>,
    pub(super) policy: Arc<Policy>,
}

impl Endpoint {
    pub(super) fn new(
        (pipeline, plugin): (&str, &str),
        name: Option<&str>,
        grants: &[NetGrant],
        trust: Option<Trust>,
        net: &[NetGrant],
    ) -> Self {
        // A guarded address that is granted by its number is one that names may lead to.
        let numbers = net.iter().filter(|grant| grant.numeric());
        let all: Vec<NetGrant> = grants.iter().chain(numbers).cloned().collect();
        let policy = Arc::new(Policy::new(pipeline, plugin, &all, &[]));
        Self { name: name.map(str::to_owned), grants: grants.to_vec(), trust, policy }
    }

    /// How narrowly it is about `target`, if it is.
    fn fits(&self, target: &Target) -> Option<(u8, usize)> {
        self.grants.iter().filter_map(|grant| grant.fits(target)).max()
    }

    /// The first of its addresses that is one host and one port.
    fn first(&self) -> Option<Target> {
        self.grants.iter().find_map(NetGrant::single)
    }
}

/// All that connections may be made to.
#[derive(Debug)]
pub(crate) struct Endpoints {
    named: Vec<Arc<Endpoint>>,
    net: Arc<Endpoint>,
}

impl Endpoints {
    /// Those of `grants`, with what `net` grants; the name of one that cannot be used, and why.
    pub(crate) fn open(
        pipeline: &str,
        plugin: &str,
        grants: &BTreeMap<String, EndpointGrant>,
        net: &[NetGrant],
    ) -> Result<Self, (String, String)> {
        let open = |(name, grant): (&String, &EndpointGrant)| {
            grant.open(pipeline, plugin, name, net).map(Arc::new).map_err(|reason| (name.clone(), reason))
        };
        let named = grants.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { named, net: Arc::new(Endpoint::new((pipeline, plugin), None, net, None, net)) })
    }

    /// What is meant by `to`, a host with a port or the name of an endpoint: the narrowest that fits, an endpoint before `net`.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn find(&self, to: &str) -> Result<(Arc<Endpoint>, Target), Lost> {
        if let Some(endpoint) = self.named.iter().find(|endpoint| endpoint.name.as_deref() == Some(to)) {
            return match endpoint.first() {
                Some(target) => Ok((Arc::clone(endpoint), target)),
                None => Err(Lost::Open(to.to_owned())),
            };
        }
        let target = Target::parse(to).ok_or(Lost::Nothing)?;
        let fitting = self.named.iter().filter_map(|endpoint| Some((endpoint.fits(&target)?, endpoint)));
        let endpoint = fitting.max_by_key(|(narrow, _)| *narrow).map(|(_, endpoint)| endpoint);
        match endpoint.or_else(|| self.net.fits(&target).map(|_| &self.net)) {
            Some(endpoint) => Ok((Arc::clone(endpoint), target)),
            None => Err(Lost::Ungranted(target)),
        }
    }
}

/// Why there is no endpoint.
#[derive(Debug)]
pub(super) enum Lost {
    /// It is no address.
    Nothing,
    /// This endpoint has no address that is one host and one port.
    Open(String),
    /// Nothing grants it.
    Ungranted(Target),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(grants: &str, net: &[&str]) -> Endpoints {
        let net: Vec<NetGrant> = net.iter().map(|text| text.parse().unwrap()).collect();
        Endpoints::open("trial", "guest", &serde_json::from_str(grants).unwrap(), &net).unwrap()
    }

    #[test]
    fn the_narrowest_endpoint_is_meant_and_net_comes_last() {
        let all = endpoints(
            r#"{
                "far": {"address": "*.example.com:1-9999"}, "near": {"address": "*.eu.example.com:9092-9094"},
                "one": {"address": ["b1.eu.example.com:9092", "10.0.0.0/8:9092"]}, "host": {"address": "10.1.2.3:9092"}
            }"#,
            &["b1.eu.example.com:9092", "other:80"],
        );
        let check = |to: &str, expected: Option<&str>| {
            let found = all.find(to).map(|(endpoint, _)| endpoint.name.clone().unwrap_or_else(|| "net".into())).ok();
            assert_eq!(found.as_deref(), expected, "{to}");
        };
        check("b1.eu.example.com:9092", Some("one"));
        check("B1.eu.example.com.:9092", Some("one"));
        check("b2.eu.example.com:9092", Some("near"));
        check("b2.eu.example.com:80", Some("far"));
        check("10.1.2.3:9092", Some("host"));
        check("10.1.2.4:9092", Some("one"));
        check("[::ffff:10.1.2.4]:9092", Some("one"));
        check("other:80", Some("net"));
        check("other:81", None);
        check("example.com:80", None);
        check("one", Some("one"));
        check("far", None);
        for wrong in ["", ":", "other", "other:", "other:0", "other:99999", "a b:80", "[::1:80"] {
            assert!(matches!(all.find(wrong), Err(Lost::Nothing)), "{wrong}");
        }
    }

    #[test]
    fn grants_say_what_is_wrong_with_them() {
        let check = |grant: &str, part: &str| {
            let grant: EndpointGrant = serde_json::from_str(grant).unwrap();
            let error = grant.open("trial", "guest", "broker", &[]).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        check(r#"{"address": []}"#, "no address");
        check(r#"{"address": "a:1", "tls": {"cert": "c.pem"}}"#, "go together");
        check(r#"{"address": "a:1", "tls": {"ca": "/nowhere.pem"}}"#, "/nowhere.pem");
        assert!(serde_json::from_str::<EndpointGrant>(r#"{"address": "a"}"#).is_err());
        let shown = |grant: &str| serde_json::from_str::<EndpointGrant>(grant).unwrap().to_string();
        assert_eq!(shown(r#"{"address": ["a:1", "b:2"]}"#), "a:1, b:2 in the clear");
        assert_eq!(
            shown(r#"{"address": "a:1", "tls": {"ca": "ca.pem", "serverName": "x"}}"#),
            "a:1 over TLS, trusting ca.pem, as x"
        );
    }
}
