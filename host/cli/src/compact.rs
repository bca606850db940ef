//! `spout compact`: many small Parquet files become few.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use spout_api::{Reference, branch};
use spout_data::ByteSize;
use spout_repo::{Compacted, MASTER, TARGET};

#[cfg(feature = "cluster")]
use super::cluster;
use super::{
    Global,
    busy::Busy,
    print::{Printer, count, short},
};

/// Merge many small Parquet files into a few large ones, as a commit.
#[derive(Debug, Args)]
#[command(after_help = concat!("Examples:
  spout compact github-events
  spout compact github-events@master --target 256MiB
", clustered!("  spout compact github-events --cluster --join-token token   all `spout worker` processes of the store merge
"), "
Rows and their order stay the same, and earlier commits keep their files until garbage collection. A pipeline that writes
the branch keeps running; if it appends to a file that is being compacted, the compaction gives up and nothing changes."))]
pub(super) struct Compact {
    /// `repo` or `repo@branch`.
    #[arg(value_name = "REPO[@BRANCH]")]
    branch: String,
    /// Target size of the files; files larger than half of it are left alone.
    #[arg(long, value_name = "SIZE", default_value_t = TARGET)]
    target: ByteSize,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    sharing: cluster::Sharing,
}

impl Compact {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let (repo, branch) = branch(&self.branch, MASTER);
        let at = format!("{repo}@{branch}");
        let busy = Busy::new(printer);
        let done = self.compact(&Reference::head(repo, branch), global, &busy).await?;
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

    async fn compact(&self, branch: &Reference, global: &Global, busy: &Busy) -> Result<Compacted> {
        #[cfg(feature = "cluster")]
        if self.sharing.cluster {
            return Box::pin(self.compact_together(branch, global, busy)).await;
        }
        let api = global.api_to_write().await?;
        busy.say(format!("compacting {}@{}", branch.repo, branch.target));
        Ok(api.compact(branch, self.target).await?)
    }

    #[cfg(feature = "cluster")]
    async fn compact_together(&self, branch: &Reference, global: &Global, busy: &Busy) -> Result<Compacted> {
        global.only_local("`spout compact --cluster`")?;
        let store = global.store_to_write().await?;
        let repo = store.repo(&branch.repo).await?;
        let compacted = self.sharing.lead((&store, "compact"), busy, async |leading| {
            let team = cluster::team(leading, &store, "compacting", busy);
            Ok(repo.compact_by(&branch.target, self.target, &team).await?)
        });
        compacted.await
    }
}
