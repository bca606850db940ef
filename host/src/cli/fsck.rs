//! `spout fsck`: reads everything a store holds and names what is wrong.

use anyhow::Result;
use clap::Args;

use super::{
    Global,
    error::Error,
    print::{Printer, Table, count, size},
};
use crate::repo::{Depth, Finding, Report, fsck};

/// Read everything in the store and name what is damaged.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout fsck                       every repo, every byte
  spout fsck github-events --fast  one repo, without reading data files

Exit code 1 when something committed is damaged.")]
pub(super) struct Fsck {
    /// Only this repo.
    repo: Option<String>,
    /// Look at commit records, and at names and sizes of data files, but do not read those.
    #[arg(long)]
    fast: bool,
}

impl Fsck {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let store = global.store().await?;
        let depth = if self.fast { Depth::Structure } else { Depth::Everything };
        let report = fsck(&store, self.repo.as_deref(), depth).await?;
        match printer.json() {
            true => printer.value(&report)?,
            false => print(&report, self.fast, printer)?,
        }
        if report.is_clean() {
            return Ok(());
        }
        let place = self.repo.as_ref().map_or_else(|| store.url().to_owned(), |repo| format!("repo `{repo}`"));
        let damaged = report.findings.iter().filter(|finding| finding.severity == crate::repo::Severity::Error);
        Err(Error::Damaged { problems: count(damaged.count() as u64, "problem"), place }.into())
    }
}

fn print(report: &Report, fast: bool, printer: &mut Printer) -> Result<()> {
    if !report.findings.is_empty() {
        let row = |finding: &Finding| {
            let severity = format!("{:?}", finding.severity).to_lowercase();
            vec![severity, finding.object.clone(), finding.what.clone(), finding.affects.clone()]
        };
        printer.table(&Table::new(&["severity", "object", "what", "affects"], report.findings.iter().map(row)))?;
    }
    let Report { repos, branches, commits, blobs, bytes, .. } = report;
    let read = if fast { "not read".to_owned() } else { format!("{} read", size(*bytes)) };
    let (repos, branches) = (count(*repos, "repo"), count(*branches, "branch").replace("branchs", "branches"));
    let (commits, blobs) = (count(*commits, "commit"), count(*blobs, "piece"));
    let verdict = if report.is_clean() { "all intact" } else { "damaged" };
    printer.line(format!("{verdict}: {repos}, {branches}, {commits}, {blobs} of data {read}"))
}
