//! Event time: which column it is, and how it is read.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, Int64Type, Schema, TimeUnit},
    error::ArrowError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::Period;

use super::{Error, columns};

/// Times that are event times: the years 1678 to 2261, a hundred days within what 64 bits of nanoseconds can count.
const RANGE: RangeInclusive<i64> = i64::MIN + MARGIN..=i64::MAX - MARGIN;
const MARGIN: i64 = 101 * 86_400 * 1_000_000_000;

/// The event time of rows: the name of a column, or a map with more settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TimeSpec {
    /// The name of the column.
    Column(String),
    /// The column, and what to do about rows that are out of order.
    Settings(TimeSettings),
}

/// The event time of rows, and what to do about rows that are out of order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeSettings {
    /// A timestamp column, or an integer column.
    pub column: String,
    /// What an integer column counts since 1970.
    #[serde(default)]
    pub unit: Unit,
    /// How far out of order rows of one partition may be.
    #[serde(default = "none")]
    pub lateness: Period,
    /// A partition without rows for this long does not hold up the others. Without it, they wait.
    #[serde(default, alias = "idle_after")]
    pub idle_after: Option<Period>,
    /// What happens to rows that are later than that.
    #[serde(default)]
    pub late: Late,
}

fn none() -> Period {
    Period(Duration::ZERO)
}

/// What an integer column counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// Seconds.
    #[serde(rename = "s")]
    Second,
    /// Milliseconds.
    #[default]
    #[serde(rename = "ms")]
    Millisecond,
    /// Microseconds.
    #[serde(rename = "us")]
    Microsecond,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanosecond,
}

/// What happens to rows that are too late. They are counted in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Late {
    /// They are committed separately, under `/late/<handler>/`.
    #[default]
    Side,
    /// They are left out.
    Drop,
    /// The pipeline stops before committing them.
    Fail,
}

impl TimeSpec {
    /// The column and all settings.
    #[must_use]
    pub fn settings(&self) -> TimeSettings {
        match self {
            Self::Column(column) => TimeSettings {
                column: column.clone(),
                unit: Unit::default(),
                lateness: none(),
                idle_after: None,
                late: Late::default(),
            },
            Self::Settings(settings) => settings.clone(),
        }
    }
}

/// Reads the event time of rows as nanoseconds since 1970.
#[derive(Clone, Debug)]
pub struct EventTime {
    handler: String,
    column: String,
    unit: Unit,
}

impl EventTime {
    /// The time that `settings` name, for errors of `handler`.
    #[must_use]
    pub fn new(handler: &str, settings: &TimeSettings) -> Self {
        Self { handler: handler.to_owned(), column: settings.column.clone(), unit: settings.unit }
    }

    /// Name of the column.
    #[must_use]
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The type of the column.
    ///
    /// # Errors
    /// [`Error::Spec`] if there is no such column, or it is no time.
    pub fn check(&self, schema: &Schema) -> Result<DataType, Error> {
        let field = columns::field(&self.handler, schema, &self.column, "for the event time")?;
        match field.data_type() {
            DataType::Timestamp(..) => Ok(field.data_type().clone()),
            whole if whole.is_integer() => Ok(field.data_type().clone()),
            other => Err(Error::spec(
                &self.handler,
                format!(
                    "the event time must be a timestamp or a whole number, but column `{}` is {other}; convert it with a map, as in `{}: \"to_timestamp({})\"`",
                    self.column, self.column, self.column
                ),
            )),
        }
    }

    /// The times of all rows in nanoseconds since 1970; null where a row has none, or one out of 1678 to 2261.
    ///
    /// # Errors
    /// As [`EventTime::check`].
    pub fn of(&self, batch: &RecordBatch) -> Result<Int64Array, Error> {
        let kind = self.check(batch.schema_ref())?;
        let column = batch.column(columns::at(&self.handler, batch.schema_ref(), &self.column)?);
        self.nanoseconds(column, &kind).map_err(Error::kernel(&self.handler, batch.num_rows()))
    }

    /// The same of rows that were held, of which each has a time.
    pub(crate) fn of_held(&self, batch: &RecordBatch) -> Result<Vec<i64>, Error> {
        Ok(self.of(batch)?.iter().map(Option::unwrap_or_default).collect())
    }

