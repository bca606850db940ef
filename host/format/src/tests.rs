//! Every format gives back what it was given, and says what it cannot hold.

use std::sync::Arc;

use ::arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, ListArray,
        NullArray, RecordBatch, StringArray, StructArray, TimestampMillisecondArray, TimestampNanosecondArray,
        UInt64Array,
    },
    compute::concat_batches,
    datatypes::{DataType, Field, Int64Type, Schema},
};
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use spout_base::error::Coded;

use super::*;

fn plain() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("int8", Arc::new(Int8Array::from(vec![Some(-1), None, Some(127)]))),
        ("uint64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
        ("float", Arc::new(Float64Array::from(vec![Some(0.1), None, Some(-1e300)]))),
        ("text", Arc::new(StringArray::from(vec![Some("a,\"b\"\nc"), None, Some("日本")]))),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("date", Arc::new(Date32Array::from(vec![Some(0), None, Some(20_000)]))),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![Some(1), None, Some(1_700_000_000_123)]))),
        ("ns", Arc::new(TimestampNanosecondArray::from(vec![Some(1), None, Some(2)]).with_timezone("+00:00"))),
        (
            "decimal",
            Arc::new(Decimal128Array::from(vec![Some(12345), None, Some(-1)]).with_precision_and_scale(9, 2).unwrap()),
        ),
        ("null", Arc::new(NullArray::new(3))),
    ]
}

fn nested() -> Vec<(&'static str, ArrayRef)> {
    let inner: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("z")]));
    let place = StructArray::from(vec![(Arc::new(Field::new("in", inner.data_type().clone(), true)), inner)]);
    vec![
        ("place", Arc::new(place)),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
                Some(vec![Some(1), None]),
                None,
                Some(vec![]),
            ])),
        ),
        ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\xff\x00"), None, Some(b"")]))),
    ]
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Schema::new(fields).into(), arrays).unwrap()
}

fn encode(format: Format, batches: &[RecordBatch]) -> Encoded {
    let mut writer = TableWriter::new(format, batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
        assert!(writer.bytes_buffered() > 0);
    }
    writer.finish().unwrap()
}

fn back(encoded: &Encoded, projection: Option<&[usize]>) -> RecordBatch {
    let read = decode("/t", encoded.format, &encoded.schema, encoded.bytes.clone(), projection).unwrap();
    let read: Vec<_> = read.collect::<Result<_, _>>().unwrap();
    concat_batches(&read[0].schema(), &read).unwrap()
}

const ALL: [Format; 4] = [Format::Parquet, Format::Arrow, Format::Ndjson, Format::Csv];

#[test]
fn rows_come_back_as_they_were() {
    for format in ALL {
        let columns = match format {
            Format::Csv => plain(),
            _ => [plain(), nested()].concat(),
        };
        let given = batch(columns);
        let encoded = encode(format, &[given.clone(), given.clone()]);
        assert_eq!((encoded.rows, encoded.sha256.len()), (6, 64));
        let expected = concat_batches(&given.schema(), [&given, &given]).unwrap();
        let found = back(&encoded, None);
        for (index, field) in given.schema().fields().iter().enumerate() {
            assert_eq!(found.column(index), expected.column(index), "{} in {format}", field.name());
        }
        let some = back(&encoded, Some(&[0, 3]));
        assert_eq!(some.columns(), expected.project(&[0, 3]).unwrap().columns(), "{format}");
    }
}

#[test]
fn a_table_without_rows_is_a_file() {
    for format in ALL {
        let given = batch(plain());
        let encoded = TableWriter::new(format, given.schema()).unwrap().finish().unwrap();
        let read: Vec<_> = decode("/t", format, &encoded.schema, encoded.bytes, None).unwrap().collect();
        assert!(read.iter().all(|batch| batch.as_ref().unwrap().num_rows() == 0), "{format}");
    }
}

