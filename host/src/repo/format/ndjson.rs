//! NDJSON: one object a line; a null column is left out.

use std::io::Cursor;

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    json::{LineDelimitedWriter, ReaderBuilder},
};
use bytes::Bytes;

use super::{Batches, Error, Format, batches, decode_error, encode_error};

pub(super) struct Writer {
    inner: LineDelimitedWriter<Vec<u8>>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { inner: LineDelimitedWriter::new(Vec::new()) }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.inner.write(batch).map_err(wrong)
    }

    pub(super) fn buffered(&self) -> usize {
        self.inner.get_ref().len()
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.inner.finish().map_err(wrong)?;
        Ok(self.inner.into_inner())
    }
}

fn wrong(source: ArrowError) -> Error {
    encode_error(Format::Ndjson)(source.into())
}

pub(super) fn read(
    path: &str,
    schema: &SchemaRef,
    bytes: Bytes,
    projection: Option<&[usize]>,
) -> Result<Batches, Error> {
    let wanted = match projection {
        Some(projection) => schema.project(projection).map_err(|source| decode_error(path, Format::Ndjson, source))?,
        None => Schema::clone(schema),
    };
    let reader = ReaderBuilder::new(wanted.into())
        .build(Cursor::new(bytes))
        .map_err(|source| decode_error(path, Format::Ndjson, source))?;
    Ok(batches(path, Format::Ndjson, reader))
}
