//! What a plugin says about itself in a custom section, readable without running it.

use std::path::Path;

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
            let asks = Asks { dirs: (0..40).map(|n| format!("directory-{n}")).collect() };
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
