//! `spout list`: repos, branches, tags, commits, files, pipelines, plugins, in pachctl's words; and Delta tables.

mod commits;
mod files;

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::{Api, Branch, Repo, Tag};

pub(super) use self::files::print_files;
use super::{
    Global, kept, managed,
    print::{Printer, Table, grouped, local_time, short},
    publish,
};

/// List repos, branches, tags, commits, files, Delta tables, pipelines or plugins.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout list repo
  spout list branch github-events
  spout list tag github-events
  spout list commit github-events@master
  spout list table github-events
  spout list file github-events@master:/events
  spout list file github-events@master~1 --recursive
  spout list pipeline
  spout list plugin")]
pub(super) struct List {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All repos of the store.
    #[command(after_help = "Examples:\n  spout list repo\n  spout list repo --json | jq .name")]
    Repo,
    /// The branches of a repo.
    #[command(after_help = "Examples:\n  spout list branch github-events")]
    Branch {
        /// Name of the repo.
        repo: String,
    },
    /// The tags of a repo.
    #[command(after_help = "Examples:\n  spout list tag github-events")]
    Tag {
        /// Name of the repo.
        repo: String,
    },
    /// A commit and its ancestors, newest first.
    #[command(after_help = "Examples:
  spout list commit github-events
  spout list commit github-events@master -n 5
  spout list commit github-events@v1
  spout list commit github-events@0123456789ab
  spout list commit pictures --started     those waiting to be finished

A terminal shows the newest 50, or as many as -n says; a pipe gets all.")]
    Commit {
        /// `repo`, `repo@branch`, `repo@branch~2`, `repo@<tag>` or `repo@<commit id>`.
        reference: String,
        /// Maximum number of commits to list.
        #[arg(short = 'n', long, value_name = "COUNT")]
        number: Option<usize>,
        /// Commits that were started and not finished, of the branch or of the whole repo.
        #[arg(long, conflicts_with = "number")]
        started: bool,
    },
    /// The Delta tables of a branch, as they are published.
    #[command(
        after_help = "Examples:\n  spout list table github-events\n  spout list table github-events@master --json | jq .root"
    )]
    Table {
        /// `repo` or `repo@branch`.
        reference: String,
    },
    /// The files of a commit.
    #[command(
        after_help = "Examples:\n  spout list file github-events@master\n  spout list file github-events@master~1:/events/\n  spout list file github-events@v1 -r"
    )]
    File {
        /// `repo@branch`, `repo@branch~2` or `repo@<commit id>`, optionally followed by `:/path`.
        reference: String,
        /// Every file below, instead of directories.
        #[arg(short, long)]
        recursive: bool,
    },
    /// The pipelines of the store, those that `spout create pipeline` made, and what each is doing.
    #[command(after_help = "Examples:
  spout list pipeline
  spout list pipeline --json | jq -r .name

Those that a `spout run` on this machine runs are listed too. `spout pipeline status NAME` says more of each.")]
    Pipeline,
    /// The plugins that the store keeps: those that `spout put plugin` put there, and those that pipelines of a server run.
    #[command(after_help = "Examples:
  spout list plugin
  spout list plugin --json | jq -r '.versions[].digest'

`spout plugin list` shows those of the plugins directory.")]
    Plugin,
}

impl List {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::Pipeline => Box::pin(managed::list(global, printer)).await,
            What::Plugin => kept::list(global, printer).await,
            What::Repo => repos(&*global.api().await?, printer).await,
            What::Branch { repo } => branches(&*global.api().await?, repo, printer).await,
            What::Tag { repo } => tags(&*global.api().await?, repo, printer).await,
            What::Commit { reference, started: true, .. } => commits::started(global, reference, printer).await,
            What::Commit { reference, number, .. } => commits::list(global, reference, *number, printer).await,
            What::Table { reference } => tables(global, reference, printer).await,
            What::File { reference, recursive } => files::list(global, reference, *recursive, printer).await,
        }
    }
}

async fn repos(api: &dyn Api, printer: &mut Printer) -> Result<()> {
    let table = |lines: &[Repo]| {
        Table::new(
            &["name", "created", ">branches", ">commits", "description"],
            lines.iter().map(|line| {
                let numbers = [line.branches.to_string(), grouped(line.commits)];
                let [branches, commits] = numbers;
                vec![line.name.clone(), local_time(line.created_ms), branches, commits, line.description.clone()]
            }),
        )
    };
    let none = format!(
        "no repos in {}; `spout run SPEC` creates one for each pipeline, `spout create repo` one for files",
        api.place()
    );
    printer.list(&api.repos().await?, table, &none)
}

async fn branches(api: &dyn Api, repo: &str, printer: &mut Printer) -> Result<()> {
    let none = format!("no branches in the repo {repo}; the first commit of a pipeline creates one");
    printer.list(&api.branches(repo).await?, table_of_branches, &none)
}

/// Branches as a table.
pub(super) fn table_of_branches(branches: &[Branch]) -> Table {
    Table::new(
        &["name", "head", ">commits", "finished", "pipeline"],
        branches.iter().map(|branch| {
            let id = branch.head.as_deref().map_or_else(|| "-".to_owned(), short);
            let at = branch.finished_ms.map_or_else(|| "-".to_owned(), local_time);
            vec![branch.name.clone(), id, grouped(branch.commits), at, branch.pipeline.clone()]
        }),
    )
}

async fn tables(global: &Global, reference: &str, printer: &mut Printer) -> Result<()> {
    let branch = publish::branch(reference, "list table")?;
    publish::show(global.api().await?.tables(&branch).await?, reference, printer)
}

async fn tags(api: &dyn Api, repo: &str, printer: &mut Printer) -> Result<()> {
    let table = |lines: &[Tag]| {
        Table::new(
            &["name", "commit", "made on", "finished", "tagged"],
            lines.iter().map(|line| {
                let (finished, tagged) = (local_time(line.finished_ms), local_time(line.tagged_ms));
                vec![line.name.clone(), short(&line.commit), line.branch.clone(), finished, tagged]
            }),
        )
    };
    let none = format!("no tags in the repo {repo}; `spout create tag {repo}@NAME` creates one");
    printer.list(&api.tags(repo).await?, table, &none)
}
