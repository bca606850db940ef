//! `spout inspect`: everything about one commit or one pipeline.

use std::path::Path;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Global, check,
    commit::{print_commit, shown, table_of_marker},
    print::{Printer, count, local_time, short},
};
use crate::{
    repo::{BranchInfo, Reference, Store},
    spec::load_all,
};

/// Show everything about one commit or one pipeline.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout inspect commit github-events@master
  spout inspect pipeline my.yaml
  spout inspect pipeline github-events")]
pub(super) struct Inspect {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show a commit: files, marker, handler state, where it came from.
    #[command(
        after_help = "Examples:\n  spout inspect commit github-events@master~1\n  spout inspect commit github-events@0123456789ab --json"
    )]
    Commit {
        /// `repo@branch`, `repo@branch~2` or `repo@<commit id>`.
        reference: String,
    },
    /// Show what a spec would do, or what a pipeline has done.
    #[command(after_help = "Examples:\n  spout inspect pipeline my.yaml\n  spout inspect pipeline github-events")]
    Pipeline {
        /// A spec file, or the name of a pipeline that has run.
        #[arg(value_name = "SPEC|NAME")]
        pipeline: String,
    },
}

impl Inspect {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::Commit { reference } => {
                let reference: Reference = reference.parse()?;
                let (_, commit) = global.store().await?.resolve(&reference).await?;
                print_commit(&commit, printer)
            }
            What::Pipeline { pipeline } if Path::new(pipeline).is_file() => of_spec(pipeline, global, printer).await,
            What::Pipeline { pipeline } => of_name(&global.store().await?, pipeline, printer).await,
        }
    }
}

/// What a spec would do, then what its pipelines have done.
async fn of_spec(path: &str, global: &Global, printer: &mut Printer) -> Result<()> {
    let plugins = global.open_plugins()?;
    let store = global.store().await.ok();
    for loaded in load_all(&[path])? {
        check::plan(&loaded, &plugins).await?.print(printer)?;
        let name = &loaded.spec.pipeline.name;
        let repos = match &store {
            Some(store) => store.repos().await?,
            None => Vec::new(),
        };
        match &store {
            Some(store) if repos.iter().any(|repo| repo.name == *name) => of_name(store, name, printer).await?,
            _ if printer.json() => {}
            _ => printer.line(format!("{name} has not run on this store; `spout run {path}` starts it"))?,
        }
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    pipeline: &'a str,
    branch: &'a str,
    commits: u64,
    epoch: u64,
    head: Option<serde_json::Value>,
}

async fn of_name(store: &Store, name: &str, printer: &mut Printer) -> Result<()> {
    let branches = store.repo(name).await?.branches().await?;
    if branches.is_empty() && !printer.json() {
        return printer.line(format!("{name} has committed nothing yet"));
    }
    for branch in &branches {
        match printer.json() {
            true => printer.value(&Done {
                pipeline: &branch.pipeline,
                branch: &branch.name,
                commits: branch.commits,
                epoch: branch.epoch,
                head: branch.head.as_ref().map(shown).transpose()?,
            })?,
            false => print_branch(name, branch, printer)?,
        }
    }
    Ok(())
}

fn print_branch(repo: &str, branch: &BranchInfo, printer: &mut Printer) -> Result<()> {
    let commits = count(branch.commits as u64, "commit");
    let writers = format!("{} so far", count(branch.epoch, "writer"));
    let Some(head) = &branch.head else {
        let nothing = "nothing is committed yet".to_owned();
        return printer.facts(&[
            ("branch", format!("{repo}@{}", branch.name)),
            ("commits", nothing),
            ("writers", writers),
        ]);
    };
    let plugins = head.plugins.iter().map(|(name, digest)| format!("{name} sha256:{}", short(digest)));
    printer.facts(&[
        ("branch", format!("{repo}@{}", branch.name)),
        ("pipeline", format!("{} sha256:{}", branch.pipeline, short(&head.spec_digest))),
        ("plugins", plugins.collect::<Vec<_>>().join("\n")),
        ("commits", format!("{commits}, the last {} at {}", short(&head.id), local_time(head.finished_ms))),
        ("writers", writers),
    ])?;
    match head.marker.partitions.is_empty() {
        true => Ok(()),
        false => printer.table(&table_of_marker(&head.marker)),
    }
}
