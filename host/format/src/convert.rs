//! Arrays as another type that holds every value of theirs, and back.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, FixedSizeListArray, GenericListArray, ListArray,
        MapArray, OffsetSizeTrait, PrimitiveArray, StructArray,
    },
    buffer::BooleanBuffer,
    compute::{CastOptions, cast_with_options},
    datatypes::{
        DataType, Date64Type, Decimal128Type, Field, FieldRef, Fields, Int16Type, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt64Type,
    },
    error::ArrowError,
};

/// `array` as `to`: what stands for its type in a file, or what is given for what a file has. No value changes.
///
/// # Errors
/// For a value beyond what the other type holds.
pub fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    Ok(match (array.data_type(), to) {
        (from, to) if from == to => ArrayRef::clone(array),
        (T::Struct(_), T::Boolean) => {
            let there = array.nulls().cloned();
            Arc::new(BooleanArray::new(BooleanBuffer::new_set(array.len()), there))
        }
        (T::Boolean, T::Struct(fields)) if fields.is_empty() => {
            Arc::new(StructArray::new_empty_fields(array.len(), array.nulls().cloned()))
        }
        (T::Struct(_), T::Struct(fields)) => Arc::new(structs(array.as_struct(), fields)?),
        (T::List(_), T::List(item)) => list::<i32>(array, item)?,
        (T::LargeList(_), T::LargeList(item)) => list::<i64>(array, item)?,
        (T::FixedSizeList(item, _), T::List(wanted)) => {
            let same = exact(array, &T::List(FieldRef::clone(item)))?;
            convert(&same, &T::List(FieldRef::clone(wanted)))?
        }
        (T::List(_), T::FixedSizeList(item, _)) => exact(&list::<i32>(array, item)?, to)?,
        (T::FixedSizeList(..), T::FixedSizeList(item, length)) => {
            let there = array.as_fixed_size_list();
            let values = convert(there.values(), item.data_type())?;
            let (item, nulls) = (FieldRef::clone(item), there.nulls().cloned());
            Arc::new(FixedSizeListArray::try_new(item, *length, values, nulls)?)
        }
        (T::Map(..), T::Map(entries, sorted)) => {
            let there = array.as_map();
            let inside = entries_of(there.entries(), entries)?;
            let (offsets, nulls) = (there.offsets().clone(), there.nulls().cloned());
            Arc::new(MapArray::try_new(FieldRef::clone(entries), offsets, inside, nulls, *sorted)?)
        }
        (T::Map(..), T::List(item)) => {
            let there = array.as_map();
            let inside = Arc::new(entries_of(there.entries(), item)?);
            let (offsets, nulls) = (there.offsets().clone(), there.nulls().cloned());
            Arc::new(ListArray::try_new(FieldRef::clone(item), offsets, inside, nulls)?)
        }
        (T::List(_), T::Map(entries, sorted)) => {
            let there = array.as_list::<i32>();
            let inside = entries_of(there.values().as_struct(), entries)?;
            let (offsets, nulls) = (there.offsets().clone(), there.nulls().cloned());
            Arc::new(MapArray::try_new(FieldRef::clone(entries), offsets, inside, nulls, *sorted)?)
        }
        (T::Dictionary(_, values), wanted) if values.as_ref() != wanted => convert(&exact(array, values)?, wanted)?,
        (from, T::Dictionary(_, values)) if from != values.as_ref() => exact(&convert(array, values)?, to)?,
        _ => plain(array, to)?,
    })
}

