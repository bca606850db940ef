//! `spout plugin new`: a project with a working plugin and a test, to start from.

mod c;
mod python;
mod rust;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::{ArgGroup, Args, ValueEnum};

use super::kind::Kind;
use crate::{error::Error, print::Printer};

/// Create a plugin project to start from: a small working example with a test.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["source", "stream", "spout", "transform", "command", "decoder", "handler"])),
    after_help = "Examples:
  spout plugin new at-least --handler                       in plugins/at-least, next to the others of this tree
  spout plugin new lines --source --net                     a source that asks a server
  spout plugin new feed --spout                             a source that makes its own commits
  spout plugin new upper --transform                        makes files of each file of another repo
  spout plugin new count --command --lang python            a program that writes tar archives
  spout plugin new weblog --decoder --dir weblog            elsewhere
  spout plugin new weblog --decoder --lang python           a plugin.py, with everything it imports
  spout plugin new checksum --handler --lang c              a plugin.c; everything but spouts
  spout plugin build plugins/at-least                       then build it

For Rust, the SDK is the sdk-guest directory in the nearest parent directory that has one; --sdk names another. What the other
languages need comes with this program."
)]
pub(super) struct New {
    /// Name of the plugin: lowercase letters, digits and dashes.
    name: String,
    #[command(flatten)]
    kind: Kind,
    /// With --source, one that asks a server over the network, with a network in memory for its tests. Rust only.
    #[arg(long, requires = "source")]
    net: bool,
    /// Language to write it in.
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,
    /// Directory to create. Default: `plugins/NAME` for Rust where there is a `plugins` directory, else `NAME`.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Directory of the SDK for Rust, `sdk-guest`.
    #[arg(long)]
    sdk: Option<PathBuf>,
}

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Lang {
    Rust,
    Python,
    C,
}

/// A project to write.
struct Written {
    /// Names and texts; `__NAME__` and `__TYPE__` stand for what they are called.
    files: Vec<(&'static str, String)>,
    /// The file to change.
    change: &'static str,
    /// How to run its test, if it has one.
    test: Option<String>,
}

impl New {
    pub(super) fn run(&self, printer: &mut Printer) -> Result<()> {
        check_name(&self.name)?;
        let dir = self.dir.clone().unwrap_or_else(|| {
            let beside = Path::new("plugins");
            // A workspace that takes in `plugins/*` wants crates there.
            if self.lang == Lang::Rust && beside.is_dir() { beside.join(&self.name) } else { PathBuf::from(&self.name) }
        });
        if dir.exists() {
            let what = format!("{} exists; choose another name, or a directory with --dir", dir.display());
            return Err(usage(what).into());
        }
        if self.net && self.lang != Lang::Rust {
            return Err(
                usage("there is an example with a network in Rust only; leave out --lang, or --net".into()).into()
            );
        }
        let written = match self.lang {
            Lang::Rust => rust::files((self.kind, self.net), &self.name, &dir, self.sdk.as_ref())?,
            Lang::Python => python::files(self.kind, &dir)?,
            Lang::C => c::files(self.kind)?,
        };
        for (name, text) in written.files {
            let text = text.replace("__NAME__", &self.name).replace("__TYPE__", &type_name(&self.name));
            write(&dir.join(name), &text)?;
        }
        if printer.json() {
            return printer.value(&serde_json::json!({"plugin": self.name, "dir": dir}));
        }
        let (name, dir, change, line) =
            (&self.name, dir.display(), written.change, line(self.kind, self.net, &self.name));
        let test = written.test.map(|test| format!(" try it with `{test}`,")).unwrap_or_default();
        printer.line(format!(
            "{name} is in {dir}: change {dir}/{change},{test} build it with `spout plugin build {dir}`, and use it in a spec:\n  {line}"
        ))
    }
}

/// The line of a spec that uses the example.
fn line(kind: Kind, net: bool, name: &str) -> String {
    if net {
        let server = "localhost:7000";
        format!(
            "stream: {{plugin: {name}, topic: t, settings: {{address: \"{server}\"}}}}, and grants: {{{name}: {{net: [\"{server}\"]}}}}"
        )
    } else if kind.source {
        format!("stream: {{plugin: {name}, topic: t, settings: {{partitions: 2, lines: 1000}}}}")
    } else if kind.stream {
        format!("stream: {{plugin: {name}, topic: t, consumerType: highlevel, settings: {{lines: 1000}}}}")
    } else if kind.spout {
        format!("transform: {{plugin: {name}, settings: {{upto: 10}}}}")
    } else if kind.transform {
        format!("input: {{pfs: {{repo: notes}}}}\n  transform: {{plugin: {name}}}")
    } else if kind.command {
        format!("transform: {{plugin: {name}, args: ['10']}}, and beside it, spout: {{marker: offset}}")
    } else if kind.decoder {
        format!("decoder: {{plugin: {name}}}")
    } else {
        format!("- {{type: plugin, plugin: {name}, stateless: true, settings: {{column: size, least: 500}}}}")
    }
}

fn usage(what: String) -> Error {
    Error::Usage { verb: "plugin new", what }
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
const TAKEN: [&str; 46] = [
    "Annotated",
    "Answer",
    "Array",
    "Batch",
    "Checkpoint",
    "Commit",
    "Criteria",
    "DataType",
    "Decoded",
    "Decoder",
    "Duration",
    "Error",
    "Fault",
    "Fetched",
    "Field",
    "Handler",
    "Input",
    "InputFile",
    "Known",
    "Limits",
    "Messages",
    "Network",
    "Opening",
    "Output",
    "Partition",
    "Peer",
    "Pfs",
    "Position",
    "Progress",
    "Reader",
    "Result",
    "RowFault",
    "Rows",
    "Schema",
    "Self",
    "Server",
    "Settings",
    "Source",
    "Spout",
    "Start",
    "State",
    "Stream",
    "StreamConsumer",
    "Tests",
    "Transformer",
    "Wire",
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
