//! `spout drop commit`: forgets a started commit, or takes back the newest one.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::{CommitInfo, branch_of, committed, is_id};
use spout_repo::{Reference, Repo};

use super::{
    Global,
    commit::print_made,
    error::Error,
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
        let repo = global.store_to_write().await?.repo(&reference.repo).await?;
        head(&repo, &reference, printer).await
    }
}

async fn head(repo: &Repo, reference: &Reference, printer: &mut Printer) -> Result<()> {
    let usage = |what: String| Err(Error::Usage { verb: "drop commit", what }.into());
    let commit = repo.resolve(reference).await?;
    let branches = repo.branches().await?;
    let branch = branch_of(&branches, reference, &commit);
    let head = branches.iter().find(|there| there.name == branch).and_then(|branch| branch.head.as_ref());
    let (shown, at) = (short(&commit.header.id), format!("{}@{branch}", repo.name()));
    if head.is_none_or(|head| head.header.id != commit.header.id) {
        return usage(format!(
            "commit {shown} is not the head of {at}; `spout squash commit` merges it into the one after it, and \
             `spout revert branch {at} --to COMMIT` goes back further"
        ));
    }
    if commit.parent.is_none() {
        return usage(format!("commit {shown} is the first of {at}; `spout delete branch {at}` deletes all"));
    }
    let parent = repo.resolve(&Reference { back: 1, ..Reference::head(repo.name(), &branch) }).await?;
    let made = committed(repo.revert(&branch, &parent).await?)?;
    print_made(
        &CommitInfo::of(&made)?,
        &format!("undid {shown}; {at} is as {} left it,", short(&parent.header.id)),
        printer,
    )
}
