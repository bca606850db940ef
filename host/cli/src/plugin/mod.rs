//! `spout plugin`: what is in the plugins directory, and how it gets there.

mod build;
mod inspect;
mod list;
mod new;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Global, print::Printer};

/// List, inspect, create and build plugins.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin list
  spout plugin inspect files
  spout plugin new my-plugin --handler
  spout plugin build my-plugin/")]
pub(super) struct PluginVerb {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::List),
    Inspect(inspect::Inspect),
    Build(build::Build),
    New(new::New),
}

impl PluginVerb {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::List(verb) => verb.run(global, printer).await,
            What::Inspect(verb) => verb.run(global, printer).await,
            What::Build(verb) => verb.run(global, printer).await,
            What::New(verb) => verb.run(printer),
        }
    }
}
