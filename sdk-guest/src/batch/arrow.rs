//! Batches as arrow-rs record batches, buffer by buffer.

use std::sync::Arc;

use arrow::{
    array::{ArrayData, RecordBatch, RecordBatchOptions, make_array},
    buffer::Buffer,
    datatypes as to,
};

use super::{Array, Batch, Bits, Data, DataType, Field, TimeUnit};
use crate::{Error, Result};

impl TryFrom<Batch> for RecordBatch {
    type Error = Error;

    fn try_from(batch: Batch) -> Result<Self> {
        let rows = batch.rows();
        let schema = to::Schema::new(batch.schema().fields().iter().map(field).collect::<Vec<_>>());
        let wrong = |error: arrow::error::ArrowError| Error::fatal("batch.arrow", error.to_string());
        let columns = schema.fields().iter().zip(batch.into_columns());
        let columns =
            columns.map(|(field, column)| Ok(make_array(array(column, field.data_type())?))).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Self::try_new_with_options(Arc::new(schema), columns, &options).map_err(wrong)
    }
}

fn field(field: &Field) -> to::Field {
    to::Field::new(&field.name, data_type(&field.data_type), field.nullable)
}

fn data_type(from: &DataType) -> to::DataType {
    match from {
        DataType::Null => to::DataType::Null,
        DataType::Boolean => to::DataType::Boolean,
        DataType::Int8 => to::DataType::Int8,
        DataType::Int16 => to::DataType::Int16,
        DataType::Int32 => to::DataType::Int32,
        DataType::Int64 => to::DataType::Int64,
        DataType::UInt8 => to::DataType::UInt8,
        DataType::UInt16 => to::DataType::UInt16,
        DataType::UInt32 => to::DataType::UInt32,
        DataType::UInt64 => to::DataType::UInt64,
        DataType::Float32 => to::DataType::Float32,
        DataType::Float64 => to::DataType::Float64,
        DataType::Decimal128(precision, scale) => to::DataType::Decimal128(*precision, *scale),
        DataType::Date32 => to::DataType::Date32,
        DataType::Date64 => to::DataType::Date64,
        DataType::Timestamp(unit, zone) => to::DataType::Timestamp(
            match unit {
                TimeUnit::Second => to::TimeUnit::Second,
                TimeUnit::Millisecond => to::TimeUnit::Millisecond,
                TimeUnit::Microsecond => to::TimeUnit::Microsecond,
                TimeUnit::Nanosecond => to::TimeUnit::Nanosecond,
            },
            zone.as_deref().map(Into::into),
        ),
        DataType::Utf8 => to::DataType::Utf8,
        DataType::LargeUtf8 => to::DataType::LargeUtf8,
        DataType::Binary => to::DataType::Binary,
        DataType::LargeBinary => to::DataType::LargeBinary,
        DataType::List(item) => to::DataType::List(Arc::new(field(item))),
        DataType::Struct(fields) => to::DataType::Struct(fields.iter().map(field).collect()),
    }
}

fn array(from: Array, data_type: &to::DataType) -> Result<ArrayData> {
    let (len, validity, data) = from.into_parts();
    let mut builder = ArrayData::builder(data_type.clone()).len(len);
    builder = builder.null_bit_buffer(validity.map(|bits| Buffer::from_vec(Bits::into_bytes(bits))));
    builder = match data {
        Data::Null => builder,
        Data::Bits(bits) => builder.add_buffer(Buffer::from_vec(bits.into_bytes())),
        Data::Fixed { bytes, .. } => builder.add_buffer(Buffer::from_vec(bytes)),
        Data::Bytes { offsets, bytes, large } => {
            let offsets = match large {
                true => Buffer::from_vec(offsets.into_iter().map(i64::from).collect::<Vec<_>>()),
                false => Buffer::from_vec(offsets),
            };
            builder.add_buffer(offsets).add_buffer(Buffer::from_vec(bytes))
        }
        Data::List { offsets, items } => match data_type {
            to::DataType::List(item) => {
                builder.add_buffer(Buffer::from_vec(offsets)).add_child_data(array(*items, item.data_type())?)
            }
            _ => return Err(Error::fatal("batch.arrow", "a list that is none")),
        },
        Data::Struct(columns) => match data_type {
            to::DataType::Struct(fields) => {
                for (field, column) in fields.iter().zip(columns) {
                    builder = builder.add_child_data(array(column, field.data_type())?);
                }
                builder
            }
            _ => return Err(Error::fatal("batch.arrow", "a struct that is none")),
        },
    };
    builder.align_buffers(true).build().map_err(|error| Error::fatal("batch.arrow", error.to_string()))
}
