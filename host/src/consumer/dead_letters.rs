//! The table that messages which could not be processed are kept in.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BinaryArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};

use crate::data::DeadLetter;

/// The years 1 to 9999, in milliseconds since 1970.
const CALENDAR_MS: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

/// `partition, offset, timestamp, file, key, value, stage, code, reason`: the message as it arrived, and what was wrong.
pub(super) fn schema() -> SchemaRef {
    let field = |name, data_type, nullable| Field::new(name, data_type, nullable);
    Arc::new(Schema::new(vec![
        field("partition", DataType::UInt32, false),
        field("offset", DataType::UInt64, false),
        field("timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        field("file", DataType::Utf8, true),
        field("key", DataType::Binary, true),
        field("value", DataType::Binary, false),
        field("stage", DataType::Utf8, false),
        field("code", DataType::Utf8, false),
        field("reason", DataType::Utf8, false),
    ]))
}

/// `dead` as rows of that table.
///
/// # Errors
/// If together they are larger than an array can be (2 GiB).
pub(super) fn rows(dead: &[DeadLetter]) -> Result<RecordBatch, ArrowError> {
    // What a source says of time must not keep a message from being set aside.
    let time = |letter: &DeadLetter| letter.timestamp_ms.filter(|time| CALENDAR_MS.contains(time));
    let times: TimestampMillisecondArray = dead.iter().map(time).collect();
    let files: StringArray = dead.iter().map(|letter| letter.file.as_deref()).collect();
    let keys: BinaryArray = dead.iter().map(|letter| letter.key.as_deref()).collect();
    let text = |of: fn(&DeadLetter) -> &str| Arc::new(StringArray::from_iter_values(dead.iter().map(of))) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from_iter_values(dead.iter().map(|letter| letter.partition))),
        Arc::new(UInt64Array::from_iter_values(dead.iter().map(|letter| letter.offset))),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(files),
        Arc::new(keys),
        Arc::new(BinaryArray::from_iter_values(dead.iter().map(|letter| &letter.value))),
        text(|letter| &letter.stage),
        text(|letter| &letter.code),
        text(|letter| &letter.reason),
    ];
    RecordBatch::try_new(schema(), columns)
}
