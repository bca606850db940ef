//! Table files of a store that somebody else could write.

use std::sync::Arc;

use ::arrow::{
    array::{
        ArrayRef, BooleanArray, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray,
        TimestampNanosecondArray,
    },
    datatypes::{Int64Type, SchemaRef},
};
use bytes::Bytes;
use spout_fuzz::{Corpus, Counting, Target};

use super::{Format, TableWriter, decode};

#[global_allocator]
static MEMORY: Counting = Counting;

fn rows(format: Format) -> RecordBatch {
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("name", Arc::new(StringArray::from(vec![Some("a,\"b\""), None, Some("é\n")]))),
        ("ok", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("at", Arc::new(TimestampNanosecondArray::from(vec![Some(1), None, Some(-1)]))),
        (
            "price",
            Arc::new(Decimal128Array::from(vec![Some(100), None, Some(-5)]).with_precision_and_scale(20, 2).unwrap()),
        ),
    ];
    if format != Format::Csv {
        let lists = [Some(vec![Some(1), None]), None, Some(vec![])];
        columns.push(("tags", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))));
    }
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// The rows of a damaged file are sound, or it is refused.
fn stored(target: &'static str, format: Format, executions: u64) {
    let whole = rows(format);
    let mut writer = TableWriter::new(format, whole.schema()).unwrap();
    writer.write(&whole).unwrap();
    let bytes = writer.finish().unwrap().bytes.to_vec();
    let corpus = Corpus::of_room(env!("CARGO_MANIFEST_DIR"), target)
        .and([bytes])
        .words(&["null", "1e99", "\"\"", "{", "[", ","]);
    let schema: SchemaRef = whole.schema();
    Target::new(target, executions).bytes(&corpus, |bytes| {
        let mut taken = false;
        for projection in [None, Some([0, 2].as_slice())] {
            let Ok(batches) = decode("fuzz", format, &schema, Bytes::copy_from_slice(bytes), projection) else {
                continue;
            };
            for batch in batches.take(100) {
                let Ok(batch) = batch else { break };
                batch.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
                taken = true;
            }
        }
        taken
    });
}

#[test]
fn stored_parquet() {
    stored("stored-parquet", Format::Parquet, 2_000);
}

#[test]
fn stored_arrow() {
    stored("stored-arrow", Format::Arrow, 2_000);
}

#[test]
fn stored_ndjson() {
    stored("stored-ndjson", Format::Ndjson, 2_000);
}

#[test]
fn stored_csv() {
    stored("stored-csv", Format::Csv, 2_000);
}
