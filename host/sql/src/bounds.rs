//! What is known of the values of a column in a file or a row group without reading it.
//!
//! **Invariant**: what is said is true of every row, else nothing is said. Nothing is said of the least and greatest
//! floating-point number: writers leave NaN out of them, and in SQL NaN is greater than all or, with its sign, less.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray, BooleanArray, UInt64Array},
    datatypes::{DataType, Field, Schema, TimeUnit, TimestampNanosecondType},
};
use datafusion::{
    common::{Column, pruning::PruningStatistics},
    scalar::ScalarValue,
};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, statistics::StatisticsConverter},
    file::metadata::RowGroupMetaData,
};
use serde_json::Value;
use spout_format::{ColumnStatistics, convert};

use super::pieces::Pieces;

/// What is known of a column; `None` is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bounds {
    pub(super) nulls: Option<u64>,
    /// Null where all values are.
    pub(super) min: Option<ScalarValue>,
    pub(super) max: Option<ScalarValue>,
}

impl Bounds {
    /// `rows` times the same value.
    pub(super) fn constant(value: ScalarValue, rows: u64) -> Self {
        let nulls = if value.is_null() { rows } else { 0 };
        Self { nulls: Some(nulls), min: Some(value.clone()), max: Some(value) }
    }

    /// `rows` times null.
    pub(super) fn nothing(data_type: &DataType, rows: u64) -> Self {
        match ScalarValue::try_from(data_type) {
            Ok(null) => Self::constant(null, rows),
            Err(_) => Self { nulls: Some(rows), ..Self::default() },
        }
    }

    /// What the commit record says of a column of type `own`, for a table that has it as `wanted`.
    pub(super) fn recorded(statistics: &ColumnStatistics, own: &DataType, wanted: &DataType, rows: u64) -> Self {
        let value = |value: &Option<Value>| scalar(value.as_ref()?, own)?.cast_to(wanted).ok();
        if statistics.nulls == Some(rows) {
            return Self::nothing(wanted, rows);
        }
        Self { nulls: statistics.nulls, min: value(&statistics.min), max: value(&statistics.max) }
    }
}

/// A value as the record has it; `None` where it says nothing sure.
fn scalar(value: &Value, own: &DataType) -> Option<ScalarValue> {
    use DataType as T;
    use ScalarValue as S;
    Some(match own {
        T::Boolean => S::Boolean(Some(value.as_bool()?)),
        T::Int8 => S::Int8(Some(value.as_i64()?.try_into().ok()?)),
        T::Int16 => S::Int16(Some(value.as_i64()?.try_into().ok()?)),
        T::Int32 => S::Int32(Some(value.as_i64()?.try_into().ok()?)),
        T::Int64 => S::Int64(Some(value.as_i64()?)),
        T::UInt8 => S::UInt8(Some(value.as_u64()?.try_into().ok()?)),
        T::UInt16 => S::UInt16(Some(value.as_u64()?.try_into().ok()?)),
        T::UInt32 => S::UInt32(Some(value.as_u64()?.try_into().ok()?)),
        T::UInt64 => S::UInt64(Some(value.as_u64()?)),
        T::Utf8 => S::Utf8(Some(value.as_str()?.to_owned())),
        T::LargeUtf8 => S::LargeUtf8(Some(value.as_str()?.to_owned())),
        T::Utf8View => S::Utf8View(Some(value.as_str()?.to_owned())),
        T::Date32 => S::Date32(Some(value.as_i64()?.try_into().ok()?)),
        T::Time32(TimeUnit::Second) => S::Time32Second(Some(value.as_i64()?.try_into().ok()?)),
        T::Time32(TimeUnit::Millisecond) => S::Time32Millisecond(Some(value.as_i64()?.try_into().ok()?)),
        T::Time64(TimeUnit::Microsecond) => S::Time64Microsecond(Some(value.as_i64()?)),
        T::Time64(TimeUnit::Nanosecond) => S::Time64Nanosecond(Some(value.as_i64()?)),
        T::Timestamp(TimeUnit::Second, zone) => S::TimestampSecond(Some(value.as_i64()?), zone.clone()),
        T::Timestamp(TimeUnit::Millisecond, zone) => S::TimestampMillisecond(Some(value.as_i64()?), zone.clone()),
        T::Timestamp(TimeUnit::Microsecond, zone) => S::TimestampMicrosecond(Some(value.as_i64()?), zone.clone()),
        T::Timestamp(TimeUnit::Nanosecond, zone) => S::TimestampNanosecond(Some(value.as_i64()?), zone.clone()),
        _ => return None,
    })
}

