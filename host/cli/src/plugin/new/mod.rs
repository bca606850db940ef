//! `spout plugin new`: a crate with a working plugin and a test, to start from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::Args;

use crate::{error::Error, print::Printer};

/// The SDK's package.
const SDK: &str = "spout-guest";

/// Create a plugin crate to start from: a small working example with a test.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin new at-least --handler              in plugins/at-least, next to the others of this tree
  spout plugin new weblog --decoder --dir weblog   elsewhere
  spout plugin build plugins/at-least              then build it, and `cargo test` it

The SDK is the sdk-guest directory in the nearest parent directory that has one; --sdk names another.")]
pub(super) struct New {
    /// Name of the plugin: lowercase letters, digits and dashes.
    name: String,
    #[command(flatten)]
    kind: Kind,
    /// Directory to create. Default: `plugins/NAME` where there is a `plugins` directory, else `NAME`.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Directory of the SDK, `sdk-guest`.
    #[arg(long)]
    sdk: Option<PathBuf>,
}

/// What the plugin is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
#[expect(clippy::struct_excessive_bools, reason = "one flag a kind, of which clap takes one")]
struct Kind {
    /// A source read by partition.
    #[arg(long)]
    source: bool,
    /// A source read as one stream.
    #[arg(long)]
    stream: bool,
    /// Messages into rows.
    #[arg(long)]
    decoder: bool,
    /// Rows into rows.
    #[arg(long)]
    handler: bool,
}

impl Kind {
    /// The example to start from, and the line of a spec that uses it.
    fn template(&self, name: &str) -> (&'static str, String) {
        if self.source {
            let stream = format!("stream: {{plugin: {name}, topic: t, settings: {{partitions: 2, lines: 1000}}}}");
            (include_str!("source.rs.txt"), stream)
        } else if self.stream {
            let stream =
                format!("stream: {{plugin: {name}, topic: t, consumerType: highlevel, settings: {{lines: 1000}}}}");
            (include_str!("stream.rs.txt"), stream)
        } else if self.decoder {
            (include_str!("decoder.rs.txt"), format!("decoder: {{plugin: {name}}}"))
        } else {
            let handler =
                format!("- {{type: plugin, plugin: {name}, stateless: true, settings: {{column: size, least: 500}}}}");
            (include_str!("handler.rs.txt"), handler)
        }
    }
}

impl New {
    pub(super) fn run(&self, printer: &mut Printer) -> Result<()> {
        check_name(&self.name)?;
        let dir = self.dir.clone().unwrap_or_else(|| {
            let beside = Path::new("plugins");
            if beside.is_dir() { beside.join(&self.name) } else { PathBuf::from(&self.name) }
        });
        if dir.exists() {
            let what = format!("{} exists; choose another name, or a directory with --dir", dir.display());
            return Err(usage(what).into());
        }
        let sdk = self.sdk_from(&dir)?;
        let (code, line) = self.kind.template(&self.name);
        let code = code.replace("__NAME__", &self.name).replace("__TYPE__", &type_name(&self.name));
        write(&dir.join("Cargo.toml"), &manifest(&self.name, &sdk, is_apart(&dir)))?;
        write(&dir.join("src/lib.rs"), &code)?;
        if printer.json() {
            return printer.value(&serde_json::json!({"plugin": self.name, "dir": dir}));
        }
        let (name, dir) = (&self.name, dir.display());
        printer.line(format!(
            "{name} is in {dir}: change {dir}/src/lib.rs, try it with `cargo test --manifest-path {dir}/Cargo.toml`, build it with `spout plugin build {dir}`, and use it in a spec:\n  {line}"
        ))
    }

    /// The path to the SDK from `dir`.
    fn sdk_from(&self, dir: &Path) -> Result<String, Error> {
        let here = std::path::absolute(dir).map_err(|source| Error::ReadFile { path: dir.to_owned(), source })?;
        if let Some(sdk) = &self.sdk {
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
}

fn usage(what: String) -> Error {
    Error::Usage { verb: "plugin new", what }
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

/// # Errors
/// A name that no crate or component can have.
fn check_name(name: &str) -> Result<(), Error> {
    let sound = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
        && !name.contains("--");
    if sound {
        return Ok(());
    }
    let what =
        format!("`{name}` cannot be a plugin's name: use lowercase letters, digits and single dashes, as in `web-log`");
    Err(usage(what))
}

/// What the examples import or declare.
const TAKEN: [&str; 29] = [
    "Answer",
    "Array",
    "Batch",
    "Checkpoint",
    "DataType",
    "Decoded",
    "Decoder",
    "Duration",
    "Fetched",
    "Field",
    "Handler",
    "Input",
    "Known",
    "Limits",
    "Messages",
    "Opening",
    "Partition",
    "Position",
    "Progress",
    "Reader",
    "Result",
    "RowFault",
    "Schema",
    "Self",
    "Settings",
    "Source",
    "Start",
    "State",
    "StreamConsumer",
];

/// `web-log` as `WebLog`.
fn type_name(name: &str) -> String {
    let part = |part: &str| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_uppercase() + rest
    };
    let name: String = name.split('-').map(part).collect();
    if TAKEN.contains(&name.as_str()) { name + "Plugin" } else { name }
}

fn manifest(name: &str, sdk: &str, apart: bool) -> String {
    let workspace = if apart { "\n[workspace]\n" } else { "" };
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n[dependencies]\nschemars = \"1\"\nserde = {{ version = \"1\", features = [\"derive\"] }}\n{SDK} = {{ path = \"{sdk}\" }}\n{workspace}"
    )
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |source| Error::WriteFile { path: path.to_owned(), source };
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_types() {
        assert_eq!(type_name("web-log2"), "WebLog2");
        assert_eq!(type_name("row-fault"), "RowFaultPlugin");
        for name in ["a", "web-log", "x2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "A", "2x", "web_log", "web--log", "log-", "../x"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
