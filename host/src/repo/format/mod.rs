//! The file formats of data files: [`TableWriter`] makes an [`Encoded`] table, [`decode`] reads one back.
//!
//! Encoding is plain CPU work on the caller's own thread, done while rows arrive; nothing here waits or does IO.
//!
//! **Invariant**: nothing here knows paths, commits or the object store.

mod arrow_ipc;
mod columns;
mod csv;
mod merge;
mod ndjson;
mod parquet;

use std::{fmt, sync::Arc};

use ::arrow::{array::RecordBatch, datatypes::SchemaRef};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Error, error::Cause};
pub use columns::ColumnStatistics;
pub(super) use merge::{adapt, merge};

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

/// A finished table file: what [`OpenCommit::put_table`](super::OpenCommit::put_table) takes.
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
}

/// Turns record batches of one schema into one file.
pub struct TableWriter {
    format: Format,
    schema: SchemaRef,
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
    /// A writer for batches of `schema`.
    ///
    /// # Errors
    /// [`Error::NotFlat`] where CSV cannot hold a column, [`Error::Encode`] where another format cannot.
    pub fn new(format: Format, schema: SchemaRef) -> Result<Self, Error> {
        let kind = match format {
            Format::Parquet => Kind::Parquet(Box::new(parquet::Writer::new(&schema)?)),
            Format::Arrow => Kind::Arrow(Box::new(arrow_ipc::Writer::new(&schema)?)),
            Format::Ndjson => Kind::Ndjson(ndjson::Writer::new()),
            Format::Csv => Kind::Csv(csv::Writer::new(&schema)?),
        };
        Ok(Self { format, schema, rows: 0, kind })
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
            Kind::Parquet(writer) => writer.finish(&self.schema)?,
            Kind::Arrow(writer) => (writer.finish()?, Vec::new()),
            Kind::Ndjson(writer) => (writer.finish()?, Vec::new()),
            Kind::Csv(writer) => (writer.finish(), Vec::new()),
        };
        let sha256 = sha256(&bytes);
        Ok(Encoded { bytes: bytes.into(), format: self.format, schema: self.schema, rows: self.rows, sha256, columns })
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
    match format {
        Format::Parquet => parquet::read(path, bytes, projection),
        Format::Arrow => arrow_ipc::read(path, bytes, projection),
        Format::Ndjson => ndjson::read(path, schema, bytes, projection),
        Format::Csv => csv::read(path, schema, bytes, projection),
    }
}

/// The header line of a CSV file with these columns, which all but the first piece of a grown file lose when read.
pub(super) fn csv_header(schema: &SchemaRef) -> Result<Vec<u8>, Error> {
    csv::header(schema)
}

/// A SHA-256 as lower-case hexadecimal digits.
#[must_use]
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The same of parts, one after the other.
#[must_use]
pub(super) fn sha256_of<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
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
