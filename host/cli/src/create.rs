//! `spout create`: repos, branches, tags, pipelines.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;
use spout_api::{NewBranch, NewRepo, NewTag, RepoMade, pair};
use spout_repo::MASTER;

use super::{
    Global, managed,
    print::{Printer, short},
};

/// Create a repo, a branch, a tag or a pipeline.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout create repo pictures --description 'what the cameras saw'
  spout create branch github-events@try --head master~2
  spout create tag github-events@v1 --head 0123456789ab
  spout create pipeline -f my.yaml")]
pub(super) struct Create {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Create a repo; a pipeline creates its own.
    #[command(after_help = "Examples:
  spout create repo pictures
  spout create repo pictures --description 'what the cameras saw' --store s3://bucket/store")]
    Repo {
        /// Name: letters, digits, `-`, `_` and `.`.
        name: String,
        /// What it is for.
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        description: String,
    },
    /// Create a branch, at a commit or empty. No file is copied.
    #[command(after_help = "Examples:
  spout create branch github-events@try --head master
  spout create branch github-events@try --head master~2 --move
  spout create branch github-events@empty

Moving a branch fences whoever writes it: a running pipeline drops its open commit, reads the new head, and continues from
its marker. What the branch led to before stays until garbage collection; a tag keeps it.")]
    Branch {
        /// `repo@branch`.
        #[arg(value_name = "REPO@BRANCH")]
        branch: String,
        /// The commit it starts at: a branch, a tag, an id, `master~2`. Without it the branch is empty.
        #[arg(long, value_name = "COMMIT")]
        head: Option<String>,
        /// Move an existing branch to the commit.
        #[arg(long = "move")]
        anew: bool,
    },
    /// Create a tag: a name that keeps one commit.
    #[command(after_help = "Examples:
  spout create tag github-events@v1
  spout create tag github-events@v1 --head try~1 --move
  spout get file github-events@v1:/events/part-0.parquet -o part-0.parquet

What a tag is at is never collected, whatever the repo keeps.")]
    Tag {
        /// `repo@tag`.
        #[arg(value_name = "REPO@TAG")]
        tag: String,
        /// The commit it keeps: a branch, a tag, an id, `master~2`.
        #[arg(long, value_name = "COMMIT", default_value = MASTER)]
        head: String,
        /// Move an existing tag to the commit.
        #[arg(long = "move")]
        anew: bool,
    },
    /// Create the pipelines of specs in the store: `spout serve` runs them, now and after each restart.
    #[command(after_help = "Examples:
  spout create pipeline -f my.yaml
  spout create pipeline -f one.yaml -f two.yaml      all of them or none
  spout list pipeline
  spout list commit _specs                           who changed which pipeline, and when

The specs are kept as a commit of the repo `_specs`. Relative paths in them start at the directory of their file, on the
machine where `spout serve` runs. With --server the specs are sent to the server: relative paths in them start where its --base
says, and they may reach of its machine what its --allow says.")]
    Pipeline {
        /// Spec file; may be repeated.
        #[arg(short = 'f', long = "file", required = true, value_name = "SPEC")]
        files: Vec<PathBuf>,
    },
}

impl Create {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::Pipeline { files } => managed::create(files, global, printer).await,
            What::Repo { name, description } => {
                let new = NewRepo { name: name.clone(), description: description.clone() };
                let api = global.api_to_make().await?;
                repo(&api.create_repo(&new).await?, api.place(), printer)
            }
            What::Branch { branch, head, anew } => {
                let (repo, name) = pair(branch, "create branch", "branch")?;
                let new = NewBranch { name: name.to_owned(), head: head.clone(), anew: *anew };
                let made = global.api_to_write().await?.create_branch(repo, &new).await?;
                report(&made, "branch", branch, made.head.as_deref(), printer)
            }
            What::Tag { tag, head, anew } => {
                let (repo, name) = pair(tag, "create tag", "tag")?;
                let new = NewTag { name: name.to_owned(), head: head.clone(), anew: *anew };
                let made = global.api_to_write().await?.create_tag(repo, &new).await?;
                report(&made, "tag", tag, Some(&made.head), printer)
            }
        }
    }
}

fn repo(made: &RepoMade, place: &str, printer: &mut Printer) -> Result<()> {
    let RepoMade { repo } = made;
    if printer.json() {
        printer.value(made)
    } else {
        printer.line(format!("repo {repo} is in {place}; `spout put file {repo}@master:/path -f FILE` fills it"))
    }
}

fn report(made: &impl Serialize, what: &str, name: &str, id: Option<&str>, printer: &mut Printer) -> Result<()> {
    if printer.json() {
        return printer.value(made);
    }
    printer.line(match id {
        Some(id) => format!("{what} {name} is at commit {}", short(id)),
        None => format!("{what} {name} is empty"),
    })
}
