//! How the fields of messages become columns.

use spout_guest::{ArrayBuilder, Batch, DataType, Error, Result, Schema, TimeUnit, time};

use crate::{
    Wrong,
    record::{Record, Value},
};

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    schema: Schema,
    /// By field of a message: the column it goes into, if it is wanted.
    targets: Vec<Option<usize>>,
    builders: Vec<ArrayBuilder>,
    null: Option<String>,
    rows: usize,
}

impl Table {
    /// A table of `schema` for messages whose fields have these `names`.
    pub(crate) fn new(schema: Schema, names: &[String], null: Option<&str>) -> Result<Self> {
        let place = |name: &String| schema.fields().iter().position(|field| field.name == *name);
        let targets: Vec<Option<usize>> = names.iter().map(place).collect();
        for (at, field) in schema.fields().iter().enumerate() {
            let what = match (targets.iter().filter(|&&target| target == Some(at)).count(), &field.data_type) {
                (_, DataType::List(_) | DataType::Struct(_)) => "is nested, which CSV has no value for",
                (0, _) => "is in the schema and not among the columns of the messages; see setting `columns`",
                (1, _) => continue,
                _ => "is twice among the columns of the messages; see setting `columns`",
            };
            return Err(Error::invalid_config(format!("`{}` {what}", field.name)));
        }
        let builders = ArrayBuilder::all(schema.fields());
        Ok(Self { schema, targets, builders, null: null.map(str::to_owned), rows: 0 })
    }

    /// Adds what `record` has read of `message` as the next row; if it does not fit, nothing of it stays.
    pub(crate) fn push(&mut self, record: &Record, message: &[u8]) -> std::result::Result<(), Wrong> {
        if record.len() != self.targets.len() {
            let reason = format!("the message has {} fields; the columns are {}", record.len(), self.targets.len());
            return Err(Wrong("csv.fields", reason));
        }
        for (target, value) in self.targets.iter().zip(record.values(message)) {
            let Some((builder, field)) =
                target.and_then(|at| Some((self.builders.get_mut(at)?, self.schema.fields().get(at)?)))
            else {
                continue;
            };
            if !push(builder, &field.data_type, value, self.null.as_deref()) {
                let reason = format!("`{}` {}", field.name, misfit(&field.data_type, value.bytes));
                self.builders.iter_mut().for_each(|builder| builder.truncate(self.rows));
                return Err(Wrong("csv.type", reason));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// The rows since the last call.
    pub(crate) fn finish(&mut self) -> Result<Batch> {
        let columns = self.builders.iter_mut().map(ArrayBuilder::finish).collect();
        Ok(Batch::new(self.schema.clone(), columns, std::mem::take(&mut self.rows))?)
    }
}

/// Whether `builder`, of type `data_type`, took `value`.
fn push(builder: &mut ArrayBuilder, data_type: &DataType, value: Value<'_>, null: Option<&str>) -> bool {
    let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary);
    let bytes = if is_text { value.bytes } else { value.bytes.trim_ascii() };
    if (Value { bytes, ..value }).is_null(null) {
        builder.push_null();
        return true;
    }
    if is_text {
        return builder.push_bytes(bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    macro_rules! number {
        ($type:ty) => {
            text.parse::<$type>().is_ok_and(|value| builder.push_fixed(value.to_le_bytes()))
        };
    }
    match data_type {
        DataType::Boolean => match () {
            () if text.eq_ignore_ascii_case("true") => builder.push_bool(true),
            () if text.eq_ignore_ascii_case("false") => builder.push_bool(false),
            () => false,
        },
        DataType::Int8 => number!(i8),
        DataType::Int16 => number!(i16),
        DataType::Int32 => number!(i32),
        DataType::Int64 => number!(i64),
        DataType::UInt8 => number!(u8),
        DataType::UInt16 => number!(u16),
        DataType::UInt32 => number!(u32),
        DataType::UInt64 => number!(u64),
        DataType::Float32 => number!(f32),
        DataType::Float64 => number!(f64),
        DataType::Decimal128(precision, scale) => {
            decimal(text, *precision, *scale).is_some_and(|value| builder.push_fixed(value.to_le_bytes()))
        }
        DataType::Date32 => time::days(bytes).is_some_and(|days| builder.push_fixed(days.to_le_bytes())),
        DataType::Date64 => time::timestamp(bytes, TimeUnit::Millisecond)
            .is_some_and(|at| builder.push_fixed((at - at.rem_euclid(86_400_000)).to_le_bytes())),
        DataType::Timestamp(unit, _) => {
            let at = time::timestamp(bytes, *unit).or_else(|| text.parse().ok());
            at.is_some_and(|at| builder.push_fixed(at.to_le_bytes()))
        }
        _ => false,
    }
}

/// `12.50` as a whole number of the smallest unit; `None` if a digit would be lost.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let kept = fraction.trim_end_matches('0');
    let sound = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !sound(whole) || !sound(fraction) || kept.len() > scale {
        return None;
    }
    let value: i128 = format!("0{whole}{kept:0<scale$}").parse().ok()?;
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    (value < limit).then_some(if negative { -value } else { value })
}

/// Why a value does not fit.
#[cold]
fn misfit(data_type: &DataType, value: &[u8]) -> String {
    let wanted = match data_type {
        DataType::Null => "empty",
        DataType::Boolean => "true or false",
        DataType::Float32 | DataType::Float64 => "a number",
        DataType::Date32 | DataType::Date64 => "a date, as in 2026-01-31",
        DataType::Timestamp(..) => "a time, as in 2026-01-31T12:00:00Z",
        DataType::Decimal128(..) => "a decimal number that fits its precision and scale",
        _ => "a whole number that fits its type",
    };
    format!("must be {wanted}, not `{}`", String::from_utf8_lossy(value.get(..40).unwrap_or(value)))
}
