//! `spout glob file`: the files of a commit whose paths fit a pattern.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::Reference;

use super::{Global, list::print_files, print::Printer};

/// List files by a pattern.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  spout glob file 'github-events@master:/events/*.parquet'")]
pub(super) struct Glob {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the files of a commit whose paths fit a pattern.
    #[command(after_help = "Examples:
  spout glob file 'github-events@master:/events/*.parquet'
  spout glob file 'github-events@master~1:/**/2026-??.{csv,ndjson}' --json

`*` and `?` match within a directory, `**` across directories; `[a-c]` and `{a,b}` match one of several. Quote the pattern
for the shell.")]
    File {
        /// `repo@branch:/pattern`.
        #[arg(value_name = "PATTERN")]
        pattern: String,
    },
}

impl Glob {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::File { pattern: text } = &self.what;
        // A pattern has braces and what else no path has, so that it is not read as a part of the reference.
        let (commit, pattern) = text.split_once(":/").unwrap_or((text, "**"));
        let reference: Reference = commit.parse()?;
        let found = global.api().await?.glob(&reference, pattern).await?;
        print_files(&found.files, &format!("no file of {reference} matches /{pattern}"), printer)
    }
}
