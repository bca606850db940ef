//! `spout pipeline`: what a pipeline is doing, and what can be done with one that runs.

mod parts;
mod skip;
mod status;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Global, managed, marker::seek::Seek, print::Printer};

/// Show what a pipeline is doing; pause, resume, restart or move it, have it commit now or skip messages.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout pipeline status github-events
  spout pipeline pause github-events
  spout pipeline seek github-events --to earliest
  spout pipeline skip github-events --partition 3
  spout pipeline resume github-events
  spout pipeline flush github-events
  spout --server http://127.0.0.1:1653 pipeline status github-events --json

The pipelines are those of the store, which `spout create pipeline` makes and `spout serve` runs, and those that a `spout run` on this
machine runs: without --server, the process that runs one is asked over a socket of its user's own. Each change is a commit: that of a
pause, resume or restart in the repo _specs, that of a seek, skip or flush in the pipeline's own.")]
pub(super) struct Pipeline {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show what it is doing, and how far each of its partitions is.
    #[command(after_help = "Examples:
  spout pipeline status github-events
  spout pipeline status github-events --json | jq '.partitions[] | {partition, lag, time_lag_ms}'

LAG is the number of offsets between what was fetched and what the source has, BEHIND how old the newest fetched message is while the
source has more. What the source does not say is `unknown`.")]
    Status(Name),
    /// Have it commit what it has read, and stop until it is resumed; the same as `spout stop pipeline`.
    #[command(after_help = "Examples:\n  spout pipeline pause github-events")]
    Pause(Name),
    /// Have it go on where it was; the same as `spout start pipeline`.
    #[command(after_help = "Examples:\n  spout pipeline resume github-events")]
    Resume(Name),
    /// Have it commit what it has read, stop, and start again; one that was paused or has failed starts.
    #[command(after_help = "Examples:\n  spout pipeline restart github-events")]
    Restart(Name),
    /// Have it commit now what it has read, and those that are linked with it. Takes the process that runs it.
    #[command(
        after_help = "Examples:\n  spout pipeline flush github-events\n  spout --server http://127.0.0.1:1653 pipeline flush github-events"
    )]
    Flush(Name),
    Seek(Seek),
    Skip(skip::Skip),
}

#[derive(Debug, Args)]
struct Name {
    /// Its name.
    name: String,
}

impl Pipeline {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::Status(Name { name }) => status::show(&global.looking(name).await?.status(name).await?, printer),
            What::Pause(Name { name }) => managed::set_running(name, false, global, printer).await,
            What::Resume(Name { name }) => managed::set_running(name, true, global, printer).await,
            What::Restart(Name { name }) => {
                managed::said(&global.steering(name).await?.restart_pipeline(name).await?, printer)
            }
            What::Flush(Name { name }) => {
                managed::said(&global.steering(name).await?.flush_pipeline(name).await?, printer)
            }
            What::Seek(seek) => Box::pin(seek.run(global, printer)).await,
            What::Skip(skip) => Box::pin(skip.run(global, printer)).await,
        }
    }
}
