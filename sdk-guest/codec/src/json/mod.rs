//! `json`: one JSON object a message becomes one row.
//!
//! A message is read once, by a schema, straight into columns: no tree, no index of the message, nothing allocated for a
//! row. Keys are compared where the last message had them ([`plan`]), strings are searched sixteen bytes at a time, what no
//! column is for is passed over ([`scan`]), and columns that nobody wants are checked and not built ([`passed`]).
//!
//! Why not simd-json or sonic-rs: both first build something for a whole message (a tape, a tree), which is then read again
//! into columns, and both are lenient or undefined where the rules here are strict (numbers beyond 64 bits become floats,
//! duplicate keys and depth are unchecked). On short messages reading once by prediction is faster than the tree alone; on
//! messages of several kilobytes sonic-rs builds its tree faster than all columns are read here.
//!
//! # Rules
//! RFC 8259 and UTF-8, strictly, also in what is passed over: no comments, no trailing commas, no control characters in
//! strings, no leading zeros, no half of a surrogate pair, no second value, no nesting deeper than `depth`. A byte order mark
//! before the message is left out. A key of a column that stands twice in one object is a fault unless `duplicates: last`.
//!
//! | Column | Takes |
//! |---|---|
//! | int8…int64, uint8…uint64 | whole numbers in range; `1e3` and `4.0` are whole |
//! | float16, float32, float64 | numbers, as IEEE's nearest value; beyond the largest is a fault |
//! | decimal128 | numbers whose digits it keeps, all of them |
//! | boolean | `true`, `false` |
//! | utf8 | texts; anything else as its JSON text, byte for byte: `{"a": 1}` |
//! | timestamp | texts as RFC 3339 has them; whole numbers count the column's unit since 1970; years 1 to 9999 |
//! | date32, date64, time32, time64 | `"2026-01-31"`, `"12:00:00.5"`; whole numbers count the column's unit |
//! | duration | whole numbers of the column's unit |
//! | binary, fixed-binary | texts of hexadecimal digits, or as `coerce.binary` says |
//! | list, struct | lists, objects; what is missing is null |
//! | map | objects; a key twice is a fault |
//!
//! `null` is null everywhere. Everything else is a fault: a digit string in a column of numbers too, unless
//! `coerce: {numbersFromStrings: true}`.

mod infer;
mod passed;
mod plan;
mod rows;
mod scan;
mod settings;
mod wrong;

pub use self::settings::{Duplicates, Settings};

use self::{rows::Rows, scan::Scanner, wrong::Wrong};
use crate::{Decode, Decoded, Error, Input, Result, Schema, UnknownField};

/// A running decoder.
#[derive(Debug)]
pub struct Json {
    settings: Settings<()>,
    wanted: Option<Vec<String>>,
    /// All columns, also those that nobody wants.
    schema: Option<Schema>,
    rows: Option<Rows>,
}

impl Json {
    /// A decoder for rows of `schema`, or of what the first messages suggest; only of the columns that are `wanted`, if not
    /// all are. Faults and unknown fields are the same whatever is wanted.
    ///
    /// # Errors
    /// Settings that cannot work, a column of a type that JSON has no value for.
    pub fn new<S>(settings: &Settings<S>, schema: Option<Schema>, wanted: Option<Vec<String>>) -> Result<Self> {
        settings.check()?;
        let settings = settings.bare();
        let rows = schema.clone().map(|schema| Rows::new(schema, &settings, wanted.as_deref())).transpose()?;
        Ok(Self { settings, wanted, schema, rows })
    }
}

