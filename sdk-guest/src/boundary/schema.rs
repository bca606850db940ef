//! Schemas as the interface writes them: fields in pre-order.

use spout_codec::{DataType, Field, Schema, TimeUnit};

use crate::{Error, Result, wit::base::spout::plugin::types as wit};

/// `schema` as the host reads it.
#[must_use]
pub fn lower(schema: &Schema) -> Vec<wit::Field> {
    let mut out = Vec::new();
    schema.fields().iter().for_each(|field| lower_field(field, &mut out));
    out
}

/// The schema that the host passed in.
///
/// # Errors
/// A nested column has no children.
pub fn raise(told: Vec<wit::Field>) -> Result<Schema> {
    let mut told = told.into_iter();
    let mut fields = Vec::new();
    while let Some(first) = told.next() {
        fields.push(raise_field(first, &mut told)?);
    }
    Ok(Schema::new(fields))
}

fn lower_field(field: &Field, out: &mut Vec<wit::Field>) {
    use wit::DataType as W;
    let (type_, children): (W, &[Field]) = match &field.data_type {
        DataType::Null => (W::Null, &[]),
        DataType::Boolean => (W::Boolean, &[]),
        DataType::Int8 => (W::Int8, &[]),
        DataType::Int16 => (W::Int16, &[]),
        DataType::Int32 => (W::Int32, &[]),
        DataType::Int64 => (W::Int64, &[]),
        DataType::UInt8 => (W::Uint8, &[]),
        DataType::UInt16 => (W::Uint16, &[]),
        DataType::UInt32 => (W::Uint32, &[]),
        DataType::UInt64 => (W::Uint64, &[]),
        DataType::Float16 => (W::Float16, &[]),
        DataType::Float32 => (W::Float32, &[]),
        DataType::Float64 => (W::Float64, &[]),
        DataType::Decimal128(precision, scale) => (W::Decimal128((*precision, *scale)), &[]),
        DataType::Date32 => (W::Date32, &[]),
        DataType::Date64 => (W::Date64, &[]),
        DataType::Time32(unit) => (W::Time32(unit_to_wit(*unit)), &[]),
        DataType::Time64(unit) => (W::Time64(unit_to_wit(*unit)), &[]),
        DataType::Timestamp(unit, zone) => (W::Timestamp((unit_to_wit(*unit), zone.clone())), &[]),
        DataType::Duration(unit) => (W::Duration(unit_to_wit(*unit)), &[]),
        DataType::Utf8 => (W::Utf8, &[]),
        DataType::LargeUtf8 => (W::LargeUtf8, &[]),
        DataType::Binary => (W::Binary, &[]),
        DataType::LargeBinary => (W::LargeBinary, &[]),
        DataType::FixedSizeBinary(width) => (W::FixedSizeBinary(*width), &[]),
        DataType::List(item) => (W::List, std::slice::from_ref(item)),
        DataType::LargeList(item) => (W::LargeList, std::slice::from_ref(item)),
        DataType::FixedSizeList(item, length) => (W::FixedSizeList(*length), std::slice::from_ref(item)),
        DataType::Struct(fields) => (W::Struct, fields),
        DataType::Map(entry) => (W::Map, std::slice::from_ref(entry)),
    };
    let count = u32::try_from(children.len()).unwrap_or(u32::MAX);
    let (name, nullable) = (field.name.clone(), field.nullable);
    out.push(wit::Field { name, type_, nullable, children: count, metadata: Vec::new() });
    children.iter().for_each(|child| lower_field(child, out));
}

fn raise_field(told: wit::Field, rest: &mut impl Iterator<Item = wit::Field>) -> Result<Field> {
    use wit::DataType as W;
    let missing = || Error::fatal("schema", "a nested column misses its children");
    let mut children = Vec::new();
    for _ in 0..told.children {
        children.push(raise_field(rest.next().ok_or_else(missing)?, rest)?);
    }
    let data_type = match told.type_ {
        W::Null => DataType::Null,
        W::Boolean => DataType::Boolean,
        W::Int8 => DataType::Int8,
        W::Int16 => DataType::Int16,
        W::Int32 => DataType::Int32,
        W::Int64 => DataType::Int64,
        W::Uint8 => DataType::UInt8,
        W::Uint16 => DataType::UInt16,
        W::Uint32 => DataType::UInt32,
        W::Uint64 => DataType::UInt64,
        W::Float16 => DataType::Float16,
        W::Float32 => DataType::Float32,
        W::Float64 => DataType::Float64,
        W::Decimal128((precision, scale)) => DataType::Decimal128(precision, scale),
        W::Date32 => DataType::Date32,
        W::Date64 => DataType::Date64,
        W::Time32(unit) => DataType::Time32(unit_from_wit(unit)),
        W::Time64(unit) => DataType::Time64(unit_from_wit(unit)),
        W::Duration(unit) => DataType::Duration(unit_from_wit(unit)),
        W::Timestamp((unit, zone)) => DataType::Timestamp(unit_from_wit(unit), zone),
        W::Utf8 => DataType::Utf8,
        W::LargeUtf8 => DataType::LargeUtf8,
        W::Binary => DataType::Binary,
        W::LargeBinary => DataType::LargeBinary,
        W::FixedSizeBinary(width) => DataType::FixedSizeBinary(width),
        W::List => DataType::List(Box::new(children.pop().ok_or_else(missing)?)),
        W::LargeList => DataType::LargeList(Box::new(children.pop().ok_or_else(missing)?)),
        W::FixedSizeList(length) => DataType::FixedSizeList(Box::new(children.pop().ok_or_else(missing)?), length),
        W::Struct => DataType::Struct(children),
        W::Map => DataType::Map(Box::new(children.pop().ok_or_else(missing)?)),
    };
    Ok(Field { name: told.name, data_type, nullable: told.nullable })
}

fn unit_to_wit(unit: TimeUnit) -> wit::TimeUnit {
    match unit {
        TimeUnit::Second => wit::TimeUnit::Second,
        TimeUnit::Millisecond => wit::TimeUnit::Millisecond,
        TimeUnit::Microsecond => wit::TimeUnit::Microsecond,
        TimeUnit::Nanosecond => wit::TimeUnit::Nanosecond,
    }
}

fn unit_from_wit(unit: wit::TimeUnit) -> TimeUnit {
    match unit {
        wit::TimeUnit::Second => TimeUnit::Second,
        wit::TimeUnit::Millisecond => TimeUnit::Millisecond,
        wit::TimeUnit::Microsecond => TimeUnit::Microsecond,
        wit::TimeUnit::Nanosecond => TimeUnit::Nanosecond,
    }
}
