//! `spout plugin list`: every `.wasm` of the plugins directory, broken ones with what is wrong.

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use spout_base::error::Coded as _;
use spout_plugin::World;

use crate::{
    Global,
    check::joined,
    print::{Printer, Table, short, size},
};

/// List the plugins of the plugins directory.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin list
  spout plugin list --plugins ./plugins --json | jq .name")]
pub(super) struct List;

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    path: String,
    size: u64,
    digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    worlds: Vec<World>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

impl List {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let plugins = global.open_plugins()?;
        let lines: Vec<Line> = plugins
            .list()
            .await?
            .into_iter()
            .map(|listed| {
                let (worlds, error) = match &listed.plugin {
                    Ok(plugin) => (plugin.worlds().to_vec(), None),
                    Err(error) => (Vec::new(), Some(error)),
                };
                Line {
                    name: listed.name,
                    path: listed.path.display().to_string(),
                    size: listed.size,
                    digest: listed.digest,
                    worlds,
                    code: error.map(|error| error.code()),
                    error: error.map(ToString::to_string),
                }
            })
            .collect();
        let table = |lines: &[Line]| {
            Table::new(
                &["name", ">size", "digest", "worlds"],
                lines.iter().map(|line| {
                    let worlds = match (&line.error, line.code) {
                        (Some(error), Some(code)) => format!("broken, error[{code}]: {error}"),
                        _ => joined(&line.worlds),
                    };
                    vec![line.name.clone(), size(line.size), short(&line.digest), worlds]
                }),
            )
        };
        let dir = global.plugins.display();
        printer.list(&lines, table, &format!("no plugins in {dir}; `spout plugin build DIR` puts one there"))
    }
}
