//! `spout inspect branch`: its head, the columns its decoder keeps to, and those of its tables.

use anyhow::Result;
use spout_api::{Api, BranchInfo, Column};

use super::{
    super::{
        print::{Printer, count, grouped, local_time, short},
        publish,
    },
    columns::table_of_columns,
};

pub(super) async fn inspect(api: &dyn Api, reference: &str, printer: &mut Printer) -> Result<()> {
    let shown = api.branch(&publish::branch(reference, "inspect branch")?).await?;
    if printer.json() { printer.value(&shown) } else { print(&shown, printer) }
}

/// Says which columns the decoder of `branch` keeps to.
pub(super) fn print_settled(branch: &str, settled: Option<&[Column]>, printer: &mut Printer) -> Result<()> {
    let Some(settled) = settled else { return Ok(()) };
    printer.line(format!("\ndecoder schema of {branch}"))?;
    printer.table(&table_of_columns(settled))
}

fn print(shown: &BranchInfo, printer: &mut Printer) -> Result<()> {
    let head = shown.head.as_deref().zip(shown.finished_ms);
    let head = head.map(|(head, finished)| format!("{} at {}", short(head), local_time(finished)));
    printer.facts(&[
        ("branch", format!("{}@{}", shown.repo, shown.branch)),
        ("head", head.unwrap_or_else(|| "nothing is committed yet".to_owned())),
        ("commits", grouped(shown.commits)),
        ("writers", format!("{} so far", count(shown.epoch, "writer"))),
        ("pipeline", shown.pipeline.clone()),
    ])?;
    print_settled(&shown.branch, shown.settled.as_deref(), printer)?;
    for table in &shown.tables {
        let size = format!("{} in {}", count(table.rows, "row"), count(table.files as u64, "file"));
        printer.line(format!("\ntable {}: {size}", table.table))?;
        match &table.mixed {
            Some(why) => printer.line(why)?,
            None => printer.table(&table_of_columns(&table.columns))?,
        }
    }
    Ok(())
}
