//! `spout plugin`: what is in the plugins directory, and how it gets there.

mod build;
mod check;
mod inspect;
mod kind;
mod list;
mod located;
mod new;
mod pack;
mod shipped;
mod test;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Global, print::Printer};

/// List, inspect, create, build, check and test plugins.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout plugin list
  spout plugin inspect files
  spout plugin new my-plugin --handler --lang python
  spout plugin build my-plugin/
  spout plugin check my-plugin
  spout plugin test my-plugin --input rows.ndjson")]
pub(super) struct PluginVerb {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(list::List),
    Inspect(inspect::Inspect),
    New(new::New),
    Build(build::Build),
    Check(check::Check),
    Test(test::Test),
    Pack(pack::Pack),
}

impl PluginVerb {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::List(verb) => verb.run(global, printer).await,
            What::Inspect(verb) => verb.run(global, printer).await,
            What::Build(verb) => verb.run(global, printer).await,
            What::New(verb) => verb.run(printer),
            What::Check(verb) => verb.run(global, printer).await,
            What::Test(verb) => verb.run(global, printer).await,
            What::Pack(verb) => verb.run(global, printer).await,
        }
    }
}
