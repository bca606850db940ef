//! The schema inferred from the first messages, so that no value of theirs is lost.
//!
//! Integers are int64, or uint64 or decimal128(38, 0) if needed, and utf8 beyond that. Integers mixed with fractions
//! are float64 if each integer is exact in it, and utf8 otherwise. Kinds that do not mix are utf8. `null`, `{}` and
//! `[]` give no type: a field with nothing else is utf8. Text columns take anything, as its JSON text.

use std::collections::{HashMap, HashSet};

use super::{
    Settings, Utf8, rows,
    scan::{DEEPEST, Scanner},
    wrong::Wrong,
};
use crate::{
    DataType, Field, Input, Result, Schema,
    number::{Grammar, Number},
};

/// Messages examined.
const SAMPLE: usize = 8192;
/// Objects deeper than this are kept as text.
const NESTED: usize = 32;
/// Longer names do not become columns.
const NAME: usize = 256;

type Read = std::result::Result<(), Wrong>;

/// What the values of one field have in common so far.
#[derive(Clone, Debug, Default)]
struct Seen {
    bool: bool,
    text: bool,
    number: Option<Numbers>,
    empty_list: bool,
    empty_object: bool,
    list: Option<Box<Seen>>,
    object: Option<Fields>,
}

/// What the numbers of one field have in common.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    negative: bool,
    /// Some are beyond int64, uint64, 38 digits.
    beyond: [bool; 3],
    /// Some are written with a point or an exponent.
    fraction: bool,
    /// An integer is not exact as a float, or a float is out of range.
    inexact: bool,
}

/// Fields in order of appearance.
#[derive(Clone, Debug, Default)]
struct Fields {
    /// Fields that already have a column; skipped.
    known: HashSet<String>,
    list: Vec<(String, Seen)>,
    index: HashMap<String, usize>,
}

/// Limits of the schema.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Columns that may still be added.
    left: usize,
}

/// The schema of messages that come in several calls, however many: no value of theirs is lost in its columns.
#[derive(Debug)]
pub struct Inference {
    settings: Settings<()>,
    fields: Fields,
    bounds: Bounds,
}

impl Inference {
    /// Before the first message.
    #[must_use]
    pub fn new<S>(settings: &Settings<S>) -> Self {
        let settings = settings.bare();
        let bounds = Bounds { left: settings.columns as usize };
        Self { settings, fields: Fields::default(), bounds }
    }

    /// Takes the messages of `input` into account; those that are not JSON objects are skipped.
    ///
    /// # Errors
    /// There are more than 2 GiB of them.
    pub fn add(&mut self, input: &Input<'_>) -> Result<()> {
        let fields = std::mem::take(&mut self.fields);
        self.fields = look(input, &Utf8::of(input)?, &self.settings, usize::MAX, fields, &mut self.bounds);
        Ok(())
    }

    /// The columns, in the order their names appeared; utf8 where there was no value.
    #[must_use]
    pub fn schema(self) -> Schema {
        Schema::new(self.fields.list.into_iter().map(|(name, seen)| Field::new(name, seen.data_type())).collect())
    }
}

/// The schema of the first messages of `input`; messages that are not JSON objects are skipped.
pub(super) fn schema(input: &Input<'_>, utf8: &Utf8<'_>, settings: &Settings<()>) -> Schema {
    let mut bounds = Bounds { left: settings.columns as usize };
    let fields = look(input, utf8, settings, SAMPLE, Fields::default(), &mut bounds);
    Schema::new(fields.list.into_iter().map(|(name, seen)| Field::new(name, seen.data_type())).collect())
}

/// Columns for the fields that messages of `input` have values for and `schema` lacks. A field with only `null`, `{}`
/// and `[]` waits for a value.
pub(super) fn added(input: &Input<'_>, utf8: &Utf8<'_>, settings: &Settings<()>, schema: &Schema) -> Schema {
    let mut bounds = Bounds { left: (settings.columns as usize).saturating_sub(columns(schema.fields())) };
    if bounds.left == 0 {
        return Schema::default();
    }
    let known = schema.fields().iter().map(|field| field.name.clone()).collect();
    let fields = look(input, utf8, settings, usize::MAX, Fields { known, ..Fields::default() }, &mut bounds);
    let valued = fields.list.into_iter().filter(|(_, seen)| seen.has_value());
    Schema::new(valued.map(|(name, seen)| Field::new(name, seen.data_type())).collect())
}

/// How many columns `fields` make, nested ones included.
fn columns(fields: &[Field]) -> usize {
    fields.iter().map(|field| 1 + within(&field.data_type)).sum()
}

fn within(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => columns(fields),
        DataType::List(item) | DataType::LargeList(item) => within(&item.data_type),
        _ => 0,
    }
}

/// What the first `left` messages reveal about `fields`.
fn look(
    input: &Input<'_>,
    utf8: &Utf8<'_>,
    settings: &Settings<()>,
    mut left: usize,
    mut fields: Fields,
    bounds: &mut Bounds,
) -> Fields {
    let depth = (settings.depth as usize).min(DEEPEST);
    super::each(input, |message, from, to| {
        if left == 0 {
            return;
        }
        left -= 1;
        let mut scanner = Scanner::new(input.bytes, from, to, depth);
        // The message is checked as a whole, so that a broken one leaves no trace.
        let sound =
            utf8.check(message, from, to).and_then(|()| rows::whole(&mut Scanner::new(input.bytes, from, to, depth)));
        if sound.is_ok() && scanner.peek() == b'{' {
            drop(object(&mut scanner, &mut fields, 0, bounds));
        }
    });
    fields
}

