//! CSV with a header line. Only what reads back as it was is written: nested and binary columns are refused.

use std::io::Cursor;

use arrow::{
    array::RecordBatch,
    csv::{ReaderBuilder, WriterBuilder},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
};
use bytes::Bytes;

use super::{Batches, Error, Format, batches, decode_error, encode_error};

pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, Error> {
        let odd = schema.fields().iter().find(|field| !flat(field.data_type()));
        match odd {
            Some(field) => {
                Err(Error::NotFlat { column: field.name().clone(), data_type: field.data_type().to_string() })
            }
            None => Ok(Self { bytes: header(schema)? }),
        }
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        WriterBuilder::new().with_header(false).build(&mut self.bytes).write(batch).map_err(wrong)
    }

    pub(super) fn buffered(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Arrow's writer puts the header before the first batch; written on its own, a table without rows has one too.
pub(super) fn header(schema: &SchemaRef) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let empty = RecordBatch::new_empty(SchemaRef::clone(schema));
    WriterBuilder::new().with_header(true).build(&mut bytes).write(&empty).map_err(wrong)?;
    Ok(bytes)
}

fn wrong(source: ArrowError) -> Error {
    encode_error(Format::Csv)(source.into())
}

fn flat(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Null | T::Boolean | T::Utf8 | T::LargeUtf8 | T::Utf8View => true,
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => true,
        T::Float32 | T::Float64 | T::Decimal128(..) | T::Decimal256(..) => true,
        T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) => true,
        T::Dictionary(_, values) => matches!(values.as_ref(), T::Utf8),
        _ => false,
    }
}

pub(super) fn read(
    path: &str,
    schema: &SchemaRef,
    bytes: Bytes,
    projection: Option<&[usize]>,
) -> Result<Batches, Error> {
    let mut builder = ReaderBuilder::new(SchemaRef::clone(schema)).with_header(true);
    if let Some(projection) = projection {
        builder = builder.with_projection(projection.to_vec());
    }
    let reader =
        builder.build_buffered(Cursor::new(bytes)).map_err(|source| decode_error(path, Format::Csv, source))?;
    Ok(batches(path, Format::Csv, reader))
}
