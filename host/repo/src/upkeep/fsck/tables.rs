//! Whether a table file is what its record says: it can be decoded, and has those rows and those values.
//!
//! Bytes that match their hash are what was written; that they can be read as what they were meant to be is another question.

use arrow::{
    array::{Array as _, ArrayRef, AsArray},
    compute::{max, max_boolean, max_string, max_string_view, min, min_boolean, min_string, min_string_view},
    datatypes::{
        DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef,
        Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
};
use bytes::Bytes;
use serde_json::Value;
use spout_format::{ColumnStatistics, decode, less};

use crate::{error::Error, log::TableInfo};

/// What is wrong with a table file, if anything is. `bytes` are those that were committed.
pub(super) fn check(path: &str, table: &TableInfo, schema: Option<&SchemaRef>, bytes: Bytes) -> Option<String> {
    let Some(schema) = schema else { return Some(format!("no record has its schema {}", table.schema)) };
    match read(path, table, schema, bytes) {
        Ok(seen) => seen.differs(table),
        Err(error) => {
            Some(format!("its bytes are those that were committed, but cannot be decoded: {}", chain(&error)))
        }
    }
}

fn chain(error: &Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What the rows of a file come to.
struct Seen {
    rows: u64,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    nulls: u64,
    /// Whether its least and greatest value can be determined.
    ordered: bool,
    extremes: Option<(Value, Value)>,
}

fn read(path: &str, table: &TableInfo, schema: &SchemaRef, bytes: Bytes) -> Result<Seen, Error> {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| Column {
        name: field.name().clone(),
        nulls: 0,
        ordered: true,
        extremes: None,
    };
    let mut seen = Seen { rows: 0, columns: schema.fields().iter().map(column).collect() };
    for batch in decode(path, table.format, schema, bytes, None)? {
        let batch = batch?;
        seen.rows += batch.num_rows() as u64;
        for (column, array) in seen.columns.iter_mut().zip(batch.columns()) {
            column.nulls += array.logical_null_count() as u64;
            match extremes(array) {
                None => column.ordered = false,
                Some(found) => {
                    column.extremes = match (column.extremes.take(), found) {
                        (Some((least, greatest)), Some((low, high))) => Some((
                            if less(&low, &least) { low } else { least },
                            if less(&greatest, &high) { high } else { greatest },
                        )),
                        (there, found) => there.or(found),
                    };
                }
            }
        }
    }
    Ok(seen)
}

impl Seen {
    fn differs(&self, table: &TableInfo) -> Option<String> {
        if self.rows != table.rows {
            return Some(format!("it has {} rows, but {} were committed", self.rows, table.rows));
        }
        table.columns.iter().find_map(|told| {
            let Some(column) = self.columns.iter().find(|column| column.name == told.name) else {
                return Some(format!("its record lists a column `{}`, which it does not have", told.name));
            };
            column.differs(told)
        })
    }
}

impl Column {
    fn differs(&self, told: &ColumnStatistics) -> Option<String> {
        let name = &self.name;
        if let Some(nulls) = told.nulls.filter(|nulls| *nulls != self.nulls) {
            return Some(format!("column `{name}` has {} nulls, but its record says {nulls}", self.nulls));
        }
        if !self.ordered {
            return None;
        }
        let (least, greatest) = self.extremes.clone().unzip();
        let pairs = [("least", &told.min, least), ("greatest", &told.max, greatest)];
        pairs.into_iter().find_map(|(which, told, found)| {
            let told = told.as_ref()?;
            let same = found.as_ref().is_some_and(|found| !less(found, told) && !less(told, found));
            let found = found.map_or_else(|| "null".to_owned(), |found| found.to_string());
            (!same).then(|| format!("the {which} value of column `{name}` is {found}, but its record says {told}"))
        })
    }
}

/// The least and the greatest value as a record has them; `None` for types without any.
fn extremes(array: &ArrayRef) -> Option<Option<(Value, Value)>> {
    use DataType as T;
    use TimeUnit as U;
    macro_rules! numbers {
        ($of:ty) => {{
            let array = array.as_primitive::<$of>();
            min(array).zip(max(array)).map(|(least, greatest)| (least.into(), greatest.into()))
        }};
    }
    // What is not a number has no place in the order of numbers.
    macro_rules! reals {
        ($of:ty) => {{
            let reals = array.as_primitive::<$of>().iter().flatten().filter(|value| !value.is_nan());
            let both = reals.fold(None, |both: Option<(_, _)>, value| match both {
                Some((least, greatest)) => Some((if value < least { value } else { least }, value.max(greatest))),
                None => Some((value, value)),
            });
            let finite = both.filter(|(least, greatest)| least.is_finite() && greatest.is_finite());
            match (both, finite) {
                // JSON has no word for what is infinite, so that a record tells nothing of it.
                (Some(_), None) => return None,
                (_, finite) => finite.map(|(least, greatest)| (Value::from(least), Value::from(greatest))),
            }
        }};
    }
    macro_rules! texts {
        ($least:expr, $greatest:expr) => {
            $least.zip($greatest).map(|(least, greatest)| (Value::from(least), Value::from(greatest)))
        };
    }
    Some(match array.data_type() {
        T::Boolean => {
            let array = array.as_boolean();
            min_boolean(array).zip(max_boolean(array)).map(|(least, greatest)| (least.into(), greatest.into()))
        }
        T::Int8 => numbers!(Int8Type),
        T::Int16 => numbers!(Int16Type),
        T::Int32 => numbers!(Int32Type),
        T::Int64 => numbers!(Int64Type),
        T::UInt8 => numbers!(UInt8Type),
        T::UInt16 => numbers!(UInt16Type),
        T::UInt32 => numbers!(UInt32Type),
        T::UInt64 => numbers!(UInt64Type),
        T::Float32 => reals!(Float32Type),
        T::Float64 => reals!(Float64Type),
        T::Utf8 => texts!(min_string(array.as_string::<i32>()), max_string(array.as_string::<i32>())),
        T::LargeUtf8 => texts!(min_string(array.as_string::<i64>()), max_string(array.as_string::<i64>())),
        T::Utf8View => texts!(min_string_view(array.as_string_view()), max_string_view(array.as_string_view())),
        T::Date32 => numbers!(Date32Type),
        T::Time32(U::Second) => numbers!(Time32SecondType),
        T::Time32(_) => numbers!(Time32MillisecondType),
        T::Time64(U::Microsecond) => numbers!(Time64MicrosecondType),
        T::Time64(_) => numbers!(Time64NanosecondType),
        T::Timestamp(U::Second, _) => numbers!(TimestampSecondType),
        T::Timestamp(U::Millisecond, _) => numbers!(TimestampMillisecondType),
        T::Timestamp(U::Microsecond, _) => numbers!(TimestampMicrosecondType),
        T::Timestamp(U::Nanosecond, _) => numbers!(TimestampNanosecondType),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
    use spout_format::{Format, TableWriter};

    use super::*;

    fn table() -> (TableInfo, SchemaRef, Bytes) {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("u", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(1)]))),
            ("f", Arc::new(Float64Array::from(vec![f64::NAN, -0.0, 2.5]))),
            ("t", Arc::new(StringArray::from(vec!["b", "a", "ü"]))),
            ("at", Arc::new(TimestampNanosecondArray::from(vec![-1, 1_700_000_000_000_000_001, 0]))),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let mut writer = TableWriter::new(Format::Parquet, rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        let made = writer.finish().unwrap();
        let (format, schema) = (made.format, "s".to_owned());
        let table = TableInfo { format, rows: made.rows, schema, columns: made.columns, portable: true };
        (table, rows.schema(), made.bytes)
    }

    #[test]
    fn a_table_that_is_as_its_record_says_is_sound_and_others_are_not() {
        let (table, schema, bytes) = table();
        assert!(table.columns.iter().filter(|column| column.max.is_some()).count() >= 3, "{table:?}");
        let check = |change: &dyn Fn(&mut TableInfo), bytes: &Bytes, part: &str| {
            let mut told = table.clone();
            change(&mut told);
            let found = check("/t", &told, Some(&schema), bytes.clone());
            match part {
                "" => assert_eq!(found, None),
                part => assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{found:?}, not {part}"),
            }
        };
        let column = |told: &mut TableInfo, name: &str, change: &dyn Fn(&mut ColumnStatistics)| {
            change(told.columns.iter_mut().find(|column| column.name == name).unwrap());
        };
        check(&|_| {}, &bytes, "");
        check(&|told| told.rows = 4, &bytes, "it has 3 rows, but 4 were committed");
        check(&|told| column(told, "u", &|u| u.nulls = Some(0)), &bytes, "`u` has 1 nulls, but its record says 0");
        check(&|told| column(told, "u", &|u| u.max = Some(7.into())), &bytes, "of column `u` is 18446744073709551615");
        check(
            &|told| column(told, "at", &|at| at.min = Some(0.into())),
            &bytes,
            "of column `at` is -1, but its record says 0",
        );
        check(&|told| column(told, "t", &|t| t.min = Some("A".into())), &bytes, "least value of column `t`");
        check(&|_| {}, &bytes.slice(..bytes.len() - 9), "cannot be decoded");
        check(&|told| told.format = Format::Ndjson, &"{\"at\":\"+99999999-01-01\"}\n".into(), "cannot be decoded");
        assert!(super::check("/t", &table, None, bytes).unwrap().contains("no record has its schema"));
    }
}
