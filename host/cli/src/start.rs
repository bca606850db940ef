//! `spout start commit`: a commit that several commands fill.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::branch;
use spout_repo::MASTER;

use super::{Global, print::Printer};

/// Start a commit to be filled by several commands.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout start commit pictures@master
  spout put file pictures@0123456789ab:/a.jpg -f a.jpg
  spout finish commit pictures@0123456789ab")]
pub(super) struct Start {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start a commit and print its id. Nothing of it is visible before it is finished.
    #[command(after_help = "Examples:
  spout start commit pictures@master
  spout list commit pictures --started

Files are put into it and deleted from it as `repo@<id>:/path`. `spout finish commit` makes it the head, on top of whatever
was committed meanwhile; `spout drop commit` discards it.")]
    Commit {
        /// `repo` or `repo@branch`.
        #[arg(value_name = "REPO@BRANCH")]
        branch: String,
    },
}

impl Start {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Commit { branch: text } = &self.what;
        let (repo, branch) = branch(text, MASTER);
        let started = global.api_to_write().await?.start_commit(repo, branch).await?;
        // Alone on its line, so that a script can take it.
        if printer.json() { printer.value(&started) } else { printer.line(&started.commit) }
    }
}
