//! Casts that keep every value, or say which one they cannot keep.

use arrow::{
    array::{Array, ArrayRef, BooleanArray, new_null_array},
    compute::{CastOptions, cast_with_options, kernels::cmp::distinct},
    datatypes::{DataType, TimeUnit},
    error::ArrowError,
    util::display::array_value_to_string,
};

/// Whether values of `from` may be cast to `to` at all; [`exact`] then says whether each was kept.
pub(super) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let text = |data_type: &T| matches!(data_type, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let bytes = |data_type: &T| matches!(data_type, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
    match (from, to) {
        (T::Null, _) => true,
        (T::Interval(_), to) => text(to),
        (T::Duration(_), T::Duration(_) | T::Int64) => true,
        (T::Float16, T::Float32 | T::Float64) | (T::Float32, T::Float64) => true,
        // A time without a zone is not known to be a time of that zone.
        (T::Timestamp(_, None), T::Timestamp(_, Some(zone))) => is_utc(zone),
        (T::Timestamp(..), T::Timestamp(..)) => true,
        (T::Date32, T::Date64) | (T::Date64, T::Date32) => true,
        (T::Time32(_) | T::Time64(_), T::Time32(_) | T::Time64(_)) => true,
        (from, to) if from.is_integer() => to.is_integer() || to.is_floating() || to.is_decimal(),
        (from, to) if text(from) => text(to) || bytes(to),
        (from, to) if bytes(from) => bytes(to) && !matches!(to, T::FixedSizeBinary(_)),
        (from, to) => from.is_decimal() && to.is_decimal(),
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "Z" | "+00:00" | "Etc/UTC")
}

/// `array` as `to`, which [`widens`]; `at` is the column, for messages.
///
/// # Errors
/// The first value that would not be the same: the column, the row, the value, and what the column is.
pub(super) fn exact(array: &ArrayRef, to: &DataType, at: &str) -> Result<ArrayRef, String> {
    let failed = |error: ArrowError| format!("column `{at}`: {error}");
    if let (DataType::Duration(_), DataType::Int64) = (array.data_type(), to) {
        // A number without a unit counts the same in every message.
        let nanoseconds = exact(array, &DataType::Duration(TimeUnit::Nanosecond), at)?;
        return arrow::compute::cast(&nanoseconds, to).map_err(failed);
    }
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(to, array.len()));
    }
    let lenient = CastOptions { safe: true, ..CastOptions::default() };
    let made = cast_with_options(array, to, &lenient).map_err(failed)?;
    let lost = match by_its_bytes(array.data_type()) {
        true => not_there(array, &made),
        false => {
            let back = cast_with_options(&made, array.data_type(), &lenient).map_err(failed)?;
            let changed = distinct(array, &back).map_err(failed)?;
            // A value that came out wrong may have become null on the way back, or there.
            first(&changed).or_else(|| not_there(array, &made))
        }
    };
    match lost {
        None => Ok(made),
        Some(row) => {
            let value = array_value_to_string(array, row).unwrap_or_default();
            Err(format!("column `{at}`, row {row}: {value} cannot be kept exactly as {to}"))
        }
    }
}

/// Types whose casts are copies: what is not null afterwards is what it was.
fn by_its_bytes(from: &DataType) -> bool {
    from.is_floating() || from.is_string() || from.is_binary() || matches!(from, DataType::Interval(_))
}

fn not_there(array: &ArrayRef, made: &ArrayRef) -> Option<usize> {
    (made.null_count() > array.null_count())
        .then(|| (0..array.len()).find(|&row| array.is_valid(row) && made.is_null(row)))?
}

