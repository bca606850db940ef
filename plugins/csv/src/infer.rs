//! Types that nobody gave: what the first messages look like.

use spout_guest::{DataType, Field, Schema, TimeUnit, time};

use crate::record::Record;

/// Messages looked at.
const SAMPLE: usize = 8192;

/// What the values of one column have been so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Bool,
    Int,
    Float,
    Date,
    Time,
    Text,
}

/// Names of the fields, and a schema for them. Messages with another number of fields are passed over; where `names` are
/// not known, the first one says how many there are. `None` if no message can be read.
pub(crate) fn schema<'a>(
    record: &mut Record,
    names: Option<&[String]>,
    messages: impl Iterator<Item = &'a [u8]>,
    null: Option<&str>,
) -> Option<(Vec<String>, Schema)> {
    let mut seen = names.map(|names| vec![Seen::Nothing; names.len()]);
    let mut any = false;
    for message in messages.take(SAMPLE) {
        if record.read(message).is_err() {
            continue;
        }
        let seen = seen.get_or_insert_with(|| vec![Seen::Nothing; record.len()]);
        if seen.len() != record.len() {
            continue;
        }
        any = true;
        for (seen, value) in seen.iter_mut().zip(record.values(message)) {
            if !value.is_null(null) {
                *seen = seen.meet(Seen::of(value.bytes));
            }
        }
    }
    let seen = seen.filter(|_| any)?;
    let names = match names {
        Some(names) => names.to_vec(),
        None => (0..seen.len()).map(|number| format!("c{number}")).collect(),
    };
    let fields = names.iter().zip(seen).map(|(name, seen)| Field::new(name.clone(), seen.data_type())).collect();
    Some((names, Schema::new(fields)))
}

impl Seen {
    fn of(value: &[u8]) -> Self {
        let value = value.trim_ascii();
        let text = std::str::from_utf8(value).unwrap_or_default();
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        // A leading zero is a sign of a code, such as a postal one, and would be lost.
        let code = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        let numeric = !code && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
            Self::Bool
        } else if numeric && text.parse::<i64>().is_ok() {
            Self::Int
        } else if numeric && !digits.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<f64>().is_ok() {
            Self::Float
        } else if value.len() == 10 && time::days(value).is_some() {
            Self::Date
        } else if value.len() > 10 && time::timestamp(value, TimeUnit::Microsecond).is_ok() {
            Self::Time
        } else {
            Self::Text
        }
    }

    /// What holds both.
    fn meet(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) => other,
            (Self::Int, Self::Float) | (Self::Float, Self::Int) => Self::Float,
            (Self::Date, Self::Time) | (Self::Time, Self::Date) => Self::Time,
            (same, other) if same == other => same,
            _ => Self::Text,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Nothing | Self::Text => DataType::Utf8,
        }
    }
}
