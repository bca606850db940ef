//! Rows with the run of offsets they came from.

use std::sync::Arc;

use arrow::array::RecordBatch;
use spout_codec::UnknownField;

use super::{Aside, Counts, DeadLetter, Messages, PartitionId, Position, Span};

/// Which message each row of a batch came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Row `i` is message `i`.
    #[default]
    Each,
    /// Row `i` is message `list[i]`.
    Taken(Arc<[u32]>),
    /// A handler made new rows.
    Unknown,
}

impl Origins {
    /// The message that `row` came from, if that is known.
    #[must_use]
    pub fn message(&self, row: usize) -> Option<usize> {
        match self {
            Self::Each => Some(row),
            Self::Taken(list) => list.get(row).map(|&message| message as usize),
            Self::Unknown => None,
        }
    }

    /// Bytes of the list, where there is one.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Each | Self::Unknown => 0,
            Self::Taken(list) => size_of_val(&**list),
        }
    }

    /// The origins after only `rows`, in this order, were kept.
    #[must_use]
    pub fn take(&self, rows: &[u32]) -> Self {
        match self {
            Self::Each => Self::Taken(rows.into()),
            Self::Taken(list) => {
                Self::Taken(rows.iter().map(|&row| list.get(row as usize).copied().unwrap_or(u32::MAX)).collect())
            }
            Self::Unknown => Self::Unknown,
        }
    }
}

/// Rows of one partition with the run of offsets they came from.
///
/// The offset rides with its rows: a consumer that has taken a batch has taken everything in `span`, also when
/// `records` is empty because every row was filtered or set aside.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The rows.
    pub records: RecordBatch,
    /// The run of offsets they came from.
    pub span: Span,
    /// Which message each row came from.
    pub origins: Origins,
    /// The raw messages of the run, so that a row that fails later can be set aside as it arrived.
    pub messages: Arc<Messages>,
    /// Messages of the run that were set aside, with the reason.
    pub dead: Vec<DeadLetter>,
    /// Rows that came too late for a handler.
    pub late: Vec<Aside>,
    /// Fields of the run's messages that are not in the schema, and were left out.
    pub unknown: Vec<UnknownField>,
    /// What became of the messages of the run, as far as the batch itself does not hold it.
    pub counts: Counts,
}

impl Batch {
    /// Rows that a handler had held back, so that no run of offsets is behind them.
    #[must_use]
    pub fn held(records: RecordBatch) -> Self {
        Self {
            records,
            span: Span { partition: PartitionId::default(), start: 0, next: Position::default() },
            origins: Origins::Unknown,
            messages: Arc::default(),
            dead: Vec::new(),
            late: Vec::new(),
            unknown: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// What became of the messages of the run, with the rows, dead letters, late rows and unknown keys that the batch holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        counts.rows += self.records.num_rows() as u64;
        counts.dead_letters += self.dead.len() as u64;
        self.late.iter().for_each(|aside| counts.come_late(&aside.handler, aside.rows));
        self.unknown.iter().for_each(|field| counts.unknown.count(&field.name, field.count));
        counts
    }
}
