//! `spout drop commit`: forgets a started commit, or takes back the newest one.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::{Reference, is_id};

use super::{
    Global,
    commit::print_made,
    print::{Printer, short},
};

/// Discard a started commit, or undo the newest one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout drop commit pictures@0123456789ab
  spout drop commit pictures@master")]
pub(super) struct Drop {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Discard a started commit, or take back the head of a branch.
    #[command(after_help = "Examples:
  spout drop commit pictures@0123456789ab     a started commit: what was put into it is gone
  spout drop commit pictures@master           the head: the branch is as its parent was

The head is undone by a new commit that restores the files and marker of its parent, as `spout revert branch` does: history
keeps both, and a running pipeline rereads the messages of the dropped commit. A commit that others follow can be squashed
into the next one.")]
    Commit {
        /// `repo@<id>` or the start of the id of a started commit, or a reference to the head of a branch.
        #[arg(value_name = "REFERENCE")]
        commit: String,
    },
}

impl Drop {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Commit { commit } = &self.what;
        let reference: Reference = commit.parse()?;
        if is_id(&reference.target) && reference.back == 0 {
            let dropped = global.api_to_write().await?.drop_started(&reference.repo, &reference.target).await?;
            if let Some(gone) = dropped {
                return if printer.json() {
                    printer.value(&gone)
                } else {
                    printer.line(format!("dropped started commit {} of {}@{}", gone.dropped, gone.repo, gone.branch))
                };
            }
        }
        let gone = global.api_to_write().await?.drop_head(&reference).await?;
        let (repo, branch) = (&reference.repo, &gone.branch);
        let undone = short(gone.undone.as_deref().unwrap_or_default());
        let what = format!("undid {undone}; {repo}@{branch} is as {} left it,", short(&gone.restored));
        print_made(&gone.made, &what, printer)
    }
}
