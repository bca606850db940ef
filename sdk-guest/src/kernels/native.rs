//! The same kernels in the place of the host's, for tests of plugin logic outside the sandbox.

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use spout_kernels as kernels;

use super::{Comparison, Value};
use crate::{
    Array, Batch, DataType, Error, Field, Result, Schema,
    wit::handler::spout::plugin::{data, kernels as host},
};

const FREE: kernels::Work<'static> = kernels::Work { most: usize::MAX, wanted: &|| true };

#[derive(Clone, Debug)]
pub(crate) struct Inner(ArrayRef);

impl PartialEq for Inner {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

fn made(answer: kernels::Result<ArrayRef>) -> Result<Inner> {
    answer.map(Inner).map_err(refused)
}

fn refused(error: kernels::Error) -> Error {
    Error::fatal(error.code, error.message)
}

fn hosted() -> Error {
    Error::fatal("kernel.native", "there is no host outside the sandbox")
}

impl Inner {
    pub(crate) fn of(_: &data::Batch, _: usize) -> Result<Self> {
        Err(hosted())
    }

    pub(crate) fn give(self) -> Result<host::Column> {
        Err(hosted())
    }

    /// A column of a batch of the SDK.
    pub(crate) fn native(field: &Field, array: &Array) -> Result<Self> {
        let schema = Schema::new(vec![Field { nullable: true, ..field.clone() }]);
        let records = RecordBatch::try_from(Batch::new(schema, vec![array.clone()], array.len())?)?;
        Ok(Self(ArrayRef::clone(records.column(0))))
    }

    /// The column as the SDK has it.
    pub(crate) fn column(&self) -> Result<(DataType, Array)> {
        Ok(spout_codec::column(&self.0)?)
    }

    pub(super) fn rows(&self) -> usize {
        self.0.len()
    }

    pub(super) fn compare(&self, how: Comparison, with: Value) -> Result<Self> {
        made(kernels::compare(&self.0, comparison(how), &value(with)))
    }

    pub(super) fn compare_with(&self, how: Comparison, other: &Self) -> Result<Self> {
        made(kernels::compare_columns(&self.0, comparison(how), &other.0))
    }

    pub(super) fn is_null(&self) -> Result<Self> {
        made(kernels::is_null(&self.0))
    }

    pub(super) fn both(&self, other: &Self) -> Result<Self> {
        made(kernels::both(&self.0, &other.0))
    }

    pub(super) fn either(&self, other: &Self) -> Result<Self> {
        made(kernels::either(&self.0, &other.0))
    }

    pub(super) fn negate(&self) -> Result<Self> {
        made(kernels::not(&self.0))
    }

    pub(super) fn matches(&self, pattern: &str) -> Result<Self> {
        made(kernels::Pattern::new(pattern).and_then(|pattern| kernels::matches(&self.0, &pattern, &FREE)))
    }

    pub(super) fn replace(&self, pattern: &str, with: &str) -> Result<Self> {
        made(kernels::Pattern::new(pattern).and_then(|pattern| kernels::replace(&self.0, &pattern, with, &FREE)))
    }

    pub(super) fn mask(&self, first: u32, last: u32, with: char) -> Result<Self> {
        made(kernels::mask(&self.0, first, last, with, &FREE))
    }

    pub(super) fn hash(&self, salt: &[u8]) -> Result<Self> {
        made(kernels::hash(&self.0, salt, &FREE))
    }

    pub(super) fn cast(&self, to: &str) -> Result<Self> {
        made(kernels::cast(&self.0, to))
    }

    pub(crate) fn bits(&self) -> Result<Vec<u8>> {
        let chosen = kernels::chosen(&self.0).map_err(refused)?;
        Ok(chosen.values().sliced().as_slice().to_vec())
    }
}

fn comparison(how: Comparison) -> kernels::Comparison {
    match how {
        Comparison::Equal => kernels::Comparison::Equal,
        Comparison::NotEqual => kernels::Comparison::NotEqual,
        Comparison::Less => kernels::Comparison::Less,
        Comparison::LessOrEqual => kernels::Comparison::LessOrEqual,
        Comparison::Greater => kernels::Comparison::Greater,
        Comparison::GreaterOrEqual => kernels::Comparison::GreaterOrEqual,
    }
}

fn value(value: Value) -> kernels::Value {
    match value {
        Value::Boolean(value) => kernels::Value::Boolean(value),
        Value::Int(value) => kernels::Value::Int(value),
        Value::Float(value) => kernels::Value::Float(value),
        Value::Text(value) => kernels::Value::Text(value),
        Value::Bytes(value) => kernels::Value::Bytes(value),
    }
}
