//! Whoever looks at the rows between handlers, which flow on all the same.

use std::{fmt, sync::Arc};

use arrow::array::RecordBatch;

/// Somebody who may look at rows on their way.
///
/// Of what enters the handlers of a pipeline the step is 0, of what leaves the first of them 1, and so on.
pub trait Watcher: fmt::Debug + Send + Sync {
    /// Whether anybody looks now. It is asked once a batch, and has to cost nothing.
    fn watches(&self) -> bool;

    /// Rows that have passed `step`.
    fn saw(&self, step: usize, records: &RecordBatch);
}

/// Who looks at the rows of a chain, and where that is within all handlers.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) by: Arc<dyn Watcher>,
    /// Steps before its first handler.
    pub(super) before: usize,
    /// Whether what enters it is seen too: nobody before it has shown that.
    pub(super) enters: bool,
}

impl Watched {
    /// Shows what has passed so many of the chain's own handlers.
    pub(super) fn show<'a>(&self, passed: usize, rows: impl Iterator<Item = &'a RecordBatch>) {
        if passed > 0 || self.enters {
            // Without columns they say only that there were messages.
            let rows = rows.filter(|records| records.num_columns() > 0);
            rows.for_each(|records| self.by.saw(self.before + passed, records));
        }
    }
}
