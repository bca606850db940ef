//! What a plugin says about itself in a custom section, readable without running it.

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};

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
    /// Names of directories.
    pub dirs: Vec<String>,
}

impl Manifest {
    /// The directories that a spec must grant if it uses this offer.
    pub fn dirs(&self, interface: &str, name: &str) -> impl Iterator<Item = &str> {
        let used = self.offers.iter().filter(move |offer| offer.interface == interface && offer.name == name);
        let asks = std::iter::once(&self.asks).chain(used.map(|offer| &offer.asks));
        asks.flat_map(|asks| asks.dirs.iter().map(String::as_str))
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
