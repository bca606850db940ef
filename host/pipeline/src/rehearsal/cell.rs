//! Values of a test, as exact as they are: what a spec writes down, and what came out of a column.

use arrow::{
    array::{Array, ArrayRef, AsArray as _, StringArray},
    compute::{CastOptions, cast, cast_with_options},
    datatypes::{DataType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int64Type, TimeUnit},
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::{Map, Number, Value, json};
use spout_spec::digits;

const DAY: i128 = 86_400_000_000_000;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    /// A whole or decimal number, by its digits.
    Number(String),
    Float(f64),
    /// A time, or a length of time, in nanoseconds.
    Time(i128),
    Text(String),
    List(Vec<Cell>),
    Struct(Vec<(String, Cell)>),
    Map(Vec<(Cell, Cell)>),
}

impl Cell {
    /// Whether both are one value; floats may be apart by `tolerance`.
    pub(super) fn same(&self, other: &Self, tolerance: f64) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance,
            (Self::Number(digits), Self::Float(float)) | (Self::Float(float), Self::Number(digits)) => {
                digits.parse().is_ok_and(|number: f64| number == *float)
            }
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b, tolerance)),
            (Self::Struct(a), Self::Struct(b)) => {
                let like = |(a, b): (&(String, Self), &(String, Self))| a.0 == b.0 && a.1.same(&b.1, tolerance);
                a.len() == b.len() && a.iter().zip(b).all(like)
            }
            (Self::Map(a), Self::Map(b)) => {
                let mut free: Vec<&(Self, Self)> = b.iter().collect();
                let mut found = |(key, value): &(Self, Self)| {
                    let at = free.iter().position(|(k, v)| k.same(key, 0.0) && v.same(value, tolerance));
                    at.map(|at| free.remove(at)).is_some()
                };
                a.len() == b.len() && a.iter().all(&mut found)
            }
            _ => self == other,
        }
    }

    /// The value of a row.
    pub(super) fn read(array: &dyn Array, row: usize) -> Self {
        if array.is_null(row) {
            return Self::Null;
        }
        let all = |array: &dyn Array| (0..array.len()).map(|row| Self::read(array, row)).collect();
        match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean().value(row)),
            number if number.is_integer() || number.is_decimal() => {
                let text = text(array, row);
                Self::Number(digits(&text).unwrap_or(text))
            }
            DataType::Float16 => Self::Float(array.as_primitive::<Float16Type>().value(row).to_f64()),
            DataType::Float32 => Self::Float(f64::from(array.as_primitive::<Float32Type>().value(row))),
            DataType::Float64 => Self::Float(array.as_primitive::<Float64Type>().value(row)),
            DataType::List(_) => Self::List(all(&array.as_list::<i32>().value(row))),
            DataType::LargeList(_) => Self::List(all(&array.as_list::<i64>().value(row))),
            DataType::FixedSizeList(..) => Self::List(all(&array.as_fixed_size_list().value(row))),
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                Self::Struct(columns.map(|(field, column)| (field.name().clone(), Self::read(column, row))).collect())
            }
            DataType::Map(..) => {
                let entries = array.as_map().value(row);
                let (keys, values) = (entries.column(0), entries.column(1));
                Self::Map((0..entries.len()).map(|at| (Self::read(keys, at), Self::read(values, at))).collect())
            }
            DataType::Dictionary(_, kind) => flat(array, row, kind),
            DataType::RunEndEncoded(_, values) => flat(array, row, values.data_type()),
            kind => nanoseconds(array, row, kind).map_or_else(|| Self::Text(text(array, row)), Self::Time),
        }
    }

    /// What a spec writes for a value of type `kind`.
    ///
    /// # Errors
    /// No value of that type is this one: what it is, and how to write it.
    pub(super) fn wanted(value: &Value, kind: &DataType) -> Result<Self, String> {
        let no = |what: &str| Err(format!("{value} {what}"));
        match (value, kind) {
            (Value::Null, _) => Ok(Self::Null),
            (_, DataType::Dictionary(_, kind)) => Self::wanted(value, kind),
            (_, DataType::RunEndEncoded(_, values)) => Self::wanted(value, values.data_type()),
            (Value::Bool(value), DataType::Boolean) => Ok(Self::Bool(*value)),
            (_, DataType::Boolean) => no("is not true or false"),
            (Value::Number(number), whole) if whole.is_integer() => match digits(&number.to_string()) {
                Some(digits) if !digits.contains('.') => Ok(Self::Number(digits)),
                _ => no(&format!("is not a whole number, but the column is {whole}")),
            },
            (_, whole) if whole.is_integer() => no(&format!("is not a number, but the column is {whole}")),
            (Value::Number(number), decimal) if decimal.is_decimal() => {
                digits(&number.to_string()).map(Self::Number).ok_or_else(|| format!("{number} is not a number"))
            }
            (Value::String(text), decimal) if decimal.is_decimal() => {
                digits(text).map(Self::Number).ok_or_else(|| format!("`{text}` is not a number"))
            }
            (_, decimal) if decimal.is_decimal() => no(&format!("is not a number, but the column is {decimal}")),
            (_, float) if float.is_floating() => wanted_float(value, float),
            (
                Value::Array(list),
                DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
            ) => Ok(Self::List(
                list.iter().map(|value| Self::wanted(value, item.data_type())).collect::<Result<_, _>>()?,
            )),
            (Value::Object(object), DataType::Struct(fields)) => {
                if let Some(key) = object.keys().find(|key| fields.iter().all(|field| field.name() != *key)) {
                    return Err(format!("there is no field `{key}` in it"));
                }
                let field = |field: &arrow::datatypes::FieldRef| {
                    let value = object.get(field.name()).unwrap_or(&Value::Null);
                    Ok((field.name().clone(), Self::wanted(value, field.data_type())?))
                };
                Ok(Self::Struct(fields.iter().map(field).collect::<Result<_, String>>()?))
            }
            (Value::Object(object), DataType::Map(entry, _)) => {
                let DataType::Struct(fields) = entry.data_type() else { return no("is a map") };
                let [key, value] = &**fields else { return no("is a map") };
                let entry = |(name, wanted): (&String, &Value)| {
                    Ok((wanted_key(name, key.data_type())?, Self::wanted(wanted, value.data_type())?))
                };
                Ok(Self::Map(object.iter().map(entry).collect::<Result<_, String>>()?))
            }
            (Value::String(text), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
                Ok(Self::Text(text.clone()))
            }
            (Value::Number(_), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => {
                no("is a number, but the column is text; put it in quotes")
            }
            (Value::Number(number), time) if unit(time).is_some() => counted(number, time),
            (Value::String(text), time) if unit(time).is_some() => wanted_time(text, time).map(Self::Time),
            (Value::String(text), DataType::Interval(_)) => Ok(Self::Text(text.clone())),
            (Value::String(text), bytes) if bytes.is_binary() => Ok(Self::Text(text.to_ascii_lowercase())),
            (_, other) => no(&format!("is not a value for a column that is {other}")),
        }
    }

    /// What a spec writes where no column is known to compare it with.
    pub(super) fn untyped(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            other => Self::Text(other.to_string()),
        }
    }
}

