//! `spout fsck`: reads everything a store holds and names what is wrong.

use anyhow::Result;
use clap::Args;
use spout_api::Check;
use spout_repo::{Depth, Finding, Report, Severity};
#[cfg(feature = "cluster")]
use spout_repo::{fsck_by, repair_by};

#[cfg(feature = "cluster")]
use super::cluster;
use super::{
    Global,
    busy::Busy,
    error::Error,
    print::{Printer, Table, count, size},
};

/// Read everything in the store and list what is damaged.
#[derive(Debug, Args)]
#[command(after_help = concat!("Examples:
  spout fsck                       every repo, every byte
  spout fsck --deep                every table decoded too, rows and statistics compared with the record
  spout fsck github-events --fast  one repo, without reading data files
  spout fsck --repair              repair what can be repaired safely
", clustered!("  spout fsck --deep --cluster --join-token token   the bytes are read by all `spout worker` processes of the store
"), "
Exit code 1 when something committed is damaged and was not repaired.

Safe repairs are: removing a damaged part of the index, which is rebuilt from the records; removing what interrupted writes
left behind; and rewriting a lost repo.json. Damaged records and data are never touched: restore them from a copy. Stop the
pipelines that write to the store before --repair."))]
pub(super) struct Fsck {
    /// Only this repo.
    repo: Option<String>,
    /// Check commit records, and the names and sizes of data files, without reading the data.
    #[arg(long)]
    fast: bool,
    /// Decode every table, and compare its row and null counts, minima and maxima with its record.
    #[arg(long, conflicts_with = "fast")]
    deep: bool,
    /// Repair what can be repaired safely.
    #[arg(long)]
    repair: bool,
    #[cfg(feature = "cluster")]
    #[command(flatten)]
    sharing: cluster::Sharing,
}

impl Fsck {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let depth = match (self.fast, self.deep) {
            (true, _) => Depth::Structure,
            (false, true) => Depth::Decoded,
            (false, false) => Depth::Everything,
        };
        let check = Check { repo: self.repo.clone(), depth, repair: self.repair };
        let busy = Busy::new(printer);
        let (place, report) = self.check(&check, global, &busy).await?;
        drop(busy);
        if printer.json() {
            printer.value(&report)?
        } else {
            print(&report, self.fast, printer)?
        }
        if report.is_clean() {
            return Ok(());
        }
        let place = self.repo.as_ref().map_or_else(|| place, |repo| format!("repo `{repo}`"));
        let damaged = report.findings.iter();
        let damaged = damaged.filter(|finding| finding.severity == Severity::Error && finding.repaired.is_none());
        Err(Error::Damaged { problems: count(damaged.count() as u64, "problem"), place }.into())
    }

    /// Where was looked, and what was found.
    async fn check(&self, check: &Check, global: &Global, busy: &Busy) -> Result<(String, Report)> {
        #[cfg(feature = "cluster")]
        if self.sharing.cluster {
            return Box::pin(self.check_together(check, global, busy)).await;
        }
        let api = if self.repair { global.api_to_write().await? } else { global.api().await? };
        busy.say(format!("checking {}", api.place()));
        Ok((api.place().to_owned(), api.check(check).await?))
    }

    #[cfg(feature = "cluster")]
    async fn check_together(&self, check: &Check, global: &Global, busy: &Busy) -> Result<(String, Report)> {
        global.only_local("`spout fsck --cluster`")?;
        let store = if self.repair { global.store_to_write().await? } else { global.store().await? };
        busy.say(format!("checking {}", store.url()));
        let checked = self.sharing.lead((&store, "fsck"), busy, async |leading| {
            let team = cluster::team(leading, &store, "checking", busy);
            let only = check.repo.as_deref();
            Ok(if check.repair {
                repair_by(&store, only, check.depth, &team).await?
            } else {
                fsck_by(&store, only, check.depth, &team).await?
            })
        });
        let report = checked.await?;
        Ok((store.url().to_owned(), report))
    }
}

fn print(report: &Report, fast: bool, printer: &mut Printer) -> Result<()> {
    if !report.findings.is_empty() {
        let row = |finding: &Finding| {
            let severity = format!("{:?}", finding.severity).to_lowercase();
            let repaired = finding.repaired.clone().unwrap_or_default();
            vec![severity, finding.object.clone(), finding.what.clone(), finding.affects.clone(), repaired]
        };
        let any = report.findings.iter().any(|finding| finding.repaired.is_some());
        let heads = ["severity", "object", "what", "affects", "repaired"];
        let heads = if any { &heads[..] } else { &heads[..4] };
        printer.table(&Table::new(heads, report.findings.iter().map(row)))?;
    }
    let Report { repos, branches, commits, blobs, bytes, .. } = report;
    let read = match (fast, report.tables) {
        (true, _) => "not read".to_owned(),
        (false, 0) => format!("{} read", size(*bytes)),
        (false, tables) => format!("{} read, {} decoded", size(*bytes), count(tables, "table")),
    };
    let (repos, branches) = (count(*repos, "repo"), count(*branches, "branch"));
    let (commits, blobs) = (count(*commits, "commit"), count(*blobs, "piece"));
    let repaired = report.findings.iter().filter(|finding| finding.repaired.is_some()).count();
    let verdict = match (report.is_clean(), repaired) {
        (true, 0) => "all intact".to_owned(),
        (true, repaired) => format!("all intact after {}", count(repaired as u64, "repair")),
        (false, _) => "damaged".to_owned(),
    };
    printer.line(format!("{verdict}: {repos}, {branches}, {commits}, {blobs} of data {read}"))
}