fn structs(there: &StructArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let columns = there.columns().iter().zip(fields).map(|(column, field)| convert(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    StructArray::try_new_with_length(fields.clone(), columns, there.nulls().cloned(), there.len())
}

fn entries_of(there: &StructArray, wanted: &Field) -> Result<StructArray, ArrowError> {
    match wanted.data_type() {
        DataType::Struct(fields) => structs(there, fields),
        other => Err(ArrowError::SchemaError(format!("the entries of a map are no {other}"))),
    }
}

fn list<O: OffsetSizeTrait>(array: &ArrayRef, item: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let there = array.as_list::<O>();
    let values = convert(there.values(), item.data_type())?;
    let (item, offsets) = (FieldRef::clone(item), there.offsets().clone());
    Ok(Arc::new(GenericListArray::<O>::try_new(item, offsets, values, there.nulls().cloned())?))
}

fn plain(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    use TimeUnit as U;
    Ok(match (array.data_type(), to) {
        (T::UInt64, T::Decimal128(..)) => {
            let there = array.as_primitive::<UInt64Type>();
            let made: Decimal128Array = there.unary::<_, Decimal128Type>(i128::from);
            Arc::new(made.with_data_type(to.clone()))
        }
        (T::Date64, T::Timestamp(U::Millisecond, None)) => {
            Arc::new(array.as_primitive::<Date64Type>().reinterpret_cast::<TimestampMillisecondType>())
        }
        (T::Timestamp(U::Millisecond, None), T::Date64) => {
            Arc::new(array.as_primitive::<TimestampMillisecondType>().reinterpret_cast::<Date64Type>())
        }
        (T::Timestamp(U::Nanosecond, _), T::Timestamp(U::Microsecond, _)) => {
            let there = array.as_primitive::<TimestampNanosecondType>();
            let made = there.unary::<_, TimestampMicrosecondType>(|nanos| nanos.div_euclid(1000));
            Arc::new(made.with_data_type(to.clone()))
        }
        (T::Timestamp(U::Microsecond, _), T::Timestamp(U::Nanosecond, _)) => {
            let there = array.as_primitive::<TimestampMicrosecondType>();
            let made = there.try_unary::<_, TimestampNanosecondType, ArrowError>(|micros| {
                micros.checked_mul(1000).ok_or_else(|| beyond(micros, to))
            })?;
            Arc::new(made.with_data_type(to.clone()))
        }
        (T::Timestamp(U::Second, _), T::Timestamp(U::Microsecond, _)) => {
            let there = array.as_primitive::<TimestampSecondType>();
            let made = there.try_unary::<_, TimestampMicrosecondType, ArrowError>(|seconds| {
                seconds.checked_mul(1_000_000).ok_or_else(|| beyond(seconds, to))
            })?;
            Arc::new(made.with_data_type(to.clone()))
        }
        (T::Timestamp(U::Microsecond, _), T::Timestamp(U::Second, _)) => {
            let there = array.as_primitive::<TimestampMicrosecondType>();
            let made = there.unary::<_, TimestampSecondType>(|micros| micros.div_euclid(1_000_000));
            Arc::new(made.with_data_type(to.clone()))
        }
        // The same moments under another zone.
        (T::Timestamp(from, _), T::Timestamp(unit, _)) if from == unit => {
            arrow::array::make_array(array.to_data().into_builder().data_type(to.clone()).build()?)
        }
        _ => exact(array, to)?,
    })
}

/// A cast that fails where a value has no counterpart.
fn exact(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Microseconds with the nanoseconds beyond them, which are in `rest`.
pub(super) fn with_nanos(micros: &ArrayRef, rest: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if rest.null_count() == rest.len() {
        return convert(micros, to);
    }
    let rest = rest.as_primitive_opt::<Int16Type>();
    let rest = rest.ok_or_else(|| ArrowError::SchemaError("nanoseconds cannot be stored as int16".to_owned()))?;
    let whole = |(micros, rest): (Option<i64>, Option<i16>)| {
        let Some(micros) = micros else { return Ok(None) };
        // The microsecond in which the least time is begins before it, and beyond what 64 bits hold.
        let nanos = i128::from(micros) * 1000 + i128::from(rest.unwrap_or(0));
        i64::try_from(nanos).map(Some).map_err(|_| beyond(micros, to))
    };
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    let nanos =
        micros.iter().zip(rest.iter()).map(whole).collect::<Result<PrimitiveArray<TimestampNanosecondType>, _>>()?;
    Ok(Arc::new(nanos.with_data_type(to.clone())))
}

fn beyond(value: i64, to: &DataType) -> ArrowError {
    ArrowError::CastError(format!("the time {value} is beyond what {to} holds"))
}
