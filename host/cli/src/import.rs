//! Tables from outside: CSV, NDJSON, Parquet or Arrow, read as rows a batch at a time.

use std::{
    fs::File,
    io::{BufReader, Seek as _},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::RecordBatch,
    csv,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    error::ArrowError,
    ipc::reader::FileReader,
    json,
};
use clap::ValueEnum;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use spout_format::Format;

use super::error::Error;

/// The format of a file to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TableFormat {
    /// By the file extension.
    Auto,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
    /// An Arrow IPC file.
    Arrow,
}

/// Rows on their way in.
pub(super) struct Import {
    name: String,
    format: Format,
    pub(super) schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
}

impl TableFormat {
    /// The format of the file of this name.
    pub(super) fn of(self, name: &str) -> Result<Format, Error> {
        let unknown = || Error::Import {
            file: name.to_owned(),
            what: "a table",
            why:
                "its name does not end in .csv, .ndjson, .jsonl, .parquet or .arrow; name the format, as in --table=csv"
                    .into(),
        };
        match self {
            Self::Auto => by_name(name).ok_or_else(unknown),
            Self::Csv => Ok(Format::Csv),
            Self::Ndjson => Ok(Format::Ndjson),
            Self::Parquet => Ok(Format::Parquet),
            Self::Arrow => Ok(Format::Arrow),
        }
    }
}

/// The format that the end of a name says.
pub(super) fn by_name(name: &str) -> Option<Format> {
    let (_, extension) = name.rsplit_once('.')?;
    match extension.to_ascii_lowercase().as_str() {
        "csv" => Some(Format::Csv),
        "ndjson" | "jsonl" => Some(Format::Ndjson),
        "parquet" => Some(Format::Parquet),
        "arrow" => Some(Format::Arrow),
        _ => None,
    }
}

impl Import {
    /// Opens `file`, called `name` in messages. Columns of CSV and NDJSON have the types of `known` where it has them, and
    /// else those that fit all rows.
    ///
    /// # Errors
    /// [`Error::Import`].
    pub(super) fn open(mut file: File, name: &str, format: Format, known: Option<&Schema>) -> Result<Self, Error> {
        let wrong = |why: String| Error::Import { file: name.to_owned(), what: format.extension(), why };
        let failed = |source: ArrowError| wrong(source.to_string());
        let (schema, batches): (SchemaRef, Box<dyn Iterator<Item = _> + Send>) = match format {
            Format::Parquet => {
                let builder =
                    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| wrong(error.to_string()))?;
                let schema = Arc::clone(builder.schema());
                (schema, Box::new(builder.build().map_err(|error| wrong(error.to_string()))?))
            }
            Format::Arrow => {
                let reader = FileReader::try_new(BufReader::new(file), None).map_err(failed)?;
                (reader.schema(), Box::new(reader))
            }
            Format::Csv | Format::Ndjson => {
                let inferred = inferred(&file, format).map_err(failed)?;
                file.rewind().map_err(|error| wrong(error.to_string()))?;
                if inferred.fields().is_empty() {
                    return Err(wrong("it is empty, so its columns are unknown".into()));
                }
                let schema: SchemaRef = settled(&inferred, known).into();
                let file = BufReader::new(file);
                match format {
                    Format::Csv => {
                        let reader = csv::ReaderBuilder::new(Arc::clone(&schema)).with_header(true);
                        (schema, Box::new(reader.build_buffered(file).map_err(failed)?))
                    }
                    _ => {
                        let reader = json::ReaderBuilder::new(Arc::clone(&schema));
                        (schema, Box::new(reader.build(file).map_err(failed)?))
                    }
                }
            }
        };
        Ok(Self { name: name.to_owned(), format, schema, batches })
    }

    /// The next rows.
    ///
    /// # Errors
    /// [`Error::Import`], which names the line where the format has lines.
    pub(super) fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        let batch = self.batches.next()?;
        let (file, what) = (self.name.clone(), self.format.extension());
        Some(batch.map_err(|source| Error::Import { file, what, why: source.to_string() }))
    }
}

