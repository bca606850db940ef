//! Rows as a file or as a stream, in bytes that are taken while more rows come.

use std::fmt;

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::writer::{FileWriter, StreamWriter},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::error::chain;
use spout_format::ParquetStream;

use crate::{Error, Result, TextFormat};

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
    Parquet(Box<ParquetStream>),
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
                Kind::Parquet(Box::new(ParquetStream::new(schema).map_err(|error| wrong(chain(&error)))?))
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
            Kind::Parquet(writer) => writer.write(batch).map_err(|error| chain(&error)),
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
            Kind::Parquet(writer) => return writer.taken(),
            Kind::Arrow(writer) => writer.get_mut(),
            Kind::Stream(writer) => writer.get_mut(),
        })
    }

    /// Writes the end; the last bytes.
    ///
    /// # Errors
    /// [`Error::Convert`].
    pub fn finish(self) -> Result<Vec<u8>> {
        let format = self.format;
        let finished = match self.kind {
            Kind::Text(_, bytes) => Ok(bytes),
            Kind::Parquet(writer) => writer.finish().map_err(|error| chain(&error)),
            Kind::Arrow(mut writer) => finished(writer.finish(), writer.get_mut()),
            Kind::Stream(mut writer) => finished(writer.finish(), writer.get_mut()),
        };
        finished.map_err(|why| cannot(format, why))
    }
}

fn finished(ended: Result<(), ArrowError>, bytes: &mut Vec<u8>) -> Result<Vec<u8>, String> {
    ended.map(|()| std::mem::take(bytes)).map_err(|error| error.to_string())
}

fn cannot(format: Format, why: String) -> Error {
    Error::Convert { file: "the answer".into(), format: format.name(), why }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array, StringArray},
        compute::concat_batches,
    };
    use parquet::{arrow::arrow_reader::ParquetRecordBatchReaderBuilder, basic::Encoding};

    use super::*;

    /// What is downloaded is written as commits are: numbers that rise as differences, texts that do not repeat without a dictionary.
    #[test]
    fn parquet_is_written_as_commits_are_and_comes_while_rows_do() {
        let batch = |from: i64| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 8192));
            let names = (from..from + 8192).map(|id| format!("{:x}", id.wrapping_mul(0x9e37_79b9)));
            let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
            RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
        };
        let batches: Vec<_> = (0..40).map(|n| batch(n * 8192)).collect();
        let schema = batches[0].schema();
        let mut encoder = Encoder::new(Format::Parquet, &schema).unwrap();
        let mut file = Vec::new();
        for batch in &batches {
            encoder.write(batch).unwrap();
            file.extend(encoder.taken());
        }
        assert!(file.len() > 1 << 20, "nothing of the first row group came: {} bytes", file.len());
        file.extend(encoder.finish().unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap();
        for group in reader.metadata().row_groups() {
            let encodings: Vec<Vec<Encoding>> = group.columns().iter().map(|one| one.encodings().collect()).collect();
            assert!(encodings[0].contains(&Encoding::DELTA_BINARY_PACKED), "{encodings:?}");
            assert!(!encodings.concat().contains(&Encoding::RLE_DICTIONARY), "{encodings:?}");
        }
        assert_eq!(reader.metadata().num_row_groups(), 2);
        let read: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        assert_eq!(concat_batches(&schema, &read).unwrap(), concat_batches(&schema, &batches).unwrap());
    }
}
