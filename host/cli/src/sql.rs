//! `spout sql`: a query over commits.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
#[cfg(feature = "cluster")]
use spout_api::ask_planned;
use spout_api::{Query, Rows};
#[cfg(feature = "cluster")]
use spout_repo::Store;

use super::{
    Global, answer,
    answer::Format,
    error::Error,
    print::{Printer, count, size},
};
#[cfg(feature = "cluster")]
use super::{busy::Busy, cluster};

/// Query repos as they were at any commit.
#[derive(Debug, Args)]
#[command(after_help = concat!("Examples:
  spout sql 'select count(*) from github_events'
  spout sql 'select type, count(*) as n from github_events group by type order by n desc' --format csv
  spout sql 'select code, reason, text(value) from github_events_dead_letter'
  spout sql 'select * from github_events' -o events.parquet
", clustered!("  spout sql 'select type, count(*) from github_events group by type' --cluster --join-token token   on all workers
"), "
A repo is a table of all its table files at the head of master: `github_events` or `\"github-events\"` for the repo
github-events. `github_events_dead_letter` holds the dead letters, `github_events_clicks` what is below /clicks. A directory
`date=2026-01-01` is a column `date`; queries skip whole files by it, and by the minimum and maximum of each column.

Another commit is named in the query, after `as of` or in the quoted name, or for all of a query by --at:
  spout sql \"select count(*) from github_events as of 'master~3'\"
  spout sql \"select n.id from github_events n left join github_events as of '~1' o on n.id = o.id where o.id is null\"
  spout sql 'select count(*) from \"github-events@0123456789ab:/clicks\"'
  spout sql 'select a.n - b.n from a, b' --at a@0123456789ab --at b@master~2

Functions give tables of what a repo is made of, and the rows that differ between two commits:
  spout sql \"select commit, finished, rows, bytes from commits('github-events') order by number\"
  spout sql \"select format, count(*), sum(size) from files('github-events@master') group by format\"
  spout sql \"select * from diff('github-events@master~1', 'github-events@master', '/events') where _change = 'delete'\"

`explain` before a query shows how many files are left to read, `explain analyze` how many row groups and bytes were read:
  spout sql \"explain analyze select count(*) from github_events where id > 100\""))]
pub(super) struct Sql {
    /// The query.
    query: String,
    /// Read a repo at this commit: `repo@branch`, `repo@branch~2`, `repo@<commit id>`. Once for each repo.
    #[arg(long, value_name = "REF")]
    at: Vec<String>,
    /// Output format. Default: table, ndjson with --json, or with -o by the file extension.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write all rows into this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Read every file whole and check it against its committed hash.
    #[arg(long)]
    verify: bool,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    sharing: cluster::Sharing,
}

impl Sql {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let format = self.format(printer)?;
        let query = Query { query: self.query.clone(), at: self.at.clone(), verify: self.verify };
        #[cfg(feature = "cluster")]
        if self.sharing.cluster {
            return Box::pin(self.run_together(&query, format, global, printer)).await;
        }
        let found = global.api().await?.sql(&query).await?;
        self.show(found, format, printer).await
    }

    #[cfg(feature = "cluster")]
    async fn run_together(&self, query: &Query, format: Format, global: &Global, printer: &mut Printer) -> Result<()> {
        global.only_local("`spout sql --cluster`")?;
        let store = global.store().await?;
        let busy = Busy::new(printer);
        let shared = self.sharing.lead((&store, "sql"), &busy, async |leading| {
            let members = self.sharing.settled(leading, &busy).await;
            busy.end();
            let plans = cluster::plans(&store);
            let shown = async {
                let found = ask_planned(&store, query, |session| leading.distributed(session, &plans)).await?;
                self.show(found, format, printer).await
            };
            match shown.await {
                Ok(()) => Ok(()),
                // A member that is gone explains every error, and what of the answer was given already is not all.
                Err(error) => match leading.lost(&members).await {
                    Some(lost) => Err(cluster::lost(lost).into()),
                    None => Err(Box::pin(failure(&store, query)).await.unwrap_or(error)),
                },
            }
        });
        shared.await
    }

    async fn show(&self, found: Rows, format: Format, printer: &mut Printer) -> Result<()> {
        let Some(file) = &self.output else { return answer::print(found, format, printer).await };
        let (rows, bytes) = answer::save(found, format, file).await?;
        if printer.json() {
            printer.value(&serde_json::json!({"file": file, "rows": rows, "size": bytes}))
        } else {
            printer.line(format!("{} ({}) in {}", count(rows, "row"), size(bytes), file.display()))
        }
    }

    fn format(&self, printer: &Printer) -> Result<Format, Error> {
        match (self.format, &self.output) {
            (Some(Format::Table), Some(_)) => {
                let what =
                    "`table` is abridged for reading on a screen; for a file, choose csv, ndjson, parquet or arrow";
                Err(Error::Usage { verb: "sql", what: what.to_owned() })
            }
            (Some(format), _) => Ok(format),
            (None, Some(file)) => Format::of(file),
            (None, None) => Ok(if printer.json() { Format::Ndjson } else { Format::Table }),
        }
    }
}

/// Why a query fails that has failed at another process, from where its error comes as text alone.
#[cfg(feature = "cluster")]
async fn failure(store: &Store, query: &Query) -> Option<anyhow::Error> {
    let alone = async {
        let mut rows = ask_planned(store, query, |session| session).await?;
        while let Some(batch) = rows.next().await {
            batch?;
        }
        Ok::<(), spout_api::Error>(())
    };
    alone.await.err().map(anyhow::Error::from)
}
