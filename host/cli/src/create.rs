//! `spout create`: repos, branches, tags.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;
use spout_repo::{Commit, Error as RepoError, MASTER, Repo, Store};

use super::{
    Global,
    error::Error,
    names::{pair, within},
    print::{Printer, short},
};

/// Create a repo, a branch or a tag.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout create repo pictures --description 'what the cameras saw'
  spout create branch github-events@try --head master~2
  spout create tag github-events@v1 --head 0123456789ab")]
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
}

impl Create {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::Repo { name, description } => repo(global, name, description, printer).await,
            What::Branch { branch, head, anew } => {
                let (repo, name) = pair(branch, "create branch", "branch")?;
                let store = global.store_to_write().await?;
                let repo = store.repo(repo).await?;
                let head = match head {
                    Some(head) => Some(repo.resolve(&within(repo.name(), MASTER, head, "create branch")?).await?),
                    None => None,
                };
                repo.create_branch(name, head.as_ref(), *anew).await?;
                report(&repo, "branch", name, head.as_ref(), printer)
            }
            What::Tag { tag, head, anew } => {
                let (repo, name) = pair(tag, "create tag", "tag")?;
                let store = global.store_to_write().await?;
                let repo = store.repo(repo).await?;
                let head = repo.resolve(&within(repo.name(), MASTER, head, "create tag")?).await?;
                repo.create_tag(name, &head, *anew).await?;
                report(&repo, "tag", name, Some(&head), printer)
            }
        }
    }
}

async fn repo(global: &Global, name: &str, description: &str, printer: &mut Printer) -> Result<()> {
    let store = Store::open(&global.store).await?;
    match store.repo(name).await {
        Ok(_) => return Err(Error::RepoExists { repo: name.to_owned() }.into()),
        Err(RepoError::UnknownRepo { .. }) => {}
        Err(other) => return Err(other.into()),
    }
    store.repo_or_create(name, description).await?;
    if printer.json() {
        printer.value(&json!({"repo": name, "store": store.url()}))
    } else {
        printer
            .line(format!("repo {name} is in {}; `spout put file {name}@master:/path -f FILE` fills it", store.url()))
    }
}

fn report(repo: &Repo, what: &str, name: &str, head: Option<&Commit>, printer: &mut Printer) -> Result<()> {
    let (repo, id) = (repo.name(), head.map(|head| head.header.id.as_str()));
    if printer.json() {
        printer.value(&json!({"repo": repo, what: name, "head": id}))
    } else {
        printer.line(match id {
            Some(id) => format!("{what} {repo}@{name} is at commit {}", short(id)),
            None => format!("{what} {repo}@{name} is empty"),
        })
    }
}