/// The value of a row for people, as JSON; numbers that JSON's readers would round are texts.
pub(super) fn shown(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    let all = |array: &dyn Array| (0..array.len()).map(|row| shown(array, row)).collect();
    match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => json!(array.as_boolean().value(row)),
        number if number.is_integer() || number.is_decimal() => {
            let text = text(array, row);
            let whole = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
            whole.map_or_else(|_| Value::String(text.clone()), Value::Number)
        }
        float if float.is_floating() => {
            let text = text(array, row);
            let number = text.parse().ok().and_then(Number::from_f64);
            number.map_or(Value::String(text), Value::Number)
        }
        DataType::List(_) => Value::Array(all(&array.as_list::<i32>().value(row))),
        DataType::LargeList(_) => Value::Array(all(&array.as_list::<i64>().value(row))),
        DataType::FixedSizeList(..) => Value::Array(all(&array.as_fixed_size_list().value(row))),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            Value::Object(columns.map(|(field, column)| (field.name().clone(), shown(column, row))).collect())
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let pair = |at| (text(entries.column(0), at), shown(entries.column(1), at));
            Value::Object((0..entries.len()).map(pair).collect::<Map<_, _>>())
        }
        _ => Value::String(text(array, row)),
    }
}

/// A value as arrow writes it.
fn text(array: &dyn Array, row: usize) -> String {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::default());
    formatter.map_or_else(|error| error.to_string(), |formatter| formatter.value(row).to_string())
}

