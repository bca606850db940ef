//! `spout sql`: a query over commits.

use std::collections::BTreeMap;

use anyhow::Result;
use arrow::{array::RecordBatch, error::ArrowError, util::pretty::pretty_format_batches};
use clap::{Args, ValueEnum};

use super::{
    Global,
    error::Error,
    get::TextFormat,
    print::{Printer, count},
};
use crate::repo::{Answer, Reference, query};

/// Rows a table shows before it only counts.
const SHOWN: usize = 1000;

/// Query repos as they were at any commit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout sql 'select count(*) from github_events'
  spout sql 'select type, count(*) as n from github_events group by type order by n desc' --format csv
  spout sql 'select count(*) from github_events' --at github-events@master~1
  spout sql 'select a.n - b.n from a, b' --at a@0123456789ab --at b@master~2
  spout sql 'select code, reason from github_events_dead_letter'

A repo is a table of all its table files at the head of master, or at what --at says: `github_events` or
`\"github-events\"` for the repo github-events. `github_events_dead_letter` is what was set aside.")]
pub(super) struct Sql {
    /// The query.
    query: String,
    /// Read a repo at this commit: `repo@branch`, `repo@branch~2`, `repo@<commit id>`. Once for each repo.
    #[arg(long, value_name = "REF")]
    at: Vec<String>,
    /// How rows are printed; with --json the default is ndjson.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, of at most 1000 rows.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

impl Sql {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let store = global.store().await?;
        let answer = query(&store, &self.query, &self.at()?).await?;
        match self.format.unwrap_or(if printer.json() { Format::Ndjson } else { Format::Table }) {
            Format::Table => table(answer, printer).await,
            Format::Csv => lines(answer, TextFormat::Csv, printer).await,
            Format::Ndjson => lines(answer, TextFormat::Ndjson, printer).await,
        }
    }

    fn at(&self) -> Result<BTreeMap<String, Reference>> {
        let mut at: BTreeMap<String, Reference> = BTreeMap::new();
        for text in &self.at {
            let reference: Reference = text.parse()?;
            let repo = reference.repo.clone();
            if at.insert(repo.clone(), reference).is_some() {
                let what = format!("--at names the repo {repo} twice; a query reads a repo at one commit");
                return Err(Error::Usage { verb: "sql", what }.into());
            }
        }
        Ok(at)
    }
}

/// Prints rows as they come; memory does not grow with the answer.
async fn lines(mut answer: Answer, format: TextFormat, printer: &mut Printer) -> Result<()> {
    let cannot = |why| Error::Convert { file: "the answer".into(), format: format.name(), why };
    format.check(answer.schema()).map_err(cannot)?;
    let mut header = true;
    if format == TextFormat::Csv {
        let empty = RecordBatch::new_empty(answer.schema().clone());
        printer.bytes(&text(format, &empty, header)?)?;
        header = false;
    }
    while let Some(batch) = answer.next().await {
        printer.bytes(&text(format, &batch?, header)?)?;
    }
    Ok(())
}

fn text(format: TextFormat, batch: &RecordBatch, header: bool) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    format
        .write(std::iter::once(Ok::<_, ArrowError>(batch.clone())), header, &mut out)
        .map_err(|error| Error::Convert { file: "the answer".into(), format: format.name(), why: error.to_string() })?;
    Ok(out)
}

async fn table(mut answer: Answer, printer: &mut Printer) -> Result<()> {
    let (mut kept, mut rows) = (Vec::new(), 0);
    let schema = answer.schema().clone();
    while let Some(batch) = answer.next().await {
        let batch = batch?;
        let wanted = SHOWN.saturating_sub(rows).min(batch.num_rows());
        if wanted > 0 {
            kept.push(batch.slice(0, wanted));
        }
        rows += batch.num_rows();
    }
    if kept.is_empty() {
        kept.push(RecordBatch::new_empty(schema));
    }
    printer.line(pretty_format_batches(&kept)?.to_string())?;
    match rows > SHOWN {
        true => printer.line(format!("{SHOWN} of {}; --format csv or ndjson prints all", count(rows as u64, "row"))),
        false => printer.line(count(rows as u64, "row")),
    }
}
