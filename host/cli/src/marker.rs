//! `spout marker`: how far the partitions of a pipeline are.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;
use spout_data::Marker as RepoMarker;
use spout_repo::Reference;

use super::{
    Global,
    commit::table_of_marker,
    print::{Printer, short},
};

/// Show the position of a pipeline in each partition.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout marker show github-events
  spout marker show github-events@master~1 --json")]
pub(super) struct Marker {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the marker of a commit.
    #[command(after_help = "Examples:\n  spout marker show github-events\n  spout marker show github-events@master~1")]
    Show {
        /// `repo`, `repo@branch`, `repo@branch~2` or `repo@<commit id>`.
        reference: String,
    },
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    repo: &'a str,
    branch: &'a str,
    commit: &'a str,
    marker: &'a RepoMarker,
}

impl Marker {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::Show { reference } = &self.what;
        let reference: Reference = reference.parse()?;
        let (repo, commit) = global.store().await?.resolve(&reference).await?;
        if printer.json() {
            let (repo, branch) = (repo.name(), commit.header.branch.as_str());
            return printer.value(&Shown { repo, branch, commit: &commit.header.id, marker: &commit.marker });
        }
        printer.line(format!("{}@{} at commit {}", repo.name(), commit.header.branch, short(&commit.header.id)))?;
        if commit.marker.partitions.is_empty() {
            printer.line("the marker names no partition: the commit was not made from a stream")
        } else {
            printer.table(&table_of_marker(&commit.marker))
        }
    }
}