/// The name that a table has which is taken out of the file `path`: what it is from then on is Parquet.
pub(super) fn renamed(path: &str) -> String {
    match by_name(path).zip(path.rsplit_once('.')) {
        Some((_, (stem, _))) => format!("{stem}.parquet"),
        None => format!("{path}.parquet"),
    }
}

/// All rows are looked at: a number in the first thousand can be a word in the next.
fn inferred(file: &File, format: Format) -> Result<Schema, ArrowError> {
    let reader = BufReader::new(file);
    Ok(match format {
        Format::Csv => csv::reader::Format::default().with_header(true).infer_schema(reader, None)?.0,
        _ => json::reader::infer_json_schema(reader, None)?.0,
    })
}

/// Every column can be null, and one without any value is text.
fn settled(inferred: &Schema, known: Option<&Schema>) -> Schema {
    let column = |field: &FieldRef| -> Field {
        match known.and_then(|known| known.field_with_name(field.name()).ok()) {
            Some(there) => there.clone().with_nullable(true),
            None => Field::new(field.name(), settled_type(field.data_type()), true),
        }
    };
    Schema::new(inferred.fields().iter().map(column).collect::<Fields>())
}

fn settled_type(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| Field::new(field.name(), settled_type(field.data_type()), true);
    match data_type {
        DataType::Null => DataType::Utf8,
        DataType::Struct(fields) if fields.is_empty() => DataType::Utf8,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::List(item) => DataType::List(Arc::new(inner(item))),
        other => other.clone(),
    }
}

/// The file at `path`.
///
/// # Errors
/// [`Error::ReadFile`].
pub(super) fn opened(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::ReadFile { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(text: &str, format: Format, known: Option<&Schema>) -> Result<(String, usize), String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        let mut import = Import::open(file, "in", format, known).map_err(|error| error.to_string())?;
        let mut rows = 0;
        while let Some(batch) = import.next() {
            rows += batch.map_err(|error| error.to_string())?.num_rows();
        }
        let column = |field: &FieldRef| format!("{} {}", field.name(), field.data_type());
        Ok((import.schema.fields().iter().map(column).collect::<Vec<_>>().join(", "), rows))
    }

    #[test]
    fn columns_fit_every_row() {
        use Format::{Csv, Ndjson};
        let check = |text: &str, format, known: Option<&Schema>, expected: &str, rows| {
            assert_eq!(read(text, format, known), Ok((expected.to_owned(), rows)), "{text}");
        };
        check("a,b,c\n1,x,\n2.5,y,\n", Csv, None, "a Float64, b Utf8, c Utf8", 2);
        let late: String = (0..2000).map(|n| format!("{n}\n")).collect();
        check(&format!("a\n{late}word\n"), Csv, None, "a Utf8", 2001);
        check("a,b\n", Csv, None, "a Utf8, b Utf8", 0);
        check("{\"a\":1,\"b\":{\"c\":null}}\n{\"a\":2}\n", Ndjson, None, "a Int64, b Struct(\"c\": Utf8)", 2);
        let known = Schema::new(vec![Field::new("a", DataType::Utf8, false)]);
        check("a,b\n007,1\n", Csv, Some(&known), "a Utf8, b Int64", 1);
    }

    #[test]
    fn what_is_no_table_is_named() {
        let check = |text: &str, format, says: &str| {
            let error = read(text, format, None).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        check("", Format::Ndjson, "cannot read in as ndjson: it is empty");
        check("", Format::Csv, "cannot read in as csv");
        check("{\"a\":1}\nnot json\n", Format::Ndjson, "cannot read in as ndjson");
        check("a,b\n1\n", Format::Csv, "cannot read in as csv");
        check("PAR1", Format::Parquet, "cannot read in as parquet");
        check("x", Format::Arrow, "cannot read in as arrow");
        assert!(TableFormat::Auto.of("a.txt").is_err_and(|error| error.to_string().contains("--table=csv")));
        assert_eq!((renamed("/a/x.csv"), renamed("/a/x")), ("/a/x.parquet".to_owned(), "/a/x.parquet".to_owned()));
    }
}
