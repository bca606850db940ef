//! `spout revert branch`: makes a branch what it was at an earlier commit.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::branch;
use spout_repo::MASTER;

use super::{
    Global,
    commit::print_made,
    print::{Printer, short},
};

/// Restore a branch to an earlier commit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spout revert branch github-events@master --to '~2'")]
pub(super) struct Revert {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a branch what it was at an earlier commit, by a new commit: history keeps what was in between.
    #[command(after_help = "Examples:
  spout revert branch github-events@master --to '~2'
  spout revert branch github-events@master --to 0123456789ab
  spout revert branch github-events@master --to '{2026-01-31T12:00:00Z}'
  spout revert branch github-events@master --to v1

Files, marker and handler state become what they were. A pipeline that writes the branch, now or later, continues from that
marker: it rereads those messages and commits their rows again. If the source no longer has them, it reports so.")]
    Branch {
        /// `repo` or `repo@branch`.
        #[arg(value_name = "REPO@BRANCH")]
        branch: String,
        /// The commit: `~2` of this branch, an id, a tag, a moment in braces.
        #[arg(long, value_name = "COMMIT")]
        to: String,
    },
}

impl Revert {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Branch { branch: text, to } = &self.what;
        let (repo, branch) = branch(text, MASTER);
        let gone = global.api_to_write().await?.revert(repo, branch, to).await?;
        print_made(&gone.made, &format!("reverted to {}", short(&gone.restored)), printer)
    }
}
