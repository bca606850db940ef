//! `spout subscribe commit`: the commits of a branch, one after the other, as they are made.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_repo::{Commit, Follower, MASTER, Reference, Repo};

use super::{
    Global,
    commit::{shown, tags_of},
    names::{branch, within},
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
        let repo = global.store().await?.repo(repo).await?;
        let mut follower = repo.follow(branch);
        let head = follower.refresh().await?.map_or(0, |head| head.number);
        let mut seen = match from {
            Some(from) => repo.resolve(&within(repo.name(), branch, from, "subscribe commit")?).await?.number,
            None if *new => head,
            None => follower.first().await? - 1,
        };
        let mut left = number.unwrap_or(u64::MAX);
        loop {
            let head = follower.refresh().await?.map_or(0, |head| head.number);
            // A branch that was set back goes on from where it is now.
            seen = seen.min(head);
            while seen < head && left > 0 {
                seen += 1;
                if let Some(commit) = commit(&repo, &follower, seen).await? {
                    print(&repo, &commit, printer).await?;
                    left -= 1;
                }
            }
            if left == 0 {
                return Ok(());
            }
            follower.wait(LOOK).await;
        }
    }
}

/// The commit of that number with all it says, if it is kept.
async fn commit(repo: &Repo, follower: &Follower, number: u64) -> Result<Option<Commit>> {
    match follower.commit(number).await? {
        Some(recorded) => Ok(Some(repo.resolve(&Reference::head(repo.name(), &recorded.header.id)).await?)),
        None => Ok(None),
    }
}

async fn print(repo: &Repo, commit: &Commit, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(&shown(commit, &tags_of(repo).await?)?);
    }
    let (rows, files) = (count(commit.counts.rows, "row"), count(commit.files.len() as u64, "file"));
    let (id, at, reason) = (short(&commit.header.id), local_time(commit.header.at_ms), &commit.reason);
    printer.line(format!("{id}  {at}  {rows}, {files}, cut by {reason}"))
}
