//! `spout delete`: repos, branches, tags, files, pipelines, plugins.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::{Deletion, pair};

use super::{Global, changes::print_changes, kept, managed, print::Printer};

/// Delete a repo, a branch, a tag, files, a pipeline or a plugin.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout delete file pictures@master:/2026/01/a.jpg
  spout delete branch github-events@try
  spout delete tag github-events@v1
  spout delete repo pictures --force
  spout delete pipeline github-events")]
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
    /// Delete a pipeline of the store: it commits what it has read, and does not run any more. Its repo stays.
    #[command(after_help = "Examples:
  spout delete pipeline github-events
  spout delete repo github-events --force      what it has committed")]
    Pipeline {
        /// Its name.
        name: String,
    },
    /// Delete a plugin that the store keeps, with all its versions; one that a pipeline uses stays.
    #[command(after_help = "Examples:\n  spout delete plugin weblog")]
    Plugin {
        /// Its name.
        name: String,
    },
}

impl Delete {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let deleted = match &self.what {
            What::Repo { name, force } => global.api_to_write().await?.delete_repo(name, *force).await?,
            What::Branch { branch } => {
                let (repo, name) = pair(branch, "delete branch", "branch")?;
                global.api_to_write().await?.delete_branch(repo, name).await?
            }
            What::Tag { tag } => {
                let (repo, name) = pair(tag, "delete tag", "tag")?;
                global.api_to_write().await?.delete_tag(repo, name).await?
            }
            What::File { references, recursive } => {
                let deletion = Deletion { files: references.clone(), recursive: *recursive };
                return print_changes(&global.api_to_write().await?.delete_files(&deletion).await?, printer);
            }
            What::Plugin { name } => return kept::delete(name, global, printer).await,
            What::Pipeline { name } => return managed::delete(name, global, printer).await,
        };
        if printer.json() {
            printer.value(&deleted)
        } else {
            printer.line(format!("deleted {} {}", deleted.deleted, deleted.name))
        }
    }
}
