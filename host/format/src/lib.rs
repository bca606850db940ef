//! The file formats of data files: [`TableWriter`] makes an [`Encoded`] table, [`decode`] reads one back.
//!
//! Encoding is plain CPU work on the caller's own thread, done while rows arrive, with help where processors are free; nothing here
//! waits for anybody or does IO.
//!
//! **Invariant**: nothing here knows paths, commits or the object store.

mod arrow_blocks;
mod arrow_ipc;
mod caught;
mod columns;
mod convert;
mod csv;
mod encodings;
mod error;
mod fit;
#[cfg(test)]
mod fuzz;
mod helpers;
mod merge;
mod ndjson;
mod pages;
mod parquet;
mod row_groups;
mod stored;

use std::{fmt, sync::Arc};

use ::arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::parquet::{ParquetStream, with_views};
pub use arrow_blocks::measured_arrow;
pub use caught::{caught, caught_rows};
pub use columns::{ColumnStatistics, less};
pub use convert::convert;
pub use error::Error;
pub use fit::{Misfit, misfits};
pub use merge::{Clash, adapt, merge};
pub use ndjson::{json_rows, options as json_options};
pub use pages::{measured_columns, measured_pages};
use spout_base::error::Cause;
pub use stored::{Stored, in_parquet, nanos_name};

/// Format of a data file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    #[default]
    Parquet,
    /// Arrow IPC file.
    Arrow,
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
}

impl Format {
    /// The format that a file's name says.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (_, ending) = path.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "arrow" => Some(Self::Arrow),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// What file names of the format end with, and what people call it.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

/// A finished table file.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The file.
    pub bytes: Bytes,
    /// Its format.
    pub format: Format,
    /// The columns it was written with.
    pub schema: SchemaRef,
    /// Rows in it.
    pub rows: u64,
    /// Hash of the bytes, taken on the thread that encoded them.
    pub sha256: String,
    /// Least, greatest and null count of plain columns, where the format yields them for free.
    pub columns: Vec<ColumnStatistics>,
    /// Whether types that the format, or the readers of Delta tables, lack are stored as others.
    pub portable: bool,
}

/// Turns record batches of one schema into one file.
pub struct TableWriter {
    format: Format,
    schema: SchemaRef,
    /// `None` where the types are those of the rows, even if some readers lack them.
    stored: Option<Stored>,
    extremes: columns::Extremes,
    rows: u64,
    kind: Kind,
}

enum Kind {
    Parquet(Box<parquet::Writer>),
    Arrow(Box<arrow_ipc::Writer>),
    Ndjson(ndjson::Writer),
    Csv(csv::Writer),
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter").field("format", &self.format).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl TableWriter {
    /// A writer of files of a repo, for batches of `schema`: types that the format or those who read it lack are stored as
    /// others, which [`decode`] reads back as what they were.
    ///
    /// # Errors
    /// [`Error::NotStorable`] where the format cannot hold a column, [`Error::Encode`] where its writer says so.
    pub fn new(format: Format, schema: SchemaRef) -> Result<Self, Error> {
        let stored = Stored::new(format, &schema)?;
        let in_file = SchemaRef::clone(stored.in_file());
        Self::of(format, schema, &in_file, Some(stored))
    }

    /// A writer of files for others, which have the types of the rows as they are.
    ///
    /// # Errors
    /// As [`TableWriter::new`].
    pub fn as_given(format: Format, schema: SchemaRef) -> Result<Self, Error> {
        let in_file = SchemaRef::clone(&schema);
        Self::of(format, schema, &in_file, None)
    }

    fn of(format: Format, schema: SchemaRef, in_file: &SchemaRef, stored: Option<Stored>) -> Result<Self, Error> {
        let kind = match format {
            Format::Parquet => Kind::Parquet(Box::new(parquet::Writer::new(in_file)?)),
            Format::Arrow => Kind::Arrow(Box::new(arrow_ipc::Writer::new(in_file)?)),
            Format::Ndjson => Kind::Ndjson(ndjson::Writer::new(in_file)),
            Format::Csv => Kind::Csv(csv::Writer::new(in_file)),
        };
        Ok(Self { format, extremes: columns::Extremes::of(&schema), schema, stored, rows: 0, kind })
    }

    /// Adds the rows of `batch`, whose schema is the writer's.
    ///
    /// # Errors
    /// [`Error::Encode`] where a value or the schema does not fit.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let same = Arc::ptr_eq(batch.schema_ref(), &self.schema) || batch.schema_ref().fields() == self.schema.fields();
        if !same {
            let (ours, theirs) = (self.schema.fields(), batch.schema_ref().fields());
            let source = format!("rows with columns {theirs:?} were added to a table with columns {ours:?}").into();
            return Err(encode_error(self.format)(source));
        }
        let Some(stored) = &self.stored else { return self.add(batch) };
        if let Some(misfit) = misfits(self.format, batch).into_iter().next() {
            return Err(Error::Misfit { format: self.format.extension(), row: misfit.row, reason: misfit.reason });
        }
        if self.format == Format::Parquet {
            self.extremes.take(batch);
        }
        let in_file = stored.store(batch).map_err(|source| encode_error(self.format)(source.into()))?.into_owned();
        self.add(&in_file)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Parquet(writer) => writer.write(batch)?,
            Kind::Arrow(writer) => writer.write(batch)?,
            Kind::Ndjson(writer) => writer.write(batch)?,
            Kind::Csv(writer) => writer.write(batch)?,
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Memory that this writer holds now, about.
    #[must_use]
    pub fn bytes_buffered(&self) -> usize {
        match &self.kind {
            Kind::Parquet(writer) => writer.buffered(),
            Kind::Arrow(writer) => writer.buffered(),
            Kind::Ndjson(writer) => writer.buffered(),
            Kind::Csv(writer) => writer.buffered(),
        }
    }