fn flat(array: &dyn Array, row: usize, kind: &DataType) -> Cell {
    match cast(&array.slice(row, 1), kind) {
        Ok(value) => Cell::read(&value, 0),
        Err(_) => Cell::Text(text(array, row)),
    }
}

/// The nanoseconds in what a column of times counts.
fn unit(kind: &DataType) -> Option<i128> {
    let of = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    match kind {
        DataType::Date32 => Some(DAY),
        DataType::Date64 => Some(1_000_000),
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) | DataType::Duration(unit) => {
            Some(of(unit))
        }
        _ => None,
    }
}

fn nanoseconds(array: &dyn Array, row: usize, kind: &DataType) -> Option<i128> {
    let each = unit(kind)?;
    let count = match kind {
        DataType::Date32 => i64::from(array.as_primitive::<Date32Type>().value(row)),
        DataType::Date64 => array.as_primitive::<Date64Type>().value(row),
        DataType::Time32(_) => return nanoseconds_of(&cast(&array.slice(row, 1), &DataType::Int32).ok()?, each),
        _ => return nanoseconds_of(&array.slice(row, 1), each),
    };
    Some(i128::from(count) * each)
}

fn nanoseconds_of(one: &ArrayRef, each: i128) -> Option<i128> {
    let count = cast(one, &DataType::Int64).ok()?;
    Some(i128::from(count.as_primitive::<Int64Type>().value(0)) * each)
}

/// A number that stands for a time: how many of what the column counts.
fn counted(number: &Number, kind: &DataType) -> Result<Cell, String> {
    let whole = digits(&number.to_string()).and_then(|digits| digits.parse::<i128>().ok());
    match (whole, unit(kind)) {
        (Some(count), Some(each)) => Ok(Cell::Time(count.saturating_mul(each))),
        _ => Err(format!("{number} is not a whole number of the unit of {kind}")),
    }
}

fn wanted_float(value: &Value, kind: &DataType) -> Result<Cell, String> {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            let float = match kind {
                DataType::Float32 => text.parse::<f32>().map(f64::from),
                _ => text.parse::<f64>(),
            };
            let float = float.map_err(|_| format!("{number} is not a number"))?;
            // One written with a point or an exponent means the float next to it; a whole number means itself.
            let whole = digits(&text).filter(|_| !number.is_f64()).and_then(|digits| digits.parse::<i128>().ok());
            if whole.is_none_or(|whole| float as i128 == whole) {
                Ok(Cell::Float(float))
            } else {
                Err(format!("no {kind} is exactly {number}"))
            }
        }
        Value::String(word) => match word.to_ascii_lowercase().as_str() {
            "nan" => Ok(Cell::Float(f64::NAN)),
            "inf" | "infinity" => Ok(Cell::Float(f64::INFINITY)),
            "-inf" | "-infinity" => Ok(Cell::Float(f64::NEG_INFINITY)),
            _ => Err(format!("{value} is text, but the column is {kind}")),
        },
        _ => Err(format!("{value} is not a number, but the column is {kind}")),
    }
}

