//! Columns compared with a value, or with each other.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryArray, BooleanArray, Datum, Float64Array, Int64Array, Scalar, StringArray,
        new_null_array,
    },
    compute::{CastOptions, cast, cast_with_options, kernels::cmp},
    datatypes::DataType,
    util::display::FormatOptions,
};

use crate::{Error, Result};

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A value that a column is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// For columns of booleans.
    Boolean(bool),
    /// For columns of numbers.
    Int(i64),
    /// For columns of numbers.
    Float(f64),
    /// For columns of texts; of times, dates and decimals too, written as in JSON.
    Text(String),
    /// For columns of bytes.
    Bytes(Vec<u8>),
}

/// Whether `column` compares so with `value`. Numbers are compared exactly: 2.5 is more than the whole number 2. Floats are ordered
/// as IEEE 754's total order has it: NaN is more than any other.
///
/// # Errors
/// The value has no meaning for the column's type.
pub fn compare(column: &dyn Array, how: Comparison, value: &Value) -> Result<ArrayRef> {
    let to = column.data_type();
    match value {
        Value::Boolean(value) if to == &DataType::Boolean => {
            scalar(column, how, Arc::new(BooleanArray::from(vec![*value])))
        }
        Value::Int(value) if to.is_integer() => whole(column, how, *value),
        Value::Int(value) if to.is_floating() => float(column, how, *value),
        Value::Int(value) if matches!(to, DataType::Decimal128(..)) => decimal(column, how, &value.to_string()),
        Value::Float(value) if to.is_floating() => {
            scalar(&*as_float64(column)?, how, Arc::new(Float64Array::from(vec![*value])))
        }
        Value::Float(value) if to.is_integer() => between(column, how, *value),
        Value::Text(value) if matches!(to, DataType::Utf8 | DataType::LargeUtf8) => {
            scalar(column, how, fit(&StringArray::from(vec![value.as_str()]), to)?)
        }
        Value::Text(value) if matches!(to, DataType::Decimal128(..)) => decimal(column, how, value),
        Value::Text(value) if to.is_temporal() && !matches!(to, DataType::Duration(_) | DataType::Interval(_)) => {
            scalar(column, how, fit(&StringArray::from(vec![value.as_str()]), to)?)
        }
        Value::Bytes(value) if matches!(to, DataType::Binary | DataType::LargeBinary) => {
            scalar(column, how, fit(&BinaryArray::from(vec![value.as_slice()]), to)?)
        }
        _ => Err(Error::of_type(format!("a column of {to} cannot be compared with {value:?}"))),
    }
}

/// Whether `one` compares so with `other`, row for row.
///
/// # Errors
/// The columns differ in type, other than in the width of numbers, or in length.
pub fn compare_columns(one: &dyn Array, how: Comparison, other: &dyn Array) -> Result<ArrayRef> {
    if one.len() != other.len() {
        return Err(Error::value(format!("columns of {} and of {} rows", one.len(), other.len())));
    }
    let (a, b) = (one.data_type(), other.data_type());
    if a == b {
        return ordered(how, &one, &other);
    }
    let wider = if a.is_integer() && b.is_integer() {
        DataType::Decimal128(20, 0)
    } else if a.is_floating() && b.is_floating() {
        DataType::Float64
    } else if matches!((a, b), (DataType::Utf8 | DataType::LargeUtf8, DataType::Utf8 | DataType::LargeUtf8)) {
        DataType::LargeUtf8
    } else {
        return Err(Error::of_type(format!("a column of {a} cannot be compared with one of {b}; cast one of them")));
    };
    ordered(how, &fit(one, &wider)?, &fit(other, &wider)?)
}

/// Integers with an integer that their type may not hold.
fn whole(column: &dyn Array, how: Comparison, value: i64) -> Result<ArrayRef> {
    let value = Int64Array::from(vec![value]);
    match fit(&value, column.data_type()) {
        Ok(value) => scalar(column, how, value),
        // Wide enough for all integers.
        Err(_) => {
            let wide = DataType::Decimal128(20, 0);
            scalar(&*fit(column, &wide)?, how, fit(&value, &wide)?)
        }
    }
}

