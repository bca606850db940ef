//! `spout diff file`: what became of the files, or of the rows, between two commits.

use anyhow::Result;
use clap::{Args, Subcommand};
use spout_api::{Differences, Older, Query, Reference, diff_path};
use spout_repo::Changed;

use super::{
    Global, answer,
    answer::Format,
    print::{Printer, Table, count, grouped, short, size},
};

/// Show what differs between two commits.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spout diff file github-events@master
  spout diff file github-events@master github-events@v1 --name-only")]
pub(super) struct Diff {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the files that differ between a commit and an older one, or the one before it.
    #[command(after_help = "Examples:
  spout diff file github-events@master                        what the newest commit changed
  spout diff file github-events@master github-events@master~5
  spout diff file github-events@master:/events github-events@v1
  spout diff file github-events@try github-events@master --name-only
  spout diff file github-events@master:/events --rows         the rows of tables that differ

Files are compared by the hashes of their contents. A file is `grown` if something was appended to it. With --rows,
`_change` is insert for rows that only the new commit has and delete for those that only the old one has.")]
    File {
        /// The new commit, and maybe `:/path` for less than everything.
        #[arg(value_name = "NEW")]
        new: String,
        /// The old one; without it the one before the new one.
        #[arg(value_name = "OLD")]
        old: Option<String>,
        /// Only the paths.
        #[arg(long, conflicts_with = "rows")]
        name_only: bool,
        /// The rows of tables that differ, instead of files.
        #[arg(long)]
        rows: bool,
    },
}

impl Diff {
    pub(super) async fn run(&self, global: &Global, printer: &mut Printer) -> Result<()> {
        let What::File { new, old, name_only, rows } = &self.what;
        let new: Reference = new.parse()?;
        let old: Option<Reference> = old.as_ref().map(|old| old.parse()).transpose()?;
        if *rows {
            return of_rows(global, &new, old.as_ref(), printer).await;
        }
        let Differences { repo, commit, older, changes } = global.api().await?.diff(&new, old.as_ref()).await?;
        if *name_only && !printer.json() {
            return changes.iter().try_for_each(|changed| printer.line(&changed.path));
        }
        let since = older.map(|Older { repo, commit }| format!("{repo}@{}", short(&commit)));
        let since = since.unwrap_or_else(|| "nothing, it is the first commit".to_owned());
        let now = format!("{repo}@{}", short(&commit));
        printer.list(&changes, table, &format!("no file differs between {since} and {now}"))?;
        if printer.json() || changes.is_empty() {
            Ok(())
        } else {
            printer.line(format!("{} from {since} to {now}", count(changes.len() as u64, "change")))
        }
    }
}

fn before(new: &Reference) -> Reference {
    Reference { back: new.back + 1, path: None, ..new.clone() }
}

async fn of_rows(global: &Global, new: &Reference, old: Option<&Reference>, printer: &mut Printer) -> Result<()> {
    let path = diff_path(new, old)?;
    let before = before(new);
    let quoted = |reference: &Reference| Reference { path: None, ..reference.clone() }.to_string();
    let directory = match path {
        "/" => String::new(),
        path => format!(", '{}'", path.replace('\'', "''")),
    };
    let sql = format!("select * from diff('{}', '{}'{directory})", quoted(old.unwrap_or(&before)), quoted(new));
    let found = global.api().await?.sql(&Query { query: sql, ..Query::default() }).await?;
    answer::print(found, if printer.json() { Format::Ndjson } else { Format::Table }, printer).await
}

fn table(changes: &[Changed]) -> Table {
    let both = |before: Option<String>, after: Option<String>| match (before, after) {
        (Some(before), Some(after)) if before == after => after,
        (Some(before), Some(after)) => format!("{before} → {after}"),
        (before, after) => before.or(after).unwrap_or_default(),
    };
    Table::new(
        &["change", "path", ">rows", ">size"],
        changes.iter().map(|changed| {
            let rows = both(changed.rows_before.map(grouped), changed.rows_after.map(grouped));
            let size = both(changed.size_before.map(size), changed.size_after.map(size));
            vec![format!("{:?}", changed.change).to_lowercase(), changed.path.clone(), rows, size]
        }),
    )
}
