//! Least and greatest values of columns, kept in the commit record so that readers can skip files.

use arrow::{
    array::{AsArray, RecordBatch},
    compute::{max, min},
    datatypes::{DataType, Schema, SchemaRef, TimeUnit, TimestampNanosecondType, UInt64Type},
};
use parquet::{
    file::{metadata::RowGroupMetaData, statistics::Statistics},
    schema::types::ColumnDescriptor,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Columns beyond these have no statistics: a record stays small however wide the table is.
const MOST_COLUMNS: usize = 64;
/// Longer texts are left out rather than cut, so that every value here is exact.
const LONGEST_TEXT: usize = 64;

/// What is known of the values of one column of one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// Name of the column.
    pub name: String,
    /// Rows in which it is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nulls: Option<u64>,
    /// Least value; a time is a number in the column's own unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// Greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
}

/// Least and greatest values of columns whose replacement in the file does not tell them exactly, or not as numbers.
#[derive(Debug)]
pub(super) struct Extremes {
    columns: Vec<(usize, Option<(i128, i128)>)>,
}

impl Extremes {
    pub(super) fn of(given: &Schema) -> Self {
        let kept =
            |data_type: &DataType| matches!(data_type, DataType::UInt64 | DataType::Timestamp(TimeUnit::Nanosecond, _));
        let fields = given.fields().iter().enumerate().filter(|(_, field)| kept(field.data_type()));
        Self { columns: fields.map(|(index, _)| (index, None)).collect() }
    }

    pub(super) fn take(&mut self, batch: &RecordBatch) {
        for (index, extremes) in &mut self.columns {
            let column = batch.column(*index);
            let found: Option<(i128, i128)> = match column.data_type() {
                DataType::UInt64 => {
                    let column = column.as_primitive::<UInt64Type>();
                    min(column).map(i128::from).zip(max(column).map(i128::from))
                }
                _ => {
                    let column = column.as_primitive::<TimestampNanosecondType>();
                    min(column).map(i128::from).zip(max(column).map(i128::from))
                }
            };
            *extremes = match (*extremes, found) {
                (Some(there), Some(found)) => Some((there.0.min(found.0), there.1.max(found.1))),
                (there, found) => there.or(found),
            };
        }
    }

    fn of_column(&self, index: usize) -> Option<Option<(Value, Value)>> {
        let (_, extremes) = self.columns.iter().find(|(column, _)| *column == index)?;
        let value = |number: i128| match u64::try_from(number) {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(i64::try_from(number).unwrap_or(i64::MIN)),
        };
        Some(extremes.map(|(least, greatest)| (value(least), value(greatest))))
    }
}

/// Statistics of the plain top-level columns of `given`, put together from those of the row groups of the file, which has
/// them as `in_file`.
pub(super) fn from_parquet(
    (given, in_file): (&SchemaRef, &SchemaRef),
    groups: &[RowGroupMetaData],
    extremes: &Extremes,
) -> Vec<ColumnStatistics> {
    let Some(first) = groups.first() else { return Vec::new() };
    let descriptors = first.schema_descr();
    let plain = (0..descriptors.num_columns()).filter(|&leaf| descriptors.column(leaf).path().parts().len() == 1);
    plain
        .take(MOST_COLUMNS)
        .filter_map(|leaf| {
            let descriptor = descriptors.column(leaf);
            let (index, field) = given.column_with_name(descriptor.name())?;
            let ordered = in_file.field_with_name(descriptor.name()).is_ok_and(|field| ordered(field.data_type()));
            let chunks: Vec<_> = groups.iter().map(|group| group.column(leaf).statistics()).collect();
            let mut found = column(&descriptor, ordered, &chunks)?;
            if let Some(exact) = extremes.of_column(index) {
                (found.min, found.max) = exact.unzip();
            }
            if let DataType::Timestamp(TimeUnit::Second, _) = field.data_type() {
                let seconds = |micros: Value| micros.as_i64().map(|micros| micros.div_euclid(1_000_000).into());
                (found.min, found.max) = (found.min.and_then(seconds), found.max.and_then(seconds));
            }
            Some(found)
        })
        .collect()
}

fn column(descriptor: &ColumnDescriptor, ordered: bool, chunks: &[Option<&Statistics>]) -> Option<ColumnStatistics> {
    let nulls = chunks.iter().map(|chunk| chunk.and_then(Statistics::null_count_opt)).sum::<Option<u64>>();
    let all = |pick: fn(&Statistics) -> Option<Value>, better: fn(&Value, &Value) -> bool| {
        let values = chunks.iter().map(|chunk| chunk.and_then(pick)).collect::<Option<Vec<_>>>()?;
        values.into_iter().reduce(|best, next| if better(&next, &best) { next } else { best })
    };
    let (min, max) =
        if ordered { (all(least, less), all(greatest, |next, best| less(best, next))) } else { (None, None) };
    (nulls.is_some() || min.is_some()).then(|| ColumnStatistics { name: descriptor.name().to_owned(), nulls, min, max })
}

/// Types whose Parquet order is the order of the JSON values below.
fn ordered(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::Float32 | T::Float64
    ) || matches!(data_type, T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Date32 | T::Time32(_) | T::Time64(_))
        || matches!(data_type, T::Timestamp(..))
}

fn least(statistics: &Statistics) -> Option<Value> {
    match statistics {
        Statistics::Boolean(values) => values.min_opt().map(|&value| value.into()),
        Statistics::Int32(values) => values.min_opt().map(|&value| value.into()),
        Statistics::Int64(values) => values.min_opt().map(|&value| value.into()),
        Statistics::Float(values) => values.min_opt().map(|&value| value.into()),
        Statistics::Double(values) => values.min_opt().map(|&value| value.into()),
        Statistics::ByteArray(values) if values.min_is_exact() => text(values.min_opt()?.data()),
        _ => None,
    }
}

fn greatest(statistics: &Statistics) -> Option<Value> {
    match statistics {
        Statistics::Boolean(values) => values.max_opt().map(|&value| value.into()),
        Statistics::Int32(values) => values.max_opt().map(|&value| value.into()),
        Statistics::Int64(values) => values.max_opt().map(|&value| value.into()),
        Statistics::Float(values) => values.max_opt().map(|&value| value.into()),
        Statistics::Double(values) => values.max_opt().map(|&value| value.into()),
        Statistics::ByteArray(values) if values.max_is_exact() => text(values.max_opt()?.data()),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST_TEXT).map(Value::from)
}

/// Whether the value of a column is less than another of it.
#[must_use]
pub fn less(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left < right,
        (Value::String(left), Value::String(right)) => left < right,
        (left, right) => match (whole(left), whole(right)) {
            (Some(left), Some(right)) => left < right,
            _ => left.as_f64() < right.as_f64(),
        },
    }
}

fn whole(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn statistics_of_floats_come_back_as_they_were_written() {
        let mut dice = StdRng::seed_from_u64(1);
        let mut floats = vec![12.380_196_114_964_559, f64::MAX, f64::MIN_POSITIVE, -0.0];
        floats.extend((0..10_000).map(|_| f64::from_bits(dice.random())).filter(|float| float.is_finite()));
        for float in floats {
            let bound = Some(Value::from(float));
            let written = ColumnStatistics { name: "v".into(), nulls: Some(0), min: bound.clone(), max: bound };
            let read: ColumnStatistics = serde_json::from_str(&serde_json::to_string(&written).unwrap()).unwrap();
            assert_eq!(read.min.and_then(|min| min.as_f64()).map(f64::to_bits), Some(float.to_bits()), "{float:e}");
        }
    }
}