fn first(mask: &BooleanArray) -> Option<usize> {
    (mask.true_count() > 0).then(|| mask.values().set_indices().next())?
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Date64Array, Decimal128Array, DurationSecondArray, Int16Array, Int64Array, NullArray, StringArray,
        Time64NanosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    };

    use super::*;

    fn check(array: ArrayRef, to: &DataType, expected: Result<&[&str], &str>) {
        let from = array.data_type().clone();
        if !widens(&from, to) {
            assert_eq!(expected, Err("no"), "{from} to {to}");
            return;
        }
        match (exact(&array, to, "c"), expected) {
            (Ok(made), Ok(expected)) => {
                assert_eq!(made.data_type(), to);
                let shown =
                    |row| if made.is_null(row) { "null".into() } else { array_value_to_string(&made, row).unwrap() };
                assert_eq!((0..made.len()).map(shown).collect::<Vec<_>>(), expected, "{from} to {to}");
            }
            (Err(reason), Err(part)) => {
                assert!(reason.starts_with("column `c`, row 1: ") && reason.contains(part), "{from} to {to}: {reason}");
            }
            (got, _) => panic!("{from} to {to}: {got:?}"),
        }
    }

    #[test]
    fn whole_numbers_keep_their_last_digit() {
        let edge = 1_i64 << 53;
        check(
            Arc::new(Int64Array::from(vec![Some(edge), None])),
            &DataType::Float64,
            Ok(&["9007199254740992.0", "null"]),
        );
        check(Arc::new(Int64Array::from(vec![0, edge + 1])), &DataType::Float64, Err("9007199254740993"));
        check(Arc::new(Int64Array::from(vec![0, i64::MAX])), &DataType::Float64, Err("9223372036854775807"));
        check(Arc::new(UInt64Array::from(vec![0, u64::MAX])), &DataType::Float64, Err("18446744073709551615"));
        check(Arc::new(Int64Array::from(vec![0, (1 << 24) + 1])), &DataType::Float32, Err("16777217"));
        check(Arc::new(UInt64Array::from(vec![0, u64::MAX])), &DataType::Int64, Err("18446744073709551615"));
        check(Arc::new(Int64Array::from(vec![1, 300])), &DataType::Int8, Err("300"));
        check(Arc::new(Int64Array::from(vec![1, -1])), &DataType::UInt64, Err("-1"));
        check(Arc::new(Int16Array::from(vec![1, -1])), &DataType::Int64, Ok(&["1", "-1"]));
        check(Arc::new(Int64Array::from(vec![1, 1000])), &DataType::Decimal128(4, 2), Err("1000"));
        check(Arc::new(Int64Array::from(vec![10, 15])), &DataType::Decimal128(4, -1), Err("15"));
    }

    #[test]
    fn decimals_keep_their_places() {
        let decimals = |values: &[i128], scale| {
            Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(10, scale).unwrap()) as ArrayRef
        };
        check(decimals(&[1500, 1250], 3), &DataType::Decimal128(9, 2), Ok(&["1.50", "1.25"]));
        check(decimals(&[1500, 1255], 3), &DataType::Decimal128(9, 2), Err("1.255"));
        check(decimals(&[1, 12345], 0), &DataType::Decimal128(6, 2), Err("12345"));
        check(decimals(&[1, 2], 0), &DataType::Float64, Err("no"));
    }

    #[test]
    fn times_keep_their_parts() {
        let nanos = |values: Vec<i64>| Arc::new(TimestampNanosecondArray::from(values)) as ArrayRef;
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        check(nanos(vec![1000, -1000]), &micros, Ok(&["1970-01-01T00:00:00.000001", "1969-12-31T23:59:59.999999"]));
        check(nanos(vec![1000, 1001]), &micros, Err("1970-01-01T00:00:00.000001001"));
        let far = Arc::new(TimestampSecondArray::from(vec![0, i64::MAX / 1000])) as ArrayRef;
        check(far, &DataType::Timestamp(TimeUnit::Nanosecond, None), Err(""));
        let zoned = |zone: &str| DataType::Timestamp(TimeUnit::Nanosecond, Some(zone.into()));
        check(nanos(vec![0]), &zoned("UTC"), Ok(&["1970-01-01T00:00:00Z"]));
        check(nanos(vec![0]), &zoned("+02:00"), Err("no"));
        let moved = Arc::new(TimestampNanosecondArray::from(vec![0]).with_timezone("+02:00")) as ArrayRef;
        check(moved, &zoned("UTC"), Ok(&["1970-01-01T00:00:00Z"]));
        let day = 86_400_000;
        check(Arc::new(Date64Array::from(vec![0, day])), &DataType::Date32, Ok(&["1970-01-01", "1970-01-02"]));
        check(Arc::new(Date64Array::from(vec![0, day + 1])), &DataType::Date32, Err("1970-01-02T00:00:00.001"));
        let clock = Arc::new(Time64NanosecondArray::from(vec![1_000_000_000, 1_500_000_000])) as ArrayRef;
        check(Arc::clone(&clock), &DataType::Time32(TimeUnit::Millisecond), Ok(&["00:00:01", "00:00:01.500"]));
        check(clock, &DataType::Time32(TimeUnit::Second), Err("00:00:01.5"));
    }

    #[test]
    fn lengths_of_time_are_counted_in_one_unit() {
        check(Arc::new(DurationSecondArray::from(vec![2])), &DataType::Int64, Ok(&["2000000000"]));
        check(Arc::new(DurationSecondArray::from(vec![0, i64::MAX])), &DataType::Int64, Err(""));
        check(Arc::new(NullArray::new(2)), &DataType::Utf8, Ok(&["null", "null"]));
        check(Arc::new(StringArray::from(vec!["é"])), &DataType::Binary, Ok(&["c3a9"]));
    }
}
