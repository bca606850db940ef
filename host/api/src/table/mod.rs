//! Tables from outside: CSV, NDJSON, Parquet or Arrow, read as rows a batch at a time, and put piece by piece.

mod put;
mod text;

use std::{fmt, fs::File, io::BufReader, sync::Arc};

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::reader::FileReader,
};
use parquet::{arrow::arrow_reader::ParquetRecordBatchReaderBuilder, errors::ParquetError};
use spout_data::within_limits;
use spout_format::{Format, caught, caught_rows, measured_arrow, measured_pages};

pub(crate) use self::put::put;
use self::text::Rows;
use crate::Error;

/// A file whose rows become a table.
#[derive(Debug)]
pub struct Table<'a> {
    /// The file, which is read from its start.
    pub file: File,
    /// How errors call it.
    pub name: &'a str,
    /// Its format.
    pub format: Format,
}

/// Rows on their way in.
pub struct Import {
    name: String,
    format: Format,
    /// Its columns.
    pub schema: SchemaRef,
    batches: Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send>,
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, format, schema, .. } = self;
        f.debug_struct("Import").field("name", name).field("format", format).field("schema", schema).finish()
    }
}

/// Most bytes of a page of Parquet: far more than writers make of them.
const PAGE: u64 = 512 << 20;

impl Import {
    /// Opens `file`, called `name` in messages. Columns of CSV and NDJSON have the types of `known` where it has them, and
    /// else those that keep every value of all rows.
    ///
    /// # Errors
    /// [`Error::Import`].
    pub fn open(file: File, name: &str, format: Format, known: Option<&Schema>) -> Result<Self, Error> {
        let wrong = |why: String| Error::Import { file: name.to_owned(), what: format.extension(), why };
        let failed = |source: ArrowError| source.to_string();
        let (schema, batches): (SchemaRef, Box<dyn Iterator<Item = _> + Send>) = match format {
            Format::Parquet => {
                let opened = caught(|| {
                    let mut pages = file.try_clone().map_err(|error| ParquetError::External(Box::new(error)))?;
                    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
                    measured_pages(&mut pages, builder.metadata(), PAGE).map_err(ParquetError::General)?;
                    Ok((Arc::clone(builder.schema()), builder.build()?))
                });
                let opened = opened.and_then(|opened| opened.map_err(|error: ParquetError| error.to_string()));
                let (schema, reader) = opened.map_err(wrong)?;
                (schema, Box::new(caught_rows(reader.map(move |batch| batch.map_err(failed)), |why| why)))
            }
            Format::Arrow => {
                let mut file = BufReader::new(file);
                caught(|| measured_arrow(&mut file)).and_then(|measured| measured).map_err(wrong)?;
                let opened = caught(|| FileReader::try_new(file, None).map_err(failed));
                let reader = opened.and_then(|opened| opened).map_err(wrong)?;
                (reader.schema(), Box::new(caught_rows(reader.map(move |batch| batch.map_err(failed)), |why| why)))
            }
            Format::Csv | Format::Ndjson => {
                let rows = Rows::open(file, format, known).map_err(wrong)?;
                (Arc::clone(rows.schema()), Box::new(rows))
            }
        };
        within_limits(&schema).map_err(wrong)?;
        Ok(Self { name: name.to_owned(), format, schema, batches })
    }

    /// The next rows.
    ///
    /// # Errors
    /// [`Error::Import`], which names the line where the format has lines.
    #[expect(clippy::should_implement_trait, reason = "an iterator would hide that an error is the end")]
    pub fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        let batch = self.batches.next()?;
        let (file, what) = (self.name.clone(), self.format.extension());
        Some(batch.map_err(|why| Error::Import { file, what, why }))
    }

    /// The first rows in one batch: `most` of them, or all where there are fewer.
    ///
    /// # Errors
    /// As [`Import::next`].
    pub fn first(mut self, most: usize) -> Result<RecordBatch, Error> {
        let (mut batches, mut rows) = (Vec::new(), 0);
        while rows < most
            && let Some(batch) = self.next()
        {
            let batch = batch?;
            rows += batch.num_rows();
            batches.push(batch);
        }
        let joined = concat_batches(&self.schema, &batches);
        let (file, what) = (self.name, self.format.extension());
        let joined = joined.map_err(|error| Error::Import { file, what, why: error.to_string() })?;
        Ok(joined.slice(0, joined.num_rows().min(most)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    use arrow::{
        datatypes::{DataType, Field, FieldRef},
        util::display::array_value_to_string,
    };

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
        let late: String = (0..9000).map(|n| format!("{n}\n")).collect();
        check(&format!("a\n{late}word\n"), Csv, None, "a Utf8", 9001);
        check("\u{feff}\na,\n1,\"x\ny\"\n", Csv, None, "a Int64, column_2 Utf8", 1);
        check("a,b\n", Csv, None, "a Utf8, b Utf8", 0);
        check("{\"a\":1,\"b\":{\"c\":null}}\n\n{\"a\":2}", Ndjson, None, "a Int64, b Struct(\"c\": Utf8)", 2);
        let late: String = (0..9000).map(|n| format!("{{\"a\":{n}}}\n")).collect();
        check(&format!("{late}{{\"a\":0.5,\"z\":1}}\n"), Ndjson, None, "a Float64, z Int64", 9001);
        let known = Schema::new(vec![Field::new("a", DataType::Utf8, false)]);
        check("a,b\n007,1\n", Csv, Some(&known), "a Utf8, b Int64", 1);
    }

    #[test]
    fn no_value_is_altered() {
        let check = |text: &str, format, expected: &[&str]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let batch = Import::open(file, "in", format, None).unwrap().next().unwrap().unwrap();
            let cell = |row| {
                batch
                    .columns()
                    .iter()
                    .map(move |column| array_value_to_string(column, row).unwrap())
                    .collect::<Vec<_>>()
            };
            let rows: Vec<String> = (0..batch.num_rows()).map(|row| cell(row).join("|")).collect();
            assert_eq!(rows, expected, "{text}");
        };
        let big = "14857091259186476033";
        check("id,n\n007,1e400\n8,2\n", Format::Csv, &["007|1e400", "8|2"]);
        check(
            &format!("n,m\n{big},9007199254740993\n1,0.5\n"),
            Format::Csv,
            &[&format!("{big}|9007199254740993"), "1|0.5"],
        );
        check("name\nname\n\"\"\n", Format::Csv, &["name", ""]);
        check(
            &format!("{{\"n\":{big},\"m\":9007199254740993}}\n{{\"n\":1,\"m\":0.5}}\n"),
            Format::Ndjson,
            &[&format!("{big}|9007199254740993"), "1|0.5"],
        );
    }

    #[test]
    fn what_is_no_table_is_named() {
        let check = |text: &str, format, says: &str| {
            let error = read(text, format, None).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        check("", Format::Ndjson, "cannot read in as ndjson: it is empty");
        check("1\n", Format::Ndjson, "no line is a JSON object with a field");
        check("", Format::Csv, "cannot read in as csv: it is empty");
        check("{\"a\":1}\n\nnot json\n", Format::Ndjson, "cannot read in as ndjson: line 3: ");
        check("{\"a\":1,\"a\":2}\n", Format::Ndjson, "line 1: ");
        check("a,b\n\"x\n\",2\n1\n", Format::Csv, "cannot read in as csv: line 4: the record has 1 value");
        check("a,b\n1,\"2\n", Format::Csv, "line 2: ");
        check("PAR1", Format::Parquet, "cannot read in as parquet");
        check("x", Format::Arrow, "cannot read in as arrow");
    }
}
