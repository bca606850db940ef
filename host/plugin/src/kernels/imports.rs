//! What a guest calls.

use arrow::array::ArrayRef;
use spout_kernels::{self as kernels, Comparison, Value, Work};
use wasmtime::component::Resource;

use super::{Column, compute, size};
use crate::{
    batch::StoredBatch,
    bindings::spout::plugin::kernels::{Comparison as How, Host, HostColumn, Refusal, Value as Told},
    convert,
    host::Held,
};

type Answer<T> = wasmtime::Result<Result<T, Refusal>>;
type Handle = Resource<Column>;

impl Host for Held {}

impl Held {
    fn array(&self, column: &Handle) -> wasmtime::Result<ArrayRef> {
        Ok(ArrayRef::clone(&self.table.get(column)?.array))
    }

    /// What `kernel` makes of a column, in the hands of the guest.
    async fn computed<K>(&mut self, column: &Handle, kernel: K) -> Answer<Handle>
    where
        K: FnOnce(&ArrayRef, &Work<'_>) -> kernels::Result<ArrayRef> + Send + 'static,
    {
        let array = self.array(column)?;
        self.computed_of(size(&array), move |work| kernel(&array, work)).await
    }

    /// The same of two columns.
    async fn computed_of_both<K>(&mut self, one: &Handle, other: &Handle, kernel: K) -> Answer<Handle>
    where
        K: FnOnce(&ArrayRef, &ArrayRef) -> kernels::Result<ArrayRef> + Send + 'static,
    {
        let (one, other) = (self.array(one)?, self.array(other)?);
        self.computed_of(size(&one).saturating_add(size(&other)), move |_| kernel(&one, &other)).await
    }

    async fn computed_of<K>(&mut self, size: usize, kernel: K) -> Answer<Handle>
    where
        K: FnOnce(&Work<'_>) -> kernels::Result<ArrayRef> + Send + 'static,
    {
        let most = usize::try_from(self.limits.answer.0).unwrap_or(usize::MAX);
        Ok(match compute(&self.threads, size, most, kernel).await {
            Ok(array) => Ok(self.hand_out(array)?),
            Err(error) => Err(refusal(error)),
        })
    }

    fn hand_out(&mut self, array: ArrayRef) -> wasmtime::Result<Handle> {
        let column = self.keep(array)?;
        Ok(self.table.push(column)?)
    }
}

impl HostColumn for Held {
    fn of(&mut self, batch: Resource<StoredBatch>, index: u32) -> wasmtime::Result<Handle> {
        let records = &self.table.get(&batch)?.records;
        let Some(column) = records.columns().get(index as usize) else {
            let count = records.num_columns();
            return Err(wasmtime::Error::msg(format!(
                "the guest asked for column {index} of a batch that has {count}"
            )));
        };
        let array = convert::parts::plain(column).map_err(wasmtime::Error::msg)?;
        self.hand_out(array)
    }

    fn share(&mut self, column: Handle) -> wasmtime::Result<Handle> {
        let same = self.table.get(&column)?.clone();
        Ok(self.table.push(same)?)
    }

    fn rows(&mut self, column: Handle) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.table.get(&column)?.array.len())?)
    }

    async fn compare(&mut self, column: Handle, how: How, with: Told) -> Answer<Handle> {
        let with = value(with);
        self.computed(&column, move |array, _| kernels::compare(array, comparison(how), &with)).await
    }

    async fn compare_column(&mut self, column: Handle, how: How, other: Handle) -> Answer<Handle> {
        self.computed_of_both(&column, &other, move |one, other| kernels::compare_columns(one, comparison(how), other))
            .await
    }

    async fn is_null(&mut self, column: Handle) -> Answer<Handle> {
        self.computed(&column, |array, _| kernels::is_null(array)).await
    }

    async fn both(&mut self, column: Handle, other: Handle) -> Answer<Handle> {
        self.computed_of_both(&column, &other, |one, other| kernels::both(one, other)).await
    }

    async fn either(&mut self, column: Handle, other: Handle) -> Answer<Handle> {
        self.computed_of_both(&column, &other, |one, other| kernels::either(one, other)).await
    }

    async fn negate(&mut self, column: Handle) -> Answer<Handle> {
        self.computed(&column, |array, _| kernels::not(array)).await
    }

    async fn matches(&mut self, column: Handle, pattern: String) -> Answer<Handle> {
        match self.kernels.pattern(pattern) {
            Ok(pattern) => self.computed(&column, move |array, work| kernels::matches(array, &pattern, work)).await,
            Err(error) => Ok(Err(refusal(error))),
        }
    }

    async fn replace(&mut self, column: Handle, pattern: String, with: String) -> Answer<Handle> {
        match self.kernels.pattern(pattern) {
            Ok(pattern) => {
                self.computed(&column, move |array, work| kernels::replace(array, &pattern, &with, work)).await
            }
            Err(error) => Ok(Err(refusal(error))),
        }
    }

    async fn mask(&mut self, column: Handle, first: u32, last: u32, with: char) -> Answer<Handle> {
        self.computed(&column, move |array, work| kernels::mask(array, first, last, with, work)).await
    }

    async fn hash(&mut self, column: Handle, salt: Vec<u8>) -> Answer<Handle> {
        self.computed(&column, move |array, work| kernels::hash(array, &salt, work)).await
    }

    async fn cast(&mut self, column: Handle, to: String) -> Answer<Handle> {
        self.computed(&column, move |array, _| kernels::cast(array, &to)).await
    }

    fn bits(&mut self, column: Handle) -> Answer<Vec<u8>> {
        let chosen = kernels::chosen(&self.array(&column)?);
        Ok(chosen.map(|rows| rows.values().sliced().as_slice().to_vec()).map_err(refusal))
    }

    fn drop(&mut self, column: Handle) -> wasmtime::Result<()> {
        self.table.delete(column)?;
        Ok(())
    }
}

fn refusal(error: kernels::Error) -> Refusal {
    Refusal { code: error.code.to_owned(), message: error.message }
}

fn comparison(how: How) -> Comparison {
    match how {
        How::Equal => Comparison::Equal,
        How::NotEqual => Comparison::NotEqual,
        How::Less => Comparison::Less,
        How::LessOrEqual => Comparison::LessOrEqual,
        How::Greater => Comparison::Greater,
        How::GreaterOrEqual => Comparison::GreaterOrEqual,
    }
}

fn value(told: Told) -> Value {
    match told {
        Told::Boolean(value) => Value::Boolean(value),
        Told::Int(value) => Value::Int(value),
        Told::Float(value) => Value::Float(value),
        Told::Text(value) => Value::Text(value),
        Told::Bytes(value) => Value::Bytes(value),
    }
}
