//! Schemas and batches to and from arrow-rs, buffer by buffer.

use std::sync::Arc;

use arrow::{
    array::{ArrayData, RecordBatch, RecordBatchOptions, make_array},
    buffer::Buffer,
    datatypes as to,
};

use crate::{Array, Batch, Bits, Data, DataType, Error, Field, Result, Schema, TimeUnit};

impl TryFrom<Batch> for RecordBatch {
    type Error = Error;

    fn try_from(batch: Batch) -> Result<Self> {
        let rows = batch.rows();
        let schema = to::Schema::from(batch.schema());
        let columns = schema.fields().iter().zip(batch.into_columns());
        let columns =
            columns.map(|(field, column)| Ok(make_array(array(column, field.data_type())?))).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Self::try_new_with_options(Arc::new(schema), columns, &options)
            .map_err(|error| Error::batch("batch.arrow", error.to_string()))
    }
}

impl From<&Schema> for to::Schema {
    fn from(schema: &Schema) -> Self {
        Self::new(schema.fields().iter().map(field).collect::<Vec<_>>())
    }
}

impl TryFrom<&to::Schema> for Schema {
    type Error = Error;

    fn try_from(schema: &to::Schema) -> Result<Self> {
        Ok(Self::new(schema.fields().iter().map(|field| from_field(field)).collect::<Result<_>>()?))
    }
}

fn from_field(field: &to::Field) -> Result<Field> {
    let data_type = from_type(field.data_type()).map_err(|other| {
        Error::config(format!("column `{}` has the type {other}, which no decoder makes", field.name()))
    });
    Ok(Field { name: field.name().clone(), data_type: data_type?, nullable: field.is_nullable() })
}

fn from_type(data_type: &to::DataType) -> std::result::Result<DataType, to::DataType> {
    let item = |field: &to::Field| from_field(field).map(Box::new).map_err(|_| data_type.clone());
    Ok(match data_type {
        to::DataType::Null => DataType::Null,
        to::DataType::Boolean => DataType::Boolean,
        to::DataType::Int8 => DataType::Int8,
        to::DataType::Int16 => DataType::Int16,
        to::DataType::Int32 => DataType::Int32,
        to::DataType::Int64 => DataType::Int64,
        to::DataType::UInt8 => DataType::UInt8,
        to::DataType::UInt16 => DataType::UInt16,
        to::DataType::UInt32 => DataType::UInt32,
        to::DataType::UInt64 => DataType::UInt64,
        to::DataType::Float16 => DataType::Float16,
        to::DataType::Float32 => DataType::Float32,
        to::DataType::Float64 => DataType::Float64,
        to::DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        to::DataType::Date32 => DataType::Date32,
        to::DataType::Date64 => DataType::Date64,
        to::DataType::Time32(unit) => DataType::Time32(from_unit(*unit)),
        to::DataType::Time64(unit) => DataType::Time64(from_unit(*unit)),
        to::DataType::Timestamp(unit, zone) => {
            DataType::Timestamp(from_unit(*unit), zone.as_ref().map(ToString::to_string))
        }
        to::DataType::Duration(unit) => DataType::Duration(from_unit(*unit)),
        to::DataType::Utf8 => DataType::Utf8,
        to::DataType::LargeUtf8 => DataType::LargeUtf8,
        to::DataType::Binary => DataType::Binary,
        to::DataType::LargeBinary => DataType::LargeBinary,
        to::DataType::FixedSizeBinary(width) => DataType::FixedSizeBinary(u32::try_from(*width).unwrap_or(0)),
        to::DataType::List(field) => DataType::List(item(field)?),
        to::DataType::LargeList(field) => DataType::LargeList(item(field)?),
        to::DataType::FixedSizeList(field, length) => {
            DataType::FixedSizeList(item(field)?, u32::try_from(*length).unwrap_or(0))
        }
        to::DataType::Struct(fields) => DataType::Struct(
            fields.iter().map(|field| from_field(field)).collect::<Result<_>>().map_err(|_| data_type.clone())?,
        ),
        to::DataType::Map(entry, _) => DataType::Map(item(entry)?),
        other => return Err(other.clone()),
    })
}

