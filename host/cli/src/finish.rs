//! `spout finish commit`: makes a started commit the head of its branch.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::pair;

use super::{Global, commit::print_made, print::Printer};

/// Make a started commit visible.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spout finish commit pictures@0123456789ab")]
pub(super) struct Finish {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a started commit the head of its branch, on top of whatever was committed meanwhile.
    #[command(after_help = "Examples:
  spout finish commit pictures@0123456789ab
  spout list commit pictures --started

A finish that was interrupted can be repeated: the commit is made once.")]
    Commit {
        /// `repo@<id>`, or the start of the id.
        #[arg(value_name = "REPO@ID")]
        commit: String,
    },
}

impl Finish {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Commit { commit } = &self.what;
        let (repo, id) = pair(commit, "finish commit", "id")?;
        print_made(&global.api_to_write().await?.finish_commit(repo, id).await?, "finished", printer)
    }
}
