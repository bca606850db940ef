//! Rows that no file can hold: times that are in no calendar, and nanoseconds where their place keeps microseconds.
//!
//! Looked for before anything is written, so that the row is set aside and its neighbours are kept.

use std::{collections::BTreeMap, ops::Range};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, OffsetSizeTrait, RecordBatch},
    compute::{cast, max, min},
    datatypes::{
        ArrowNativeType, DataType, Date32Type, Date64Type, Time32MillisecondType, Time32SecondType,
        Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType,
    },
};

use super::Format;

/// Days since 1970 of the years 1 to 9999: the calendar of SQL, of ISO 8601 without a sign, and of those who read tables.
const DAYS: Range<i64> = -719_162..2_932_897;
const SECONDS_A_DAY: i64 = 86_400;

/// A row that cannot be kept in a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Its place in the batch.
    pub row: usize,
    /// Stable and dotted.
    pub code: &'static str,
    /// The column, the value, and why, for people.
    pub reason: String,
}

/// What is wrong with one entry of an array.
#[derive(Clone, Debug)]
struct Wrong {
    code: &'static str,
    /// The way from the array to the value, as in `.at` or `[]`.
    path: String,
    what: String,
}

/// Entries of an array that cannot be kept.
type Entries = BTreeMap<usize, Wrong>;

/// The rows of `batch` that `format` cannot keep as they are, each once.
#[must_use]
pub fn misfits(format: Format, batch: &RecordBatch) -> Vec<Misfit> {
    let mut rows: BTreeMap<usize, Misfit> = BTreeMap::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        for (row, Wrong { code, path, what }) in wrong(column, format, true) {
            let reason = || format!("column `{}{path}` is {what}", field.name());
            rows.entry(row).or_insert_with(|| Misfit { row, code, reason: reason() });
        }
    }
    rows.into_values().collect()
}

fn wrong(array: &ArrayRef, format: Format, top: bool) -> Entries {
    use DataType as T;
    use TimeUnit as U;
    match array.data_type() {
        T::Date32 => outside::<Date32Type>(array, 1, "day", &DAYS),
        T::Date64 => outside::<Date64Type>(array, SECONDS_A_DAY * 1000, "ms", &DAYS),
        T::Timestamp(U::Second, _) => outside::<TimestampSecondType>(array, SECONDS_A_DAY, "s", &DAYS),
        T::Timestamp(U::Millisecond, _) => {
            outside::<TimestampMillisecondType>(array, SECONDS_A_DAY * 1000, "ms", &DAYS)
        }
        T::Timestamp(U::Microsecond, _) => {
            outside::<TimestampMicrosecondType>(array, SECONDS_A_DAY * 1_000_000, "us", &DAYS)
        }
        // 64 bits of nanoseconds are within the calendar.
        T::Timestamp(U::Nanosecond, _) if format == Format::Parquet && !top => beyond_micros(array),
        T::Time32(U::Second) => outside::<Time32SecondType>(array, SECONDS_A_DAY, "s", &(0..1)),
        T::Time32(_) => outside::<Time32MillisecondType>(array, SECONDS_A_DAY * 1000, "ms", &(0..1)),
        T::Time64(U::Microsecond) => outside::<Time64MicrosecondType>(array, SECONDS_A_DAY * 1_000_000, "us", &(0..1)),
        T::Time64(_) => outside::<Time64NanosecondType>(array, SECONDS_A_DAY * 1_000_000_000, "ns", &(0..1)),
        T::Struct(fields) => {
            let there = array.as_struct();
            let mut all = Entries::new();
            for (field, column) in fields.iter().zip(there.columns()) {
                let inside = wrong(column, format, false).into_iter().filter(|(at, _)| there.is_valid(*at));
                for (at, found) in inside {
                    all.entry(at).or_insert_with(|| found.within(&format!(".{}", field.name())));
                }
            }
            all
        }
        T::List(_) => in_list::<i32>(array, format),
        T::LargeList(_) => in_list::<i64>(array, format),
        T::FixedSizeList(_, length) => {
            let (there, length) = (array.as_fixed_size_list(), usize::try_from(*length).unwrap_or(1).max(1));
            raised(wrong(there.values(), format, false), |at| Some(at / length), "[]", array)
        }
        T::Map(..) => {
            let there = array.as_map();
            let row = |at: usize| row_of(there.offsets(), at);
            let mut all = raised(wrong(there.keys(), format, false), row, ".key", array);
            for (at, found) in raised(wrong(there.values(), format, false), row, ".value", array) {
                all.entry(at).or_insert(found);
            }
            all
        }
        T::Dictionary(_, values) if is_temporal(values) => match cast(array, values) {
            Ok(plain) => wrong(&plain, format, top),
            Err(_) => Entries::new(),
        },
        _ => Entries::new(),
    }
}

fn is_temporal(data_type: &DataType) -> bool {
    data_type.is_temporal() || data_type.is_nested()
}

impl Wrong {
    fn within(self, step: &str) -> Self {
        Self { path: format!("{step}{}", self.path), ..self }
    }
}

fn in_list<O: OffsetSizeTrait>(array: &ArrayRef, format: Format) -> Entries {
    let there = array.as_list::<O>();
    raised(wrong(there.values(), format, false), |at| row_of(there.offsets(), at), "[]", array)
}

/// The entry of a list that holds the value at `at`.
fn row_of<O: ArrowNativeType + Ord>(offsets: &[O], at: usize) -> Option<usize> {
    offsets.partition_point(|offset| offset.as_usize() <= at).checked_sub(1)
}

