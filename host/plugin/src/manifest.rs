//! What a plugin says about itself in a custom section, readable without running it.

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};

use super::Error;

/// The section's name.
const SECTION: &str = "spout:manifest";

/// Sections beyond this size are not read.
const LARGEST: usize = 64 << 10;

/// What a plugin says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// The crate's name.
    pub name: String,
    /// The crate's version.
    pub version: String,
    /// Version of the SDK it was built with.
    pub sdk: String,
    /// What it needs granted in any case.
    pub asks: Asks,
    /// What each of its offers needs besides.
    pub offers: Vec<OfferAsks>,
}

/// What one offer needs granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfferAsks {
    /// Its interface, such as `decoder`.
    pub interface: String,
    /// Its name.
    pub name: String,
    /// What it needs.
    pub asks: Asks,
}

/// What a plugin needs granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asks {
    /// Names of directories; `{topic}` is the one that the topic names.
    pub dirs: Vec<String>,
    /// Where it connects to, as in `api.example.com:443`; `*` is an address that the user knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<String>,
    /// Ports it listens at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<u16>,
    /// Names of endpoints that the host connects it to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// Names of secrets that it uses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Environment variables it reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
}

/// What a use of a plugin needs granted, each thing once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Needs<'a> {
    /// Names of directories.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub dirs: BTreeSet<&'a str>,
    /// Where it connects to.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub net: BTreeSet<&'a str>,
    /// Ports it listens at.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub listen: BTreeSet<u16>,
    /// Names of endpoints that the host connects it to.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub endpoints: BTreeSet<&'a str>,
    /// Names of secrets that it uses.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<&'a str>,
    /// Environment variables it reads.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub env: BTreeSet<&'a str>,
}

impl<'a> Needs<'a> {
    fn add(&mut self, asks: &'a Asks) {
        self.dirs.extend(asks.dirs.iter().map(String::as_str));
        self.net.extend(asks.net.iter().map(String::as_str));
        self.listen.extend(&asks.listen);
        self.endpoints.extend(asks.endpoints.iter().map(String::as_str));
        self.secrets.extend(asks.secrets.iter().map(String::as_str));
        self.env.extend(asks.env.iter().map(String::as_str));
    }

    /// Each of them in words, with the grant that it asks for.
    #[must_use]
    pub fn lines(&self) -> Vec<(String, String)> {
        let dirs = self.dirs.iter().map(|dir| (format!("the directory `{dir}`"), format!("dirs: {{{dir}: …}}")));
        let net = self.net.iter().map(|address| match *address {
            "*" => ("connections".to_owned(), "net: [\"HOST:PORT\"]".to_owned()),
            address => (format!("connections to `{address}`"), format!("net: [\"{address}\"]")),
        });
        let listen = self.listen.iter().map(|port| (format!("listening at port {port}"), format!("listen: [{port}]")));
        let env =
            self.env.iter().map(|name| (format!("the environment variable `{name}`"), format!("env: {{{name}: …}}")));
        let endpoints = self.endpoints.iter();
        let endpoints = endpoints.map(|name| {
            (format!("the endpoint `{name}`"), format!("endpoints: {{{name}: {{address: \"HOST:PORT\"}}}}"))
        });
        let secrets = self.secrets.iter();
        let secrets =
            secrets.map(|name| (format!("the secret `{name}`"), format!("secrets: {{{name}: {{env: NAME}}}}")));
        dirs.chain(net).chain(endpoints).chain(secrets).chain(listen).chain(env).collect()
    }
}

impl Asks {
    /// The same as sets.
    #[must_use]
    pub fn needs(&self) -> Needs<'_> {
        let mut needs = Needs::default();
        needs.add(self);
        needs
    }
}

impl Manifest {
    /// What a spec must grant if it uses this offer, to read `topic` where that is known.
    #[must_use]
    pub fn needs<'a>(&'a self, interface: &str, name: &str, topic: Option<&'a str>) -> Needs<'a> {
        let mut needs = self.asks.needs();
        let used = self.offers.iter().filter(|offer| offer.interface == interface && offer.name == name);
        used.for_each(|offer| needs.add(&offer.asks));
        if let Some(topic) = topic
            && needs.dirs.remove("{topic}")
        {
            needs.dirs.extend(topic.split('/').find(|part| !part.is_empty()));
        }
        needs
    }
}

/// The manifest in `wasm`, also where the section stands in a module inside the component.
pub(super) fn read(wasm: &[u8]) -> Option<Manifest> {
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(Payload::CustomSection(section)) = payload else { continue };
        if section.name() == SECTION && section.data().len() <= LARGEST {
            return serde_json::from_slice(section.data()).ok();
        }
    }
    None
}

/// `wasm`, the component of `path`, with `manifest` in it in place of one that [`with_manifest`] has put there before.
///
/// # Errors
/// If it is no component.
pub fn with_manifest(wasm: &[u8], manifest: &Manifest, path: &Path) -> Result<Vec<u8>, Error> {
    let broken = |reason: String| Error::Broken { path: path.to_path_buf(), reason };
    if Parser::is_core_wasm(wasm) {
        return Err(Error::NotAComponent { path: path.to_path_buf() });
    }
    let json = serde_json::to_vec(manifest).map_err(|error| broken(error.to_string()))?;
    let mut content = length(SECTION.len());
    content.extend_from_slice(SECTION.as_bytes());
    content.extend_from_slice(&json);
    let mut packed = wasm.to_vec();
    // Our own is the last section of the outermost component.
    if let Some(at) = own_section(wasm).map_err(|error| broken(error.to_string()))? {
        packed.truncate(at);
    }
    // A custom section: its number, its length, its name, its content.
    packed.push(0);
    packed.append(&mut length(content.len()));
    packed.append(&mut content);
    Ok(packed)
}

/// Where the section of a manifest begins that ends a component.
fn own_section(wasm: &[u8]) -> Result<Option<usize>, wasmparser::BinaryReaderError> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CustomSection(section) = payload?
            && section.name() == SECTION
            && section.range().end == wasm.len()
        {
            // Before its content are its number and its length.
            return Ok(Some(section.range().start - length(section.range().len()).len() - 1));
        }
    }
    Ok(None)
}

/// An unsigned number in LEB128.
fn length(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_put_in_and_replaced() {
        // An empty component, and one with a section of somebody else's.
        let empty = b"\0asm\x0d\0\x01\0".to_vec();
        let other = [&empty[..], b"\0\x05\x04name"].concat();
        for wasm in [empty, other] {
            assert_eq!(read(&wasm), None);
            let asks = Asks { dirs: (0..40).map(|n| format!("directory-{n}")).collect(), ..Asks::default() };
            let first = Manifest { name: "web-log".into(), version: "1.0.0".into(), asks, ..Manifest::default() };
            let packed = with_manifest(&wasm, &first, Path::new("x.wasm")).unwrap();
            assert_eq!((read(&packed), packed.starts_with(&wasm)), (Some(first), true));
            let second = Manifest { version: "2.0.0".into(), ..Manifest::default() };
            let again = with_manifest(&packed, &second, Path::new("x.wasm")).unwrap();
            assert_eq!(read(&again), Some(second.clone()));
            assert_eq!(again, with_manifest(&wasm, &second, Path::new("x.wasm")).unwrap());
        }
        let module = with_manifest(b"\0asm\x01\0\0\0", &Manifest::default(), Path::new("x.wasm"));
        assert!(matches!(module, Err(Error::NotAComponent { .. })));
    }
}
