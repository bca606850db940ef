//! Decimals of libraries that do not look whether a value has more digits than its column. Such a value would be stored, and
//! shown cut.

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType},
};
use spout_codec::reason::quote_field;

/// Whether every decimal in `batch`, nested ones included, has at most the digits of its column.
///
/// # Errors
/// The first that has more: its field, its value, and what the field takes.
pub(super) fn in_range(batch: &RecordBatch) -> Result<(), String> {
    let schema = batch.schema_ref();
    schema.fields().iter().zip(batch.columns()).try_for_each(|(field, array)| column(array, field.name()))
}

fn column(array: &dyn Array, at: &str) -> Result<(), String> {
    match array.data_type() {
        DataType::Decimal32(precision, scale) => digits::<Decimal32Type>(array, (*precision, *scale), at),
        DataType::Decimal64(precision, scale) => digits::<Decimal64Type>(array, (*precision, *scale), at),
        DataType::Decimal128(precision, scale) => digits::<Decimal128Type>(array, (*precision, *scale), at),
        DataType::Decimal256(precision, scale) => digits::<Decimal256Type>(array, (*precision, *scale), at),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            fields.iter().zip(columns).try_for_each(|(field, array)| column(array, &format!("{at}.{}", field.name())))
        }
        DataType::List(_) => column(array.as_list::<i32>().values(), &format!("{at}[]")),
        DataType::Map(..) => column(array.as_map().values(), &format!("{at}{{}}")),
        DataType::Union(branches, _) => {
            let union = array.as_union();
            branches.iter().try_for_each(|(branch, _)| column(union.child(branch), at))
        }
        _ => Ok(()),
    }
}

fn digits<T: DecimalType>(array: &dyn Array, (precision, scale): (u8, i8), at: &str) -> Result<(), String> {
    let found =
        array.as_primitive::<T>().iter().flatten().find(|value| !T::is_valid_decimal_precision(*value, precision));
    let Some(value) = found else { return Ok(()) };
    let value = T::format_decimal(value, T::MAX_PRECISION, scale);
    Err(format!(
        "{} must be a number of at most {precision} digits, {scale} of them after the point, not `{value}`: it is out of range",
        quote_field(at)
    ))
}
