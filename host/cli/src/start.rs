//! `spout start commit`: a commit that several commands fill.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use spout_repo::MASTER;

use super::{Global, error::Error, names::branch, print::Printer};

/// Start a commit to be filled by several commands.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout start commit pictures@master
  spout put file pictures@0123456789ab:/a.jpg -f a.jpg
  spout finish commit pictures@0123456789ab")]
pub(super) struct Start {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start a commit and print its id. Nothing of it is visible before it is finished.
    #[command(after_help = "Examples:
  spout start commit pictures@master
  spout list commit pictures --started

Files are put into it and deleted from it as `repo@<id>:/path`. `spout finish commit` makes it the head, on top of whatever
was committed meanwhile; `spout drop commit` discards it.")]
    Commit {
        /// `repo` or `repo@branch`.
        #[arg(value_name = "REPO@BRANCH")]
        branch: String,
    },
}

impl Start {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Commit { branch: text } = &self.what;
        let (repo, branch) = branch(text, MASTER);
        let repo = global.store_to_write().await?.repo(repo).await?;
        if repo.tags().await?.iter().any(|tag| tag.name == branch) {
            let why = "it is a tag, and commits go to a branch".to_owned();
            return Err(Error::NotWritable { reference: text.clone(), why }.into());
        }
        let started = repo.start_commit(branch).await?;
        match printer.json() {
            true => printer.value(&json!({"repo": repo.name(), "branch": started.branch, "commit": started.id})),
            // Alone on its line, so that a script can take it.
            false => printer.line(&started.id),
        }
    }
}
