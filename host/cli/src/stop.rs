//! `spout stop pipeline`: a pipeline of the store that is not to run.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Global, managed, print::Printer};

/// Stop a pipeline.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spout stop pipeline github-events")]
pub(super) struct Stop {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Stop a pipeline of the store: it commits what it has read, and does not run before it is started.
    #[command(after_help = "Examples:
  spout stop pipeline github-events
  spout start pipeline github-events      it goes on where it was")]
    Pipeline {
        /// Its name.
        name: String,
    },
}

impl Stop {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Pipeline { name } = &self.what;
        managed::set_running(name, false, global, printer).await
    }
}
