//! A plugin in Rust: a crate that depends on the SDK.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Written, usage};
use crate::{error::Error, plugin::kind::Kind};

/// The SDK's package.
const SDK: &str = "spout-guest";

/// The files of a crate in `dir`.
pub(super) fn files(
    (kind, net): (Kind, bool),
    name: &str,
    dir: &Path,
    sdk: Option<&PathBuf>,
) -> Result<Written, Error> {
    let test = Some(format!("cargo test --manifest-path {}/Cargo.toml", dir.display()));
    if kind.command {
        let code = include_str!("rust/command.rs.txt").to_owned();
        let files = vec![("Cargo.toml", program(name, is_apart(dir))), ("src/main.rs", code)];
        return Ok(Written { files, change: "src/main.rs", test });
    }
    let sdk = sdk_from(dir, sdk)?;
    let code = if net {
        include_str!("rust/source_net.rs.txt")
    } else if kind.source {
        include_str!("rust/source.rs.txt")
    } else if kind.stream {
        include_str!("rust/stream.rs.txt")
    } else if kind.spout {
        include_str!("rust/spout.rs.txt")
    } else if kind.transform {
        include_str!("rust/transform.rs.txt")
    } else if kind.decoder {
        include_str!("rust/decoder.rs.txt")
    } else {
        include_str!("rust/handler.rs.txt")
    };
    let files = vec![("Cargo.toml", manifest(name, &sdk, is_apart(dir))), ("src/lib.rs", code.to_owned())];
    Ok(Written { files, change: "src/lib.rs", test })
}

/// The path to the SDK from `dir`.
fn sdk_from(dir: &Path, named: Option<&PathBuf>) -> Result<String, Error> {
    let here = std::path::absolute(dir).map_err(|source| Error::ReadFile { path: dir.to_owned(), source })?;
    if let Some(sdk) = named {
        let sdk = std::path::absolute(sdk).map_err(|source| Error::ReadFile { path: sdk.clone(), source })?;
        if !is_sdk(&sdk) {
            return Err(usage(format!("{} is not the SDK: it has no Cargo.toml of {SDK}", sdk.display())));
        }
        return Ok(sdk.display().to_string());
    }
    let up = here.ancestors().skip(1).position(|above| is_sdk(&above.join("sdk-guest")));
    let Some(up) = up else {
        let what = format!("no directory above {} has the SDK, sdk-guest; name it with --sdk", dir.display());
        return Err(usage(what));
    };
    Ok(format!("{}sdk-guest", "../".repeat(up + 1)))
}

fn is_sdk(dir: &Path) -> bool {
    let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
    manifest.lines().any(|line| line.trim() == format!("name = \"{SDK}\""))
}

/// Whether the new crate is below a workspace that does not take it in by `plugins/*`: it is a workspace of its own then.
fn is_apart(dir: &Path) -> bool {
    let Ok(dir) = std::path::absolute(dir) else { return false };
    let manifest = |above: &Path| fs::read_to_string(above.join("Cargo.toml")).unwrap_or_default();
    let workspace =
        dir.ancestors().skip(1).find(|above| manifest(above).lines().any(|line| line.trim() == "[workspace]"));
    workspace.is_some_and(|root| {
        dir.parent() != Some(root.join("plugins").as_path()) || !manifest(root).contains("\"plugins/*\"")
    })
}

/// The manifest of a program, which needs nothing.
fn program(name: &str, apart: bool) -> String {
    let workspace = if apart { "\n[workspace]\n" } else { "" };
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{workspace}")
}

fn manifest(name: &str, sdk: &str, apart: bool) -> String {
    let workspace = if apart { "\n[workspace]\n" } else { "" };
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n[dependencies]\nschemars = \"1\"\nserde = {{ version = \"1\", features = [\"derive\"] }}\n{SDK} = {{ path = \"{sdk}\" }}\n{workspace}"
    )
}