/// Integers with a float: with the whole number next to it.
fn between(column: &dyn Array, how: Comparison, value: f64) -> Result<ArrayRef> {
    // All integers lie within; beyond it the answer is that of the sign.
    const LARGEST: f64 = 9_223_372_036_854_775_807.0;
    if value.is_nan() || value.abs() > 2.0 * LARGEST {
        let least = value < 0.0;
        return constant(
            column,
            match how {
                Comparison::Equal => false,
                Comparison::NotEqual => true,
                Comparison::Less | Comparison::LessOrEqual => !least,
                Comparison::Greater | Comparison::GreaterOrEqual => least,
            },
        );
    }
    let wide = DataType::Decimal128(20, 0);
    let below = fit(&StringArray::from(vec![format!("{:.0}", value.floor())]), &wide)?;
    let column = fit(column, &wide)?;
    if value.fract() == 0.0 {
        return scalar(&*column, how, below);
    }
    match how {
        Comparison::Equal => constant(&*column, false),
        Comparison::NotEqual => constant(&*column, true),
        Comparison::Less | Comparison::LessOrEqual => scalar(&*column, Comparison::LessOrEqual, below),
        Comparison::Greater | Comparison::GreaterOrEqual => scalar(&*column, Comparison::Greater, below),
    }
}

/// Floats with an integer, if a float can be it.
fn float(column: &dyn Array, how: Comparison, value: i64) -> Result<ArrayRef> {
    #[expect(clippy::cast_precision_loss, reason = "what is lost is refused")]
    let near = value as f64;
    #[expect(clippy::cast_possible_truncation, reason = "it is compared with where it came from")]
    let exact = (near as i128) == i128::from(value);
    if !exact {
        return Err(Error::value(format!("{value} is no float64; compare with a float next to it")));
    }
    scalar(&*as_float64(column)?, how, Arc::new(Float64Array::from(vec![near])))
}

/// Decimals with a number that may have more digits than they: both as decimals that have enough.
fn decimal(column: &dyn Array, how: Comparison, value: &str) -> Result<ArrayRef> {
    let text = value.trim();
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    if unsigned.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(Error::value(format!("`{value}` is no number")));
    }
    let DataType::Decimal128(precision, scale) = *column.data_type() else {
        return Err(Error::of_type("a column of decimals is needed"));
    };
    let kept = i8::try_from(fraction.trim_end_matches('0').len()).unwrap_or(i8::MAX).max(scale);
    let room = i16::from(precision) - i16::from(scale) + i16::from(kept);
    let needed = i16::try_from(whole.trim_start_matches('0').len()).unwrap_or(i16::MAX).saturating_add(i16::from(kept));
    let Some(precision) = u8::try_from(room.max(needed)).ok().filter(|precision| *precision <= 38) else {
        return Err(Error::value(format!(
            "`{value}` has more digits than can be compared with {}",
            column.data_type()
        )));
    };
    let wide = DataType::Decimal128(precision.max(1), kept);
    scalar(&*fit(column, &wide)?, how, fit(&StringArray::from(vec![text]), &wide)?)
}

fn as_float64(column: &dyn Array) -> Result<ArrayRef> {
    cast(column, &DataType::Float64).map_err(|error| Error::of_type(error.to_string()))
}

fn fit(column: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(column, to, &options).map_err(|error| Error::value(error.to_string()))
}

fn constant(column: &dyn Array, holds: bool) -> Result<ArrayRef> {
    if column.null_count() == column.len() {
        return Ok(new_null_array(&DataType::Boolean, column.len()));
    }
    let values = std::iter::repeat_n(holds, column.len()).collect();
    Ok(Arc::new(BooleanArray::new(values, column.nulls().cloned())))
}

fn scalar(column: &dyn Array, how: Comparison, value: ArrayRef) -> Result<ArrayRef> {
    ordered(how, &column, &Scalar::new(value))
}

