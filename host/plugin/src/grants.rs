//! What one plugin may reach outside its sandbox. Nothing, unless the spec says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::reach::Reach;

use super::{
    Error, Plugin, World,
    manifest::Needs,
    net::{EndpointGrant, Endpoints, EnvGrant, ListenGrant, NetGrant, misnamed},
    secrets::{SecretGrant, Secrets},
};

/// What the spec grants to one plugin, by plugin name under `grants`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrantSpec {
    /// Directories by the name the plugin sees them under (`events` is `/events` inside); relative paths start at the
    /// spec's own directory.
    pub dirs: BTreeMap<String, DirGrant>,
    /// Where it may connect to over TCP, as in `[broker:9092, "*.example.com:443", "10.0.0.0/8:5432"]`. What a name resolves to
    /// is dialled only if it is no loopback, link-local or metadata address; those are granted by number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<NetGrant>,
    /// Where the host connects it to, by name, with TLS where it says so: `{broker: {address: "broker:9093", tls: true}}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, EndpointGrant>,
    /// Secrets that it uses without seeing them, by name: `{password: {env: KAFKA_PASSWORD}}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretGrant>,
    /// Ports it may listen at: `8000` on loopback, `0.0.0.0:8000` on every address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<ListenGrant>,
    /// Its environment variables: values, as in `{TOPIC: events}`, or where secrets are, as in `{KEY: {env: KAFKA_KEY}}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvGrant>,
}

impl GrantSpec {
    /// What of the machine it opens.
    #[must_use]
    pub fn reach(&self) -> Vec<Reach> {
        let Self { dirs, net, endpoints, secrets, listen, env } = self;
        let files = |endpoint: &EndpointGrant| endpoint.tls().is_some_and(|tls| tls.ca.is_some() || tls.cert.is_some());
        let open = [
            (!dirs.is_empty() || endpoints.values().any(files), Reach::Files),
            (!net.is_empty() || !endpoints.is_empty(), Reach::Network),
            (!listen.is_empty(), Reach::Ports),
        ];
        let secrets = secrets.values().map(SecretGrant::reach);
        let secrets = secrets.chain(env.values().filter_map(|value| match value {
            EnvGrant::Secret(secret) => Some(secret.reach()),
            EnvGrant::Text(_) | EnvGrant::Number(_) => None,
        }));
        open.into_iter().filter_map(|(opens, what)| opens.then_some(what)).chain(secrets).collect()
    }

    /// The same with paths that start at `base` where they are relative.
    #[must_use]
    pub fn absolute(&self, base: &Path) -> Self {
        let dir = |(name, dir): (&String, &DirGrant)| {
            let (path, write) = (base.join(dir.path()), dir.writable());
            (name.clone(), DirGrant::Access { path, write })
        };
        let env = self.env.iter().map(|(name, value)| (name.clone(), value.absolute(base)));
        let endpoints = self.endpoints.iter().map(|(name, endpoint)| (name.clone(), endpoint.absolute(base)));
        let secrets = self.secrets.iter().map(|(name, secret)| (name.clone(), secret.absolute(base)));
        Self {
            dirs: self.dirs.iter().map(dir).collect(),
            env: env.collect(),
            endpoints: endpoints.collect(),
            secrets: secrets.collect(),
            ..self.clone()
        }
    }
}

/// One granted directory: a path (read only), or a path with `write: true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DirGrant {
    /// Read only.
    Path(PathBuf),
    /// With access spelled out.
    Access {
        /// Directory on the host.
        path: PathBuf,
        /// Whether the plugin may change what is in it.
        #[serde(default)]
        write: bool,
    },
}

impl DirGrant {
    /// The directory on the host.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        match self {
            Self::Path(path) | Self::Access { path, .. } => path,
        }
    }

    /// Whether the plugin may change what is in it.
    #[must_use]
    pub fn writable(&self) -> bool {
        matches!(self, Self::Access { write: true, .. })
    }
}

/// Checks that everything is granted that `plugin` asks for where its offer of `world` named `offer` is used, that nothing of the
/// host's own is, and that secrets are there; paths are absolute. Where it asks for the directory `{topic}`, that is the one of
/// `topic`, which it is used to read; the port `exposed` is granted by being the service's.
///
/// # Errors
/// What is missing, and what to add to the spec; a directory that nobody may be granted; a secret that cannot be read.
pub fn check_grants(
    plugin: &Plugin,
    (world, offer): (World, &str),
    grants: &GrantSpec,
    (topic, exposed): (Option<&str>, Option<u16>),
) -> Result<(), Error> {
    grants.dirs.iter().try_for_each(|(name, grant)| check_reserved(plugin, name, grant))?;
    environment(plugin, grants)?;
    secrets(plugin, grants)?;
    endpoints("", plugin, grants)?;
    let Some(manifest) = plugin.manifest() else { return Ok(()) };
    // What is read by no topic has no directory of that name.
    let mut needs = manifest.needs(world.interface(), offer, Some(topic.unwrap_or_default()));
    needs.listen.retain(|port| Some(*port) != exposed);
    let (missing, add) = lacking(&needs, grants);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Ungranted {
        plugin: plugin.name().to_owned(),
        missing: missing.join(", and "),
        add: format!("`grants: {{{}: {{{}}}}}`", plugin.name(), add.join(", ")),
    })
}

