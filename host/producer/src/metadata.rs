//! Columns made from the message itself: partition, offset, time, key, file.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, RecordBatch, RecordBatchOptions, StringArray, TimestampMillisecondArray, UInt32Array,
        UInt64Array,
    },
    datatypes::{DataType, Field, FieldRef, Schema, TimeUnit},
    error::ArrowError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{Messages, Origins};

/// A column added to every row from the message it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetadataColumn {
    /// `__partition`, UInt32.
    Partition,
    /// `__offset`, UInt64.
    Offset,
    /// `__timestamp`, Timestamp(ms, UTC), null where the source gives none.
    Timestamp,
    /// `__key`, Binary, null where the source gives none.
    Key,
    /// `__file`, Utf8: the name of the file that the message is from, null if the source reads no files.
    File,
}

/// The name of its column.
pub(super) fn name(column: MetadataColumn) -> &'static str {
    match column {
        MetadataColumn::Partition => "__partition",
        MetadataColumn::Offset => "__offset",
        MetadataColumn::Timestamp => "__timestamp",
        MetadataColumn::Key => "__key",
        MetadataColumn::File => "__file",
    }
}

/// `records` with the columns that `wanted` names.
///
/// # Errors
/// If the rows already have a column of that name.
pub(super) fn attach(
    records: RecordBatch,
    wanted: &[MetadataColumn],
    partition: u32,
    messages: &Messages,
    origins: &Origins,
) -> Result<RecordBatch, ArrowError> {
    if wanted.is_empty() {
        return Ok(records);
    }
    let rows = records.num_rows();
    let of = |row: usize| origins.message(row);
    let mut fields: Vec<FieldRef> = records.schema_ref().fields().iter().cloned().collect();
    let mut arrays = records.columns().to_vec();
    for column in wanted {
        let (field, array): (Field, ArrayRef) = match column {
            MetadataColumn::Partition => {
                let of_row =
                    |row| of(row).and_then(|message| messages.partitions.get(message).copied()).unwrap_or(partition);
                let array: UInt32Array = (0..rows).map(|row| Some(of_row(row))).collect();
                (Field::new(name(*column), DataType::UInt32, true), Arc::new(array))
            }
            MetadataColumn::Offset => {
                let array: UInt64Array =
                    (0..rows).map(|row| of(row).and_then(|message| messages.offsets.get(message).copied())).collect();
                (Field::new(name(*column), DataType::UInt64, true), Arc::new(array))
            }
            MetadataColumn::Timestamp => {
                let array: TimestampMillisecondArray =
                    (0..rows).map(|row| of(row).and_then(|message| messages.timestamp_ms(message))).collect();
                let zone = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
                (Field::new(name(*column), zone, true), Arc::new(array.with_timezone("UTC")))
            }
            MetadataColumn::Key => {
                let key = |row| of(row).and_then(|message| messages.key(message));
                let array: BinaryArray = (0..rows).map(key).collect();
                (Field::new(name(*column), DataType::Binary, true), Arc::new(array))
            }
            MetadataColumn::File => {
                let array: StringArray =
                    (0..rows).map(|row| of(row).and_then(|message| file(messages, message))).collect();
                (Field::new(name(*column), DataType::Utf8, true), Arc::new(array))
            }
        };
        if fields.iter().any(|known| known.name() == field.name()) {
            return Err(ArrowError::SchemaError(format!("the rows already have a column {}", field.name())));
        }
        fields.push(Arc::new(field));
        arrays.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
}

fn file(messages: &Messages, message: usize) -> Option<std::borrow::Cow<'_, str>> {
    messages.attribute(message, "file").map(String::from_utf8_lossy)
}
