//! The rows of an answer as text or as a file, written while they are found.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, StringArray},
    compute::cast,
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
    util::{
        display::{ArrayFormatter, FormatOptions},
        pretty::pretty_format_batches,
    },
};
use clap::ValueEnum;
use spout_api::{Encoder, Format as Encoded, Rows};
use spout_base::terminal;

use super::{
    error::Error,
    get::{persist, temporary},
    print::{Printer, count},
};

/// Rows a table shows before it only counts.
const SHOWN: usize = 1000;

/// Output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table for people, of at most 1000 rows.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Apache Parquet, for a file or a pipe.
    Parquet,
    /// An Arrow IPC file, for a file or a pipe.
    Arrow,
}

impl Format {
    /// The format that the end of a file's name says.
    pub(super) fn of(file: &Path) -> Result<Self, Error> {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "ndjson" | "jsonl" => Ok(Self::Ndjson),
            "parquet" => Ok(Self::Parquet),
            "arrow" => Ok(Self::Arrow),
            _ => Err(Error::OutputFormat { file: file.to_owned() }),
        }
    }

    /// What rows are written as; a table is not.
    fn encoded(self) -> Encoded {
        match self {
            Self::Table | Self::Ndjson => Encoded::Ndjson,
            Self::Csv => Encoded::Csv,
            Self::Parquet => Encoded::Parquet,
            Self::Arrow => Encoded::Arrow,
        }
    }

    /// Whether only programs can read it.
    pub(super) fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// Prints `answer`.
pub(super) async fn print(mut answer: Rows, format: Format, printer: &mut Printer) -> Result<()> {
    if format == Format::Table {
        return table(answer, printer).await;
    }
    if format.is_binary() && io::stdout().is_terminal() {
        return Err(Error::Terminal { format: format.encoded().name() }.into());
    }
    let mut encoder = Encoder::new(format.encoded(), answer.schema())?;
    shown(printer, format, &encoder.taken())?;
    while let Some(batch) = answer.next().await {
        encoder.write(&batch?)?;
        shown(printer, format, &encoder.taken())?;
    }
    shown(printer, format, &encoder.finish()?)
}

/// JSON says the same in letters that do a terminal no harm; CSV does not, so that only what a terminal shows is changed.
fn shown(printer: &mut Printer, format: Format, bytes: &[u8]) -> Result<()> {
    match format {
        Format::Ndjson => printer.bytes(terminal::json(&String::from_utf8_lossy(bytes)).as_bytes()),
        Format::Csv if io::stdout().is_terminal() => {
            printer.bytes(terminal::text(&String::from_utf8_lossy(bytes)).as_bytes())
        }
        _ => printer.bytes(bytes),
    }
}

/// Writes `answer` so that `file` is there in full or as it was before; gives its rows and bytes.
pub(super) async fn save(mut answer: Rows, format: Format, file: &Path) -> Result<(u64, u64)> {
    let failed = |source| Error::WriteFile { path: PathBuf::from(file), source };
    let mut to = temporary(file)?;
    let mut encoder = Encoder::new(format.encoded(), answer.schema())?;
    let (mut rows, mut bytes) = (0, 0);
    while let Some(batch) = answer.next().await {
        let batch = batch?;
        encoder.write(&batch)?;
        let encoded = encoder.taken();
        to.write_all(&encoded).map_err(failed)?;
        rows += batch.num_rows() as u64;
        bytes += encoded.len() as u64;
    }
    let encoded = encoder.finish()?;
    to.write_all(&encoded).map_err(failed)?;
    persist(to, file)?;
    Ok((rows, bytes + encoded.len() as u64))
}

async fn table(mut answer: Rows, printer: &mut Printer) -> Result<()> {
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
    let kept: Vec<_> = kept.iter().map(readable).collect::<Result<_, _>>()?;
    printer.line(pretty_format_batches(&kept)?.to_string())?;
    let all = count(rows as u64, "row");
    match rows.checked_sub(SHOWN) {
        Some(more @ 1..) => printer.line(format!(
            "{SHOWN} of {all}, {} more; --format csv or ndjson prints all, -o FILE keeps all",
            count(more as u64, "row")
        )),
        _ => printer.line(all),
    }
}

