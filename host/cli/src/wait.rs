//! `spout wait commit`: until a commit is there that somebody else makes.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::{Api, CommitInfo, Inspected, Reference, within};
use spout_base::clock;
use spout_data::Period;

use super::{Global, commit::print_commit, error::Error, print::Printer};

/// How soon to look again at what another process may have written.
const LOOK: Duration = Duration::from_millis(200);

/// Wait for a commit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout wait commit github-events
  spout wait commit pictures@0123456789ab --timeout 1m")]
pub(super) struct Wait {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Wait until a commit is finished, and print it.
    #[command(after_help = "Examples:
  spout wait commit github-events                        until the branch has a commit
  spout wait commit github-events --after 0123456789ab   until it has a newer one
  spout wait commit pictures@0123456789ab                until this started commit is finished
  spout wait commit github-events --timeout 30s          exit code 1 if there is none by then

A commit is visible when it is finished and not before, so that one that can be seen need not be waited for.")]
    Commit {
        /// `repo`, `repo@branch`, or `repo@<id>` of a started commit.
        reference: String,
        /// Wait for one that is newer than this: an id, or another commit of the branch, as `~0`.
        #[arg(long, value_name = "COMMIT")]
        after: Option<String>,
        /// Give up after this: `30s`, `5m`.
        #[arg(long, value_name = "TIME")]
        timeout: Option<Period>,
    },
}

impl Wait {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Commit { reference: text, after, timeout } = &self.what;
        let reference: Reference = text.parse()?;
        let api = global.api().await?;
        let after = match after {
            Some(after) => {
                let after = within(&reference.repo, &reference.target, after, "wait commit")?;
                Some(finished(api.as_ref(), &after).await?.map_or(0, |commit| commit.number))
            }
            None => None,
        };
        let longest = timeout.map_or(Duration::MAX, |timeout| timeout.0);
        let begun = clock::now();
        loop {
            let commit = finished(api.as_ref(), &reference).await?;
            if let Some(commit) = commit.filter(|commit| after.is_none_or(|after| commit.number > after)) {
                return print_commit(&commit, printer);
            }
            let left = longest.saturating_sub(clock::now().duration_since(begun));
            if left.is_zero() {
                let waited = timeout.map(|timeout| timeout.to_string()).unwrap_or_default();
                return Err(Error::NoCommit { reference: text.clone(), waited }.into());
            }
            tokio::time::sleep(LOOK.min(left)).await;
        }
    }
}

/// The commit that a reference names, unless it is started only, or the branch has none yet.
async fn finished(api: &dyn Api, reference: &Reference) -> Result<Option<CommitInfo>> {
    match api.commit(reference).await {
        Ok(Inspected::Commit(commit)) => Ok(Some(*commit)),
        Ok(Inspected::Pending(_)) => Ok(None),
        // A branch without a commit; one that nobody has made is a mistake.
        Err(error) => {
            let branches = api.branches(&reference.repo).await?;
            if branches.iter().any(|branch| branch.name == reference.target) { Ok(None) } else { Err(error.into()) }
        }
    }
}
