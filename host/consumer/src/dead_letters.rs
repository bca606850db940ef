//! The table that messages which could not be processed are kept in.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, BinaryArray, ListArray, RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
        UInt32Array, UInt64Array,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use bytes::Bytes;
use spout_data::{DeadLetter, within_an_array};

/// The years 1 to 9999, in milliseconds since 1970.
const CALENDAR_MS: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

/// What a letter holds whose message an earlier one has.
const ELSEWHERE: &str = "elsewhere";

/// Names of the producers by number; none where there is one only.
pub(super) type Names = BTreeMap<u16, String>;

/// `partition, offset, timestamp, file, key, headers, value, holds, stage, code, reason`: the message as it arrived, and what was wrong.
/// Where there are several producers, `producer` comes first.
pub(super) fn schema(producers: &Names) -> SchemaRef {
    let field = |name, data_type, nullable| Field::new(name, data_type, nullable);
    let producer = (!producers.is_empty()).then(|| field("producer", DataType::Utf8, true));
    let fields = [
        field("partition", DataType::UInt32, false),
        field("offset", DataType::UInt64, false),
        field("timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        field("file", DataType::Utf8, true),
        field("key", DataType::Binary, true),
        field("headers", DataType::List(header()), true),
        field("value", DataType::Binary, true),
        field("holds", DataType::Utf8, false),
        field("stage", DataType::Utf8, false),
        field("code", DataType::Utf8, false),
        field("reason", DataType::Utf8, false),
    ];
    Arc::new(Schema::new(producer.into_iter().chain(fields).collect::<Vec<_>>()))
}

/// What a list of headers has.
fn header() -> FieldRef {
    let fields = [Field::new("name", DataType::Utf8, false), Field::new("value", DataType::Binary, false)];
    Arc::new(Field::new_list_field(DataType::Struct(Vec::from(fields).into()), false))
}

/// A list of headers for each of `dead`; none where it `repeats` a message, or has no headers.
fn headers(dead: &[DeadLetter], repeats: &[bool]) -> Result<ListArray, ArrowError> {
    let own = |(letter, repeats): (&DeadLetter, &bool)| if *repeats { 0 } else { letter.headers.len() };
    let lengths: Vec<usize> = dead.iter().zip(repeats).map(own).collect();
    let all = || dead.iter().zip(&lengths).flat_map(|(letter, length)| letter.headers.iter().take(*length));
    let names: ArrayRef = Arc::new(all().map(|(name, _)| Some(name)).collect::<StringArray>());
    let values: ArrayRef = Arc::new(all().map(|(_, value)| Some(value)).collect::<BinaryArray>());
    let header = header();
    let DataType::Struct(fields) = header.data_type() else {
        return Err(ArrowError::SchemaError("a header is a struct".into()));
    };
    let headers = Arc::new(StructArray::try_new(fields.clone(), vec![names, values], None)?);
    let there = lengths.iter().map(|length| *length > 0).collect();
    ListArray::try_new(header, OffsetBuffer::from_lengths(lengths), headers, Some(there))
}

/// `dead` as rows of that table. The bytes and headers of a message several rows of which were set aside are in the first
/// of its rows; the others say so, and have none. `before` is the message of the letter before these.
///
/// # Errors
/// If together they are larger than an array can be (2 GiB).
pub(super) fn rows(dead: &[DeadLetter], producers: &Names, before: Option<&Bytes>) -> Result<RecordBatch, ArrowError> {
    // What a source says of time must not keep a message from being set aside.
    let time = |letter: &DeadLetter| letter.timestamp_ms.filter(|time| CALENDAR_MS.contains(time));
    let times: TimestampMillisecondArray = dead.iter().map(time).collect();
    let files: StringArray = dead.iter().map(|letter| letter.file.as_deref()).collect();
    let keys: BinaryArray = dead.iter().map(|letter| letter.key.as_deref()).collect();
    let mut seen: HashSet<*const u8> = before.iter().map(|value| value.as_ptr()).collect();
    let mut repeats = |letter: &DeadLetter| !letter.value.is_empty() && !seen.insert(letter.value.as_ptr());
    let repeats: Vec<bool> = dead.iter().map(&mut repeats).collect();
    let taken = |(letter, repeats): (&DeadLetter, &bool)| letter.room() - if *repeats { letter.value.len() } else { 0 };
    within_an_array(dead.iter().zip(&repeats).map(taken))?;
    let holds =
        dead.iter().zip(&repeats).map(|(letter, repeats)| if *repeats { ELSEWHERE } else { letter.holds.name() });
    let holds: ArrayRef = Arc::new(StringArray::from_iter_values(holds));
    let value = |(letter, repeats)| if repeats { &[][..] } else { letter };
    let values: BinaryArray = dead
        .iter()
        .zip(&repeats)
        .map(|(letter, repeats)| (!letter.null).then(|| value((&letter.value[..], *repeats))))
        .collect();
    let reasons = dead
        .iter()
        .zip(&repeats)
        .map(|(letter, repeats)| if *repeats { elsewhere(letter) } else { letter.reason.as_str().into() });
    let text = |of: fn(&DeadLetter) -> &str| Arc::new(StringArray::from_iter_values(dead.iter().map(of))) as ArrayRef;
    let name = |letter: &DeadLetter| producers.get(&letter.partition.producer).map(String::as_str);
    let producer: StringArray = dead.iter().map(name).collect();
    let producer = (!producers.is_empty()).then(|| Arc::new(producer) as ArrayRef);
    let columns: [ArrayRef; 11] = [
        Arc::new(UInt32Array::from_iter_values(dead.iter().map(|letter| letter.partition.number))),
        Arc::new(UInt64Array::from_iter_values(dead.iter().map(|letter| letter.offset))),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(files),
        Arc::new(keys),
        Arc::new(headers(dead, &repeats)?),
        Arc::new(values),
        holds,
        text(|letter| &letter.stage),
        text(|letter| &letter.code),
        Arc::new(StringArray::from_iter_values(reasons)),
    ];
    RecordBatch::try_new(schema(producers), producer.into_iter().chain(columns).collect())
}

/// The reason of a letter whose message stands in an earlier one.
fn elsewhere(letter: &DeadLetter) -> Cow<'_, str> {
    let DeadLetter { partition, offset, reason, .. } = letter;
    format!("{reason}; the message is stored once, in the dead letter of partition {partition}, offset {offset} that has its value").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;

    #[test]
    fn letters_of_more_than_an_array_holds_are_an_error_and_no_panic() {
        // As many pieces of one buffer as are 2.3 GiB, none of which is at the place of another.
        let bytes = Bytes::from(vec![b'x'; (1 << 20) + 2400]);
        let letter = |offset: usize| DeadLetter {
            partition: 0.into(),
            offset: offset as u64,
            timestamp_ms: None,
            file: None,
            key: None,
            headers: Vec::new(),
            value: bytes.slice(offset..offset + (1 << 20)),
            null: false,
            holds: spout_data::Holds::Message,
            stage: "decode".into(),
            code: "json.syntax".into(),
            reason: "no".into(),
        };
        let letters: Vec<DeadLetter> = (0..2400).map(letter).collect();
        assert!(matches!(rows(&letters, &Names::new(), None), Err(ArrowError::OffsetOverflowError(_))));
        assert_eq!(rows(&letters[..3], &Names::new(), None).unwrap().num_rows(), 3);
    }

    #[test]
    fn a_message_is_written_once_however_many_of_its_rows_are_set_aside() {
        let file = Bytes::from(vec![b'x'; 1000]);
        let letter = |offset, value: &Bytes, reason: &str| DeadLetter {
            partition: 3.into(),
            offset,
            timestamp_ms: None,
            file: None,
            key: None,
            headers: vec![("trace".into(), b"t1".to_vec())],
            value: value.clone(),
            null: false,
            holds: spout_data::Holds::Message,
            stage: "time".into(),
            code: "time.missing".into(),
            reason: reason.into(),
        };
        let other = Bytes::from(vec![b'x'; 1000]);
        let dead = [
            letter(7, &file, "a"),
            letter(7, &file, "b"),
            letter(8, &other, "c"),
            letter(9, &Bytes::new(), "d"),
            letter(10, &Bytes::new(), "e"),
        ];
        let named = BTreeMap::from([(0, "orders".to_owned())]);
        let named = rows(&dead, &named, None).unwrap();
        assert_eq!(named["producer"].as_string::<i32>().value(0), "orders");
        let after = rows(&dead[..2], &Names::new(), Some(&file)).unwrap();
        assert!(
            after["value"].as_binary::<i32>().iter().flatten().all(<[u8]>::is_empty),
            "it stands in the rows before"
        );
        let gone = rows(&[DeadLetter { null: true, ..letter(11, &Bytes::new(), "f") }], &Names::new(), None).unwrap();
        assert!(arrow::array::Array::is_null(&gone["value"], 0), "that of a tombstone has none");
        let rows = rows(&dead, &Names::new(), None).unwrap();
        assert!(rows.column_by_name("producer").is_none());
        let (values, reasons) = (rows["value"].as_binary::<i32>(), rows["reason"].as_string::<i32>());
        let sizes: Vec<usize> = values.iter().flatten().map(<[u8]>::len).collect();
        assert_eq!(sizes, [1000, 0, 1000, 0, 0]);
        let headers = rows["headers"].as_list::<i32>();
        assert_eq!((0..5).map(|row| headers.value_length(row)).collect::<Vec<_>>(), [1, 0, 1, 1, 1]);
        assert_eq!(headers.value(3).as_struct()["value"].as_binary::<i32>().value(0), b"t1");
        let reasons: Vec<&str> = reasons.iter().flatten().collect();
        assert!(reasons[1].starts_with("b; ") && reasons[1].contains("partition 3, offset 7"), "{reasons:?}");
        assert_eq!([reasons[0], reasons[2], reasons[3], reasons[4]], ["a", "c", "d", "e"]);
    }
}
