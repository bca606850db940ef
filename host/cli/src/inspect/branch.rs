//! `spout inspect branch`: its head, the columns its decoder keeps to, and those of its tables.

use anyhow::Result;
use serde::Serialize;
use spout_api::{Column, columns};
use spout_pipeline::settled;
use spout_repo::{BranchInfo, Repo, TreeTable};

use super::{
    super::{
        Global,
        error::Error,
        print::{Printer, count, grouped, local_time, short},
        publish,
    },
    columns::table_of_columns,
};

#[derive(Debug, Serialize)]
struct Shown<'a> {
    repo: &'a str,
    branch: &'a str,
    head: Option<&'a str>,
    commits: u64,
    epoch: u64,
    pipeline: &'a str,
    /// What the decoder keeps to; null where there is none, or nothing is settled.
    settled: Option<Vec<Column>>,
    tables: Vec<TableLine>,
}

#[derive(Debug, Serialize)]
struct TableLine {
    table: String,
    files: usize,
    rows: u64,
    columns: Vec<Column>,
    /// Why its files have no columns in common.
    #[serde(skip_serializing_if = "Option::is_none")]
    mixed: Option<String>,
}

pub(super) async fn inspect(global: &Global, reference: &str, printer: &mut Printer) -> Result<()> {
    let branch = publish::branch(reference, "inspect branch")?;
    let repo = global.store().await?.repo(&branch.repo).await?;
    let Some(info) = repo.branches().await?.into_iter().find(|info| info.name == branch.target) else {
        // It may be a tag or a commit; where it is nothing at all, the repo says so.
        repo.resolve(&branch).await?;
        let what = format!("`{reference}` is not a branch; `spout inspect commit {reference}` shows a tag or a commit");
        return Err(Error::Usage { verb: "inspect branch", what }.into());
    };
    let (tables, settled) = match &info.head {
        Some(head) => (repo.tree(head).await?.tables(), of_decoder(&repo, &info).await?),
        None => (Vec::new(), None),
    };
    let shown = Shown {
        repo: repo.name(),
        branch: &info.name,
        head: info.head.as_ref().map(|head| head.header.id.as_str()),
        commits: info.commits,
        epoch: info.epoch,
        pipeline: &info.pipeline,
        settled,
        tables: tables.into_iter().map(line).collect(),
    };
    if printer.json() { printer.value(&shown) } else { print(&shown, &info, printer) }
}

/// The columns that the decoder of a branch keeps to.
pub(super) async fn of_decoder(repo: &Repo, branch: &BranchInfo) -> Result<Option<Vec<Column>>> {
    Ok(match &branch.head {
        Some(head) => settled(repo, head).await?.map(|schema| columns(&schema)),
        None => None,
    })
}

/// Says which columns the decoder of `branch` keeps to.
pub(super) fn print_settled(branch: &str, settled: Option<&[Column]>, printer: &mut Printer) -> Result<()> {
    let Some(settled) = settled else { return Ok(()) };
    printer.line(format!("\ndecoder schema of {branch}"))?;
    printer.table(&table_of_columns(settled))
}

fn line(table: TreeTable) -> TableLine {
    let TreeTable { name, files, rows, columns: of_table } = table;
    let (columns, mixed) = match of_table {
        Ok(schema) => (columns(&schema), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    TableLine { table: name, files, rows, columns, mixed }
}

fn print(shown: &Shown<'_>, branch: &BranchInfo, printer: &mut Printer) -> Result<()> {
    let head =
        branch.head.as_ref().map(|head| format!("{} at {}", short(&head.header.id), local_time(head.header.at_ms)));
    printer.facts(&[
        ("branch", format!("{}@{}", shown.repo, shown.branch)),
        ("head", head.unwrap_or_else(|| "nothing is committed yet".to_owned())),
        ("commits", grouped(shown.commits)),
        ("writers", format!("{} so far", count(shown.epoch, "writer"))),
        ("pipeline", shown.pipeline.to_owned()),
    ])?;
    print_settled(shown.branch, shown.settled.as_deref(), printer)?;
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