    fn nanoseconds(&self, column: &ArrayRef, kind: &DataType) -> Result<Int64Array, ArrowError> {
        let each = match kind {
            DataType::Timestamp(TimeUnit::Second, _) => Unit::Second,
            DataType::Timestamp(TimeUnit::Millisecond, _) => Unit::Millisecond,
            DataType::Timestamp(TimeUnit::Microsecond, _) => Unit::Microsecond,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Unit::Nanosecond,
            _ => self.unit,
        }
        .nanoseconds();
        let whole = cast(column, &DataType::Int64)?;
        let whole = whole.as_primitive::<Int64Type>();
        // Windows and watermarks are counted from there, and must not run out of numbers.
        let range = RANGE.start() / each..=RANGE.end() / each;
        if whole.values().iter().fold(true, |all, time| all & range.contains(time)) {
            Ok(if each == 1 { whole.clone() } else { whole.unary(|time| time * each) })
        } else {
            Ok(whole.iter().map(|time| time.filter(|time| range.contains(time)).map(|time| time * each)).collect())
        }
    }

    /// `times`, in nanoseconds, as a column of the type that [`EventTime::check`] gave.
    ///
    /// # Errors
    /// What the kernel says; never for times that came from such a column.
    pub fn column_of(&self, times: Int64Array, kind: &DataType) -> Result<ArrayRef, ArrowError> {
        if let DataType::Timestamp(_, zone) = kind {
            return cast(&cast(&times, &DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()))?, kind);
        }
        let each = self.unit.nanoseconds();
        let whole: Int64Array = times.unary(|time| time.div_euclid(each));
        cast(&(Arc::new(whole) as ArrayRef), kind)
    }
}

impl Unit {
    fn nanoseconds(self) -> i64 {
        match self {
            Self::Second => 1_000_000_000,
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1_000,
            Self::Nanosecond => 1,
        }
    }
}

/// A length of time as event times are counted.
pub(crate) fn nanoseconds(period: Period) -> i64 {
    i64::try_from(period.0.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array as _, TimestampSecondArray};

    use super::*;

    #[test]
    fn whole_numbers_count_what_the_unit_says() {
        let check = |more: &str, each: i64| {
            let settings: TimeSettings = serde_json::from_str(&format!(r#"{{"column": "t"{more}}}"#)).unwrap();
            let batch = RecordBatch::try_from_iter([("t", Arc::new(Int64Array::from(vec![7, -7])) as _)]).unwrap();
            let times = EventTime::new("w", &settings).of(&batch).unwrap();
            assert_eq!(times, Int64Array::from(vec![7 * each, -7 * each]), "{more}");
        };
        check("", 1_000_000);
        check(r#", "unit": "s""#, 1_000_000_000);
        check(r#", "unit": "ms""#, 1_000_000);
        check(r#", "unit": "us""#, 1_000);
        check(r#", "unit": "ns""#, 1);
    }

    #[test]
    fn times_of_every_kind_are_nanoseconds() {
        let spec = TimeSettings { unit: Unit::Second, ..TimeSpec::Column("t".into()).settings() };
        let event = EventTime::new("w", &spec);
        let check = |column: ArrayRef| {
            let batch = RecordBatch::try_from_iter([("t", column)]).unwrap();
            let kind = event.check(batch.schema_ref()).unwrap();
            let times = event.of(&batch).unwrap();
            assert_eq!((times.value(0), times.is_null(1)), (3_000_000_000, true));
            assert_eq!(&event.column_of(times, &kind).unwrap(), batch.column(0));
        };
        check(Arc::new(TimestampSecondArray::from(vec![Some(3), None])));
        check(Arc::new(Int64Array::from(vec![Some(3), None])));
        let far = [i64::MAX, i64::MAX / 1_000_000_000, 0, i64::MIN / 1_000_000_000, i64::MIN];
        let batch = RecordBatch::try_from_iter([("t", Arc::new(Int64Array::from(far.to_vec())) as _)]).unwrap();
        assert_eq!(event.of(&batch).unwrap(), Int64Array::from(vec![None, None, Some(0), None, None]));
        let text = RecordBatch::try_from_iter([("t", Arc::new(arrow::array::StringArray::from(vec!["x"])) as _)]);
        assert!(event.of(&text.unwrap()).unwrap_err().to_string().contains("to_timestamp(t)"));
    }
}
