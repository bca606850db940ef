//! `json`: each JSON object becomes one row.
//!
//! A message is read once, by a schema, straight into columns: no tree, no index of the message, no allocation per row.
//! Keys are compared with the order of the last message ([`plan`]), strings are searched sixteen bytes at a time,
//! fields without a column are skipped ([`scan`]), and unwanted columns are checked but not built ([`passed`]).
//!
//! Why not simd-json or sonic-rs: both first build something for a whole message (a tape, a tree) that must be read
//! again into columns, and both are lenient or undefined where the rules here are strict (numbers beyond 64 bits become
//! floats, duplicate keys and depth are unchecked). On short messages reading once with prediction is faster than the
//! tree alone; on messages of several kilobytes sonic-rs builds its tree faster than all columns are read here.
//!
//! # Rules
//! RFC 8259 and UTF-8, strictly, even in skipped values: no comments, no trailing commas, no control characters in
//! strings, no leading zeros, no lone surrogates, no second value, no nesting deeper than `depth`. A byte order mark
//! before the message is dropped. A repeated key of a column in one object is a fault unless `duplicates: last`.
//!
//! | Column | Takes |
//! |---|---|
//! | int8…int64, uint8…uint64 | integers in range; `1e3` and `4.0` are integers |
//! | float16, float32, float64 | numbers, as IEEE's nearest value; beyond the largest is a fault |
//! | decimal128 | numbers that fit with all their digits |
//! | boolean | `true`, `false` |
//! | utf8 | strings; anything else as its JSON text, byte for byte: `{"a": 1}` |
//! | timestamp | RFC 3339 strings; integers count the column's unit since 1970; years 1 to 9999 |
//! | date32, date64, time32, time64 | `"2026-01-31"`, `"12:00:00.5"`; integers count the column's unit |
//! | duration | integers in the column's unit |
//! | binary, fixed-binary | hexadecimal strings, or as `coerce.binary` says |
//! | list, struct | lists, objects; missing fields are null |
//! | map | objects; a repeated key is a fault |
//!
//! `null` is null everywhere. Everything else is a fault, including a digit string in a number column, unless `coerce:
//! {numbersFromStrings: true}`.

mod infer;
mod passed;
mod plan;
mod rows;
mod scan;
mod settings;
mod wrong;

pub use self::{
    infer::Inference,
    settings::{Duplicates, Settings},
};

use self::{rows::Rows, scan::Scanner, wrong::Wrong};
use crate::{Decode, Decoded, Error, Input, Result, Schema, UnknownField};

/// A running decoder.
#[derive(Debug)]
pub struct Json {
    settings: Settings<()>,
    wanted: Option<Vec<String>>,
    /// All columns, including unwanted ones.
    schema: Option<Schema>,
    rows: Option<Rows>,
    /// What the columns of one call may take.
    most: usize,
}

impl Json {
    /// A decoder for rows of `schema`, or of a schema inferred from the first messages; only `wanted` columns, if
    /// given. Faults and unknown fields do not depend on what is wanted.
    ///
    /// # Errors
    /// Invalid settings, or a column type that JSON cannot express.
    pub fn new<S>(settings: &Settings<S>, schema: Option<Schema>, wanted: Option<Vec<String>>) -> Result<Self> {
        settings.check()?;
        let settings = settings.bare();
        let rows = schema.clone().map(|schema| Rows::new(schema, &settings, wanted.as_deref())).transpose()?;
        Ok(Self { settings, wanted, schema, rows, most: usize::MAX })
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
        rows.limit(self.most);
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

    fn limit(&mut self, bytes: usize) {
        self.most = bytes;
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

/// Calls `read` with the index and bounds of each message that is not null.
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

/// The result for messages none of which has a field: each is a fault by itself.
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

/// Which messages are UTF-8: checked for all at once, and one by one only if that fails.
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
