//! `spout draw pipeline`: who feeds whom, as a tree or as a picture.

mod graph;
mod svg;
mod text;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_spec::load_all;

use self::graph::Graph;
use super::{Global, print::Printer};

/// Draw how pipelines hang together.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout draw pipeline
  spout draw pipeline examples/linked.yaml --svg > linked.svg")]
pub(super) struct Draw {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Draw pipelines with what they read: those of specs, or, without one, those of the store and those that made its newest commits.
    #[command(after_help = "Examples:
  spout draw pipeline                                  what the store has, and what its newest commits were made from
  spout draw pipeline a.yaml b.yaml                    what these specs would do
  spout draw pipeline a.yaml --svg > a.svg
  spout draw pipeline --json | jq '.arrows[]'")]
    Pipeline {
        /// Spec files.
        #[arg(value_name = "SPEC")]
        specs: Vec<PathBuf>,
        /// Print a picture, as an SVG document.
        #[arg(long)]
        svg: bool,
    },
}

impl Draw {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Pipeline { specs, svg } = &self.what;
        let graph = match specs.as_slice() {
            [] => Graph::of(global.pipelines().await?.graph().await?),
            specs => Graph::of_specs(&load_all(specs)?),
        };
        match (printer.json(), svg) {
            (true, _) => printer.value(&graph),
            (false, true) => printer.bytes(svg::svg(&graph).as_bytes()),
            (false, false) if graph.nodes.is_empty() => printer.line("the store has no repos yet"),
            (false, false) => printer.line(text::text(&graph).trim_end()),
        }
    }
}
