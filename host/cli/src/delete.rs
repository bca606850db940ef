//! `spout delete`: repos, branches, tags, files.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::{Deletion, pair};

use super::{Global, changes::print_changes, print::Printer};

/// Delete a repo, a branch, a tag or files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout delete file pictures@master:/2026/01/a.jpg
  spout delete branch github-events@try
  spout delete tag github-events@v1
  spout delete repo pictures --force")]
pub(super) struct Delete {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Delete a repo with its whole history. This cannot be undone.
    #[command(after_help = "Examples:
  spout delete repo empty
  spout delete repo pictures --force")]
    Repo {
        /// Name of the repo.
        name: String,
        /// Delete it even if it contains commits.
        #[arg(long)]
        force: bool,
    },
    /// Delete a branch. Its commits stay until garbage collection, or as long as another branch or a tag needs them.
    #[command(after_help = "Examples:
  spout delete branch github-events@try

A pipeline that writes to the branch stops.")]
    Branch {
        /// `repo@branch`.
        #[arg(value_name = "REPO@BRANCH")]
        branch: String,
    },
    /// Delete a tag. The commit stays if a branch leads to it.
    #[command(after_help = "Examples:\n  spout delete tag github-events@v1")]
    Tag {
        /// `repo@tag`.
        #[arg(value_name = "REPO@TAG")]
        tag: String,
    },
    /// Delete files, all in one commit. Earlier commits keep them.
    #[command(after_help = "Examples:
  spout delete file pictures@master:/2026/01/a.jpg pictures@master:/2026/01/b.jpg
  spout delete file pictures@master:/2025 -r
  spout delete file pictures@0123456789ab:/a.jpg     in a started commit")]
    File {
        /// `repo@branch:/path`, or `repo@<started commit>:/path`; all of one branch.
        #[arg(required = true, value_name = "REFERENCE")]
        references: Vec<String>,
        /// Delete directories and everything below them.
        #[arg(short, long)]
        recursive: bool,
    },
}

impl Delete {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let api = global.api_to_write().await?;
        let deleted = match &self.what {
            What::Repo { name, force } => api.delete_repo(name, *force).await?,
            What::Branch { branch } => {
                let (repo, name) = pair(branch, "delete branch", "branch")?;
                api.delete_branch(repo, name).await?
            }
            What::Tag { tag } => {
                let (repo, name) = pair(tag, "delete tag", "tag")?;
                api.delete_tag(repo, name).await?
            }
            What::File { references, recursive } => {
                let deletion = Deletion { files: references.clone(), recursive: *recursive };
                return print_changes(&api.delete_files(&deletion).await?, printer);
            }
        };
        if printer.json() {
            printer.value(&deleted)
        } else {
            printer.line(format!("deleted {} {}", deleted.deleted, deleted.name))
        }
    }
}
