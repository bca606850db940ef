//! `spout squash commit`: merges commits into the one after them.

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{
    Global,
    print::{Printer, count, short},
};

/// Merge commits into the one after them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout squash commit github-events@master~3
  spout squash commit github-events@master~20..master~1")]
pub(super) struct Squash {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Merge a commit, or a range of them, into the one after it: what they changed belongs to that.
    #[command(after_help = "Examples:
  spout squash commit github-events@master~3
  spout squash commit github-events@0123456789ab
  spout squash commit github-events@master~20..master~1    from the older to the newer, inclusive

No file changes, and the head, which cannot be squashed, stays the same. The ids of squashed commits no longer resolve, and
`spout gc` may remove what only they had.")]
    Commit {
        /// A commit, or `repo@older..newer`.
        #[arg(value_name = "REFERENCE")]
        commits: String,
    },
}

impl Squash {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Commit { commits } = &self.what;
        let gone = global.api_to_write().await?.squash(commits).await?;
        if printer.json() {
            return printer.value(&gone);
        }
        printer.line(format!(
            "{}@{}: {} from {} to {} squashed",
            gone.repo,
            gone.branch,
            count(gone.commits, "commit"),
            short(&gone.first),
            short(&gone.last)
        ))
    }
}
