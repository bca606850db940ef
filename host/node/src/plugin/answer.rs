//! What a plugin's answer means: output batches, each with the input rows it consists of.

use arrow::{array::RecordBatch, error::ArrowError};
use spout_plugin::Rows;

use crate::{Kept, handlers::filter::set_rows};

/// The output of a call with `batch`.
pub(super) fn output(batch: &RecordBatch, answer: Rows) -> Result<(RecordBatch, Kept), ArrowError> {
    let kept = match &answer {
        Rows::All | Rows::WithColumns(_) => Kept::All,
        Rows::Masked(mask) => Kept::Rows(set_rows(mask)),
        Rows::Taken(rows) => Kept::Rows(rows.values().to_vec()),
        Rows::Fresh(_) => Kept::Fresh,
    };
    Ok((answer.apply(batch)?, kept))
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