/// The same rows as texts without anything that misleads, so that a cell stays one line of its column. Bytes are text where they
/// are UTF-8, else hexadecimal.
fn readable(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::new();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let bytes = column.data_type().is_binary().then(|| cast(column, &DataType::LargeBinary)).transpose()?;
        let bytes = bytes.as_ref().map(|bytes| bytes.as_binary::<i64>());
        let cell = |row| {
            let text = bytes.filter(|bytes| bytes.is_valid(row)).map(|bytes| std::str::from_utf8(bytes.value(row)));
            Ok::<_, ArrowError>(match text {
                Some(Ok(text)) => terminal::plain(text).into_owned(),
                Some(Err(_)) => format!("0x{}", formatter.value(row).try_to_string()?),
                None => terminal::plain(&formatter.value(row).try_to_string()?).into_owned(),
            })
        };
        let cells = (0..rows.num_rows()).map(|row| cell(row).map(Some)).collect::<Result<StringArray, _>>()?;
        fields.push(Field::new(terminal::plain(field.name()), DataType::Utf8, true));
        columns.push(Arc::new(cells) as ArrayRef);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Schema::new(fields).into(), columns, &options)
}

#[cfg(test)]
mod tests {
    use arrow::compute::concat_batches;

    use super::*;
    use spout_api::{Api as _, Local, Query};
    use spout_format::{Format as Stored, decode};
    use spout_repo::Store;

    async fn asked(sql: &str) -> Rows {
        let store = Store::open("memory://").await.unwrap();
        Local::new(store).sql(&Query { query: sql.into(), ..Query::default() }).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_holds_all_rows_in_every_format() {
        let sql = "select value as n, case when value % 3 = 0 then null else 'a,\"' || value end as t
            from generate_series(1, 20000) order by 1";
        let (answer, dir) = (asked(sql).await, tempfile::tempdir().unwrap());
        let schema = answer.schema().clone();
        let expected = concat_batches(&schema, &answer.collect().await.unwrap()).unwrap();
        for stored in [Stored::Csv, Stored::Ndjson, Stored::Parquet, Stored::Arrow] {
            let file = dir.path().join(format!("all.{stored}"));
            let format = Format::of(&file).unwrap();
            let (rows, size) = save(asked(sql).await, format, &file).await.unwrap();
            let bytes = std::fs::read(&file).unwrap();
            assert_eq!((rows, size), (20_000, bytes.len() as u64), "{stored}");
            let found: Vec<_> =
                decode("/all", stored, &schema, bytes.into(), None).unwrap().map(Result::unwrap).collect();
            assert_eq!(concat_batches(&schema, &found).unwrap().columns(), expected.columns(), "{stored}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_answer_that_fails_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.parquet");
        std::fs::write(&file, "before").unwrap();
        let answer = asked("select 1 / (value - 9000) as n from generate_series(1, 10000)").await;
        assert!(save(answer, Format::Parquet, &file).await.is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn csv_without_rows_has_a_header() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.csv");
        save(asked("select 1 as a, 2 as b where false").await, Format::Csv, &file).await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a,b\n");
        let nested = save(asked("select [1] as a").await, Format::Csv, &file).await.unwrap_err();
        assert!(nested.to_string().contains("the column `a` is nested"), "{nested}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_table_holds_nothing_that_misleads() {
        let sql = "select chr(27) || '[2J' || chr(10) || 'x' as \"a\u{202e}b\", 1.5 as n, cast(null as text) as t";
        let rows = asked(sql).await.collect().await.unwrap();
        let text = pretty_format_batches(&[readable(&rows[0]).unwrap()]).unwrap().to_string();
        assert!(text.lines().count() == 5 && !text.chars().any(|c| c != '\n' && terminal::misleads(c)), "{text}");
        assert!(text.contains(r"| \u{1b}[2J\nx | 1.5 |   |") && text.contains(r"a\u{202e}b"), "{text}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn bytes_are_shown_as_text_where_they_are_text() {
        let sql = "select v from (values (x'4a6f'), (x'1b5b'), (x'4aff'), (null)) as t(v)";
        let rows = asked(sql).await.collect().await.unwrap();
        let text = pretty_format_batches(&[readable(&rows[0]).unwrap()]).unwrap().to_string();
        let cells: Vec<&str> = text.lines().skip(3).filter_map(|line| Some(line.split('|').nth(1)?.trim())).collect();
        assert_eq!(cells, ["Jo", r"\u{1b}[", "0x4aff", ""], "{text}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_map_whose_keys_are_no_texts_is_written_as_ndjson() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.ndjson");
        save(asked("select map([1, 2], ['a', 'b']) as m").await, Format::Ndjson, &file).await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let row: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(row["m"][1], serde_json::json!({"key": 2, "value": "b"}), "{text}");
    }

    #[test]
    fn the_end_of_a_name_says_the_format() {
        let check =
            |file: &str, expected: Option<Format>| assert_eq!(Format::of(Path::new(file)).ok(), expected, "{file}");
        check("a.csv", Some(Format::Csv));
        check("dir/a.JSONL", Some(Format::Ndjson));
        check("a.b.ndjson", Some(Format::Ndjson));
        check("a.parquet", Some(Format::Parquet));
        check("a.arrow", Some(Format::Arrow));
        check("a.txt", None);
        check("csv", None);
    }
}
