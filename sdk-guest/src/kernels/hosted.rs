//! Columns that the host holds.

use std::{fmt, rc::Rc};

use super::{Comparison, Value};
use crate::{
    Array, DataType, Error, Result,
    wit::handler::spout::plugin::{data, kernels as host},
};

#[derive(Clone)]
pub(crate) struct Inner(Rc<host::Column>);

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl PartialEq for Inner {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

fn made(answer: std::result::Result<host::Column, host::Refusal>) -> Result<Inner> {
    answer.map(|column| Inner(Rc::new(column))).map_err(refused)
}

fn refused(refusal: host::Refusal) -> Error {
    Error::fatal(&refusal.code, refusal.message)
}

impl Inner {
    pub(crate) fn of(batch: &data::Batch, index: usize) -> Result<Self> {
        Ok(Self(Rc::new(host::Column::of(batch, index as u32))))
    }

    /// The column to hand over.
    pub(crate) fn give(self) -> Result<host::Column> {
        Ok(Rc::try_unwrap(self.0).unwrap_or_else(|shared| shared.share()))
    }

    /// What a column holds stays in the host.
    pub(crate) fn column(&self) -> Result<(DataType, Array)> {
        Err(Error::fatal("kernel.hosted", "the host holds this column"))
    }

    pub(super) fn rows(&self) -> usize {
        self.0.rows() as usize
    }

    pub(super) fn compare(&self, how: Comparison, with: Value) -> Result<Self> {
        made(self.0.compare(comparison(how), &value(with)))
    }

    pub(super) fn compare_with(&self, how: Comparison, other: &Self) -> Result<Self> {
        made(self.0.compare_column(comparison(how), &other.0))
    }

    pub(super) fn is_null(&self) -> Result<Self> {
        made(self.0.is_null())
    }

    pub(super) fn both(&self, other: &Self) -> Result<Self> {
        made(self.0.both(&other.0))
    }

    pub(super) fn either(&self, other: &Self) -> Result<Self> {
        made(self.0.either(&other.0))
    }

    pub(super) fn negate(&self) -> Result<Self> {
        made(self.0.negate())
    }

    pub(super) fn matches(&self, pattern: &str) -> Result<Self> {
        made(self.0.matches(pattern))
    }

    pub(super) fn replace(&self, pattern: &str, with: &str) -> Result<Self> {
        made(self.0.replace(pattern, with))
    }

    pub(super) fn mask(&self, first: u32, last: u32, with: char) -> Result<Self> {
        made(self.0.mask(first, last, with))
    }

    pub(super) fn hash(&self, salt: &[u8]) -> Result<Self> {
        made(self.0.hash(salt))
    }

    pub(super) fn cast(&self, to: &str) -> Result<Self> {
        made(self.0.cast(to))
    }

    pub(crate) fn bits(&self) -> Result<Vec<u8>> {
        self.0.bits().map_err(refused)
    }
}

fn comparison(how: Comparison) -> host::Comparison {
    match how {
        Comparison::Equal => host::Comparison::Equal,
        Comparison::NotEqual => host::Comparison::NotEqual,
        Comparison::Less => host::Comparison::Less,
        Comparison::LessOrEqual => host::Comparison::LessOrEqual,
        Comparison::Greater => host::Comparison::Greater,
        Comparison::GreaterOrEqual => host::Comparison::GreaterOrEqual,
    }
}

fn value(value: Value) -> host::Value {
    match value {
        Value::Boolean(value) => host::Value::Boolean(value),
        Value::Int(value) => host::Value::Int(value),
        Value::Float(value) => host::Value::Float(value),
        Value::Text(value) => host::Value::Text(value),
        Value::Bytes(value) => host::Value::Bytes(value),
    }
}