/// What is wrong with values as what is wrong with the entries that hold them.
fn raised(inside: Entries, row: impl Fn(usize) -> Option<usize>, step: &str, array: &dyn Array) -> Entries {
    let mut all = Entries::new();
    for (at, found) in inside {
        let Some(row) = row(at).filter(|row| *row < array.len() && array.is_valid(*row)) else { continue };
        all.entry(row).or_insert_with(|| found.within(step));
    }
    all
}

/// Values that are in none of `days`, of which one has so many units.
fn outside<T: ArrowPrimitiveType>(array: &ArrayRef, a_day: i64, unit: &str, days: &Range<i64>) -> Entries
where
    T::Native: Into<i64>,
{
    let there = array.as_primitive::<T>();
    let inside = |value: i64| days.contains(&value.div_euclid(a_day));
    let bounds = [min(there), max(there)];
    if bounds.into_iter().flatten().all(|value| inside(value.into())) {
        return Entries::new();
    }
    let what = match days.end {
        1 => "not a time of day",
        _ => "outside the years 1 to 9999",
    };
    let values = there.iter().enumerate().filter_map(|(at, value)| Some((at, value?.into())));
    values
        .filter(|(_, value)| !inside(*value))
        .map(|(at, value)| {
            (at, Wrong { code: "commit.time", path: String::new(), what: format!("{value} {unit}, {what}") })
        })
        .collect()
}

fn beyond_micros(array: &ArrayRef) -> Entries {
    let there = array.as_primitive::<TimestampNanosecondType>();
    let values = there.iter().enumerate().filter_map(|(at, value)| Some((at, value?)));
    let wrong = |value: i64| Wrong {
        code: "commit.nanoseconds",
        path: String::new(),
        what: format!(
            "{value} ns, but Parquet stores microseconds within lists, structs and maps; map it to a column of its own, or commit as arrow"
        ),
    };
    values.filter(|(_, value)| value.rem_euclid(1000) != 0).map(|(at, value)| (at, wrong(value))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            Date32Array, FixedSizeListArray, ListArray, StructArray, Time32SecondArray, TimestampMillisecondArray,
            TimestampNanosecondArray, TimestampSecondArray,
        },
        buffer::{NullBuffer, OffsetBuffer},
        datatypes::Field,
    };

    use super::*;

    fn check(column: ArrayRef, format: Format, expected: &[(usize, &str)]) {
        let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
        let found: Vec<_> = misfits(format, &batch).into_iter().map(|misfit| (misfit.row, misfit.reason)).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for ((row, reason), (at, part)) in found.iter().zip(expected) {
            assert!(row == at && reason.contains(part), "{row} {reason}, expected {at} {part}");
        }
    }

    #[test]
    fn times_are_within_the_calendar() {
        let (first, last) = (-62_135_596_800_i64, 253_402_300_799);
        let seconds = vec![Some(first), Some(first - 1), None, Some(last), Some(last + 1), Some(i64::MIN)];
        let wrong = [(1, "`c` is -62135596801 s, outside the years"), (4, "253402300800 s"), (5, "-92233720368")];
        check(Arc::new(TimestampSecondArray::from(seconds)), Format::Parquet, &wrong);
        let ms = TimestampMillisecondArray::from(vec![i64::MAX, first * 1000, last * 1000 + 999]).with_timezone("UTC");
        check(Arc::new(ms), Format::Ndjson, &[(0, "9223372036854775807 ms")]);
        check(
            Arc::new(Date32Array::from(vec![i32::MAX, -719_162, 2_932_896, -719_163])),
            Format::Csv,
            &[(0, "2147483647 day"), (3, "-719163 day")],
        );
        check(
            Arc::new(Time32SecondArray::from(vec![0, 86_399, 86_400, -1])),
            Format::Arrow,
            &[(2, "86400 s, not a time of day"), (3, "-1 s")],
        );
        check(Arc::new(TimestampNanosecondArray::from(vec![i64::MIN, i64::MAX])), Format::Parquet, &[]);
    }

    #[test]
    fn a_value_within_is_found_in_its_row_and_no_other() {
        let times = || Arc::new(TimestampNanosecondArray::from(vec![1000, 1001, 2000, 3001])) as ArrayRef;
        let item = Arc::new(Field::new("item", times().data_type().clone(), true));
        let list = |lengths: &[usize], nulls: Vec<bool>| {
            let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
            ListArray::new(Arc::clone(&item), offsets, times(), Some(NullBuffer::from(nulls)))
        };
        let whole = list(&[0, 2, 0, 2], vec![true; 4]);
        check(Arc::new(whole.clone()), Format::Parquet, &[(1, "`c[]` is 1001 ns"), (3, "3001 ns")]);
        check(Arc::new(whole.slice(2, 2)), Format::Parquet, &[(1, "3001 ns")]);
        check(Arc::new(whole.clone()), Format::Ndjson, &[]);
        check(Arc::new(list(&[0, 2, 0, 2], vec![true, false, true, true])), Format::Parquet, &[(3, "3001 ns")]);
        let pairs = FixedSizeListArray::new(Arc::clone(&item), 2, times(), None);
        let inner: ArrayRef = Arc::new(pairs);
        let held = StructArray::from(vec![(Arc::new(Field::new("in", inner.data_type().clone(), true)), inner)]);
        check(Arc::new(held), Format::Parquet, &[(0, "`c.in[]` is 1001 ns"), (1, "3001 ns")]);
    }
}
