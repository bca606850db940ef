//! CSV with a header line. Only what reads back as it was is written: nested and binary columns are refused.
//!
//! A null is a field of nothing, an empty text is `""`: the rule of PostgreSQL and of DuckDB. That makes the tokenizer ours,
//! because others do not say whether a field was quoted.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use bytes::Bytes;

use super::{Batches, Error, Format, batches, decode_error, encode_error, stored::Stored};

/// Rows that are turned into columns at once.
const BATCH_ROWS: usize = 8192;
/// Bytes of one that is large.
const BATCH_BYTES: usize = 256 << 20;

pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(schema: &SchemaRef) -> Self {
        Self { bytes: header(schema) }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        rows(batch, &mut self.bytes).map_err(|source| encode_error(Format::Csv)(source.into()))
    }

    pub(super) fn buffered(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// The header line of a table with these columns.
pub(super) fn header(schema: &Schema) -> Vec<u8> {
    let mut bytes = Vec::new();
    let names = schema.fields().iter().map(|field| Some(field.name().as_str()));
    line(names, &mut bytes);
    bytes
}

/// Appends a line for each row.
pub(super) fn rows(batch: &RecordBatch, to: &mut Vec<u8>) -> Result<(), ArrowError> {
    let options = FormatOptions::new().with_display_error(false);
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let mut cells: Vec<Option<String>> = Vec::with_capacity(columns.len());
    for row in 0..batch.num_rows() {
        cells.clear();
        for (formatter, column) in columns.iter().zip(batch.columns()) {
            let null = column.is_null(row) || column.data_type() == &DataType::Null;
            cells.push(if null { None } else { Some(formatter.value(row).try_to_string()?) });
        }
        line(cells.iter().map(Option::as_deref), to);
    }
    Ok(())
}

fn line<'a>(cells: impl Iterator<Item = Option<&'a str>>, to: &mut Vec<u8>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            to.push(b',');
        }
        match cell {
            None => {}
            Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                to.push(b'"');
                to.extend(text.replace('"', "\"\"").bytes());
                to.push(b'"');
            }
            Some(text) => to.extend(text.bytes()),
        }
    }
    to.push(b'\n');
}

pub(super) fn read(
    path: &str,
    schema: &SchemaRef,
    bytes: Bytes,
    projection: Option<&[usize]>,
) -> Result<Batches, Error> {
    let stored = Stored::new(Format::Csv, schema)?;
    let in_file = SchemaRef::clone(stored.in_file());
    let wanted: Vec<usize> = projection.map_or_else(|| (0..in_file.fields().len()).collect(), <[usize]>::to_vec);
    let wrong = |reason: String| decode_error(path, Format::Csv, ArrowError::CsvError(reason));
    let text = std::str::from_utf8(&bytes).map_err(|error| wrong(error.to_string()))?;
    let header = header(&in_file);
    let start = match text.as_bytes().strip_prefix(header.as_slice()) {
        Some(_) => header.len(),
        None => {
            let mut fields = Fields { text, at: 0 };
            let found = fields.record(in_file.fields().len()).map_err(&wrong)?;
            let names: Vec<_> = found.unwrap_or_default().into_iter().map(|(name, _)| name).collect();
            let same = names.iter().map(String::as_str).eq(in_file.fields().iter().map(|field| field.name().as_str()));
            if !same {
                return Err(wrong(format!("its header is {names:?}")));
            }
            fields.at
        }
    };
    let table = Table { bytes, at: start, in_file, wanted, most: BATCH_BYTES, column: i32::MAX as usize };
    Ok(batches(path, Format::Csv, table))
}

/// Records of a file, batch by batch.
struct Table {
    bytes: Bytes,
    at: usize,
    in_file: SchemaRef,
    wanted: Vec<usize>,
    /// Bytes of a batch after which no other record is taken, and most bytes that a column can have.
    most: usize,
    column: usize,
}

impl Iterator for Table {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.at < self.bytes.len()).then(|| {
            let batch = self.batch();
            if batch.is_err() {
                self.at = self.bytes.len();
            }
            batch
        })
    }
}

