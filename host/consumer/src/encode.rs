//! Rows as bytes for those outside: NDJSON, a JSON array, CSV, or an Arrow IPC stream.

use arrow::{
    array::RecordBatch,
    error::ArrowError,
    ipc::writer::StreamWriter,
    json::writer::{JsonArray, JsonFormat, LineDelimited, Writer},
};
use spout_format::{csv_text, json_options, json_rows};

use super::Error;

/// One object a line; a null column is left out.
pub(super) fn ndjson(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    as_json::<LineDelimited>([rows])
}

fn as_json<'a, F: JsonFormat>(rows: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Vec<u8>, ArrowError> {
    let rows = rows.into_iter().map(json_rows).collect::<Result<Vec<_>, _>>()?;
    let options = rows.first().map(|first| json_options(first.schema_ref())).unwrap_or_default();
    let mut writer: Writer<Vec<u8>, F> = options.build(Vec::new());
    rows.iter().try_for_each(|rows| writer.write(rows))?;
    writer.finish()?;
    Ok(writer.into_inner())
}

/// One JSON array of objects.
pub(super) fn json<'a>(rows: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Vec<u8>, ArrowError> {
    as_json::<JsonArray>(rows)
}

/// A line a row, after a line of names if `header`.
pub(super) fn csv(rows: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    csv_text(rows, header)
}

/// An Arrow IPC stream of its own, as every reader of Arrow takes it.
pub(super) fn arrow<'a>(
    first: &'a RecordBatch,
    rest: impl IntoIterator<Item = &'a RecordBatch>,
) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), first.schema_ref())?;
    writer.write(first)?;
    rest.into_iter().try_for_each(|rows| writer.write(rows))?;
    writer.finish()?;
    writer.into_inner()
}

/// `rows` in pieces of about `bytes` of memory, so that no message is larger than those who read it allow.
pub(super) fn pieces(rows: &RecordBatch, bytes: u64) -> impl Iterator<Item = RecordBatch> {
    let (count, size) = (rows.num_rows(), rows.get_array_memory_size() as u64);
    let pieces = usize::try_from(size.div_ceil(bytes.max(1))).unwrap_or(usize::MAX).clamp(1, count.max(1));
    let step = count.div_ceil(pieces).max(1);
    let rows = rows.clone();
    (0..count).step_by(step).map(move |from| rows.slice(from, step.min(count - from)))
}

/// The error of a consumer that cannot write `rows`.
pub(super) fn failed(consumer: &'static str, format: &'static str, rows: usize) -> impl FnOnce(ArrowError) -> Error {
    move |source| Error::Encode { consumer, format, rows, source }
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, sync::Arc};

    use arrow::{
        array::{ArrayRef, Float64Array, Int64Array, Int64Builder, MapBuilder, StringArray, StringBuilder},
        ipc::reader::StreamReader,
    };

    use super::*;

    fn rows(count: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let texts: ArrayRef =
            Arc::new((0..count).map(|n| (n % 2 == 0).then(|| n.to_string())).collect::<StringArray>());
        RecordBatch::try_from_iter_with_nullable([("n", numbers, false), ("t", texts, true)]).unwrap()
    }

    #[test]
    fn rows_are_the_same_in_every_format() {
        let two = rows(2);
        assert_eq!(ndjson(&two).unwrap(), b"{\"n\":0,\"t\":\"0\"}\n{\"n\":1}\n");
        assert_eq!(json([&two]).unwrap(), b"[{\"n\":0,\"t\":\"0\"},{\"n\":1}]");
        assert_eq!(json([]).unwrap(), b"[]");
        assert_eq!(csv(&two, true).unwrap(), b"n,t\n0,0\n1,\n");
        assert_eq!(csv(&two, false).unwrap(), b"0,0\n1,\n");
        let odd: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY, -0.0]));
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some(""), None, Some("\u{1b}")]));
        let odd = RecordBatch::try_from_iter_with_nullable([("n", odd, true), ("t", text, true)]).unwrap();
        let lines = ndjson(&odd).unwrap();
        assert_eq!(lines, b"{\"n\":\"NaN\",\"t\":\"\"}\n{\"n\":\"-Infinity\"}\n{\"n\":-0.0,\"t\":\"\\u001b\"}\n");
        assert_eq!(csv(&odd, false).unwrap(), b"NaN,\"\"\n-inf,\n-0.0,\x1b\n");
        let bytes = arrow(&two, [&two]).unwrap();
        let back: Vec<_> = StreamReader::try_new(Cursor::new(bytes), None).unwrap().map(Result::unwrap).collect();
        assert_eq!(back, [two.clone(), two]);
    }

    #[test]
    fn a_map_whose_keys_are_no_texts_is_a_list_of_pairs() {
        let mut map = MapBuilder::new(None, Int64Builder::new(), StringBuilder::new());
        map.keys().append_value(7);
        map.values().append_value("a");
        map.keys().append_value(8);
        map.values().append_null();
        map.append(true).unwrap();
        map.append(false).unwrap();
        let columns: [(&str, ArrayRef); 2] =
            [("m", Arc::new(map.finish())), ("n", Arc::new(Int64Array::from(vec![1, 2])))];
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        let text = String::from_utf8(ndjson(&rows).unwrap()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let pairs = serde_json::json!([{"keys": 7, "values": "a"}, {"keys": 8}]);
        assert_eq!(lines, [serde_json::json!({"m": pairs, "n": 1}), serde_json::json!({"n": 2})]);
    }

    #[test]
    fn pieces_are_the_whole() {
        let whole = rows(1000);
        for bytes in [1, 100, 5000, u64::MAX] {
            let pieces: Vec<_> = pieces(&whole, bytes).collect();
            assert_eq!(arrow::compute::concat_batches(&whole.schema(), &pieces).unwrap(), whole);
        }
        assert_eq!(pieces(&whole, u64::MAX).count(), 1);
        assert_eq!(pieces(&whole, 1).count(), 1000);
        assert_eq!(pieces(&rows(0), 10).count(), 0);
    }
}
