//! `spout start`: a commit that several commands fill; a pipeline that was stopped.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::branch;
use spout_repo::MASTER;

use super::{Global, managed, print::Printer};

/// Start a commit to be filled by several commands, or a pipeline.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout start commit pictures@master
  spout put file pictures@0123456789ab:/a.jpg -f a.jpg
  spout finish commit pictures@0123456789ab
  spout start pipeline github-events")]
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
    /// Have a pipeline of the store run again that was stopped. It goes on where it was.
    #[command(after_help = "Examples:\n  spout start pipeline github-events")]
    Pipeline {
        /// Its name.
        name: String,
    },
}

impl Start {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let text = match &self.what {
            What::Pipeline { name } => return managed::set_running(name, true, global, printer).await,
            What::Commit { branch } => branch,
        };
        let (repo, branch) = branch(text, MASTER);
        let started = global.api_to_write().await?.start_commit(repo, branch).await?;
        // Alone on its line, so that a script can take it.
        if printer.json() { printer.value(&started) } else { printer.line(&started.commit) }
    }
}