    /// Rows written so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The columns it was made for.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`Error::Encode`] where the format refuses what was written.
    pub fn finish(self) -> Result<Encoded, Error> {
        let (bytes, columns) = match self.kind {
            Kind::Parquet(writer) => {
                let in_file = self.stored.as_ref().map_or(&self.schema, Stored::in_file);
                writer.finish(&self.schema, in_file, &self.extremes)?
            }
            Kind::Arrow(writer) => (writer.finish()?, Vec::new()),
            Kind::Ndjson(writer) => (writer.finish()?, Vec::new()),
            Kind::Csv(writer) => (writer.finish(), Vec::new()),
        };
        let (sha256, portable) = (sha256(&bytes), self.stored.is_some());
        let Self { format, schema, rows, .. } = self;
        Ok(Encoded { bytes: bytes.into(), format, schema, rows, sha256, columns, portable })
    }
}

/// Rows of a table file, batch by batch.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch, Error>> + Send>;

/// Reads a table file back; `path` is for messages. `projection` names the columns wanted, by index into `schema` and
/// rising; the others are not decoded where the format allows it.
///
/// # Errors
/// [`Error::Decode`] if the bytes are not of the format.
pub fn decode(
    path: &str,
    format: Format,
    schema: &SchemaRef,
    bytes: Bytes,
    projection: Option<&[usize]>,
) -> Result<Batches, Error> {
    let wrong = {
        let path = path.to_owned();
        move |why: String| decode_error(&path, format, ArrowError::ParseError(why))
    };
    let in_file = caught(|| match format {
        Format::Parquet => parquet::read(path, schema, bytes, projection),
        Format::Arrow => arrow_ipc::read(path, bytes, projection),
        Format::Ndjson => ndjson::read(path, schema, bytes, projection),
        Format::Csv => csv::read(path, schema, bytes, projection),
    });
    let in_file = in_file.map_err(&wrong)??;
    // What has no place in files now may be in one of an earlier version, as it is.
    let Ok(stored) = Stored::new(format, schema) else { return Ok(Box::new(caught_rows(in_file, wrong))) };
    let (path, wanted) = (path.to_owned(), projection.map(<[usize]>::to_vec));
    let restored = in_file.map(move |batch| {
        stored.restore(&batch?, wanted.as_deref()).map_err(|source| decode_error(&path, format, source))
    });
    Ok(Box::new(caught_rows(restored, wrong)))
}

/// The header line of a CSV file with these columns, which all but the first piece of a grown file lose when read.
#[must_use]
pub fn csv_header(schema: &SchemaRef) -> Vec<u8> {
    csv::header(schema)
}

/// `rows` as lines of CSV, as files of a repo have them: a null is a field of nothing, an empty text is `""`.
///
/// # Errors
/// For columns that have no text, and values that no calendar has.
pub fn csv_text(rows: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let nested = rows.schema_ref().fields().iter().find(|field| field.data_type().is_nested());
    if let Some(field) = nested {
        let (name, data_type) = (field.name(), field.data_type());
        return Err(ArrowError::CsvError(format!("column `{name}` of type {data_type} has no text")));
    }
    let mut bytes = if header { csv::header(rows.schema_ref()) } else { Vec::new() };
    csv::rows(rows, &mut bytes)?;
    Ok(bytes)
}

/// What becomes of the columns of a table in files of `format`.
///
/// # Errors
/// [`Error::NotStorable`] names the first column that it cannot hold.
pub fn storable(format: Format, schema: &Schema) -> Result<(), Error> {
    Stored::new(format, &SchemaRef::new(schema.clone())).map(drop)
}

/// A SHA-256 as lower-case hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The same of parts, one after the other.
#[must_use]
pub fn sha256_of<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    format!("{:x}", parts.into_iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize())
}

fn encode_error(format: Format) -> impl Fn(Cause) -> Error {
    move |source| Error::Encode { format: format.extension(), source }
}

fn decode_error(path: &str, format: Format, source: impl Into<Cause>) -> Error {
    Error::Decode { path: path.to_owned(), format: format.extension(), source: source.into() }
}

/// Our errors for an arrow reader's.
fn batches<E: Into<Cause>>(
    path: &str,
    format: Format,
    reader: impl Iterator<Item = Result<RecordBatch, E>> + Send + 'static,
) -> Batches {
    let path = path.to_owned();
    Box::new(reader.map(move |batch| batch.map_err(|source| decode_error(&path, format, source))))
}

#[cfg(test)]
mod tests;
