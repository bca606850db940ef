//! `spout pipeline`: what can be done with a pipeline that runs.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Global, managed, marker::seek::Seek, print::Printer};

/// Pause, resume, restart or move a pipeline, or have it commit now.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout pipeline pause github-events
  spout pipeline seek github-events --to earliest
  spout pipeline resume github-events
  spout --server http://127.0.0.1:1653 pipeline flush github-events

The pipelines are those of the store, which `spout create pipeline` makes and `spout serve` runs. Each change is a commit: that of a
pause, resume or restart in the repo _specs, that of a seek in the pipeline's own.")]
pub(super) struct Pipeline {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Have it commit what it has read, and stop until it is resumed; the same as `spout stop pipeline`.
    #[command(after_help = "Examples:\n  spout pipeline pause github-events")]
    Pause(Name),
    /// Have it go on where it was; the same as `spout start pipeline`.
    #[command(after_help = "Examples:\n  spout pipeline resume github-events")]
    Resume(Name),
    /// Have it commit what it has read, stop, and start again; one that was paused or has failed starts.
    #[command(after_help = "Examples:\n  spout pipeline restart github-events")]
    Restart(Name),
    /// Have it commit now what it has read, and those that are linked with it. Takes the server that runs it.
    #[command(after_help = "Examples:\n  spout --server http://127.0.0.1:1653 pipeline flush github-events")]
    Flush(Name),
    Seek(Seek),
}

#[derive(Debug, Args)]
struct Name {
    /// Its name.
    name: String,
}

impl Pipeline {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::Pause(Name { name }) => managed::set_running(name, false, global, printer).await,
            What::Resume(Name { name }) => managed::set_running(name, true, global, printer).await,
            What::Restart(Name { name }) => {
                managed::said(&global.pipelines_to_write().await?.restart_pipeline(name).await?, printer)
            }
            What::Flush(Name { name }) => {
                managed::said(&global.pipelines_to_write().await?.flush_pipeline(name).await?, printer)
            }
            What::Seek(seek) => Box::pin(seek.run(global, printer)).await,
        }
    }
}
