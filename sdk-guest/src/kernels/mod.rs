//! Kernels of the host over the columns of a batch, which stay there (feature `kernels`).
//!
//! A handler says what is to be computed and answers with what came out; no value crosses into the sandbox. Where rows need no logic of
//! the plugin's own this costs what a handler of the host costs:
//!
//! ```
//! use spout_guest::{Answer, Handler, Input, Result, State, kernels::Comparison, register};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Settings { least: i64 }
//!
//! struct Dear(Settings);
//!
//! impl Handler for Dear {
//!     type Settings = Settings;
//!
//!     fn open(settings: Settings, _: State) -> Result<Self> {
//!         Ok(Self(settings))
//!     }
//!
//!     fn process(&mut self, input: &dyn Input) -> Result<Answer> {
//!         let dear = input.held("price")?.compare(Comparison::GreaterOrEqual, self.0.least)?;
//!         let known = input.held("buyer")?.matches("^[a-z]+@example\\.org$")?;
//!         Ok(Answer::Selected(dear.and(&known)?))
//!     }
//! }
//!
//! register! { name: "dear", summary: "keeps what is dear", handler: Dear }
//! ```
//!
//! Null stays null, unless it says otherwise. Outside the sandbox, in tests, the same kernels run natively.

#[cfg_attr(target_arch = "wasm32", path = "hosted.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "native.rs")]
mod sys;

pub(crate) use self::sys::Inner;
use crate::Result;

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A value that a column is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// For columns of booleans.
    Boolean(bool),
    /// For columns of numbers.
    Int(i64),
    /// For columns of numbers.
    Float(f64),
    /// For columns of texts; of times, dates and decimals too, written as in JSON.
    Text(String),
    /// For columns of bytes.
    Bytes(Vec<u8>),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

/// A column that the host holds: from [`Input::held`](crate::Input::held), and what kernels make of it. It may be kept after the
/// call. All that a plugin holds may take `limits.answer` bytes together. Clones are the same column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column(pub(crate) Inner);

impl Column {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.0.rows()
    }

    /// Booleans: whether each value compares so. Numbers are compared exactly, whatever their types; floats in the total order of
    /// IEEE 754, NaN last.
    ///
    /// # Errors
    /// The value has no meaning for the column's type.
    pub fn compare(&self, how: Comparison, with: impl Into<Value>) -> Result<Self> {
        self.0.compare(how, with.into()).map(Self)
    }

    /// The same row for row.
    ///
    /// # Errors
    /// The columns differ in type, other than in the width of numbers, or in length.
    pub fn compare_with(&self, how: Comparison, other: &Self) -> Result<Self> {
        self.0.compare_with(how, &other.0).map(Self)
    }

    /// Booleans without a null.
    ///
    /// # Errors
    /// The host's.
    pub fn is_null(&self) -> Result<Self> {
        self.0.is_null().map(Self)
    }

    /// Booleans: both hold, after Kleene as in SQL.
    ///
    /// # Errors
    /// A column is not of booleans.
    pub fn and(&self, other: &Self) -> Result<Self> {
        self.0.both(&other.0).map(Self)
    }

    /// Booleans: at least one holds.
    ///
    /// # Errors
    /// A column is not of booleans.
    pub fn or(&self, other: &Self) -> Result<Self> {
        self.0.either(&other.0).map(Self)
    }

    /// Booleans: it does not hold.
    ///
    /// # Errors
    /// The column is not of booleans.
    pub fn negate(&self) -> Result<Self> {
        self.0.negate().map(Self)
    }

    /// Booleans: whether each text has a match of this regular expression, in the syntax of the crate `regex`.
    ///
    /// # Errors
    /// The pattern is none, or the column is not of texts.
    pub fn matches(&self, pattern: &str) -> Result<Self> {
        self.0.matches(pattern).map(Self)
    }

    /// Texts with each match replaced; `$1` in `with` stands for a group.
    ///
    /// # Errors
    /// As for [`Column::matches`]; the texts become too large.
    pub fn replace(&self, pattern: &str, with: &str) -> Result<Self> {
        self.0.replace(pattern, with).map(Self)
    }

    /// Texts with each character replaced by `with`, except for the first and the last so many. A text with no more characters
    /// than these is replaced whole.
    ///
    /// # Errors
    /// The column is not of texts.
    pub fn mask(&self, first: u32, last: u32, with: char) -> Result<Self> {
        self.0.mask(first, last, with).map(Self)
    }

    /// The SHA-256 of `salt` and each text, or bytes, behind it, in hexadecimal digits.
    ///
    /// # Errors
    /// The column is neither of texts nor of bytes.
    pub fn hash(&self, salt: &[u8]) -> Result<Self> {
        self.0.hash(salt).map(Self)
    }

    /// The column as another type, named as in a spec: `int64`, `timestamp(ms, UTC)`. Fractions are cut off.
    ///
    /// # Errors
    /// There is no way there; a value does not fit, with its row.
    pub fn cast(&self, to: &str) -> Result<Self> {
        self.0.cast(to).map(Self)
    }

    /// Booleans as a mask: a bit for each row, least significant bit first; null is unset.
    ///
    /// # Errors
    /// The column is not of booleans.
    pub fn bits(&self) -> Result<Vec<u8>> {
        self.0.bits()
    }
}
