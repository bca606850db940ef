//! `coerce`: looser choices, each by name and off by default.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::Grammar;

/// What a decoder may accept although it is not written as a value of its column. Everything is off by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Coerce {
    /// JSON: a string that reads as a number or a boolean fits a column of that type, as in `"22"`.
    pub numbers_from_strings: bool,
    /// `+5`, `007`, `.5` and `5.` are numbers: leading zeros and plus signs are ignored.
    pub loose_numbers: bool,
    /// Blanks around a value are ignored, except in text columns.
    pub trim: bool,
    /// `yes`, `no`, `on`, `off`, `y`, `n`, `t`, `f`, `1` and `0` are booleans, in any case.
    pub boolean_words: bool,
    /// How to round a number with more decimals than its decimal column; otherwise it is a dead letter.
    pub round_decimals: Option<Rounding>,
    /// How to round a time that is finer than its column's unit; otherwise it is a dead letter.
    pub round_times: Option<Rounding>,
    /// The unit of plain numbers in timestamp columns, counted since 1970, also in strings; otherwise the column's own
    /// unit.
    pub epoch: Option<Epoch>,
    /// How strings encode the bytes of binary columns; `hex` by default.
    pub binary: Option<BinaryText>,
}

/// How to round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Rounding {
    /// To the nearest; a half away from zero.
    HalfUp,
    /// To the nearest; a half to the even digit.
    HalfEven,
    /// Towards zero; times towards the past.
    Down,
}

/// The unit of numbers that stand for times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Epoch {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
}

/// How strings encode bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BinaryText {
    /// Two hexadecimal digits per byte, as in our own NDJSON and CSV files.
    #[default]
    Hex,
    /// RFC 4648, either alphabet, with or without padding.
    Base64,
    /// The bytes of the text.
    Utf8,
}

impl Coerce {
    /// How numbers in the words of a text format are read.
    #[must_use]
    pub fn grammar(&self) -> Grammar {
        Grammar { loose: self.loose_numbers, blanks: self.trim, words: true }
    }
}

impl Epoch {
    /// The number of units in a second, as a power of ten.
    #[must_use]
    pub fn digits(self) -> i8 {
        match self {
            Self::Seconds => 0,
            Self::Milliseconds => 3,
            Self::Microseconds => 6,
            Self::Nanoseconds => 9,
        }
    }
}
