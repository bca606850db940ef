//! Columns made from the message itself: partition, offset, time, key, headers, file.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, BinaryArray, ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
        TimestampMillisecondArray, UInt32Array, UInt64Array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, TimeUnit},
    error::ArrowError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{Header, Messages, Origins};

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
    /// `__headers`, a list of `{name: utf8, value: binary}` in the order in which the source has them, several of one name too; null where
    /// a message has none.
    Headers,
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
        MetadataColumn::Headers => "__headers",
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
                fits((0..rows).filter_map(key).map(<[u8]>::len), *column)?;
                let array: BinaryArray = (0..rows).map(key).collect();
                (Field::new(name(*column), DataType::Binary, true), Arc::new(array))
            }
            MetadataColumn::Headers => {
                let array = headers(rows, messages, &of)?;
                (Field::new(name(*column), array.data_type().clone(), true), Arc::new(array))
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

/// The headers of each row's message.
fn headers(rows: usize, messages: &Messages, of: &impl Fn(usize) -> Option<usize>) -> Result<ListArray, ArrowError> {
    let of_row = |row: usize| of(row).map(|message| messages.headers_of(message)).unwrap_or_default();
    let sizes = (0..rows).flat_map(of_row).map(|header| header.name.len().max(header.value.len()).saturating_add(1));
    fits(sizes, MetadataColumn::Headers)?;
    let all: Vec<&Header> = (0..rows).flat_map(of_row).collect();
    let names: StringArray = all.iter().map(|header| Some(header.name.as_str())).collect();
    let values: BinaryArray = all.iter().map(|header| Some(header.value.as_slice())).collect();
    let fields =
        Fields::from(vec![Field::new("name", DataType::Utf8, true), Field::new("value", DataType::Binary, true)]);
    let item = Arc::new(Field::new_list_field(DataType::Struct(fields.clone()), true));
    let structs = StructArray::try_new(fields, vec![Arc::new(names), Arc::new(values)], None)?;
    let offsets = OffsetBuffer::from_lengths((0..rows).map(|row| of_row(row).len()));
    let nulls: NullBuffer = (0..rows).map(|row| !of_row(row).is_empty()).collect();
    ListArray::try_new(item, offsets, Arc::new(structs), Some(nulls).filter(|nulls| nulls.null_count() > 0))
}

/// Each row has a copy of what its message has once; a column has no room for more than this.
fn fits(sizes: impl Iterator<Item = usize>, of: MetadataColumn) -> Result<(), ArrowError> {
    let most = i32::MAX as usize;
    let sum = sizes.fold(0, usize::saturating_add);
    let much = || format!("{} of these rows would have more than {most} bytes", name(of));
    if sum > most { Err(ArrowError::InvalidArgumentError(much())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use spout_data::Blobs;

    use super::*;

    fn messages() -> Messages {
        let mut values = Blobs::default();
        ["a", "b", "c"].iter().for_each(|value| values.push(value.as_bytes()));
        let header = |message, name: &str, value: &[u8]| Header { message, name: name.into(), value: value.into() };
        let headers =
            vec![header(0, "h", b"1"), header(0, "h", b""), header(0, "\u{e9}", b"\xff"), header(2, "x", b"2")];
        Messages { values, headers, offsets: vec![7, 8, 9], ..Messages::default() }
    }

    #[test]
    fn headers_are_a_list_in_their_order_with_those_of_one_name() {
        let rows = StringArray::from(vec!["c", "a", "a", "b"]);
        let records = RecordBatch::try_from_iter([("v", Arc::new(rows) as ArrayRef)]).unwrap();
        let origins = Origins::Taken(vec![2, 0, 0, 1].into());
        let batch = attach(records, &[MetadataColumn::Headers], 0, &messages(), &origins).unwrap();
        let shown = arrow::util::pretty::pretty_format_batches(&[batch.project(&[1]).unwrap()]).unwrap().to_string();
        let all = "[{name: h, value: 31}, {name: h, value: }, {name: \u{e9}, value: ff}]";
        let lines: Vec<&str> = shown.lines().map(|line| line.trim_matches(['|', ' '])).collect();
        assert_eq!(lines[3..7], ["[{name: x, value: 32}]", all, all, ""], "{shown}");
        assert!(attach(batch, &[MetadataColumn::Headers], 0, &messages(), &origins).is_err());
    }

    #[test]
    fn what_a_column_has_no_room_for_is_refused_before_it_is_made() {
        let sizes = || std::iter::repeat_n(1 << 20, 2048);
        assert!(fits(sizes().skip(1), MetadataColumn::Key).is_ok());
        let said = fits(sizes(), MetadataColumn::Key).unwrap_err().to_string();
        assert!(said.contains("__key of these rows would have more than"), "{said}");
    }
}