#[test]
fn csv_refuses_what_it_cannot_hold() {
    for (name, column) in nested() {
        let error = TableWriter::new(Format::Csv, batch(vec![(name, Arc::clone(&column))]).schema()).unwrap_err();
        assert_eq!(error.code(), "E0541");
        assert!(error.to_string().contains(&format!("column `{name}`")), "{error}");
        assert!(storable(Format::Csv, &batch(vec![(name, column)]).schema()).is_err());
    }
}

#[test]
fn rows_of_another_schema_are_refused() {
    for format in [Format::Parquet, Format::Arrow] {
        let mut writer = TableWriter::new(format, batch(plain()).schema()).unwrap();
        assert_eq!(writer.write(&batch(nested())).unwrap_err().code(), "E0540", "{format}");
    }
}

#[test]
fn foreign_bytes_are_refused() {
    let schema = batch(plain()).schema();
    for format in ALL {
        let read = decode("/t", format, &schema, "}not a table{,,,\n".into(), None);
        let error = read.and_then(|batches| batches.collect::<Result<Vec<_>, _>>()).unwrap_err();
        assert_eq!(error.code(), "E0542", "{format}: {error}");
    }
}

#[test]
fn parquet_statistics_are_exact() {
    let encoded = encode(Format::Parquet, &[batch([plain(), nested()].concat())]);
    let of = |name: &str| encoded.columns.iter().find(|column| column.name == name).unwrap().clone();
    let check = |name: &str, min: serde_json::Value, max: serde_json::Value| {
        assert_eq!((of(name).min, of(name).max, of(name).nulls), (Some(min), Some(max), Some(1)), "{name}");
    };
    check("int8", (-1).into(), 127.into());
    check("float", (-1e300).into(), 0.1.into());
    check("text", "a,\"b\"\nc".into(), "日本".into());
    check("bool", false.into(), true.into());
    check("ms", 1.into(), 1_700_000_000_123i64.into());
    check("uint64", 0.into(), u64::MAX.into());
    check("ns", 1.into(), 2.into());
}

/// Texts of a file that are read as views, some of them with a dictionary, some nested, with nanoseconds behind all.
#[test]
fn texts_are_read_as_views_where_they_are_asked_for_so() {
    let texts = |n: i64| format!("a text of more than twelve bytes, {}", n * 7919 % 6007);
    let few: ArrayRef = Arc::new(StringArray::from_iter((0..6000).map(|n| (n % 3 > 0).then(|| texts(n % 4)))));
    let many: ArrayRef = Arc::new(StringArray::from_iter_values((0..6000).map(texts)));
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter_values(0..6000));
    let columns = [("few", few, true), ("many", many, true), ("ns", times, true)];
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = TableWriter::new(Format::Parquet, rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    let file = writer.finish().unwrap();
    let given = rows.schema();
    let viewed = given.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        _ => Arc::clone(field),
    });
    let viewed = SchemaRef::new(Schema::new(viewed.collect::<Vec<_>>()));
    for wanted in [None, Some([0].as_slice()), Some([1, 2].as_slice())] {
        let read = decode("it", Format::Parquet, &viewed, file.bytes.clone(), wanted).unwrap();
        let read: Vec<_> = read.map(Result::unwrap).collect();
        let schema = wanted.map_or_else(|| SchemaRef::clone(&viewed), |wanted| viewed.project(wanted).unwrap().into());
        let read = concat_batches(&schema, &read).unwrap();
        let asked = rows.project(wanted.unwrap_or(&[0, 1, 2])).unwrap();
        for (there, asked) in read.columns().iter().zip(asked.columns()) {
            assert_eq!(&convert(there, asked.data_type()).unwrap(), asked);
        }
    }
    // Not turned into views afterwards: no text was copied out of its page.
    let footer = ArrowReaderMetadata::load(&file.bytes, ArrowReaderOptions::new()).unwrap();
    let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    assert_eq!(types(with_views(footer, &viewed).schema())[..2], [DataType::Utf8View, DataType::Utf8View]);
}
