//! `spout publish`: brings the Delta tables of a branch up to date, or makes their logs anew.

use anyhow::Result;
use clap::Args;
use spout_api::Tables;
use spout_repo::{PublishedTable, Reference};

use super::{
    Global,
    error::Error,
    print::{Printer, Table, count, grouped, short},
    report::Report,
};

/// Bring the Delta tables of a branch up to date.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout publish github-events               publish what is missing; a running pipeline does so itself
  spout publish github-events@master --json
  spout publish github-events --rebuild     compare the logs with the commits, and rewrite what differs

Any Delta reader can read a table at the directory shown. Its versions are the commits that touch it. --rebuild removes wrong
versions, newest first, before it rewrites them: meanwhile, readers see earlier versions.")]
pub(super) struct Publish {
    /// `repo` or `repo@branch`.
    reference: String,
    /// Rebuild the logs from the commits.
    #[arg(long)]
    rebuild: bool,
}

impl Publish {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let reference = branch(&self.reference, "publish")?;
        let published = global.api_to_write().await?.publish(&reference, self.rebuild).await?;
        show(published, &self.reference, printer)
    }
}

/// A reference to a branch, and to nothing in its history.
pub(super) fn branch(text: &str, verb: &'static str) -> Result<Reference> {
    let reference: Reference = text.parse()?;
    if reference.back > 0 || reference.path.is_some() {
        let what = format!("`{text}` is more than a branch; write REPO or REPO@BRANCH");
        return Err(Error::Usage { verb, what }.into());
    }
    Ok(reference)
}

/// Prints the tables, then what failed.
pub(super) fn show(published: Tables, what: &str, printer: &mut Printer) -> Result<()> {
    let Tables { tables, failures } = published;
    printer.list(&tables, table, &format!("{what} has no Parquet files, and so no Delta tables"))?;
    let left_out = tables.iter().filter_map(|table| Some((&table.table, table.left_out.as_ref()?)));
    for (table, columns) in left_out {
        if !printer.json() {
            printer.line(format!("{table} lacks columns that readers do not support: {columns}"))?;
        }
    }
    let failed = count(failures.len() as u64, "Delta table");
    for report in failures.into_iter().filter_map(|problem| Report::of(&problem.into_error().into())) {
        report.print(printer.json());
    }
    if failed.starts_with("0 ") { Ok(()) } else { Err(Error::Unpublished { tables: failed }.into()) }
}

fn table(tables: &[PublishedTable]) -> Table {
    Table::new(
        &["table", ">version", "commit", ">files", ">written", "root"],
        tables.iter().map(|table| {
            let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), grouped);
            vec![
                table.table.clone(),
                number(table.version),
                table.commit.as_deref().map_or_else(|| "-".to_owned(), short),
                number(table.files),
                grouped(table.written),
                table.root.clone(),
            ]
        }),
    )
}
