//! `spout squash commit`: merges commits into the one after them.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use spout_api::{branch_of, within};
use spout_repo::Reference;

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
        let (first, last) = commits.split_once("..").unwrap_or((commits, ""));
        let reference: Reference = first.parse()?;
        let repo = global.store_to_write().await?.repo(&reference.repo).await?;
        let first = repo.resolve(&reference).await?;
        let branch = branch_of(&repo.branches().await?, &reference, &first);
        let last = match last {
            "" => first.clone(),
            last => repo.resolve(&within(repo.name(), &branch, last, "squash commit")?).await?,
        };
        repo.squash(&branch, &first, &last).await?;
        let squashed = last.number - first.number + 1;
        let at = format!("{}@{branch}", repo.name());
        if printer.json() {
            printer.value(&json!({
                "repo": repo.name(), "branch": branch, "first": first.header.id, "last": last.header.id, "commits": squashed,
            }))
        } else {
            printer.line(format!(
                "{at}: {} from {} to {} squashed",
                count(squashed, "commit"),
                short(&first.header.id),
                short(&last.header.id)
            ))
        }
    }
}
