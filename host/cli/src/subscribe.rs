//! `spout subscribe commit`: the commits of a branch, one after the other, as they are made.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::{Api, CommitInfo, Reference, branch, within};
use spout_repo::MASTER;

use super::{
    Global,
    print::{Printer, count, local_time, short},
};

/// How soon to look again at what another process may have written.
const LOOK: Duration = Duration::from_millis(500);

/// Follow the commits of a branch.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout subscribe commit github-events
  spout subscribe commit github-events --new --json | jq -r .id")]
pub(super) struct Subscribe {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the commits of a branch, oldest first, and then each new one as it is finished.
    #[command(after_help = "Examples:
  spout subscribe commit github-events                       all there are, and what follows
  spout subscribe commit github-events --from 0123456789ab   what follows this one
  spout subscribe commit github-events --new                 what follows from now on
  spout subscribe commit github-events --new -n 1            the next one, then stop

Commits that were squashed or collected are not printed. The branch need not exist yet.")]
    Commit {
        /// `repo` or `repo@branch`.
        #[arg(value_name = "REPO@BRANCH")]
        reference: String,
        /// Begin after this commit: an id, or a commit of the branch, as `~2`.
        #[arg(long, value_name = "COMMIT")]
        from: Option<String>,
        /// Begin after the newest commit there is.
        #[arg(long, conflicts_with = "from")]
        new: bool,
        /// Stop after this many.
        #[arg(short = 'n', long, value_name = "COUNT")]
        number: Option<u64>,
    },
}

impl Subscribe {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Commit { reference, from, new, number } = &self.what;
        let (repo, branch) = branch(reference, MASTER);
        let (api, of) = (global.api().await?, Reference::head(repo, branch));
        let mut seen = match from {
            Some(from) => {
                let from = within(repo, branch, from, "subscribe commit")?;
                api.commits(&from, 1).await?.pop().map_or(0, |commit| commit.number)
            }
            None if *new => newest(api.as_ref(), &of).await?,
            None => 0,
        };
        let mut left = number.unwrap_or(u64::MAX);
        loop {
            let head = newest(api.as_ref(), &of).await?;
            // A branch that was set back goes on from where it is now.
            seen = seen.min(head);
            if seen < head {
                let many = usize::try_from(head - seen).unwrap_or(usize::MAX);
                let mut commits = api.commits(&of, many).await?;
                commits.retain(|commit| commit.number > seen);
                for commit in commits.iter().rev() {
                    print(commit, printer)?;
                    seen = commit.number;
                    left -= 1;
                    if left == 0 {
                        return Ok(());
                    }
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The number of the newest commit of a branch; 0 if it has none, or does not exist.
async fn newest(api: &dyn Api, of: &Reference) -> Result<u64> {
    let mut commits = match api.commits(of, 1).await {
        Ok(commits) => commits,
        // Where the branch is there by now, it was made since.
        Err(_) => {
            let branches = api.branches(&of.repo).await?;
            let made = branches.iter().any(|branch| branch.name == of.target);
            if made { api.commits(of, 1).await? } else { Vec::new() }
        }
    };
    Ok(commits.pop().map_or(0, |head| head.number))
}

fn print(commit: &CommitInfo, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(commit);
    }
    let (rows, files) = (count(commit.counts.rows, "row"), count(commit.files.len() as u64, "file"));
    let (id, at, reason) = (short(&commit.id), local_time(commit.at_ms), &commit.reason);
    printer.line(format!("{id}  {at}  {rows}, {files}, cut by {reason}"))
}
