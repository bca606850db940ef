//! One field of text as a value of a column's type.

use std::str::FromStr;

use spout_guest::{ArrayBuilder, DataType};

/// Whether fields can be values of this type.
pub(crate) fn takes(kind: &DataType) -> bool {
    !matches!(
        kind,
        DataType::Null
            | DataType::List(_)
            | DataType::Struct(_)
            | DataType::Decimal128(..)
            | DataType::Date32
            | DataType::Date64
            | DataType::Timestamp(..)
    )
}

/// Pushes the field; whether it is a value of the type.
pub(crate) fn push(kind: &DataType, field: &[u8], to: &mut ArrayBuilder) -> bool {
    macro_rules! number {
        ($type:ty) => {
            read::<$type>(field).is_some_and(|value| to.push_fixed(value.to_le_bytes()))
        };
    }
    match kind {
        DataType::Boolean => boolean(field).is_some_and(|value| to.push_bool(value)),
        DataType::Int8 => number!(i8),
        DataType::Int16 => number!(i16),
        DataType::Int32 => number!(i32),
        DataType::Int64 => number!(i64),
        DataType::UInt8 => number!(u8),
        DataType::UInt16 => number!(u16),
        DataType::UInt32 => number!(u32),
        DataType::UInt64 => number!(u64),
        DataType::Float32 => number!(f32),
        DataType::Float64 => number!(f64),
        DataType::Utf8 | DataType::LargeUtf8 => std::str::from_utf8(field).is_ok() && to.push_bytes(field),
        DataType::Binary | DataType::LargeBinary => to.push_bytes(field),
        _ => false,
    }
}

fn read<T: FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

fn boolean(field: &[u8]) -> Option<bool> {
    match field.trim_ascii() {
        b"true" | b"True" | b"TRUE" => Some(true),
        b"false" | b"False" | b"FALSE" => Some(false),
        _ => None,
    }
}

/// The type of values so far and of one more: whole numbers, then numbers, then text.
pub(crate) fn wider(so_far: Option<DataType>, field: &[u8]) -> DataType {
    let own = match field {
        _ if boolean(field).is_some() => DataType::Boolean,
        _ if read::<i64>(field).is_some() => DataType::Int64,
        _ if read::<f64>(field).is_some_and(f64::is_finite) => DataType::Float64,
        _ => DataType::Utf8,
    };
    match (so_far, own) {
        (None, own) => own,
        (Some(known), own) if known == own => own,
        (Some(DataType::Int64), DataType::Float64) | (Some(DataType::Float64), DataType::Int64) => DataType::Float64,
        _ => DataType::Utf8,
    }
}