impl Decode for Json {
    fn decode(&mut self, input: &Input<'_>) -> Result<Decoded> {
        let utf8 = Utf8::of(input)?;
        let rows = match &mut self.rows {
            Some(rows) => rows,
            None => {
                let schema = infer::schema(input, &utf8, &self.settings);
                if schema.fields().is_empty() {
                    return Ok(unsettled(input, &utf8, self.settings.depth as usize));
                }
                self.schema = Some(schema.clone());
                self.rows.insert(Rows::new(schema, &self.settings, self.wanted.as_deref())?)
            }
        };
        rows.reserve(input.len())?;
        let (mut origins, mut faults) = (Vec::new(), Vec::new());
        let read = |message, from, to| {
            let read = utf8.check(message, from, to).and_then(|()| rows.read(input.bytes, from, to));
            match read {
                Ok(()) if input.nulls.is_empty() => {}
                Ok(()) => origins.push(message),
                Err(wrong) => faults.push(wrong.fault(message)),
            }
        };
        each(input, read);
        Ok(Decoded { batch: rows.finish()?, origins, faults, unknown: rows.unknown() })
    }

    fn schema(&self) -> Option<&Schema> {
        self.rows.as_ref().map(Rows::schema)
    }

    fn added(&mut self, input: &Input<'_>, unknown: &[UnknownField]) -> Result<Schema> {
        match self.schema.as_ref().filter(|_| self.settings.evolve.adds() && !unknown.is_empty()) {
            Some(schema) => Ok(infer::added(input, &Utf8::of(input)?, &self.settings, schema)),
            None => Ok(Schema::default()),
        }
    }
}

/// Calls `read` with the number and the bounds of each message that is not null.
fn each(input: &Input<'_>, mut read: impl FnMut(u32, usize, usize)) {
    let mut nulls = input.nulls.iter().copied().peekable();
    for (message, bounds) in (0..u32::MAX).zip(input.bounds.windows(2)) {
        if let [from, to] = bounds
            && nulls.next_if_eq(&message).is_none()
        {
            read(message, *from as usize, *to as usize);
        }
    }
}

/// What becomes of messages none of which names a field: they are wrong, each by itself.
fn unsettled(input: &Input<'_>, utf8: &Utf8<'_>, depth: usize) -> Decoded {
    let mut faults = Vec::new();
    each(input, |message, from, to| {
        let mut scanner = Scanner::new(input.bytes, from, to, depth);
        let first = scanner.peek();
        let at = scanner.at;
        let checked = utf8.check(message, from, to).and_then(|()| rows::whole(&mut scanner));
        let wrong = match checked {
            Err(wrong) => wrong,
            Ok(()) if first == b'{' => Wrong::no_field(),
            Ok(()) => Wrong::no_object(scanner.since(at), scanner.offset(at)),
        };
        faults.push(wrong.fault(message));
    });
    Decoded { faults, ..Decoded::default() }
}

/// Which messages are UTF-8: looked at once for all of them, and one by one only where that fails.
#[derive(Debug)]
struct Utf8<'a> {
    bytes: &'a [u8],
    all: bool,
}

impl<'a> Utf8<'a> {
    fn of(input: &Input<'a>) -> Result<Self> {
        let (from, to) = match (input.bounds.first(), input.bounds.last()) {
            (Some(&from), Some(&to)) => (from as usize, to as usize),
            _ => (0, 0),
        };
        if to.saturating_sub(from) > i32::MAX as usize {
            return Err(Error::batch("batch.bytes", "more than 2 GiB of messages in one call; fetch fewer at once"));
        }
        let run = input
            .bytes
            .get(from..to)
            .ok_or_else(|| Error::batch("batch.bounds", "messages reach beyond their bytes"))?;
        Ok(Self { bytes: input.bytes, all: simdutf8::basic::from_utf8(run).is_ok() })
    }

    fn check(&self, _: u32, from: usize, to: usize) -> std::result::Result<(), Wrong> {
        // Where the whole run is sound, a message is if it does not begin or end within a character.
        let within = |at: usize| self.bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        if self.all && !within(from) && !within(to) {
            return Ok(());
        }
        match std::str::from_utf8(self.bytes.get(from..to).unwrap_or_default()) {
            Ok(_) => Ok(()),
            Err(error) => Err(Wrong::syntax("the message is not UTF-8", error.valid_up_to())),
        }
    }
}

#[cfg(test)]
mod tests;
