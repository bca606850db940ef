//! What a handler's answer means: the rows that go on.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::{filter_record_batch, take_record_batch},
    datatypes::{FieldRef, Schema},
    error::ArrowError,
};

use super::Rows;

impl Rows {
    /// The rows that go on, of the batch that was answered.
    ///
    /// # Errors
    /// Columns that do not go together.
    pub fn apply(self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        match self {
            Self::All => Ok(batch.clone()),
            Self::Masked(mask) => filter_record_batch(batch, &mask),
            Self::Taken(rows) => take_record_batch(batch, &rows),
            Self::WithColumns(columns) => with_columns(batch, &columns),
            Self::Fresh(records) => Ok(records),
        }
    }
}

/// All rows of `batch`, with `columns` added or replaced by name.
fn with_columns(batch: &RecordBatch, columns: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields: Vec<FieldRef> = batch.schema_ref().fields().iter().cloned().collect();
    let mut arrays = batch.columns().to_vec();
    for (field, array) in columns.schema_ref().fields().iter().zip(columns.columns()) {
        match fields.iter().position(|known| known.name() == field.name()) {
            Some(at) => (fields[at], arrays[at]) = (Arc::clone(field), Arc::clone(array)),
            None => {
                fields.push(Arc::clone(field));
                arrays.push(Arc::clone(array));
            }
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, batch.schema_ref().metadata().clone())), arrays)
}
