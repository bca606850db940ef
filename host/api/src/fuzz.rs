//! Tables and inputs that are put: whatever they are, they become rows or an error.

use std::{
    io::{Seek as _, Write as _},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, DictionaryArray, Int64Array, ListArray, RecordBatch, StringArray},
    datatypes::{Int32Type, Int64Type},
    ipc::writer::FileWriter,
};
use parquet::arrow::ArrowWriter;
use spout_format::Format;
use spout_fuzz::{Corpus, Counting, Target};

use super::table::Import;

#[global_allocator]
static MEMORY: Counting = Counting;

fn rows() -> RecordBatch {
    let lists = [Some(vec![Some(1), None]), None, Some(vec![])];
    let words: DictionaryArray<Int32Type> = ["x", "y", "x"].into_iter().collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("name", Arc::new(StringArray::from(vec![Some("a"), None, Some("é")]))),
        ("word", Arc::new(words)),
        ("tags", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn parquet() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows().schema(), None).unwrap();
    writer.write(&rows()).unwrap();
    writer.close().unwrap();
    bytes
}

fn arrow_file() -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &rows().schema()).unwrap();
    writer.write(&rows()).unwrap();
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

/// The rows of a table are sound as far as they come.
fn imported(target: &'static str, format: Format, executions: u64, inputs: Vec<Vec<u8>>) {
    let words = ["null", "1e99", "\"\"", "{", "[", ",", "\n", "\"", "\u{feff}"];
    let corpus = Corpus::of_room(env!("CARGO_MANIFEST_DIR"), target).and(inputs).words(&words);
    Target::new(target, executions).bytes(&corpus, |bytes| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        let Ok(mut import) = Import::open(file, "in", format, None) else { return false };
        let mut taken = false;
        for _ in 0..100 {
            let Some(Ok(batch)) = import.next() else { break };
            batch.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
            taken = true;
        }
        taken
    });
}

#[test]
fn table_parquet() {
    imported("table-parquet", Format::Parquet, 1_500, vec![parquet()]);
}

#[test]
fn table_arrow() {
    imported("table-arrow", Format::Arrow, 1_500, vec![arrow_file()]);
}

#[test]
fn table_csv() {
    imported("table-csv", Format::Csv, 1_000, vec![b"a,b,c\n1,x,\n2.5,\"y\nz\",\n".to_vec()]);
}

#[test]
fn table_ndjson() {
    imported(
        "table-ndjson",
        Format::Ndjson,
        1_000,
        vec![b"{\"a\":1,\"b\":{\"c\":null}}\n\n{\"a\":2.5,\"d\":[1]}\n".to_vec()],
    );
}
