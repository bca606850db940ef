//! `spout drop commit`: forgets a started commit, or takes back the newest one.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use spout_repo::{Error as RepoError, Reference, Repo};

use super::{
    Global,
    commit::print_made,
    error::Error,
    names::{branch_of, is_id},
    print::{Printer, short},
    target::committed,
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
        let repo = global.store_to_write().await?.repo(&reference.repo).await?;
        if is_id(&reference.target) && reference.back == 0 {
            match repo.started_commit(&reference.target).await {
                Ok(started) => {
                    repo.drop_commit(&started).await?;
                    let told = format!("dropped started commit {} of {}@{}", started.id, repo.name(), started.branch);
                    return if printer.json() {
                        printer.value(&json!({"repo": repo.name(), "branch": started.branch, "dropped": started.id}))
                    } else {
                        printer.line(told)
                    };
                }
                Err(RepoError::UnknownStarted { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
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
    print_made(&made, &format!("undid {shown}; {at} is as {} left it,", short(&parent.header.id)), printer)
}
