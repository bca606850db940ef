//! What tests of consumers share: batches of numbers, and surroundings.

use std::{ops::Range, sync::Arc};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use spout_data::{Counts, Origins, Position, Span};

use super::*;

/// ConsumerContext of a pipeline named `test`.
pub(super) fn context() -> ConsumerContext {
    ConsumerContext { pipeline: "test".into(), base: PathBuf::new(), json: false, stop: CancellationToken::new() }
}

fn made(name: &str, numbers: Range<i64>, column: ArrayRef) -> Batch {
    let (start, next) = (numbers.start as u64, numbers.end as u64);
    Batch {
        records: RecordBatch::try_from_iter([(name, column)]).unwrap(),
        span: Span { partition: 0.into(), start, next: Position::at(next) },
        origins: Origins::Unknown,
        messages: Arc::default(),
        dead: Vec::new(),
        late: Vec::new(),
        unknown: Vec::new(),
        counts: Counts::default(),
    }
}

/// These numbers as a column `n`; they are the offsets too.
pub(super) fn batch(numbers: Range<i64>) -> Batch {
    made("n", numbers.clone(), Arc::new(Int64Array::from_iter_values(numbers)))
}

/// The same as a column of texts with another name.
pub(super) fn other(numbers: Range<i64>) -> Batch {
    let texts = StringArray::from_iter_values(numbers.clone().map(|n| n.to_string()));
    made("text", numbers, Arc::new(texts))
}
