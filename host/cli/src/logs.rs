//! `spout logs`: what a pipeline of a server says.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Global, managed, print::Printer};

/// Show what a pipeline has said.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout --server http://127.0.0.1:1653 logs pipeline github-events
  spout --server http://127.0.0.1:1653 logs pipeline github-events --follow")]
pub(super) struct Logs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What a pipeline and its plugins have logged, and what became of it: when it started, each commit, why it failed.
    #[command(after_help = "Examples:
  spout --server http://127.0.0.1:1653 logs pipeline github-events -n 20
  spout --server http://127.0.0.1:1653 logs pipeline github-events -f --json | jq -r .text

The server that runs it keeps about the last thousand lines of each pipeline, and forgets them when it ends. What is older is in
the log of the server itself.")]
    Pipeline {
        /// Its name.
        name: String,
        /// How many of the lines that were said before are shown.
        #[arg(short = 'n', long, value_name = "COUNT", default_value = "100")]
        number: usize,
        /// Go on with what it says from now on, until Ctrl-C.
        #[arg(short, long)]
        follow: bool,
    },
}

impl Logs {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Pipeline { name, number, follow } = &self.what;
        managed::logs(name, *number, *follow, global, printer).await
    }
}