/// The key of a map, which JSON has as text only.
fn wanted_key(name: &str, kind: &DataType) -> Result<Cell, String> {
    match kind {
        number if number.is_integer() || number.is_decimal() => {
            digits(name).map(Cell::Number).ok_or_else(|| format!("the key `{name}` is not a number"))
        }
        other => Cell::wanted(&Value::String(name.to_owned()), other),
    }
}

/// A time as it is written, to the nanosecond: what the column cannot hold of it is not cut off.
fn wanted_time(text: &str, kind: &DataType) -> Result<i128, String> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let array = StringArray::from(vec![text]);
    let read = |kind: &DataType| {
        let read =
            cast_with_options(&array, kind, &strict).map_err(|error| format!("`{text}` is not a {kind}: {error}"));
        read.and_then(|one| nanoseconds(&one, 0, kind).ok_or_else(|| format!("`{text}` is not a {kind}")))
    };
    match kind {
        DataType::Timestamp(_, zone) => {
            read(&DataType::Timestamp(TimeUnit::Nanosecond, zone.clone())).or_else(|_| read(kind))
        }
        DataType::Date32 | DataType::Date64 => {
            read(&DataType::Timestamp(TimeUnit::Nanosecond, None)).or_else(|_| read(kind))
        }
        DataType::Time32(_) | DataType::Time64(_) => read(&DataType::Time64(TimeUnit::Nanosecond)),
        _ => Err(format!("`{text}` is text; write a number in the unit of {kind}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
            Int64Array, ListArray, MapBuilder, StringBuilder, StructArray, Time32SecondArray,
            TimestampMicrosecondArray, UInt64Array,
        },
        datatypes::{Field, Int32Type},
    };

    use super::*;

    /// Whether the value of a column is what a spec writes.
    fn check(column: &dyn Array, wanted: Value, expected: Result<bool, &str>) {
        match (Cell::wanted(&wanted, column.data_type()), expected) {
            (Ok(cell), Ok(same)) => {
                assert_eq!(cell.same(&Cell::read(column, 0), 0.0), same, "{wanted} and {}", shown(column, 0));
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{wanted}: {error}"),
            (got, _) => panic!("{wanted}: {got:?}"),
        }
        // What is shown can be written down again.
        let again = Cell::wanted(&shown(column, 0), column.data_type()).unwrap();
        assert!(again.same(&Cell::read(column, 0), 0.0), "{}", shown(column, 0));
    }

    #[test]
    fn numbers_are_compared_by_their_digits() {
        let whole = Int64Array::from(vec![21]);
        check(&whole, json!(21), Ok(true));
        check(&whole, json!(21.0), Ok(true));
        check(&whole, json!(21.9), Err("not a whole number"));
        check(&whole, json!("21"), Err("not a number"));
        check(&whole, json!(null), Ok(false));
        check(&Int64Array::from(vec![None]), json!(null), Ok(true));
        let large = Int64Array::from(vec![9_007_199_254_740_993]);
        check(&large, json!(9_007_199_254_740_993_i64), Ok(true));
        check(&large, json!(9_007_199_254_740_992_i64), Ok(false));
        check(&UInt64Array::from(vec![u64::MAX]), json!(u64::MAX), Ok(true));
        let decimal =
            Decimal128Array::from(vec![27_000_000_000_000_000_000_150]).with_precision_and_scale(38, 3).unwrap();
        check(&decimal, json!("27000000000000000000.15"), Ok(true));
        check(&decimal, json!("27000000000000000000.151"), Ok(false));
        check(&decimal, json!(1.5), Ok(false));
        check(&decimal, json!("x"), Err("not a number"));
    }

    #[test]
    fn floats_are_compared_as_floats() {
        let float = Float64Array::from(vec![9_007_199_254_740_992.0]);
        check(&float, json!(9_007_199_254_740_992_i64), Ok(true));
        check(&float, json!(9_007_199_254_740_993_i64), Err("no Float64 is exactly"));
        check(&Float64Array::from(vec![21.0]), json!(21), Ok(true));
        check(&Float64Array::from(vec![1e23]), serde_json::from_str("1e23").unwrap(), Ok(true));
        let near = Float64Array::from(vec![12.380_196_114_964_559]);
        check(&near, serde_json::from_str("12.380196114964559").unwrap(), Ok(true));
        check(&near, serde_json::from_str("12.38019611496456").unwrap(), Ok(false));
        check(&Float64Array::from(vec![f64::MAX]), serde_json::from_str("1.7976931348623155e308").unwrap(), Ok(false));
        check(&Float64Array::from(vec![21.9]), json!(21), Ok(false));
        check(&Float64Array::from(vec![21.9]), json!("21.9"), Err("is text"));
        check(&Float32Array::from(vec![0.1]), json!(0.1), Ok(true));
        check(&Float64Array::from(vec![f64::NAN]), json!("NaN"), Ok(true));
        check(&Float64Array::from(vec![f64::NAN]), json!(null), Ok(false));
        check(&Float64Array::from(vec![f64::INFINITY]), json!("-inf"), Ok(false));
        assert!(Cell::Float(1.0).same(&Cell::Float(1.05), 0.1));
    }

    #[test]
    fn texts_and_truths_are_what_they_are() {
        let text = StringArray::from(vec!["21"]);
        check(&text, json!("21"), Ok(true));
        check(&text, json!(21), Err("put it in quotes"));
        check(&text, json!(""), Ok(false));
        check(&StringArray::from(vec![""]), json!(null), Ok(false));
        check(&BooleanArray::from(vec![true]), json!(true), Ok(true));
        check(&BooleanArray::from(vec![true]), json!("true"), Err("not true or false"));
        check(&BinaryArray::from(vec![&b"\x01\xff"[..]]), json!("01FF"), Ok(true));
        let dictionary: DictionaryArray<Int32Type> = ["x"].into_iter().collect();
        check(&dictionary, json!("x"), Ok(true));
    }

    #[test]
    fn times_are_compared_to_the_nanosecond() {
        let time = TimestampMicrosecondArray::from(vec![1_000_000]);
        check(&time, json!("1970-01-01T00:00:01"), Ok(true));
        check(&time, json!("1970-01-01T00:00:01Z"), Ok(true));
        check(&time, json!(1_000_000), Ok(true));
        check(&time, json!("1970-01-01T00:00:01.0000005"), Ok(false));
        check(&time, json!(1.5), Err("not a whole number"));
        check(&time, json!("soon"), Err("soon"));
        let date = Date32Array::from(vec![1]);
        check(&date, json!("1970-01-02"), Ok(true));
        check(&date, json!("1970-01-02T12:00:00"), Ok(false));
        check(&Time32SecondArray::from(vec![61]), json!("00:01:01"), Ok(true));
        check(&Time32SecondArray::from(vec![61]), json!("00:01:01.5"), Ok(false));
    }

    #[test]
    fn nested_values_are_compared_all_the_way() {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None])]);
        check(&list, json!([1, null]), Ok(true));
        check(&list, json!([1]), Ok(false));
        check(&list, json!([1.5, null]), Err("not a whole number"));
        let parts: Vec<(Arc<Field>, ArrayRef)> = vec![
            (Arc::new(Field::new("a", DataType::Int64, true)), Arc::new(Int64Array::from(vec![1]))),
            (Arc::new(Field::new("b", DataType::Utf8, true)), Arc::new(StringArray::from(vec![None::<&str>]))),
        ];
        let object = StructArray::from(parts);
        check(&object, json!({"a": 1}), Ok(true));
        check(&object, json!({"a": 1, "b": null}), Ok(true));
        check(&object, json!({"a": 1, "b": "x"}), Ok(false));
        check(&object, json!({"a": 1, "c": null}), Err("no field `c`"));
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("a");
        map.values().append_null();
        map.append(true).unwrap();
        let map = map.finish();
        check(&map, json!({"a": null}), Ok(true));
        check(&map, json!({}), Ok(false));
        check(&map, json!({"a": null, "b": null}), Ok(false));
    }
}