/// What of `needs` is not granted: in words, and as the parts of a grant.
fn lacking(needs: &Needs<'_>, grants: &GrantSpec) -> (Vec<String>, Vec<String>) {
    let (mut missing, mut add) = (Vec::new(), Vec::new());
    let mut lack = |key: &str, words: &str, names: Vec<String>, parts: Vec<String>, (open, close): (char, char)| {
        if !names.is_empty() {
            missing.push(format!("{words} {}", names.join(", ")));
            add.push(format!("{key}: {open}{}{close}", parts.join(", ")));
        }
    };
    let dirs: Vec<String> =
        needs.dirs.iter().filter(|dir| !grants.dirs.contains_key(**dir)).map(|dir| (*dir).to_owned()).collect();
    let parts = dirs.iter().map(|dir| format!("{dir}: ./{dir}")).collect();
    lack("dirs", "the directories", dirs, parts, ('{', '}'));
    let addresses = || grants.endpoints.values().flat_map(EndpointGrant::addresses);
    let open = |asked: &&&str| match asked.parse::<NetGrant>() {
        Ok(asked) => grants.net.iter().chain(addresses()).any(|grant| grant.covers(&asked)),
        // An address that the plugin cannot know.
        Err(_) => !grants.net.is_empty() || !grants.endpoints.is_empty(),
    };
    let net = needs.net.iter().filter(|asked| !open(asked));
    let net: Vec<String> = net.map(|asked| if *asked == "*" { "HOST:PORT" } else { asked }.to_owned()).collect();
    let parts = net.iter().map(|address| format!("\"{address}\"")).collect();
    lack("net", "connections to", net, parts, ('[', ']'));
    let missing_of = |needed: &BTreeSet<&str>, granted: &dyn Fn(&str) -> bool| -> Vec<String> {
        needed.iter().filter(|name| !granted(name)).map(|name| (*name).to_owned()).collect()
    };
    let endpoints = missing_of(&needs.endpoints, &|name| grants.endpoints.contains_key(name));
    let parts = endpoints.iter().map(|name| format!("{name}: {{address: \"HOST:PORT\"}}")).collect();
    lack("endpoints", "the endpoints", endpoints, parts, ('{', '}'));
    let secrets = missing_of(&needs.secrets, &|name| grants.secrets.contains_key(name));
    let parts = secrets.iter().map(|name| format!("{name}: {{env: NAME}}")).collect();
    lack("secrets", "the secrets", secrets, parts, ('{', '}'));
    let ports = needs.listen.iter().filter(|port| !grants.listen.iter().any(|grant| grant.port() == **port));
    let ports: Vec<String> = ports.map(ToString::to_string).collect();
    lack("listen", "listening at the ports", ports.clone(), ports, ('[', ']'));
    let env: Vec<String> =
        needs.env.iter().filter(|name| !grants.env.contains_key(**name)).map(|name| (*name).to_owned()).collect();
    let parts = env.iter().map(|name| format!("{name}: VALUE")).collect();
    lack("env", "the environment variables", env, parts, ('{', '}'));
    (missing, add)
}

/// The environment of a guest, as names and values.
///
/// # Errors
/// A name that is none; a secret that cannot be read.
pub(super) fn environment(plugin: &Plugin, grants: &GrantSpec) -> Result<Vec<(String, String)>, Error> {
    let failed =
        |name: &str, reason: String| Error::Env { plugin: plugin.name().to_owned(), name: name.to_owned(), reason };
    if let Some(name) = misnamed(&grants.env) {
        return Err(failed(name, "the name of a variable is not empty and has no `=`".into()));
    }
    let read = |(name, value): (&String, &EnvGrant)| {
        let value = value.read(Path::new("")).map_err(|reason| failed(name, reason))?;
        Ok((name.clone(), value.into_owned()))
    };
    grants.env.iter().map(read).collect()
}

/// What the host connects a guest to.
///
/// # Errors
/// An endpoint that cannot be used.
pub(super) fn endpoints(pipeline: &str, plugin: &Plugin, grants: &GrantSpec) -> Result<Endpoints, Error> {
    Endpoints::open(pipeline, plugin.name(), &grants.endpoints, &grants.net).map_err(|(name, reason)| Error::Endpoint {
        plugin: plugin.name().to_owned(),
        name,
        reason,
    })
}

/// The secrets of a guest.
///
/// # Errors
/// One that cannot be read.
pub(super) fn secrets(plugin: &Plugin, grants: &GrantSpec) -> Result<Secrets, Error> {
    Secrets::read(&grants.secrets).map_err(|(name, reason)| Error::Secret {
        plugin: plugin.name().to_owned(),
        name,
        reason,
    })
}

/// Refuses a directory that holds something of the host's own, or lies in it.
pub(super) fn check_reserved(plugin: &Plugin, name: &str, grant: &DirGrant) -> Result<(), Error> {
    let Some((what, reserved)) = plugin.reserved.overlap(grant.path()) else { return Ok(()) };
    Err(Error::Reserved {
        plugin: plugin.name().to_owned(),
        name: name.to_owned(),
        path: grant.path().clone(),
        what,
        reserved: reserved.to_path_buf(),
    })
}
