//! What a plugin's answer means: output batches, each with the input rows it consists of.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    compute::{filter_record_batch, take_record_batch},
    datatypes::{FieldRef, Schema},
    error::ArrowError,
};
use spout_plugin::Rows;

use crate::{Kept, handlers::filter::set_rows};

/// The output of a call with `batch`.
pub(super) fn output(batch: &RecordBatch, answer: Rows) -> Result<(RecordBatch, Kept), ArrowError> {
    match answer {
        Rows::All => Ok((batch.clone(), Kept::All)),
        Rows::Masked(mask) => Ok((filter_record_batch(batch, &mask)?, Kept::Rows(set_rows(&mask)))),
        Rows::Taken(rows) => Ok((take_record_batch(batch, &rows)?, Kept::Rows(rows.values().to_vec()))),
        Rows::WithColumns(columns) => Ok((with_columns(batch, &columns)?, Kept::All)),
        Rows::Fresh(records) => Ok((records, Kept::Fresh)),
    }
}

/// Row indices of a part that begins at row `from`, as indices of the whole batch.
pub(super) fn moved(kept: Kept, from: usize, rows: usize) -> Kept {
    let from = u32::try_from(from).unwrap_or(u32::MAX);
    match kept {
        Kept::All => Kept::Rows((from..from + u32::try_from(rows).unwrap_or(0)).collect()),
        Kept::Rows(list) => Kept::Rows(list.into_iter().map(|row| row + from).collect()),
        Kept::Fresh => Kept::Fresh,
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
