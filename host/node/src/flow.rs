//! What flows between two handlers, known before any row does.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use spout_data::PartitionId;

use super::TimeSpec;

/// Where the rows of a call come from.
///
/// Rows of one source come in an order that never changes, however they are cut into batches; how the batches of several
/// sources are interleaved is chance, and no output may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// One partition, in offset order.
    Partition(PartitionId),
    /// One stream that an earlier handler made of all partitions.
    Merged,
}

/// What handlers are notified of besides rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// Rows of this source will come. Comes before the first of them, so that nothing runs ahead of a slow source.
    Opened(Source),
    /// The source has had nothing for this long by the wall clock, while we were waiting for it.
    Idle(Source, Duration),
    /// No row of this source will come any more.
    Ended(Source),
    /// A commit is being cut: rows held for it come now.
    Cut,
}

/// What one record batch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Any cut of the stream: it means nothing.
    #[default]
    Piece,
    /// All rows of one window (of one group, where there are groups).
    Window,
    /// All rows of one commit (of one group, where there are groups).
    Commit,
}

/// What flows between two handlers.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    /// The columns, once they are known: before start where the decoder's schema is declared or was committed before,
    /// otherwise with the first rows.
    pub schema: Option<SchemaRef>,
    /// Columns that rows are grouped by from here on.
    pub group: Vec<String>,
    /// What one record batch is.
    pub unit: Unit,
    /// The event time, where there is one.
    pub time: Option<TimeSpec>,
}

impl Shape {
    /// The same with other columns.
    #[must_use]
    pub fn with_schema(&self, schema: Option<SchemaRef>) -> Self {
        Self { schema, ..self.clone() }
    }
}
