//! A plugin in Python: a module, a test, and the package that both import.

use std::path::Path;

use super::Written;
use crate::{
    error::Error,
    plugin::{
        kind::Kind,
        shipped::{self, Shipped},
    },
};

const PROJECT: &str = "[project]\nname = \"__NAME__\"\nversion = \"0.1.0\"\n\n[tool.spout]\nmodule = \"plugin\"\n";
/// A module that has a `main` and nothing else of ours.
const COMMAND: &str = "kind = \"command\"\n";

/// The files of a project in `dir`, into which the package is written.
pub(super) fn files(kind: Kind, dir: &Path) -> Result<Written, Error> {
    let (code, test) = if kind.source {
        (include_str!("python/source.py.txt"), include_str!("python/source_test.py.txt"))
    } else if kind.stream {
        (include_str!("python/stream.py.txt"), include_str!("python/stream_test.py.txt"))
    } else if kind.spout {
        (include_str!("python/spout.py.txt"), include_str!("python/spout_test.py.txt"))
    } else if kind.transform {
        (include_str!("python/transform.py.txt"), include_str!("python/transform_test.py.txt"))
    } else if kind.command {
        (include_str!("python/command.py.txt"), include_str!("python/command_test.py.txt"))
    } else if kind.decoder {
        (include_str!("python/decoder.py.txt"), include_str!("python/decoder_test.py.txt"))
    } else {
        (include_str!("python/handler.py.txt"), include_str!("python/handler_test.py.txt"))
    };
    let project = format!("{PROJECT}{}", if kind.command { COMMAND } else { "" });
    if !kind.command {
        shipped::write(Shipped::Python, &dir.join("spout"))?;
    }
    let files = [("plugin.py", code.to_owned()), ("test_plugin.py", test.to_owned()), ("pyproject.toml", project)];
    let files = files.to_vec();
    let test = format!("cd {} && python3 -m unittest", dir.display());
    Ok(Written { files, change: "plugin.py", test: Some(test) })
}
