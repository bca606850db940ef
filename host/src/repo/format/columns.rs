//! Least and greatest values of columns, kept in the commit record so that readers can skip files.

use arrow::datatypes::{DataType, SchemaRef};
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

/// Statistics of the plain top-level columns, put together from those of the row groups.
pub(super) fn from_parquet(schema: &SchemaRef, groups: &[RowGroupMetaData]) -> Vec<ColumnStatistics> {
    let Some(first) = groups.first() else { return Vec::new() };
    let descriptors = first.schema_descr();
    let plain = (0..descriptors.num_columns()).filter(|&leaf| descriptors.column(leaf).path().parts().len() == 1);
    plain
        .take(MOST_COLUMNS)
        .filter_map(|leaf| {
            let descriptor = descriptors.column(leaf);
            let ordered = schema.field_with_name(descriptor.name()).is_ok_and(|field| ordered(field.data_type()));
            let chunks: Vec<_> = groups.iter().map(|group| group.column(leaf).statistics()).collect();
            column(&descriptor, ordered, &chunks)
        })
        .collect()
}

fn column(descriptor: &ColumnDescriptor, ordered: bool, chunks: &[Option<&Statistics>]) -> Option<ColumnStatistics> {
    let nulls = chunks.iter().map(|chunk| chunk.and_then(Statistics::null_count_opt)).sum::<Option<u64>>();
    let all = |pick: fn(&Statistics) -> Option<Value>, better: fn(&Value, &Value) -> bool| {
        let values = chunks.iter().map(|chunk| chunk.and_then(pick)).collect::<Option<Vec<_>>>()?;
        values.into_iter().reduce(|best, next| if better(&next, &best) { next } else { best })
    };
    let (min, max) = match ordered {
        true => (all(least, less), all(greatest, |next, best| less(best, next))),
        false => (None, None),
    };
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

fn less(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => left < right,
        (Value::String(left), Value::String(right)) => left < right,
        (left, right) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left < right,
            _ => left.as_f64() < right.as_f64(),
        },
    }
}
