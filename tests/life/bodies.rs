//! What is put: bytes and rows that are the same in every life.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use spout_data::{Advance, PartitionId, PartitionMarker, Position, Step};
use spout_format::{Encoded, Format, TableWriter};
use spout_repo::BranchWriter;

/// Larger than what a record carries in itself.
pub(crate) const LARGE: usize = 40 << 10;
/// Sent in two parts.
pub(crate) const IN_PARTS: usize = 9 << 20;

/// `size` bytes that do not compress.
pub(crate) fn body(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A few rows as Parquet.
pub(crate) fn table(first: i64, rows: i64) -> Result<Encoded> {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows));
    let batch = RecordBatch::try_from_iter([("n", column)])?;
    let mut table = TableWriter::new(Format::Parquet, batch.schema())?;
    table.write(&batch)?;
    Ok(table.finish()?)
}

/// The number of the next commit: where partition 0 goes on.
pub(crate) fn next(writer: &BranchWriter) -> Option<u64> {
    writer.marker().partitions.get(&PartitionId::default()).map(|entry| entry.position.offset)
}

/// Partition 0 moves by one.
pub(crate) fn advance(from: Option<u64>) -> Advance {
    let to = PartitionMarker {
        label: "p".into(),
        position: Position::at(from.unwrap_or(0) + 1),
        ..PartitionMarker::default()
    };
    Advance { steps: [(PartitionId::default(), Step { from, to, jumped: None })].into() }
}
