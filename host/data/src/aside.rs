//! Rows that came too late for what they belong to.

use arrow::array::RecordBatch;

/// Late rows of one handler. They are committed together with the offsets that cover them.
#[derive(Clone, Debug)]
pub struct Aside {
    /// Id of the handler that they came too late for.
    pub handler: String,
    /// How many there were.
    pub rows: u64,
    /// The rows, where the spec says to keep them beside the others.
    pub records: Option<RecordBatch>,
}
