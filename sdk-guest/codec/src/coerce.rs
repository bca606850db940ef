//! `coerce`: the looser choices, each by its name and off unless said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::Grammar;

/// What a decoder may take for a value although it is not written as one. Everything is off unless said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Coerce {
    /// JSON: a text that reads as a number or a boolean is one where the column is, as in `"22"`.
    pub numbers_from_strings: bool,
    /// `+5`, `007`, `.5` and `5.` are numbers: leading zeros and signs are left out.
    pub loose_numbers: bool,
    /// Blanks around a value are left out where the column is no text.
    pub trim: bool,
    /// `yes`, `no`, `on`, `off`, `y`, `n`, `t`, `f`, `1` and `0` are booleans, in any case.
    pub boolean_words: bool,
    /// How a number is rounded that has more digits after the point than its decimal column; else it is a fault.
    pub round_decimals: Option<Rounding>,
    /// How a time is rounded that is finer than the unit of its column; else it is a fault.
    pub round_times: Option<Rounding>,
    /// What plain numbers in timestamp columns count since 1970, also in texts; else numbers count the column's own unit.
    pub epoch: Option<Epoch>,
    /// How texts hold the bytes of binary columns; `hex` unless said.
    pub binary: Option<BinaryText>,
}

/// How digits that a type does not keep are left out.
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

/// What numbers count that stand for times.
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

/// How texts hold bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BinaryText {
    /// Two hexadecimal digits a byte, as our own NDJSON and CSV files have them.
    #[default]
    Hex,
    /// RFC 4648, of either alphabet, with or without padding.
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
    /// How many in a second, as a power of ten.
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
