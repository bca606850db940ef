//! Schemas and batches to and from arrow-rs, buffer by buffer.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayData, ArrayRef, AsArray as _, LargeListArray, ListArray, MapArray, RecordBatch,
        RecordBatchOptions, StructArray, make_array,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer},
    datatypes as to,
    error::ArrowError,
};

use crate::{Array, Batch, Bits, Data, DataType, Error, Field, Result, Schema, TimeUnit};

impl TryFrom<Batch> for RecordBatch {
    type Error = Error;

    fn try_from(batch: Batch) -> Result<Self> {
        let schema = Arc::new(to::Schema::from(batch.schema()));
        record_batch(batch, schema)
    }
}

/// `batch` as a record batch of `schema`, the Arrow form of its own schema.
///
/// # Errors
/// Its columns do not have these types, or are malformed.
pub fn record_batch(batch: Batch, schema: to::SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
    let columns = schema.fields().iter().zip(batch.into_columns());
    let columns = columns.map(|(field, column)| array(column, field.data_type())).collect::<Result<_>>()?;
    RecordBatch::try_new_with_options(schema, columns, &options)
        .map_err(|error| Error::batch("batch.arrow", error.to_string()))
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

/// A column of arrow-rs, with its type.
///
/// # Errors
/// It is nested, or its type is none of ours.
pub fn column(array: &dyn arrow::array::Array) -> Result<(DataType, Array)> {
    let data_type = from_type(array.data_type())
        .map_err(|other| Error::batch("batch.arrow", format!("columns of {other} stay with arrow-rs")))?;
    let data = array.to_data();
    let (len, offset) = (data.len(), data.offset());
    let short = || Error::batch("batch.arrow", "a column's buffers are shorter than the column");
    let part = |at: usize, from: usize, to: usize| {
        let buffer = data.buffers().get(at).ok_or_else(short)?;
        buffer.as_slice().get(from..to).map(<[u8]>::to_vec).ok_or_else(short)
    };
    let bits = |bits: BooleanBuffer| Bits::from_bytes(bits.sliced().as_slice().to_vec(), len);
    let values = match (&data_type, data_type.width()) {
        (DataType::Null, _) => return Ok((data_type, Array::new(len, None, Data::Null))),
        (DataType::Boolean, _) => Data::Bits(bits(array.as_boolean().values().clone())),
        (DataType::Utf8 | DataType::Binary, _) => {
            texts(data.buffers().first().ok_or_else(short)?.typed_data::<i32>(), offset, len, false, |from, to| {
                part(1, from, to)
            })?
        }
        (DataType::LargeUtf8 | DataType::LargeBinary, _) => {
            texts(data.buffers().first().ok_or_else(short)?.typed_data::<i64>(), offset, len, true, |from, to| {
                part(1, from, to)
            })?
        }
        (_, Some(width)) => Data::Fixed { width, bytes: part(0, offset * width, (offset + len) * width)? },
        (_, None) => {
            return Err(Error::batch("batch.arrow", format!("columns of {} stay with arrow-rs", array.data_type())));
        }
    };
    let validity = data.nulls().map(|nulls| bits(nulls.inner().clone()));
    Ok((data_type, Array::new(len, validity, values)))
}

/// Texts, or bytes, whose bounds begin at `offset`.
fn texts<O: Copy + TryInto<usize>>(
    bounds: &[O],
    offset: usize,
    len: usize,
    large: bool,
    bytes: impl Fn(usize, usize) -> Result<Vec<u8>>,
) -> Result<Data> {
    let wrong = || Error::batch("batch.offsets", "the offsets of a column do not fit");
    if len == 0 {
        return Ok(Data::Bytes { offsets: vec![0], bytes: Vec::new(), large });
    }
    let bounds = bounds.get(offset..=offset + len).ok_or_else(wrong)?;
    let place = |bound: &O| (*bound).try_into().map_err(|_| wrong());
    let (from, to) =
        (bounds.first().ok_or_else(wrong).and_then(place)?, bounds.last().ok_or_else(wrong).and_then(place)?);
    let from_zero = |bound: &O| {
        place(bound).and_then(|bound: usize| i32::try_from(bound.saturating_sub(from)).map_err(|_| wrong()))
    };
    let offsets = bounds.iter().map(from_zero).collect::<Result<_>>()?;
    Ok(Data::Bytes { offsets, bytes: bytes(from, to)?, large })
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

/// An array and its contents, each level checked once.
fn array(from: Array, data_type: &to::DataType) -> Result<ArrayRef> {
    let (len, validity, data) = from.into_parts();
    let none = || Error::batch("batch.arrow", format!("a column's values are not of its type, {data_type}"));
    let made: std::result::Result<ArrayRef, ArrowError> = match (data, data_type) {
        (Data::Struct(columns), to::DataType::Struct(fields)) => {
            let nulls = nulls(validity, len)?;
            let children = fields.iter().zip(columns).map(|(field, column)| array(column, field.data_type()));
            match children.collect::<Result<Vec<_>>>()? {
                none if none.is_empty() => Ok(Arc::new(StructArray::new_empty_fields(len, nulls))),
                children => StructArray::try_new(fields.clone(), children, nulls).map(|array| Arc::new(array) as _),
            }
        }
        (Data::List { offsets, items, .. }, to::DataType::List(item)) => {
            let (nulls, offsets) = (nulls(validity, len)?, bounds(offsets, len, items.len())?);
            let items = array(*items, item.data_type())?;
            ListArray::try_new(Arc::clone(item), offsets, items, nulls).map(|array| Arc::new(array) as _)
        }
        (Data::List { offsets, items, .. }, to::DataType::LargeList(item)) => {
            let (nulls, offsets) = (nulls(validity, len)?, bounds(offsets, len, items.len())?);
            let offsets = OffsetBuffer::new(offsets.iter().map(|&offset| i64::from(offset)).collect::<Vec<_>>().into());
            let items = array(*items, item.data_type())?;
            LargeListArray::try_new(Arc::clone(item), offsets, items, nulls).map(|array| Arc::new(array) as _)
        }
        (Data::List { offsets, items, .. }, to::DataType::Map(entry, sorted)) => {
            let (nulls, offsets) = (nulls(validity, len)?, bounds(offsets, len, items.len())?);
            let items = array(*items, entry.data_type())?;
            let entries = items.as_struct_opt().ok_or_else(none)?.clone();
            MapArray::try_new(Arc::clone(entry), offsets, entries, nulls, *sorted).map(|array| Arc::new(array) as _)
        }
        (Data::FixedList { length, items }, to::DataType::FixedSizeList(item, _)) => {
            let data = ArrayData::builder(data_type.clone())
                .len(len)
                .null_bit_buffer(validity.map(|bits| Buffer::from_vec(bits.into_bytes())));
            let items = if items.len() == length * len { array(*items, item.data_type())? } else { return Err(none()) };
            data.add_child_data(items.to_data()).build().map(make_array)
        }
        (data, _) => return leaf(len, validity, data, data_type),
    };
    made.map_err(|error| Error::batch("batch.arrow", error.to_string()))
}

fn leaf(len: usize, validity: Option<Bits>, data: Data, data_type: &to::DataType) -> Result<ArrayRef> {
    let mut builder = ArrayData::builder(data_type.clone()).len(len);
    builder = builder.null_bit_buffer(validity.map(|bits| Buffer::from_vec(bits.into_bytes())));
    builder = match data {
        Data::Null => builder,
        Data::Bits(bits) => builder.add_buffer(Buffer::from_vec(bits.into_bytes())),
        Data::Fixed { bytes, .. } => builder.add_buffer(Buffer::from_vec(bytes)),
        Data::Bytes { offsets, bytes, large } => {
            let offsets = if large {
                Buffer::from_vec(offsets.into_iter().map(i64::from).collect::<Vec<_>>())
            } else {
                Buffer::from_vec(offsets)
            };
            builder.add_buffer(offsets).add_buffer(Buffer::from_vec(bytes))
        }
        _ => return Err(Error::batch("batch.arrow", format!("a column's values are not of its type, {data_type}"))),
    };
    let built = builder.align_buffers(true).build();
    built.map(make_array).map_err(|error| Error::batch("batch.arrow", error.to_string()))
}

fn nulls(validity: Option<Bits>, len: usize) -> Result<Option<NullBuffer>> {
    match validity {
        None => Ok(None),
        Some(bits) if bits.len() == len => {
            let bytes = bits.into_bytes();
            if bytes.len() >= len.div_ceil(8) {
                Ok(Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bytes), 0, len))))
            } else {
                Err(Error::batch("batch.nulls", "a column has fewer bits of validity than rows"))
            }
        }
        Some(_) => Err(Error::batch("batch.nulls", "a column has fewer or more bits of validity than rows")),
    }
}

fn bounds(offsets: Vec<i32>, len: usize, items: usize) -> Result<OffsetBuffer<i32>> {
    let last = offsets.last().and_then(|&last| usize::try_from(last).ok());
    let rising = offsets.first() == Some(&0) && offsets.is_sorted() && last.is_some_and(|last| last <= items);
    if rising && offsets.len() == len + 1 {
        Ok(OffsetBuffer::new(offsets.into()))
    } else {
        Err(Error::batch("batch.offsets", "the offsets of a list do not rise from 0 to its items"))
    }
}
