//! Dead letters of a pipeline as the messages that they were.

use arrow::{
    array::{Array as _, AsArray as _, BinaryArray, RecordBatch, StringArray, StructArray},
    datatypes::{TimestampMillisecondType, UInt32Type, UInt64Type},
};
use spout_codec::NO_TIME;
use spout_data::{Blobs, Header, Holds, Messages};

/// The stage of letters that no decoder made rows of.
const DECODE: &str = "decode";

/// The messages of a batch of dead letters, those of `producer` only where one is named. What holds a part of a message, or a row
/// that a handler had made, is none. Where they are for the pipeline's `own` table, so is one of which a handler took rows: others of
/// it went through; and each has the partition and offset that it had.
pub(super) fn messages(letters: &RecordBatch, producer: Option<&str>, own: bool) -> Messages {
    let text = |name| letters.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let bytes = |name| letters.column_by_name(name).and_then(|column| column.as_binary_opt::<i32>());
    let Some(values): Option<&BinaryArray> = bytes("value") else { return Messages::default() };
    let (holds, producers, keys): (Option<&StringArray>, _, _) = (text("holds"), text("producer"), bytes("key"));
    let stages: Option<&StringArray> = text("stage");
    let partitions = letters.column_by_name("partition");
    let partitions = partitions.and_then(|column| column.as_primitive_opt::<UInt32Type>());
    let offsets = letters.column_by_name("offset").and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let times = letters.column_by_name("timestamp");
    let times = times.and_then(|column| column.as_primitive_opt::<TimestampMillisecondType>());
    let headers = letters.column_by_name("headers").and_then(|column| column.as_list_opt::<i32>());
    let mut all = Messages::default();
    let mut own_keys = Blobs::default();
    for row in 0..letters.num_rows() {
        let whole = match holds {
            Some(holds) => holds.value(row) == Holds::Message.name(),
            // A store of before letters said it; one whose message stands elsewhere has no value.
            None => values.is_null(row) || !values.value(row).is_empty(),
        };
        let of_producer =
            producer.is_none_or(|wanted| producers.is_some_and(|of| of.is_valid(row) && of.value(row) == wanted));
        let undecoded = stages.is_some_and(|stages| stages.value(row) == DECODE);
        if !whole || !of_producer || own && !undecoded {
            continue;
        }
        let message = u32::try_from(all.len()).unwrap_or(u32::MAX);
        if values.is_null(row) {
            all.nulls.push(message);
            all.values.push(&[]);
        } else {
            all.values.push(values.value(row));
        }
        own_keys.push(keys.filter(|keys| keys.is_valid(row)).map_or(&[], |keys| keys.value(row)));
        if let (true, Some(partitions), Some(offsets)) = (own, partitions, offsets) {
            all.partitions.push(partitions.value(row));
            all.offsets.push(offsets.value(row));
        }
        let time = times.filter(|times| times.is_valid(row)).map_or(NO_TIME, |times| times.value(row));
        all.timestamps_ms.push(time);
        if let Some(list) = headers.filter(|headers| headers.is_valid(row)) {
            all.headers.extend(of_message(message, list.value(row).as_struct_opt()));
        }
    }
    all.keys = keys.is_some().then_some(own_keys);
    all
}

fn of_message(message: u32, headers: Option<&StructArray>) -> Vec<Header> {
    let names = headers.and_then(|headers| headers.column_by_name("name")?.as_string_opt::<i32>());
    let values = headers.and_then(|headers| headers.column_by_name("value")?.as_binary_opt::<i32>());
    let Some((names, values)) = names.zip(values) else { return Vec::new() };
    let both = names.iter().flatten().zip(values.iter().flatten());
    both.map(|(name, value)| Header { message, name: name.to_owned(), value: value.to_vec() }).collect()
}
