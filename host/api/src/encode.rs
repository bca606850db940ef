//! Rows as a file or as a stream, in bytes that are taken while more rows come.

use std::fmt;

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::writer::{FileWriter, StreamWriter},
};
use parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, TextFormat};

/// A row group ends here, so that memory does not grow with the answer.
const ROW_GROUP: usize = 1 << 18;

/// What rows are written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// An Arrow IPC file.
    Arrow,
    /// An Arrow IPC stream.
    Stream,
}

impl Format {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Stream => "stream",
        }
    }
}

/// Turns batches into bytes, which are taken from it as they come.
pub struct Encoder {
    format: Format,
    kind: Kind,
}

enum Kind {
    Text(TextFormat, Vec<u8>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Arrow(Box<FileWriter<Vec<u8>>>),
    Stream(Box<StreamWriter<Vec<u8>>>),
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("format", &self.format).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder of rows of these columns.
    ///
    /// # Errors
    /// [`Error::Convert`] where the format cannot hold one of them.
    pub fn new(format: Format, schema: &SchemaRef) -> Result<Self> {
        let wrong = |why: String| cannot(format, why);
        let kind = match format {
            Format::Csv => Self::text(TextFormat::Csv, schema)?,
            Format::Ndjson => Self::text(TextFormat::Ndjson, schema)?,
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(ROW_GROUP))
                    .set_created_by(concat!("spout ", env!("CARGO_PKG_VERSION")).to_owned())
                    .build();
                let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
                Kind::Parquet(Box::new(writer.map_err(|error| wrong(error.to_string()))?))
            }
            Format::Arrow => {
                let writer = FileWriter::try_new(Vec::new(), schema);
                Kind::Arrow(Box::new(writer.map_err(|error| wrong(error.to_string()))?))
            }
            Format::Stream => {
                let writer = StreamWriter::try_new(Vec::new(), schema);
                Kind::Stream(Box::new(writer.map_err(|error| wrong(error.to_string()))?))
            }
        };
        Ok(Self { format, kind })
    }

    /// A header is written even if there are no rows.
    fn text(format: TextFormat, schema: &SchemaRef) -> Result<Kind> {
        let wrong = |why: String| Error::Convert { file: "the answer".into(), format: format.name(), why };
        format.check(schema).map_err(wrong)?;
        let mut bytes = Vec::new();
        if format == TextFormat::Csv {
            let empty = RecordBatch::new_empty(schema.clone());
            let written = format.write(std::iter::once(Ok::<_, ArrowError>(empty)), true, &mut bytes);
            written.map_err(|error| wrong(error.to_string()))?;
        }
        Ok(Kind::Text(format, bytes))
    }

    /// Takes rows in.
    ///
    /// # Errors
    /// [`Error::Convert`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let written = match &mut self.kind {
            Kind::Text(format, bytes) => format
                .write(std::iter::once(Ok::<_, ArrowError>(batch.clone())), false, bytes)
                .map_err(|error| error.to_string()),
            Kind::Parquet(writer) => writer.write(batch).map_err(|error| error.to_string()),
            Kind::Arrow(writer) => writer.write(batch).map_err(|error| error.to_string()),
            Kind::Stream(writer) => writer.write(batch).map_err(|error| error.to_string()),
        };
        written.map_err(|why| cannot(self.format, why))
    }

    /// What was written since this was last asked.
    #[must_use]
    pub fn taken(&mut self) -> Vec<u8> {
        std::mem::take(match &mut self.kind {
            Kind::Text(_, bytes) => bytes,
            Kind::Parquet(writer) => writer.inner_mut(),
            Kind::Arrow(writer) => writer.get_mut(),
            Kind::Stream(writer) => writer.get_mut(),
        })
    }

    /// Writes the end; the last bytes.
    ///
    /// # Errors
    /// [`Error::Convert`].
    pub fn finish(mut self) -> Result<Vec<u8>> {
        let finished = match &mut self.kind {
            Kind::Text(..) => Ok(()),
            Kind::Parquet(writer) => writer.finish().map(drop).map_err(|error| error.to_string()),
            Kind::Arrow(writer) => writer.finish().map_err(|error| error.to_string()),
            Kind::Stream(writer) => writer.finish().map_err(|error| error.to_string()),
        };
        finished.map_err(|why| cannot(self.format, why))?;
        Ok(self.taken())
    }
}

fn cannot(format: Format, why: String) -> Error {
    Error::Convert { file: "the answer".into(), format: format.name(), why }
}
