//! `spout inspect`: everything about one repo, branch, commit, file or pipeline.

mod branch;
mod columns;
mod file;
mod pipeline;
mod repo;

use std::path::Path;

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::{Inspected, Reference};

use super::{Global, commit::print_commit, print::Printer};

/// Show everything about one repo, branch, commit, file or pipeline.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout inspect repo github-events
  spout inspect branch github-events@master
  spout inspect commit github-events@master
  spout inspect file github-events@master:/events/part-0.parquet
  spout inspect pipeline my.yaml
  spout inspect pipeline github-events")]
pub(super) struct Inspect {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show a repo: its branches, the columns their decoders settled, tags, and how much history it keeps.
    #[command(after_help = "Examples:\n  spout inspect repo github-events")]
    Repo {
        /// Name of the repo.
        name: String,
    },
    /// Show a branch: its head, the columns its decoder keeps to, and those of its tables.
    #[command(
        after_help = "Examples:\n  spout inspect branch github-events\n  spout inspect branch github-events@master --json | jq .settled"
    )]
    Branch {
        /// `repo` or `repo@branch`.
        reference: String,
    },
    /// Show a commit: files, marker, handler state, where it came from; or what a started one holds so far.
    #[command(
        after_help = "Examples:\n  spout inspect commit github-events@master~1\n  spout inspect commit github-events@0123456789ab --json"
    )]
    Commit {
        /// `repo@branch`, `repo@branch~2` or `repo@<commit id>`.
        reference: String,
    },
    /// Show a file: size, rows, hash, columns, and the pieces it was put in; or what a directory holds.
    #[command(
        after_help = "Examples:\n  spout inspect file github-events@master:/events/part-0.parquet\n  spout inspect file github-events@v1:/events --json"
    )]
    File {
        /// `repo@branch:/path`, `repo@branch~2:/path` or `repo@<commit id>:/path`.
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
            What::Repo { name } => repo::inspect(&*global.api().await?, name, printer).await,
            What::Branch { reference } => branch::inspect(&*global.api().await?, reference, printer).await,
            What::Commit { reference } => commit(global, &reference.parse()?, printer).await,
            What::File { reference } => file::inspect(global, &reference.parse()?, printer).await,
            What::Pipeline { pipeline } if Path::new(pipeline).is_file() => {
                Box::pin(pipeline::of_spec(pipeline, global, printer)).await
            }
            What::Pipeline { pipeline } => pipeline::of_name(&*global.api().await?, pipeline, printer).await,
        }
    }
}

async fn commit(global: &Global, reference: &Reference, printer: &mut Printer) -> Result<()> {
    match global.api().await?.commit(reference).await? {
        Inspected::Commit(commit) => print_commit(&commit, printer),
        Inspected::Pending(pending) => repo::pending(&pending, printer),
    }
}
