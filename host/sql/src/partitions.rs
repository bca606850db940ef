//! Columns that are in paths: `/events/date=2026-01-01/x.parquet` has a column `date`.

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::scalar::ScalarValue;
use jiff::civil::{Date, date};

/// What Hive and its heirs write for null.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Day 0 of a Date32.
const EPOCH: Date = date(1970, 1, 1);

/// The columns that the paths of a table have in common or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Partitions {
    fields: Vec<Field>,
}

impl Partitions {
    /// The columns in `paths` that the files themselves, which have `schema`, do not hold. A column is of whole numbers or
    /// of dates if all of its values are, else of texts.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a str>, schema: &Schema) -> Self {
        let mut found: Vec<(&str, Option<DataType>)> = Vec::new();
        for (key, value) in paths.into_iter().flat_map(segments) {
            if schema.column_with_name(key).is_some() {
                continue;
            }
            let own = data_type(value);
            match found.iter_mut().find(|(there, _)| *there == key) {
                Some((_, there)) => *there = both(there.take(), own),
                None => found.push((key, own)),
            }
        }
        let field = |(key, own): (&str, Option<DataType>)| Field::new(key, own.unwrap_or(DataType::Utf8), true);
        Self { fields: found.into_iter().map(field).collect() }
    }

    /// These columns.
    pub(super) fn with(fields: Vec<Field>) -> Self {
        Self { fields }
    }

    /// The columns, in the order in which they were met.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The value of each column in `path`.
    pub(super) fn values(&self, path: &str) -> Vec<ScalarValue> {
        let value = |field: &Field| {
            let text = segments(path).filter(|(key, _)| key == field.name()).last().map(|(_, value)| value);
            scalar(text.filter(|text| *text != NULL), field.data_type())
        };
        self.fields.iter().map(value).collect()
    }
}

/// The `key=value` directories of a path.
fn segments(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let directories = path.rsplit_once('/').map_or("", |(directories, _)| directories);
    directories.split('/').filter_map(|segment| segment.split_once('=')).filter(|(key, _)| !key.is_empty())
}

/// The narrowest type of a value; `None` for null, which is of all.
fn data_type(value: &str) -> Option<DataType> {
    match value {
        NULL => None,
        _ if value.parse::<i64>().is_ok() => Some(DataType::Int64),
        _ if day(value).is_some() => Some(DataType::Date32),
        _ => Some(DataType::Utf8),
    }
}

fn both(left: Option<DataType>, right: Option<DataType>) -> Option<DataType> {
    match (left, right) {
        (Some(left), Some(right)) if left == right => Some(left),
        (Some(_), Some(_)) => Some(DataType::Utf8),
        (left, right) => left.or(right),
    }
}

/// Days since 1970 of a date written in full.
fn day(text: &str) -> Option<i32> {
    let whole = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date: Date = whole.then(|| text.parse().ok()).flatten()?;
    Some(EPOCH.until(date).ok()?.get_days())
}

fn scalar(text: Option<&str>, data_type: &DataType) -> ScalarValue {
    match data_type {
        DataType::Int64 => ScalarValue::Int64(text.and_then(|text| text.parse().ok())),
        DataType::Date32 => ScalarValue::Date32(text.and_then(day)),
        _ => ScalarValue::Utf8(text.map(unescaped)),
    }
}

/// `%2F` and its like as what they stand for; what is no such escape stays.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.filter(|digits| first == b'%' && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let (byte, skip) = match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (byte, 3),
            None => (first, 1),
        };
        bytes.push(byte);
        rest = rest.get(skip..).unwrap_or_default();
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_a_path_decide_the_type_together() {
        let check = |paths: &[&str], expected: &[(&str, &str, &str)]| {
            let partitions =
                Partitions::of(paths.iter().copied(), &Schema::new(vec![Field::new("own", DataType::Null, true)]));
            let found: Vec<_> = partitions
                .fields()
                .iter()
                .zip(partitions.values(paths[0]))
                .map(|(field, value)| (field.name().clone(), field.data_type().to_string(), value.to_string()))
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect();
            assert_eq!(found, expected, "{paths:?}");
        };
        check(&["/a/b.parquet"], &[]);
        check(&["/n=1/b=c.parquet"], &[("n", "Int64", "1")]);
        check(&["/n=1/x", "/n=b/x"], &[("n", "Utf8", "1")]);
        check(&["/d=2026-01-31/h=07/x"], &[("d", "Date32", "2026-01-31"), ("h", "Int64", "7")]);
        check(&["/d=2026-01-31/x", "/d=2026-02-30/x"], &[("d", "Utf8", "2026-01-31")]);
        check(&["/d=1969-12-31/x", "/x"], &[("d", "Date32", "1969-12-31")]);
        check(&["/n=__HIVE_DEFAULT_PARTITION__/x", "/n=4/x"], &[("n", "Int64", "NULL")]);
        check(&["/n=__HIVE_DEFAULT_PARTITION__/x"], &[("n", "Utf8", "NULL")]);
        check(&["/x", "/k=a%2Fb%zz/x"], &[("k", "Utf8", "NULL")]);
        check(&["/k=a%2Fb%zz%/x"], &[("k", "Utf8", "a/b%zz%")]);
        check(&["/k=/x"], &[("k", "Utf8", "")]);
        check(&["/own=1/x"], &[]);
        check(&["/n=1/n=2/x"], &[("n", "Int64", "2")]);
    }
}
