//! `print`: rows as a table on standard output.

use std::io::Write as _;

use arrow::{
    array::RecordBatch,
    datatypes::Schema,
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{
    counted::{counted, grouped},
    reach::Reach,
    terminal,
};
use spout_data::{Batch, Span};
use unicode_width::UnicodeWidthStr as _;

use super::{Consumer, ConsumerContext, Error, Per, encode, spec::ConsumerKind};

/// Prints the first rows of each commit as a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrintSpec {
    /// Maximum rows to print of one commit or batch.
    #[serde(default = "rows")]
    pub rows: usize,
    /// What a table is made of: a `commit` (the default) or a `batch`.
    #[serde(default = "commit")]
    pub per: Per,
    /// Maximum width of a table, in characters; the terminal's width by default.
    #[serde(default)]
    pub width: Option<usize>,
}

fn rows() -> usize {
    10
}

fn commit() -> Per {
    Per::Commit
}

#[async_trait]
impl ConsumerKind for PrintSpec {
    #[cfg(test)]
    fn example() -> &'static str {
        r#"{"type": "print", "rows": 5, "per": "batch", "width": 100}"#
    }

    fn describe(&self) -> String {
        match self.per {
            Per::Commit => format!("print, {} rows a commit", self.rows),
            Per::Batch => format!("print, {} rows a batch", self.rows),
        }
    }

    fn reach(&self) -> Reach {
        Reach::Files
    }

    fn guarantee(&self) -> &'static str {
        "at least once: after a crash some rows are printed again"
    }

    fn prints(&self) -> bool {
        true
    }

    async fn open(&self, context: &ConsumerContext) -> Result<Box<dyn Consumer>, Error> {
        Ok(Box::new(PrintConsumer::new(self, context)))
    }
}

/// A running `print`.
#[derive(Debug)]
pub(crate) struct PrintConsumer {
    pipeline: String,
    spec: PrintSpec,
    json: bool,
    kept: Vec<RecordBatch>,
    seen: usize,
    /// Tables so far.
    number: u64,
}

impl PrintConsumer {
    /// Prints rows: as tables, or as NDJSON where the context says so.
    fn new(spec: &PrintSpec, context: &ConsumerContext) -> Self {
        let pipeline = context.pipeline.clone();
        Self { pipeline, spec: spec.clone(), json: context.json, kept: Vec::new(), seen: 0, number: 0 }
    }

    fn text(&self, of: &str, width: usize) -> Result<String, ArrowError> {
        if self.json {
            let lines: Result<Vec<_>, _> = self.kept.iter().map(encode::ndjson).collect();
            return Ok(terminal::json(&String::from_utf8_lossy(&lines?.concat())).into_owned());
        }
        let shown: usize = self.kept.iter().map(RecordBatch::num_rows).sum();
        let count = match self.seen - shown {
            0 => counted(shown as u64, "row"),
            _ => format!("{} of {}", grouped(shown as u64), counted(self.seen as u64, "row")),
        };
        let mut text = format!("{} · {of} · {count}\n", self.pipeline);
        // Rows of different schemas stand in tables of their own.
        for rows in self.kept.chunk_by(|a, b| a.schema_ref() == b.schema_ref()) {
            text += &table(rows, width)?;
        }
        Ok(text + "\n")
    }

    fn print(&mut self, of: &str) -> Result<(), Error> {
        if self.seen > 0 && self.spec.rows > 0 {
            let format = if self.json { "ndjson" } else { "table" };
            let text = self.text(of, self.spec.width.unwrap_or_else(terminal));
            let text = text.map_err(encode::failed("print", format, self.seen))?;
            // A reader that has gone away is no reason to stop committing.
            if let Err(error) = std::io::stdout().lock().write_all(text.as_bytes()) {
                tracing::debug!(%error, "cannot print to standard output");
            }
        }
        self.kept.clear();
        self.seen = 0;
        Ok(())
    }
}

#[async_trait]
impl Consumer for PrintConsumer {
    fn name(&self) -> &str {
        "print"
    }

    async fn consume(&mut self, batch: &Batch) -> Result<(), Error> {
        let kept: usize = self.kept.iter().map(RecordBatch::num_rows).sum();
        let wanted = self.spec.rows.saturating_sub(kept).min(batch.records.num_rows());
        if wanted > 0 {
            self.kept.push(batch.records.slice(0, wanted));
        }
        self.seen += batch.records.num_rows();
        if self.spec.per == Per::Batch && self.seen > 0 {
            self.number += 1;
            let Span { partition, start, next } = &batch.span;
            let of = format!("batch {} · partition {partition}, offsets {start}..{}", self.number, next.offset);
            return self.print(&of);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.seen == 0 {
            return Ok(());
        }
        self.number += 1;
        self.print(&format!("commit {} of this run", self.number))
    }
}

/// Width of the terminal, or one that most have.
fn terminal() -> usize {
    const USUAL: usize = 120;
    let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).or_else(asked).unwrap_or(USUAL).max(20)
}

/// Longest value, where there is room for it.
const LONGEST: usize = 60;
/// A column is not made narrower than this.
const NARROWEST: usize = 8;
const GAP: usize = 2;

struct Column {
    head: String,
    cells: Vec<String>,
    right: bool,
    width: usize,
}

