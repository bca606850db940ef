//! A message that could not be processed, kept as it arrived with the reason.

use super::PartitionId;

/// A message set aside. It is committed together with the offsets that cover it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Partition it came from.
    pub partition: PartitionId,
    /// Its offset, or the start of its run where a handler had already merged rows.
    pub offset: u64,
    /// Milliseconds since 1970, where the source gave one.
    pub timestamp_ms: Option<i64>,
    /// Name of the file it stood in, where the source reads files.
    pub file: Option<String>,
    /// Raw key, where the source gave one.
    pub key: Option<Vec<u8>>,
    /// Raw payload.
    pub value: Vec<u8>,
    /// `decode`, or the id of the handler.
    pub stage: String,
    /// Stable and dotted, such as `json.syntax`.
    pub code: String,
    /// What was wrong, for people.
    pub reason: String,
}