/// Takes the next value into account.
fn value(scanner: &mut Scanner<'_>, seen: &mut Seen, level: usize, bounds: &mut Bounds) -> Read {
    match scanner.peek() {
        b'{' if level < NESTED => {
            let fields = seen.object.get_or_insert_with(Fields::default);
            let before = fields.list.len();
            object(scanner, fields, level, bounds)?;
            if before == 0 && fields.list.is_empty() {
                seen.object = None;
                seen.empty_object = true;
            }
            Ok(())
        }
        b'[' if level < NESTED => list(scanner, seen, level, bounds),
        b'"' => {
            seen.text = true;
            scanner.string().map(|_| ())
        }
        b't' | b'f' => {
            seen.bool = true;
            scanner.skip(level).map(|_| ())
        }
        b'-' | b'0'..=b'9' => {
            seen.number.get_or_insert_default().observe(scanner.number()?);
            Ok(())
        }
        b'n' => scanner.skip(level).map(|_| ()),
        _ => {
            seen.text = true;
            seen.bool = true;
            scanner.skip(level).map(|_| ())
        }
    }
}

fn object(scanner: &mut Scanner<'_>, fields: &mut Fields, level: usize, bounds: &mut Bounds) -> Read {
    scanner.enter(level)?;
    if scanner.take(b'}') {
        return Ok(());
    }
    let mut room = Vec::new();
    loop {
        let key = scanner.key()?;
        let name = std::str::from_utf8(key.plain(&mut room)).unwrap_or_default();
        match fields.at(name, bounds) {
            Some(seen) => value(scanner, seen, level + 1, bounds)?,
            None => {
                scanner.skip(level + 1)?;
            }
        }
        if !scanner.more(b'}')? {
            return Ok(());
        }
    }
}

fn list(scanner: &mut Scanner<'_>, seen: &mut Seen, level: usize, bounds: &mut Bounds) -> Read {
    scanner.enter(level)?;
    if scanner.take(b']') {
        seen.empty_list = true;
        return Ok(());
    }
    let item = seen.list.get_or_insert_default();
    loop {
        value(scanner, item, level + 1, bounds)?;
        if !scanner.more(b']')? {
            return Ok(());
        }
    }
}

impl Fields {
    fn at(&mut self, name: &str, bounds: &mut Bounds) -> Option<&mut Seen> {
        let at = match self.index.get(name) {
            Some(&at) => at,
            None if bounds.left == 0 || name.len() > NAME || self.known.contains(name) => return None,
            None => {
                bounds.left -= 1;
                self.list.push((name.to_owned(), Seen::default()));
                self.index.insert(name.to_owned(), self.list.len() - 1);
                self.list.len() - 1
            }
        };
        self.list.get_mut(at).map(|(_, seen)| seen)
    }
}

impl Seen {
    /// Whether there was anything but `null`, `{}` and `[]`.
    fn has_value(&self) -> bool {
        self.bool || self.text || self.number.is_some() || self.list.is_some() || self.object.is_some()
    }

    fn data_type(self) -> DataType {
        let kinds = [
            self.bool,
            self.text,
            self.number.is_some(),
            self.list.is_some() || self.empty_list,
            self.object.is_some() || self.empty_object,
        ];
        // None at all, or more than one: text takes whatever comes.
        if kinds.into_iter().filter(|kind| *kind).count() != 1 {
            return DataType::Utf8;
        }
        match (self.bool, self.number, self.list, self.object) {
            (true, ..) => DataType::Boolean,
            (_, Some(numbers), ..) => numbers.data_type(),
            (_, _, Some(item), _) => DataType::List(Box::new(Field::new("item", item.data_type()))),
            (.., Some(fields)) => {
                let field = |(name, seen): (String, Self)| Field::new(name, seen.data_type());
                DataType::Struct(fields.list.into_iter().map(field).collect())
            }
            _ => DataType::Utf8,
        }
    }
}

impl Numbers {
    fn observe(&mut self, text: &str) {
        let Ok(number) = Number::parse(text, Grammar::JSON) else { return };
        let float = number.float64();
        if !number.is_plain() {
            self.fraction = true;
            self.inexact |= float.is_err();
            return;
        }
        match number.integer() {
            Ok(whole) => {
                self.negative |= whole < 0;
                self.beyond[0] |= i64::try_from(whole).is_err();
                self.beyond[1] |= u64::try_from(whole).is_err() && whole >= 0;
                self.beyond[2] |= number.decimal(38, 0, None).is_err();
                // Above 2^53 a float may be exact by chance; the next one is not.
                self.inexact |= whole.unsigned_abs() > 1 << 53;
            }
            Err(_) => {
                self.beyond = [true; 3];
                self.inexact = true;
            }
        }
    }

    fn data_type(self) -> DataType {
        match (self.fraction, self.inexact, self.beyond) {
            (true, false, _) => DataType::Float64,
            (true, true, _) | (false, _, [.., true]) => DataType::Utf8,
            (false, _, [false, ..]) => DataType::Int64,
            (false, _, [true, false, _]) if !self.negative => DataType::UInt64,
            (false, ..) => DataType::Decimal128(38, 0),
        }
    }
}