impl Table {
    fn batch(&mut self) -> Result<RecordBatch, ArrowError> {
        // Looked at as a whole when it was opened.
        let text = std::str::from_utf8(&self.bytes).map_err(|error| ArrowError::CsvError(error.to_string()))?;
        let mut fields = Fields { text, at: self.at };
        let width = self.in_file.fields().len();
        let mut columns: Vec<StringBuilder> = self.wanted.iter().map(|_| StringBuilder::new()).collect();
        let mut rows = 0;
        while rows < BATCH_ROWS && fields.at - self.at < self.most {
            let before = fields.at;
            let Some(record) = fields.record(width).map_err(ArrowError::CsvError)? else { break };
            match fields.at - self.at {
                // What builds a column panics beyond that.
                large if large > self.column && rows == 0 => return Err(ArrowError::OffsetOverflowError(large)),
                large if large > self.column => {
                    fields.at = before;
                    break;
                }
                _ => {}
            }
            for (column, index) in columns.iter_mut().zip(&self.wanted) {
                let cell = record.get(*index).filter(|(text, quoted)| *quoted || !text.is_empty());
                column.append_option(cell.map(|(text, _)| text));
            }
            rows += 1;
        }
        self.at = fields.at;
        let schema = SchemaRef::new(self.in_file.project(&self.wanted)?);
        let columns = columns.iter_mut().zip(schema.fields()).map(|(column, field)| typed(column, field));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(schema, columns, &options)
    }
}

fn typed(column: &mut StringBuilder, field: &Field) -> Result<ArrayRef, ArrowError> {
    let texts: ArrayRef = Arc::new(column.finish());
    match field.data_type() {
        DataType::Utf8 => Ok(texts),
        DataType::Null => Ok(arrow::array::new_null_array(&DataType::Null, texts.len())),
        data_type => cast_with_options(&texts, data_type, &CastOptions { safe: false, ..CastOptions::default() }),
    }
}

/// The fields of a text, one after the other.
struct Fields<'a> {
    text: &'a str,
    at: usize,
}

impl Fields<'_> {
    /// The fields of the next record, each with whether it was quoted; there have to be `width`.
    fn record(&mut self, width: usize) -> Result<Option<Vec<(String, bool)>>, String> {
        if self.at >= self.text.len() {
            return Ok(None);
        }
        let start = self.at;
        let mut fields = Vec::with_capacity(width);
        loop {
            fields.push(self.field()?);
            match self.text.as_bytes().get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'\n') => {
                    self.at += 1;
                    break;
                }
                Some(_) => return Err(format!("text follows a closing quote at byte {}", self.at)),
                None => break,
            }
        }
        if fields.len() == width.max(1) {
            Ok(Some(fields))
        } else {
            Err(format!("the record at byte {start} has {} fields, not {width}", fields.len()))
        }
    }

    fn field(&mut self) -> Result<(String, bool), String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(mut inside) = rest.strip_prefix('"') else {
            let end = rest.find([',', '\n']).unwrap_or(rest.len());
            self.at += end;
            return Ok((rest.get(..end).unwrap_or_default().to_owned(), false));
        };
        let open = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some((before, after)) = inside.split_once('"') else {
                return Err(format!("the quote at byte {open} is not closed"));
            };
            text += before;
            self.at += before.len() + 1;
            match after.strip_prefix('"') {
                Some(more) => {
                    text.push('"');
                    self.at += 1;
                    inside = more;
                }
                None => return Ok((text, true)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;

    /// How many rows the batches have, if they have at most `most` bytes and columns at most `column`.
    fn check(text: &str, most: usize, column: usize, expected: Result<&[usize], ()>) {
        let in_file = SchemaRef::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let table = Table { bytes, at: 0, in_file, wanted: vec![0], most, column };
        let rows: Result<Vec<usize>, _> = table.map(|batch| batch.map(|batch| batch.num_rows())).collect();
        assert_eq!(rows.as_deref().map_err(drop), expected, "{text:?} in batches of {most}, {column} bytes");
    }

    #[test]
    fn no_column_has_more_than_an_array_holds() {
        let text = "aaaa\nbbbb\ncc\n\"d\"\n";
        check(text, 1000, 1000, Ok(&[4]));
        check(text, 6, 1000, Ok(&[2, 2]));
        check(text, 1, 1000, Ok(&[1; 4]));
        check(text, 1000, 5, Ok(&[1, 1, 1, 1]));
        check(text, 1000, 12, Ok(&[2, 2]));
        check(text, 1000, 4, Err(()));
    }
}
