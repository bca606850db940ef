//! Reasons of faults in a uniform style: the field, what it must be, the start of the value, the location.

use std::{borrow::Cow, fmt};

use crate::{DataType, TimeUnit, number::NumberFault, time::TimeFault};

/// Characters of a value that a reason shows.
const SHOWN: usize = 40;
/// Characters of a field's path.
const PATH: usize = 120;

/// A location in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this byte, counted from 0.
    Byte(usize),
    /// In this line and column, counted from 1; a column is a byte.
    Line(usize, usize),
    /// The whole message.
    Message,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(at) => write!(f, " at byte {at}"),
            Self::Line(line, column) => write!(f, " at line {line}, column {column}"),
            Self::Message => Ok(()),
        }
    }
}

/// Why a value does not fit a type, where the type alone does not explain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It is of another kind.
    Type,
    /// It has a fraction.
    Fraction,
    /// It is too small or too large.
    Range,
    /// A decimal has more digits than are kept.
    Digits,
    /// A time has more digits than are kept.
    TimeDigits,
    /// It is second 60.
    LeapSecond,
    /// A time has no zone, and its column has one.
    Zoneless,
    /// A string stands for a number or a boolean.
    InText,
    /// A list or binary is not as long as its type says.
    Length,
    /// It is an integer with more digits than a float holds.
    Inexact,
}

impl From<NumberFault> for Misfit {
    fn from(fault: NumberFault) -> Self {
        match fault {
            NumberFault::Syntax => Self::Type,
            NumberFault::Fraction => Self::Fraction,
            NumberFault::Range => Self::Range,
            NumberFault::Digits => Self::Digits,
        }
    }
}

impl From<TimeFault> for Misfit {
    fn from(fault: TimeFault) -> Self {
        match fault {
            TimeFault::Syntax => Self::Type,
            TimeFault::LeapSecond => Self::LeapSecond,
            TimeFault::Digits => Self::TimeDigits,
            TimeFault::Range => Self::Range,
            TimeFault::Zoneless => Self::Zoneless,
        }
    }
}

impl Misfit {
    /// What the type alone does not explain; empty otherwise.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::Type => "",
            Self::Fraction => ": it has a fraction",
            Self::Range => ": it is out of range",
            Self::Digits => ": a digit would be lost; `coerce: {roundDecimals: …}` rounds",
            Self::TimeDigits => ": it is finer than that; `coerce: {roundTimes: …}` rounds",
            Self::LeapSecond => ": second 60 has no place in a column of times",
            Self::Zoneless => ": it has no zone, and the column has one",
            Self::InText => ": it is a text; `coerce: {numbersFromStrings: true}` reads it",
            Self::Length => ": it has another length",
            Self::Inexact => {
                ": a float would lose its last digits; declare the column int64, uint64 or decimal128(38, 0) in `schema`"
            }
        }
    }

    /// Why `value` at `place` does not fit `field`, whose type is `data_type`.
    #[must_use]
    #[cold]
    pub fn reason(self, field: &str, data_type: &DataType, value: &[u8], place: Place) -> String {
        let (detail, wanted) = (self.detail(), wanted(data_type));
        format!("{} must be {wanted}, not {}{detail},{place}", quote_field(field), quote(value))
            .trim_end_matches(',')
            .to_owned()
    }
}

/// The start of `value` in backticks: at most 40 characters, control characters and broken UTF-8 escaped.
#[must_use]
#[cold]
pub fn quote(value: &[u8]) -> String {
    show(value, SHOWN)
}

/// A field's path in backticks, escaped like a value; shortened only if it is very long.
#[must_use]
#[cold]
pub fn quote_field(path: &str) -> String {
    show(path.as_bytes(), PATH)
}

