//! `spout compact`: many small Parquet files become few.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use spout_api::{Reference, branch};
use spout_data::ByteSize;
use spout_repo::{MASTER, TARGET};

use super::{
    Global,
    busy::Busy,
    print::{Printer, count, short},
};

/// Merge many small Parquet files into a few large ones, as a commit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout compact github-events
  spout compact github-events@master --target 256MiB

Rows and their order stay the same, and earlier commits keep their files until garbage collection. A pipeline that writes
the branch keeps running; if it appends to a file that is being compacted, the compaction gives up and nothing changes.")]
pub(super) struct Compact {
    /// `repo` or `repo@branch`.
    #[arg(value_name = "REPO[@BRANCH]")]
    branch: String,
    /// Target size of the files; files larger than half of it are left alone.
    #[arg(long, value_name = "SIZE", default_value_t = TARGET)]
    target: ByteSize,
}

impl Compact {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let (repo, branch) = branch(&self.branch, MASTER);
        let api = global.api_to_write().await?;
        let at = format!("{repo}@{branch}");
        let busy = Busy::new(printer);
        busy.say(format!("compacting {at}"));
        let done = api.compact(&Reference::head(repo, branch), self.target).await?;
        drop(busy);
        if printer.json() {
            let mut value = serde_json::to_value(&done)?;
            if let Some(fields) = value.as_object_mut() {
                fields.insert("repo".into(), json!(repo));
                fields.insert("branch".into(), json!(branch));
            }
            return printer.value(&value);
        }
        printer.line(match &done.commit {
            None => format!("{at}: nothing to compact"),
            Some(commit) => {
                let (before, rows) = (count(done.before, "piece"), count(done.rows, "row"));
                format!("{at}: {before} became {}, {rows}, in commit {}", count(done.after, "file"), short(commit))
            }
        })
    }
}
