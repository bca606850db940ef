//! Arrow IPC files, uncompressed: the format to map into memory.

use std::io::Cursor;

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{reader::FileReader, writer::FileWriter},
};
use bytes::Bytes;

use super::{Batches, Error, Format, batches, decode_error, encode_error, measured_arrow};

pub(super) struct Writer {
    inner: FileWriter<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Error> {
        let inner = FileWriter::try_new(Vec::new(), schema).map_err(wrong)?;
        Ok(Self { inner })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        self.inner.write(batch).map_err(wrong)
    }

    pub(super) fn buffered(&self) -> usize {
        self.inner.get_ref().len()
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, Error> {
        self.inner.into_inner().map_err(wrong)
    }
}

fn wrong(source: ArrowError) -> Error {
    encode_error(Format::Arrow)(source.into())
}

/// The file was hashed when it was committed and checked when it was read; but whoever can write a store can make up both.
pub(super) fn read(path: &str, bytes: Bytes, projection: Option<&[usize]>) -> Result<Batches, Error> {
    let mut bytes = Cursor::new(bytes);
    let measured = measured_arrow(&mut bytes).map_err(ArrowError::IpcError);
    measured.map_err(|source| decode_error(path, Format::Arrow, source))?;
    let reader = FileReader::try_new(bytes, projection.map(<[usize]>::to_vec))
        .map_err(|source| decode_error(path, Format::Arrow, source))?;
    Ok(batches(path, Format::Arrow, reader))
}
