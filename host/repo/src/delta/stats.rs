//! What a log says about the values of a file, so that readers can skip it. Whatever could skip too much is left out.

use arrow::datatypes::{DataType, Schema, TimeUnit};
use jiff::{Timestamp, ToSpan as _, civil::date, tz::TimeZone};
use serde_json::{Map, Value, json};
use spout_format::ColumnStatistics;

/// The statistics of a file with these columns, of those that `published` names.
pub(super) fn text(
    rows: u64,
    columns: &[ColumnStatistics],
    schema: &Schema,
    published: impl Fn(&str) -> bool,
) -> String {
    let (mut min, mut max, mut nulls) = (Map::new(), Map::new(), Map::new());
    for column in columns.iter().filter(|column| published(&column.name)) {
        let Ok(field) = schema.field_with_name(&column.name) else { continue };
        if let Some(count) = column.nulls {
            nulls.insert(column.name.clone(), count.into());
        }
        if let Some(least) = column.min.as_ref().and_then(|value| worded(field.data_type(), value)) {
            min.insert(column.name.clone(), least);
        }
        // Not-a-number is greater than all others to readers, and no part of Parquet's statistics.
        let greatest = column.max.as_ref().filter(|_| !field.data_type().is_floating());
        if let Some(greatest) = greatest.and_then(|value| worded(field.data_type(), value)) {
            max.insert(column.name.clone(), greatest);
        }
    }
    json!({"numRecords": rows, "minValues": min, "maxValues": max, "nullCount": nulls}).to_string()
}

fn worded(data_type: &DataType, value: &Value) -> Option<Value> {
    use DataType as T;
    match data_type {
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 | T::Float32 | T::Float64 => {
            value.is_number().then(|| value.clone())
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => value.is_string().then(|| value.clone()),
        T::Date32 => {
            let day = date(1970, 1, 1).checked_add(value.as_i64()?.days()).ok()?;
            (day.year() >= 0).then(|| day.to_string().into())
        }
        T::Timestamp(unit, zone) => moment(value.as_i64()?, *unit, zone.is_some()).map(Value::from),
        _ => None,
    }
}

fn moment(value: i64, unit: TimeUnit, zoned: bool) -> Option<String> {
    let micros = match unit {
        TimeUnit::Millisecond => value.checked_mul(1000)?,
        TimeUnit::Microsecond => value,
        TimeUnit::Second => value.checked_mul(1_000_000)?,
        // As the column itself has them.
        TimeUnit::Nanosecond => value.div_euclid(1000),
    };
    let at = Timestamp::from_microsecond(micros).ok()?.to_zoned(TimeZone::UTC);
    let text = at.strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string();
    (at.year() >= 0).then(|| if zoned { format!("{text}Z") } else { text })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn values_are_in_deltas_forms() {
        let check = |data_type: DataType, min: Value, max: Value, expected: [Value; 2]| {
            let schema = Schema::new(vec![Field::new("c", data_type, true)]);
            let column = ColumnStatistics { name: "c".into(), nulls: Some(1), min: Some(min), max: Some(max) };
            let told: Value = serde_json::from_str(&text(3, &[column], &schema, |_| true)).unwrap();
            let of = |which: &str| told.get(which).unwrap().get("c").cloned().unwrap_or(Value::Null);
            assert_eq!([of("minValues"), of("maxValues")], expected, "{schema}");
            assert_eq!((of("nullCount"), &told["numRecords"]), (1.into(), &3.into()));
        };
        let none = [Value::Null, Value::Null];
        check(DataType::Int64, (-5).into(), i64::MAX.into(), [(-5).into(), i64::MAX.into()]);
        check(DataType::Float64, 0.5.into(), 1.5.into(), [0.5.into(), Value::Null]);
        check(DataType::Utf8, "a".into(), "ü".into(), ["a".into(), "ü".into()]);
        check(DataType::Date32, (-1).into(), 19_000.into(), ["1969-12-31".into(), "2022-01-08".into()]);
        check(DataType::Boolean, false.into(), true.into(), none.clone());
        let zone = Some("Europe/Berlin".into());
        let (first, second) = (1_577_934_245_006_i64, 1_577_934_245_007_008_i64);
        check(
            DataType::Timestamp(TimeUnit::Millisecond, zone),
            first.into(),
            i64::MAX.into(),
            ["2020-01-02T03:04:05.006000Z".into(), Value::Null],
        );
        check(
            DataType::Timestamp(TimeUnit::Microsecond, None),
            (-1).into(),
            second.into(),
            ["1969-12-31T23:59:59.999999".into(), "2020-01-02T03:04:05.007008".into()],
        );
        check(
            DataType::Timestamp(TimeUnit::Microsecond, None),
            (-99_999_999_999_999_999_i64).into(),
            0.into(),
            [Value::Null, "1970-01-01T00:00:00.000000".into()],
        );
    }

    #[test]
    fn only_published_columns_are_mentioned() {
        let schema = Schema::new(vec![Field::new("c", DataType::Int64, true)]);
        let column = ColumnStatistics { name: "c".into(), nulls: Some(1), min: Some(1.into()), max: None };
        assert_eq!(
            text(3, &[column], &schema, |_| false),
            r#"{"maxValues":{},"minValues":{},"nullCount":{},"numRecords":3}"#
        );
    }
}