fn ordered(how: Comparison, one: &dyn Datum, other: &dyn Datum) -> Result<ArrayRef> {
    let compared = match how {
        Comparison::Equal => cmp::eq(one, other),
        Comparison::NotEqual => cmp::neq(one, other),
        Comparison::Less => cmp::lt(one, other),
        Comparison::LessOrEqual => cmp::lt_eq(one, other),
        Comparison::Greater => cmp::gt(one, other),
        Comparison::GreaterOrEqual => cmp::gt_eq(one, other),
    };
    Ok(Arc::new(compared.map_err(|error| Error::of_type(error.to_string()))?))
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray, Decimal128Array, Float64Array, Int8Array, TimestampMillisecondArray, UInt64Array},
        compute::cast as to,
    };
    use proptest::prelude::*;

    use super::*;

    fn truths(array: &ArrayRef) -> Vec<Option<bool>> {
        array.as_boolean().iter().collect()
    }

    #[test]
    fn a_value_beyond_the_type_is_compared_all_the_same() {
        let bytes = Int8Array::from(vec![Some(-5), None, Some(100)]);
        assert_eq!(
            truths(&compare(&bytes, Comparison::Less, &Value::Int(1000)).unwrap()),
            [Some(true), None, Some(true)]
        );
        let large = UInt64Array::from(vec![u64::MAX, 0]);
        assert_eq!(truths(&compare(&large, Comparison::Greater, &Value::Int(-1)).unwrap()), [Some(true), Some(true)]);
        assert_eq!(
            truths(&compare(&large, Comparison::Less, &Value::Float(f64::NAN)).unwrap()),
            [Some(true), Some(true)]
        );
    }

    #[test]
    fn decimals_are_compared_with_all_digits() {
        let prices = Decimal128Array::from(vec![150, 151]).with_precision_and_scale(5, 2).unwrap();
        let than = |text: &str| truths(&compare(&prices, Comparison::Greater, &Value::Text(text.into())).unwrap());
        assert_eq!(than("1.5"), [Some(false), Some(true)]);
        assert_eq!(than("1.5000001"), [Some(false), Some(true)]);
        assert_eq!(than("1.4999999"), [Some(true), Some(true)]);
        assert_eq!(than("123456789"), [Some(false), Some(false)]);
        assert!(compare(&prices, Comparison::Equal, &Value::Text("1,5".into())).is_err());
        assert!(compare(&prices, Comparison::Equal, &Value::Text("9".repeat(40))).is_err());
    }

    #[test]
    fn times_are_written_as_in_json() {
        let times = TimestampMillisecondArray::from(vec![999, 1000]).with_timezone("UTC");
        let since = Value::Text("1970-01-01T00:00:01Z".into());
        assert_eq!(truths(&compare(&times, Comparison::GreaterOrEqual, &since).unwrap()), [Some(false), Some(true)]);
    }

    #[test]
    fn texts_and_numbers_do_not_compare() {
        let texts = StringArray::from(vec!["1"]);
        assert_eq!(compare(&texts, Comparison::Equal, &Value::Int(1)).unwrap_err().code, "kernel.type");
        assert_eq!(
            compare_columns(&texts, Comparison::Equal, &Int64Array::from(vec![1])).unwrap_err().code,
            "kernel.type"
        );
        assert!(compare_columns(&texts, Comparison::Equal, &StringArray::from(vec!["1", "2"])).is_err());
        let beyond = Value::Int((1 << 53) + 1);
        assert_eq!(
            compare(&Float64Array::from(vec![1.0]), Comparison::Equal, &beyond).unwrap_err().code,
            "kernel.value"
        );
    }

    const ALL: [Comparison; 6] = [
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ];

    fn holds(how: Comparison, order: Option<std::cmp::Ordering>) -> bool {
        match how {
            Comparison::Equal => order == Some(std::cmp::Ordering::Equal),
            Comparison::NotEqual => order != Some(std::cmp::Ordering::Equal),
            Comparison::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Comparison::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Comparison::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Comparison::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }

    proptest! {
        #[test]
        fn integers_of_any_width_compare_as_numbers_do(value in any::<i64>(), with in any::<i64>(), small in any::<i8>()) {
            for with in [with, i64::from(small), value] {
                for how in ALL {
                    let wide = Int64Array::from(vec![value]);
                    let narrow = Int8Array::from(vec![small]);
                    prop_assert_eq!(
                        truths(&compare(&wide, how, &Value::Int(with)).unwrap()), [Some(holds(how, value.partial_cmp(&with)))]
                    );
                    prop_assert_eq!(
                        truths(&compare(&narrow, how, &Value::Int(with)).unwrap()),
                        [Some(holds(how, i64::from(small).partial_cmp(&with)))]
                    );
                    let unsigned = to(&UInt64Array::from(vec![value.unsigned_abs()]), &DataType::UInt64).unwrap();
                    prop_assert_eq!(
                        truths(&compare_columns(&unsigned, how, &wide).unwrap()),
                        [Some(holds(how, i128::from(value.unsigned_abs()).partial_cmp(&i128::from(value))))]
                    );
                }
            }
        }

        #[test]
        fn integers_compare_with_floats_as_numbers_do(value in -1_000_i64..1_000, quarters in -4_000_i32..4_000) {
            let with = f64::from(quarters) / 4.0;
            for how in ALL {
                prop_assert_eq!(
                    truths(&compare(&Int64Array::from(vec![value]), how, &Value::Float(with)).unwrap()),
                    [Some(holds(how, (value as f64).partial_cmp(&with)))]
                );
            }
        }
    }
}