/// Rows of one schema, aligned, in at most `width` characters.
fn table(rows: &[RecordBatch], width: usize) -> Result<String, ArrowError> {
    let Some(first) = rows.first() else { return Ok(String::new()) };
    let mut columns = columns(first.schema_ref(), rows)?;
    let hidden = fit(&mut columns, width);
    let line = |cell: &dyn Fn(&Column) -> String| {
        let cells = columns.iter().map(|column| {
            let cell = terminal::cut(&cell(column), column.width);
            let space = " ".repeat(column.width - cell.width());
            if column.right { space + &cell } else { cell + &space }
        });
        let gap = " ".repeat(GAP);
        cells.collect::<Vec<_>>().join(&gap).trim_end().to_owned() + "\n"
    };
    let mut text = line(&|column| column.head.clone());
    text += &line(&|column| "─".repeat(column.width));
    let count = columns.first().map_or(0, |column| column.cells.len());
    for row in 0..count {
        text += &line(&|column| column.cells.get(row).cloned().unwrap_or_default());
    }
    if !hidden.is_empty() {
        text +=
            &terminal::cut(&format!("and {}: {}", counted(hidden.len() as u64, "column"), hidden.join(", ")), width);
        text.push('\n');
    }
    Ok(text)
}

fn columns(schema: &Schema, rows: &[RecordBatch]) -> Result<Vec<Column>, ArrowError> {
    let options = FormatOptions::new().with_null("null");
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let mut cells = Vec::new();
        for batch in rows {
            let formatter = ArrayFormatter::try_new(batch.column(index), &options)?;
            for row in 0..batch.num_rows() {
                cells.push(terminal::plain(&formatter.value(row).try_to_string()?).into_owned());
            }
        }
        let head = terminal::plain(field.name()).into_owned();
        let widest =
            cells.iter().map(|cell| cell.width()).max().unwrap_or(0).min(LONGEST).max(head.width().min(LONGEST));
        columns.push(Column { head, cells, right: field.data_type().is_numeric(), width: widest.max(1) });
    }
    Ok(columns)
}

/// Makes the widest columns narrower until all fit; names those that do not even then.
fn fit(columns: &mut Vec<Column>, width: usize) -> Vec<String> {
    let mut hidden = Vec::new();
    loop {
        let total = columns.iter().map(|column| column.width + GAP).sum::<usize>().saturating_sub(GAP);
        if total <= width {
            break;
        }
        let (over, count) = (total - width, columns.len());
        let widest = columns.iter_mut().max_by_key(|column| column.width);
        match widest.filter(|column| column.width > NARROWEST) {
            Some(widest) => widest.width -= over.min(widest.width - NARROWEST).min(widest.width.div_ceil(8)),
            None if count > 1 => hidden.extend(columns.pop().map(|column| column.head)),
            None => {
                columns.iter_mut().for_each(|column| column.width = width.max(1));
                break;
            }
        }
    }
    hidden.reverse();
    hidden
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;
    use crate::tests::{batch, context};

    fn rows() -> RecordBatch {
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 200, -3]));
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("größe"), None, Some("a\nb and so on, quite long")]));
        let wide: ArrayRef = Arc::new(StringArray::from(vec!["日本", "x", ""]));
        let real: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 2.0, 10.25]));
        RecordBatch::try_from_iter_with_nullable([
            ("id", number, true),
            ("text", text, true),
            ("wide", wide, true),
            ("real", real, true),
        ])
        .unwrap()
    }

    #[test]
    fn tables_align_and_keep_to_the_width() {
        let check = |width: usize, expected: &str| {
            assert_eq!(table(&[rows()], width).unwrap(), expected.trim_start_matches('\n'))
        };
        check(
            120,
            r"
 id  text                        wide   real
───  ──────────────────────────  ────  ─────
  1  größe                       日本    0.5
200  null                        x       2.0
 -3  a\nb and so on, quite long        10.25
",
        );
        check(
            30,
            r"
 id  text          wide   real
───  ────────────  ────  ─────
  1  größe         日本    0.5
200  null          x       2.0
 -3  a\nb and so…        10.25
",
        );
        check(
            16,
            r"
 id  text
───  ────────
  1  größe
200  null
 -3  a\nb an…
and 2 columns: …
",
        );
    }

    #[test]
    fn what_misleads_a_terminal_is_spelled_out() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["\u{1b}[2J\u{9b}31m\r\nx\u{202e}y"]));
        let rows = RecordBatch::try_from_iter([("a\u{7}", text)]).unwrap();
        let text = table(&[rows], 120).unwrap();
        assert!(text.lines().count() == 3 && !text.chars().any(|c| c != '\n' && terminal::misleads(c)), "{text}");
        assert!(text.ends_with("\\u{1b}[2J\\u{9b}31m\\r\\nx\\u{202e}y\n"), "{text}");
    }

    #[tokio::test]
    async fn a_title_says_what_the_rows_are_of() {
        let spec = PrintSpec { rows: 2, per: Per::Commit, width: None };
        let mut consumer = PrintConsumer::new(&spec, &context());
        consumer.consume(&batch(0..1)).await.unwrap();
        consumer.consume(&batch(1..2000)).await.unwrap();
        let text = consumer.text("commit 1 of this run", 80).unwrap();
        assert_eq!(text, "test · commit 1 of this run · 2 of 2,000 rows\nn\n─\n0\n1\n\n");
        let mut json = PrintConsumer { json: true, ..PrintConsumer::new(&spec, &context()) };
        json.consume(&batch(0..3)).await.unwrap();
        assert_eq!(json.text("", 80).unwrap(), "{\"n\":0}\n{\"n\":1}\n");
    }
}
