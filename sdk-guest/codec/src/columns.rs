//! Turns rows of named values into the columns of a schema, for formats whose messages name their values.

use std::collections::HashMap;

use crate::{
    ArrayBuilder, Batch, Coerce, DataType, Decoded, Error, Field, Result, RowFault, Schema,
    budget::Budget,
    number::{Grammar, Number, float_word},
    reason::{Misfit, Place, quote, wanted},
    text,
    time::Moment,
    unknown::{Counter, Unknown},
};

/// Most columns in a settled schema; further ones count as unknown.
pub(crate) const MOST_COLUMNS: usize = 2048;
/// Longer names do not become columns.
pub(crate) const LONGEST_NAME: usize = 256;

/// The code and the reason of a fault.
pub(crate) type Fault = (&'static str, String);

/// A value as stated by its format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Bool(bool),
    /// An integer: a float column takes it only if no digit is lost.
    Whole(Number<'a>),
    /// A number that may have a fraction: a float column takes the nearest value.
    Float(Number<'a>),
    Text(&'a str),
    /// A text that may stand for a value of another type, and how numbers in it are written.
    Word(&'a str, Grammar),
    /// Nanoseconds since 1970.
    Time(i128),
    /// Names and texts, in order; fits a map column.
    Pairs(&'a [(String, String)]),
}

/// Where a value is, for reasons.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// The value as written in the message.
    pub(crate) written: &'a [u8],
    pub(crate) place: Place,
}

impl<'a> Source<'a> {
    pub(crate) fn new(written: &'a str, place: Place) -> Self {
        Self { written: written.as_bytes(), place }
    }
}

/// The outcome for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is in its column.
    Column,
    /// There is no column of this name.
    Nowhere,
}

/// Why a value was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It does not fit its column; with the reason.
    Misfit(String),
    /// It has no column but must have one; with the reason.
    Unknown(String),
}

impl Refusal {
    /// As a fault with one of two codes.
    pub(crate) fn fault(self, misfit: &'static str, unknown: &'static str) -> Fault {
        match self {
            Self::Misfit(reason) => (misfit, reason),
            Self::Unknown(reason) => (unknown, reason),
        }
    }
}

/// What happens to values without a column.
#[derive(Clone, Debug)]
pub(crate) enum Rest {
    /// They are left out, because they were not asked for.
    Unwanted,
    /// Treated as the settings say; the name is that of the capture column.
    Unknown(Unknown, String),
}

/// The columns of one call, under construction.
///
/// ```text
/// begin(message), (set(name, value)…, end_row)…, then commit or fail
/// ```
#[derive(Debug)]
pub(crate) struct Columns {
    schema: Schema,
    coerce: Coerce,
    rest: Unknown,
    by_name: HashMap<String, usize>,
    builders: Vec<ArrayBuilder>,
    /// Complete rows.
    rows: usize,
    /// Rows before the current message.
    before: usize,
    /// Where to look first: messages of one sender name their values in one order.
    next: usize,
    origins: Vec<u32>,
    faults: Vec<RowFault>,
    counter: Option<Counter>,
    /// Slots of the counter, by name.
    slots: HashMap<String, u32>,
    /// The capture column.
    capture: Option<usize>,
    /// Its value for the current row, as JSON.
    captured: Vec<u8>,
    budget: Budget,
}

impl Columns {
    /// The columns of `schema`, and the capture column.
    ///
    /// # Errors
    /// A column has a type that no value has, or two columns have the same name.
    pub(crate) fn new(schema: Schema, coerce: Coerce, rest: Rest) -> Result<Self> {
        let mut fields = schema.fields().to_vec();
        let (texts, pairs) = (coerce.numbers_from_strings, matches!(rest, Rest::Unwanted));
        let (rest, counter, capture) = match rest {
            Rest::Unwanted => (Unknown::Drop, None, None),
            Rest::Unknown(Unknown::Capture, name) => {
                if !fields.iter().any(|field| field.name == name) {
                    fields.push(Field::new(name.clone(), DataType::Utf8));
                }
                (Unknown::Capture, Some(Counter::default()), Some(name))
            }
            Rest::Unknown(unknown, _) => (unknown, Some(Counter::default()), None),
        };
        let mut by_name = HashMap::new();
        for (at, Field { name, data_type, .. }) in fields.iter().enumerate() {
            if !can_build(data_type, texts, pairs) {
                let what = wanted(data_type);
                return Err(Error::config(format!(
                    "column `{name}` cannot be {what}: no value is; choose another type"
                )));
            }
            if by_name.insert(name.clone(), at).is_some() {
                return Err(Error::config(format!("column `{name}` stands twice in the schema")));
            }
        }
        // Its name means nothing to a message.
        let capture = capture.and_then(|name| by_name.remove(&name));
        if let Some(field) = capture.and_then(|at| fields.get(at)).filter(|field| field.data_type != DataType::Utf8) {
            let what = format!("column `{}` captures unknown fields and must be utf8", field.name);
            return Err(Error::config(what));
        }
        Ok(Self {
            builders: ArrayBuilder::all(&fields),
            schema: Schema::new(fields),
            coerce,
            rest,
            by_name,
            rows: 0,
            before: 0,
            next: 0,
            origins: Vec::new(),
            faults: Vec::new(),
            counter,
            slots: HashMap::new(),
            capture,
            captured: Vec::new(),
            budget: Budget::default(),
        })
    }

    /// What the columns of one call may take.
    pub(crate) fn limit(&mut self, bytes: usize) {
        self.budget = Budget::of(bytes);
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The index of the column `name`, if it exists.
    pub(crate) fn find(&mut self, name: &str) -> Option<usize> {
        let likely = self.schema.fields().get(self.next).is_some_and(|field| field.name == name);
        let at = if likely && self.capture != Some(self.next) { self.next } else { *self.by_name.get(name)? };
        self.next = at + 1;
        Some(at)
    }

    /// Begins a message.
    pub(crate) fn begin(&mut self) {
        self.before = self.rows;
    }

    /// Puts `value` into the column `name` of the current row. The caller guarantees that no name is repeated.
    ///
    /// # Errors
    /// The value does not fit the column, or has none but must have one; with the reason.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: Value<'_>,
        source: Source<'_>,
    ) -> std::result::Result<Placed, Refusal> {
        if self.budget.is_full() {
            return Ok(Placed::Column);
        }
        let at = self.find(name);
        let column = at.and_then(|at| Some((self.schema.fields().get(at)?, self.builders.get_mut(at)?)));
        let Some((field, builder)) = column else {
            return self.without_column(name, value, source).map(|()| Placed::Nowhere);
        };
        builder.fill(self.rows);
        match push(builder, &field.data_type, value, &self.coerce) {
            Ok(()) => Ok(Placed::Column),
            Err(misfit) => Err(Refusal::Misfit(misfit.reason(name, &field.data_type, source.written, source.place))),
        }
    }

    fn without_column(&mut self, name: &str, value: Value<'_>, source: Source<'_>) -> std::result::Result<(), Refusal> {
        let Some(counter) = &mut self.counter else { return Ok(()) };
        if self.rest == Unknown::Fail {
            let (name, value, place) = (quote(name.as_bytes()), quote(source.written), source.place);
            let reason = format!("the schema has no column {name} for {value}{place}; `unknown: fail` wants one");
            return Err(Refusal::Unknown(reason));
        }
        let slot = match self.slots.get(name) {
            Some(slot) => *slot,
            None => {
                let slot = counter.slot(name.to_owned());
                // There is an end to the names that are kept without a slot of their own.
                if slot != 0 || counter.learns(name.as_bytes()) {
                    self.slots.insert(name.to_owned(), slot);
                }
                slot
            }
        };
        counter.touch(slot);
        if self.capture.is_some() {
            self.captured.push(if self.captured.is_empty() { b'{' } else { b',' });
            write_json(&mut self.captured, name);
            self.captured.push(b':');
            value.write_json(&mut self.captured);
        }
        Ok(())
    }

    /// Ends the current row: columns without a value are null.
    ///
    /// # Errors
    /// The captured values are too long for the capture column.
    pub(crate) fn end_row(&mut self) -> std::result::Result<(), Refusal> {
        self.next = 0;
        if let Some(builder) = self.capture.and_then(|at| self.builders.get_mut(at))
            && !self.captured.is_empty()
        {
            self.captured.push(b'}');
            builder.fill(self.rows);
            let pushed = builder.push_bytes(&self.captured);
            self.captured.clear();
            if !pushed {
                return Err(Refusal::Misfit("what has no column is too long to be captured".into()));
            }
        }
        if self.budget.admits((self.rows + 1).saturating_mul(self.builders.len())) {
            self.rows += 1;
        }
        Ok(())
    }

    /// Assigns the rows since [`Columns::begin`] to `message`.
    pub(crate) fn commit(&mut self, message: u32) {
        self.origins.resize(self.rows, message);
        if let Some(counter) = &mut self.counter {
            counter.end(self.rows > self.before);
        }
    }

    /// Removes the rows since [`Columns::begin`]: `message` is a fault.
    pub(crate) fn fail(&mut self, message: u32, (code, reason): Fault) {
        self.rows = self.before;
        self.next = 0;
        self.builders.iter_mut().for_each(|builder| builder.truncate(self.before));
        self.captured.clear();
        if let Some(counter) = &mut self.counter {
            counter.end(false);
        }
        self.faults.push(RowFault { message, code: code.into(), reason });
    }

    /// The result of the calls since the last one.
    pub(crate) fn finish(&mut self) -> Result<Decoded> {
        let rows = std::mem::take(&mut self.rows);
        self.before = 0;
        if let Err(error) = self.budget.settle(&mut self.builders, rows) {
            (self.origins, self.faults) = (Vec::new(), Vec::new());
            drop(self.counter.as_mut().map(Counter::take));
            return Err(error);
        }
        let column = |builder: &mut ArrayBuilder| {
            builder.fill(rows);
            builder.finish()
        };
        let columns = self.builders.iter_mut().map(column).collect();
        Ok(Decoded {
            batch: Batch::new(self.schema.clone(), columns, rows)?,
            origins: std::mem::take(&mut self.origins),
            faults: std::mem::take(&mut self.faults),
            unknown: self.counter.as_mut().map(Counter::take).unwrap_or_default(),
        })
    }
}

impl Value<'_> {
    /// The value as JSON: numbers as they are if JSON can express them, otherwise as strings.
    fn write_json(self, out: &mut Vec<u8>) {
        let number = |out: &mut Vec<u8>, text: &str| match Number::parse(text, Grammar::JSON) {
            Ok(_) => out.extend_from_slice(text.as_bytes()),
            Err(_) => write_json(out, text),
        };
        match self {
            Self::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            Self::Whole(value) | Self::Float(value) => number(out, value.text()),
            Self::Text(text) => write_json(out, text),
            Self::Word(word, _) => number(out, word),
            Self::Time(nanos) => out.extend_from_slice(nanos.to_string().as_bytes()),
            Self::Pairs(_) => out.extend_from_slice(b"null"),
        }
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn write_json(out: &mut Vec<u8>, text: &str) {
    drop(serde_json::to_writer(out, text));
}

/// Appends `value` to `builder`, a column of `data_type`; if it does not fit, nothing is appended.
fn push(
    builder: &mut ArrayBuilder,
    data_type: &DataType,
    value: Value<'_>,
    coerce: &Coerce,
) -> std::result::Result<(), Misfit> {
    let taken = match (value, data_type) {
        (Value::Bool(value), _) => builder.push_bool(value),
        (Value::Whole(number), _) if is_float(data_type) && !is_exact(&number, data_type) => {
            return Err(Misfit::Inexact);
        }
        (Value::Whole(number) | Value::Float(number), _) if is_number(data_type) || counts_time(data_type, coerce) => {
            return text::push_number(builder, data_type, &number, coerce);
        }
        (Value::Text(text), DataType::Utf8 | DataType::LargeUtf8) => builder.push_bytes(text.as_bytes()),
        (Value::Text(text), _) if coerce.numbers_from_strings => return text::push(builder, data_type, text, coerce),
        (Value::Text(_), _) if is_number(data_type) || *data_type == DataType::Boolean => return Err(Misfit::InText),
        (Value::Word(word, grammar), _) if is_number(data_type) => {
            if is_float(data_type) && float_word(word).is_some() {
                return text::push(builder, data_type, word, coerce);
            }
            let number = Number::parse(word, grammar)?;
            let value = if number.is_plain() { Value::Whole(number) } else { Value::Float(number) };
            return push(builder, data_type, value, coerce);
        }
        (Value::Word(word, _), _) => return text::push(builder, data_type, word, coerce),
        (Value::Time(nanos), DataType::Timestamp(unit, _)) => {
            let count = moment(nanos).ok_or(Misfit::Range)?.count(*unit, coerce.round_times)?;
            builder.push_fixed(count.to_le_bytes())
        }
        (Value::Pairs(pairs), DataType::Map(_)) => push_pairs(builder, pairs),
        _ => false,
    };
    if taken { Ok(()) } else { Err(Misfit::Type) }
}

fn push_pairs(builder: &mut ArrayBuilder, pairs: &[(String, String)]) -> bool {
    let Some(entries) = builder.items() else { return false };
    for (name, value) in pairs {
        let Some([names, values]) = entries.fields() else { return false };
        if !(names.push_bytes(name.as_bytes()) && values.push_bytes(value.as_bytes())) {
            return false;
        }
        entries.end_struct();
    }
    builder.end_list();
    true
}

fn moment(nanos: i128) -> Option<Moment> {
    const SECOND: i128 = 1_000_000_000;
    let seconds = i64::try_from(nanos.div_euclid(SECOND)).ok()?;
    let nanos = u32::try_from(nanos.rem_euclid(SECOND)).ok()?;
    Some(Moment { seconds, nanos, finer: false, zone: Some(0), date_only: false })
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64)
}

fn is_number(data_type: &DataType) -> bool {
    is_float(data_type)
        || matches!(
            data_type,
            DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::UInt8
                | DataType::UInt16
                | DataType::UInt32
                | DataType::UInt64
                | DataType::Decimal128(..)
        )
}

/// Whether a number in the column is a time, because `coerce` says so.
fn counts_time(data_type: &DataType, coerce: &Coerce) -> bool {
    coerce.epoch.is_some() && matches!(data_type, DataType::Timestamp(..))
}

/// Whether a float column holds the integer `number` to its last digit.
fn is_exact(number: &Number<'_>, data_type: &DataType) -> bool {
    let Ok(whole) = number.integer() else { return false };
    match data_type {
        DataType::Float64 => (whole as f64) as i128 == whole,
        DataType::Float32 => (whole as f32) as i128 == whole,
        _ => whole.unsigned_abs() <= 2048,
    }
}

/// Whether a column of `data_type` can get values; with `texts`, any type that can be parsed from text.
fn can_build(data_type: &DataType, texts: bool, pairs: bool) -> bool {
    match data_type {
        DataType::Map(entry) => {
            pairs
                && matches!(&entry.data_type, DataType::Struct(fields) if fields.iter().all(|field| field.data_type == DataType::Utf8))
        }
        DataType::Boolean | DataType::Utf8 | DataType::LargeUtf8 | DataType::Timestamp(..) => true,
        other => is_number(other) || texts && text::is_scalar(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Array, Epoch, Rounding, TimeUnit, UnknownField};

    fn read(value: Value<'_>, data_type: &DataType, coerce: &Coerce) -> std::result::Result<Array, Misfit> {
        let mut builder = ArrayBuilder::new(data_type);
        let read = push(&mut builder, data_type, value, coerce);
        assert_eq!(builder.len(), usize::from(read.is_ok()), "{data_type:?} {value:?}");
        read.map(|()| builder.finish())
    }

    fn whole(text: &str) -> Value<'_> {
        Value::Whole(Number::parse(text, Grammar::TEXT).unwrap())
    }

    #[test]
    fn whole_numbers_keep_every_digit() {
        let strict = Coerce::default();
        assert_eq!(read(whole("9007199254740992"), &DataType::Float64, &strict).unwrap().f64(0), Some(2_f64.powi(53)));
        assert_eq!(read(whole("9007199254740993"), &DataType::Float64, &strict), Err(Misfit::Inexact));
        assert_eq!(read(whole("16777217"), &DataType::Float32, &strict), Err(Misfit::Inexact));
        assert_eq!(read(whole("18446744073709551615"), &DataType::UInt64, &strict).unwrap().u64(0), Some(u64::MAX));
        assert_eq!(read(whole("18446744073709551615"), &DataType::Int64, &strict), Err(Misfit::Range));
        let float = Value::Float(Number::parse("9007199254740993", Grammar::TEXT).unwrap());
        assert_eq!(read(float, &DataType::Float64, &strict).unwrap().f64(0), Some(2_f64.powi(53)));
        let decimal = DataType::Decimal128(20, 0);
        assert!(read(whole("18446744073709551615"), &decimal, &strict).is_ok());
        assert_eq!(read(whole("1"), &DataType::Utf8, &strict), Err(Misfit::Type));
    }

    #[test]
    fn texts_stand_for_numbers_only_where_that_is_said() {
        let loose = Coerce { numbers_from_strings: true, ..Coerce::default() };
        assert_eq!(read(Value::Text("7"), &DataType::Int64, &Coerce::default()), Err(Misfit::InText));
        assert_eq!(read(Value::Text("7"), &DataType::Int64, &loose).unwrap().i64(0), Some(7));
        let word = |text| Value::Word(text, Grammar::TEXT);
        assert_eq!(read(word("7"), &DataType::Int64, &Coerce::default()).unwrap().i64(0), Some(7));
        assert_eq!(read(word("7"), &DataType::Utf8, &Coerce::default()).unwrap().str(0), Some("7"));
        assert_eq!(read(word("7.5"), &DataType::Int64, &Coerce::default()), Err(Misfit::Fraction));
        assert_eq!(read(word("x"), &DataType::Float64, &Coerce::default()), Err(Misfit::Type));
        assert!(read(word("nan"), &DataType::Float64, &Coerce::default()).unwrap().f64(0).unwrap().is_nan());
        assert_eq!(read(word("9007199254740993"), &DataType::Float64, &Coerce::default()), Err(Misfit::Inexact));
    }

    #[test]
    fn times_are_exact_or_rounded_by_name() {
        let us = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let ns = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let strict = Coerce::default();
        assert_eq!(read(Value::Time(-1000), &us, &strict).unwrap().i64(0), Some(-1));
        assert_eq!(read(Value::Time(-1), &us, &strict), Err(Misfit::TimeDigits));
        assert_eq!(read(Value::Time(-1), &ns, &strict).unwrap().i64(0), Some(-1));
        assert_eq!(read(Value::Time(i128::from(i64::MAX) + 1), &ns, &strict), Err(Misfit::Range));
        assert_eq!(read(Value::Time(i128::MAX), &us, &strict), Err(Misfit::Range));
        let down = Coerce { round_times: Some(Rounding::Down), ..Coerce::default() };
        assert_eq!(read(Value::Time(-1), &us, &down).unwrap().i64(0), Some(-1));
        let epoch = Coerce { epoch: Some(Epoch::Seconds), ..Coerce::default() };
        assert_eq!(read(whole("5"), &us, &epoch).unwrap().i64(0), Some(5_000_000));
        assert_eq!(read(whole("5"), &us, &strict), Err(Misfit::Type));
    }

    #[test]
    fn a_message_that_fails_leaves_nothing() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64), Field::new("b", DataType::Utf8)]);
        let rest = Rest::Unknown(Unknown::Drop, String::new());
        let mut columns = Columns::new(schema, Coerce::default(), rest).unwrap();
        let source = Source { written: b"x", place: Place::Message };
        columns.begin();
        assert_eq!(columns.set("b", Value::Text("x"), source), Ok(Placed::Column));
        assert_eq!(columns.set("z", Value::Text("x"), source), Ok(Placed::Nowhere));
        columns.end_row().unwrap();
        columns.commit(3);
        columns.begin();
        assert!(columns.set("z", Value::Bool(true), source).is_ok());
        columns.end_row().unwrap();
        assert!(
            matches!(columns.set("a", Value::Text("x"), source), Err(Refusal::Misfit(reason)) if reason.starts_with("`a` must be a whole number"))
        );
        columns.fail(4, ("x.type", "no".into()));
        let decoded = columns.finish().unwrap();
        assert_eq!((decoded.batch.rows(), decoded.origins), (1, vec![3]));
        assert_eq!((decoded.batch.columns()[0].i64(0), decoded.batch.columns()[1].str(0)), (None, Some("x")));
        assert_eq!(decoded.faults.len(), 1);
        assert_eq!(decoded.unknown, [UnknownField { name: "z".into(), count: 1 }]);
        assert_eq!(columns.finish().unwrap().batch.rows(), 0);
    }

    #[test]
    fn what_has_no_column_can_be_captured() {
        let rest = || Rest::Unknown(Unknown::Capture, "_unknown".into());
        let schema = Schema::new(vec![Field::new("a", DataType::Int64)]);
        let mut columns = Columns::new(schema, Coerce::default(), rest()).unwrap();
        let source = Source { written: b"x", place: Place::Message };
        columns.begin();
        for (name, value) in [
            ("b\"", Value::Text("x\ny")),
            ("c", whole("18446744073709551616")),
            ("d", Value::Bool(false)),
            ("e", Value::Word("nan", Grammar::TEXT)),
            ("f", Value::Word("1.50", Grammar::TEXT)),
            ("_unknown", Value::Text("z")),
        ] {
            assert_eq!(columns.set(name, value, source), Ok(Placed::Nowhere));
        }
        columns.end_row().unwrap();
        columns.end_row().unwrap();
        columns.commit(0);
        let decoded = columns.finish().unwrap();
        let captured = &decoded.batch.columns()[1];
        let json = r#"{"b\"":"x\ny","c":18446744073709551616,"d":false,"e":"nan","f":1.50,"_unknown":"z"}"#;
        assert_eq!((captured.str(0), captured.str(1)), (Some(json), None));
        assert_eq!(decoded.unknown.len(), 6);
        let twice = Schema::new(vec![Field::new("a", DataType::Int64), Field::new("a", DataType::Utf8)]);
        assert!(Columns::new(twice, Coerce::default(), rest()).is_err());
        let other = Schema::new(vec![Field::new("_unknown", DataType::Int64)]);
        assert!(Columns::new(other, Coerce::default(), rest()).is_err());
    }
}
