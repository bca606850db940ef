//! `spout marker`: how far the partitions of a pipeline are, and how to move them.

pub(super) mod seek;

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::Reference;

use super::{
    Global,
    commit::table_of_marker,
    print::{Printer, short},
};

/// Show or move the position of a pipeline in each partition.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout marker show github-events
  spout marker show github-events@master~1 --json
  spout marker seek github-events --to earliest --spec my.yaml")]
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
    Seek(seek::Seek),
}

impl Marker {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        match &self.what {
            What::Show { reference } => show(reference, global, printer).await,
            What::Seek(seek) => Box::pin(seek.run(global, printer)).await,
        }
    }
}

async fn show(reference: &str, global: &Global, printer: &mut Printer) -> Result<()> {
    let reference: Reference = reference.parse()?;
    let shown = global.api().await?.marker(&reference).await?;
    if printer.json() {
        return printer.value(&shown);
    }
    printer.line(format!("{}@{} at commit {}", shown.repo, shown.branch, short(&shown.commit)))?;
    if shown.marker.partitions.is_empty() {
        printer.line("the marker names no partition: the commit was not made from a stream")
    } else {
        printer.table(&table_of_marker(&shown.marker))
    }
}