fn from_unit(unit: to::TimeUnit) -> TimeUnit {
    match unit {
        to::TimeUnit::Second => TimeUnit::Second,
        to::TimeUnit::Millisecond => TimeUnit::Millisecond,
        to::TimeUnit::Microsecond => TimeUnit::Microsecond,
        to::TimeUnit::Nanosecond => TimeUnit::Nanosecond,
    }
}

fn unit(unit: TimeUnit) -> to::TimeUnit {
    match unit {
        TimeUnit::Second => to::TimeUnit::Second,
        TimeUnit::Millisecond => to::TimeUnit::Millisecond,
        TimeUnit::Microsecond => to::TimeUnit::Microsecond,
        TimeUnit::Nanosecond => to::TimeUnit::Nanosecond,
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
        DataType::Float16 => to::DataType::Float16,
        DataType::Float32 => to::DataType::Float32,
        DataType::Float64 => to::DataType::Float64,
        DataType::Decimal128(precision, scale) => to::DataType::Decimal128(*precision, *scale),
        DataType::Date32 => to::DataType::Date32,
        DataType::Date64 => to::DataType::Date64,
        DataType::Time32(of) => to::DataType::Time32(unit(*of)),
        DataType::Time64(of) => to::DataType::Time64(unit(*of)),
        DataType::Duration(of) => to::DataType::Duration(unit(*of)),
        DataType::Timestamp(of, zone) => to::DataType::Timestamp(unit(*of), zone.as_deref().map(Into::into)),
        DataType::Utf8 => to::DataType::Utf8,
        DataType::LargeUtf8 => to::DataType::LargeUtf8,
        DataType::Binary => to::DataType::Binary,
        DataType::LargeBinary => to::DataType::LargeBinary,
        DataType::FixedSizeBinary(width) => to::DataType::FixedSizeBinary(i32::try_from(*width).unwrap_or(i32::MAX)),
        DataType::List(item) => to::DataType::List(Arc::new(field(item))),
        DataType::LargeList(item) => to::DataType::LargeList(Arc::new(field(item))),
        DataType::FixedSizeList(item, length) => {
            to::DataType::FixedSizeList(Arc::new(field(item)), i32::try_from(*length).unwrap_or(i32::MAX))
        }
        DataType::Struct(fields) => to::DataType::Struct(fields.iter().map(field).collect()),
        DataType::Map(entry) => to::DataType::Map(Arc::new(field(entry)), false),
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
            builder.add_buffer(bounds(offsets, large)).add_buffer(Buffer::from_vec(bytes))
        }
        Data::List { offsets, items, large } => match data_type {
            to::DataType::List(item) | to::DataType::LargeList(item) | to::DataType::Map(item, _) => {
                builder.add_buffer(bounds(offsets, large)).add_child_data(array(*items, item.data_type())?)
            }
            _ => return Err(Error::batch("batch.arrow", "a list that is none")),
        },
        Data::FixedList { items, .. } => match data_type {
            to::DataType::FixedSizeList(item, _) => builder.add_child_data(array(*items, item.data_type())?),
            _ => return Err(Error::batch("batch.arrow", "a list that is none")),
        },
        Data::Struct(columns) => match data_type {
            to::DataType::Struct(fields) => {
                for (field, column) in fields.iter().zip(columns) {
                    builder = builder.add_child_data(array(column, field.data_type())?);
                }
                builder
            }
            _ => return Err(Error::batch("batch.arrow", "a struct that is none")),
        },
    };
    builder.align_buffers(true).build().map_err(|error| Error::batch("batch.arrow", error.to_string()))
}

fn bounds(offsets: Vec<i32>, large: bool) -> Buffer {
    if large {
        Buffer::from_vec(offsets.into_iter().map(i64::from).collect::<Vec<_>>())
    } else {
        Buffer::from_vec(offsets)
    }
}