fn show(value: &[u8], most: usize) -> String {
    let mut shown = String::from("`");
    let (mut rest, mut left) = (value, most);
    while !rest.is_empty() && left > 0 {
        // A character has at most four bytes, so that no more is looked at than is shown.
        let window = rest.get(..4).unwrap_or(rest);
        let sound = match std::str::from_utf8(window) {
            Ok(text) => text,
            Err(error) => {
                std::str::from_utf8(window.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
            }
        };
        let taken = match sound.chars().next() {
            Some(c @ ('"' | '\'' | '\\')) => {
                shown.push(c);
                1
            }
            Some(c) => {
                shown.extend(c.escape_debug());
                c.len_utf8()
            }
            None => {
                shown.push_str(&format!("\\x{:02x}", window.first().copied().unwrap_or(0)));
                1
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
        left -= 1;
    }
    shown.push_str(if rest.is_empty() { "`" } else { "…`" });
    shown
}

/// What a value of `data_type` looks like.
#[must_use]
pub fn wanted(data_type: &DataType) -> Cow<'static, str> {
    let whole = |bits: u32, signed: bool| {
        Cow::from(format!("a whole number of {bits} bits{}", if signed { "" } else { ", not negative" }))
    };
    match data_type {
        DataType::Null => "null".into(),
        DataType::Boolean => "true or false".into(),
        DataType::Int8 => whole(8, true),
        DataType::Int16 => whole(16, true),
        DataType::Int32 => whole(32, true),
        DataType::Int64 => whole(64, true),
        DataType::UInt8 => whole(8, false),
        DataType::UInt16 => whole(16, false),
        DataType::UInt32 => whole(32, false),
        DataType::UInt64 => whole(64, false),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "a number".into(),
        DataType::Decimal128(precision, scale) => {
            format!("a number of at most {precision} digits, {scale} of them after the point").into()
        }
        DataType::Date32 | DataType::Date64 => "a date, as in 2026-01-31".into(),
        DataType::Time32(unit) | DataType::Time64(unit) => {
            format!("a time of day in {}, as in 12:00:00", unit_name(*unit)).into()
        }
        DataType::Timestamp(unit, _) => format!("a time in {}, as in 2026-01-31T12:00:00Z", unit_name(*unit)).into(),
        DataType::Duration(unit) => format!("a whole number of {}", unit_name(*unit)).into(),
        DataType::Utf8 | DataType::LargeUtf8 => "a text".into(),
        DataType::Binary | DataType::LargeBinary => "bytes as a text".into(),
        DataType::FixedSizeBinary(width) => format!("{width} bytes as a text").into(),
        DataType::List(_) | DataType::LargeList(_) => "a list".into(),
        DataType::FixedSizeList(_, length) => format!("a list of {length}").into(),
        DataType::Struct(_) | DataType::Map(_) => "an object".into(),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "seconds",
        TimeUnit::Millisecond => "milliseconds",
        TimeUnit::Microsecond => "microseconds",
        TimeUnit::Nanosecond => "nanoseconds",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_by_their_beginning() {
        assert_eq!(quote(b"12"), "`12`");
        assert_eq!(quote(b"a\tb\x1b[0m"), "`a\\tb\\u{1b}[0m`");
        assert_eq!(quote(&[b'a', 0xff, b'b']), "`a\\xffb`");
        assert_eq!(quote("ä".repeat(40).as_bytes()), format!("`{}`", "ä".repeat(40)));
        assert_eq!(quote("ä".repeat(41).as_bytes()), format!("`{}…`", "ä".repeat(40)));
        assert_eq!(quote("\u{202e}x".as_bytes()), "`\\u{202e}x`");
    }

    #[test]
    fn a_reason_names_field_value_and_place() {
        let reason = Misfit::Fraction.reason("user.temp", &DataType::Int64, b"21.7", Place::Byte(17));
        assert_eq!(reason, "`user.temp` must be a whole number of 64 bits, not `21.7`: it has a fraction, at byte 17");
        let reason = Misfit::Type.reason("a", &DataType::Boolean, b"x", Place::Line(2, 5));
        assert_eq!(reason, "`a` must be true or false, not `x`, at line 2, column 5");
        let reason = Misfit::Type.reason("a", &DataType::Boolean, b"x", Place::Message);
        assert_eq!(reason, "`a` must be true or false, not `x`");
    }
}