/// The pieces of a table as DataFusion asks for them.
pub(super) struct FileStatistics<'a> {
    pub(super) pieces: &'a Pieces,
    pub(super) schema: &'a Schema,
}

impl FileStatistics<'_> {
    fn all<T>(&self, column: &Column, of: impl Fn(Bounds) -> T) -> Option<(&Field, Vec<T>)> {
        let field = self.schema.field_with_name(column.name()).ok()?;
        Some((field, (0..self.pieces.len()).map(|index| of(self.pieces.bounds(index, field))).collect()))
    }

    fn values(&self, column: &Column, of: impl Fn(Bounds) -> Option<ScalarValue>) -> Option<ArrayRef> {
        let (field, values) = self.all(column, of)?;
        let null = ScalarValue::try_from(field.data_type()).ok()?;
        ScalarValue::iter_to_array(values.into_iter().map(|value| value.unwrap_or_else(|| null.clone()))).ok()
    }
}

impl PruningStatistics for FileStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |bounds| bounds.min)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |bounds| bounds.max)
    }

    fn num_containers(&self) -> usize {
        self.pieces.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (_, counts) = self.all(column, |bounds| bounds.nulls)?;
        Some(Arc::new(UInt64Array::from(counts)))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = (0..self.pieces.len()).map(|index| self.pieces.rows(index));
        Some(Arc::new(UInt64Array::from_iter_values(counts)))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// The row groups of a Parquet file as DataFusion asks for them.
pub(super) struct GroupStatistics<'a> {
    /// Columns of the table.
    pub(super) schema: &'a Schema,
    pub(super) file: &'a ArrowReaderMetadata,
}

impl GroupStatistics<'_> {
    fn groups(&self) -> &[RowGroupMetaData] {
        self.file.metadata().row_groups()
    }

    fn converter(&self, column: &Column) -> Option<StatisticsConverter<'_>> {
        let converter = StatisticsConverter::try_new(column.name(), self.file.schema(), self.file.parquet_schema());
        let converter = converter.ok()?.with_missing_null_counts_as_zero(false);
        converter.parquet_column_index().map(|_| converter)
    }

    /// `of` the row groups, as the table has the column.
    fn values(
        &self,
        column: &Column,
        of: impl Fn(&StatisticsConverter<'_>) -> parquet::errors::Result<ArrayRef>,
    ) -> Option<ArrayRef> {
        let wanted = self.schema.field_with_name(column.name()).ok()?.data_type();
        let converter = self.converter(column)?;
        if converter.arrow_field().data_type().is_floating() {
            None
        } else {
            convert(&of(&converter).ok()?, wanted).ok()
        }
    }
}

impl PruningStatistics for GroupStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |converter| converter.row_group_mins(self.groups()))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let greatest = self.values(column, |converter| converter.row_group_maxes(self.groups()))?;
        let stored = self.converter(column)?.arrow_field().data_type().clone();
        match (&stored, greatest.data_type()) {
            // The file tells them to the microsecond, and what is beyond it is in another column.
            (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
                let nanos = greatest.as_primitive::<TimestampNanosecondType>();
                let last = nanos.unary::<_, TimestampNanosecondType>(|nanos| nanos.saturating_add(999));
                Some(Arc::new(last.with_data_type(greatest.data_type().clone())))
            }
            _ => Some(greatest),
        }
    }

    fn num_containers(&self) -> usize {
        self.groups().len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts = self.converter(column)?.row_group_null_counts(self.groups()).ok()?;
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.groups().iter().map(|group| u64::try_from(group.num_rows()).ok());
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
