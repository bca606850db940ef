//! Every type in every format: what is stored, what a Delta table has, and that a query reads back what was given.
//!
//! The table in docs/types.md is made of the same rows; this test says what it has to be.

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array,
        Decimal128Array, DictionaryArray, DurationMillisecondArray, DurationNanosecondArray, FixedSizeBinaryArray,
        FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
        LargeBinaryArray, LargeListArray, LargeStringArray, ListArray, MapArray, NullArray, StringViewArray,
        StructArray, Time32MillisecondArray, Time32SecondArray, Time64MicrosecondArray, Time64NanosecondArray,
        TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
        UInt8Array, UInt16Array, UInt32Array, UInt64Array,
    },
    buffer::{NullBuffer, OffsetBuffer},
    compute::{cast, concat_batches},
    datatypes::{Decimal128Type, Int32Type, Int64Type, IntervalUnit},
};
use spout_format::Stored;
use spout_repo::{Depth, Publisher, fsck};

use super::*;

const DOCS: &str = include_str!("../../../../docs/types.md");
const FORMATS: [Format; 4] = [Format::Parquet, Format::Arrow, Format::Ndjson, Format::Csv];

type Case = (&'static str, ArrayRef);

fn plain() -> Vec<Case> {
    let decimal = |values: Vec<Option<i128>>, digits, scale| {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(digits, scale).unwrap())
    };
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.1, f64::MAX, f64::MIN_POSITIVE];
    let odd: ArrayRef = Arc::new(Float64Array::from_iter(odd.map(Some).into_iter().chain([None])));
    let single: ArrayRef = Arc::new(Float32Array::from(vec![Some(f32::NAN), None, Some(f32::NEG_INFINITY), Some(0.1)]));
    let half = cast(&single, &DataType::Float16).unwrap();
    assert!(half.as_any().is::<Float16Array>());
    vec![
        ("null", Arc::new(NullArray::new(3))),
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("int8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)]))),
        ("int16", Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX)]))),
        ("int32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)]))),
        ("int64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
        ("uint8", Arc::new(UInt8Array::from(vec![Some(0), None, Some(u8::MAX)]))),
        ("uint16", Arc::new(UInt16Array::from(vec![Some(0), None, Some(u16::MAX)]))),
        ("uint32", Arc::new(UInt32Array::from(vec![Some(0), None, Some(u32::MAX)]))),
        ("uint64", Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)]))),
        ("float16", half),
        ("float32", single),
        ("float64", odd),
        ("decimal128(38, 10)", decimal(vec![Some(-(10_i128.pow(38) - 1)), None, Some(1)], 38, 10)),
        ("decimal128(5, -3)", decimal(vec![Some(-99_999), None, Some(1)], 5, -3)),
        ("utf8", Arc::new(texts())),
        ("large-utf8", Arc::new(LargeStringArray::from_iter(texts().iter()))),
        ("utf8 view", Arc::new(StringViewArray::from_iter(texts().iter()))),
        ("dictionary of utf8", Arc::new(texts().iter().collect::<DictionaryArray<Int32Type>>())),
        ("binary", Arc::new(BinaryArray::from_opt_vec(bytes()))),
        ("large-binary", Arc::new(LargeBinaryArray::from_opt_vec(bytes()))),
        ("binary view", Arc::new(BinaryViewArray::from_iter(bytes()))),
        (
            "fixed-size-binary(2)",
            Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                    [Some([0, 255]), None, Some([1, 2])].into_iter(),
                    2,
                )
                .unwrap(),
            ),
        ),
    ]
}

fn texts() -> StringArray {
    let odd = ["a,\"b\"\r\nc", "NaN", "null", " x ", "\\", "日本", "\u{1b}[0m\0", "\"", "\n"];
    StringArray::from_iter([Some(""), None].into_iter().chain(odd.map(Some)))
}

fn bytes() -> Vec<Option<&'static [u8]>> {
    vec![Some(b""), None, Some(b"\xff\x00,\"")]
}

fn times() -> Vec<Case> {
    let (first, last, day) = (-62_135_596_800_i64, 253_402_300_799_i64, 86_400_i64);
    let seconds = || vec![Some(first), None, Some(last), Some(-1)];
    let of = |a_second: i64| {
        seconds().into_iter().map(move |at| at.map(|at| at * a_second + (a_second - 1) * i64::from(at > 0)))
    };
    let nanos = || vec![Some(i64::MIN), None, Some(i64::MAX), Some(-1), Some(1_700_000_000_000_000_001), Some(1000)];
    vec![
        ("date32", Arc::new(Date32Array::from(vec![Some(-719_162), None, Some(2_932_896)]))),
        ("date64", Arc::new(Date64Array::from(vec![Some(-day * 1000), None, Some(last * 1000), Some(1)]))),
        ("time32(s)", Arc::new(Time32SecondArray::from(vec![Some(0), None, Some(86_399)]))),
        ("time32(ms)", Arc::new(Time32MillisecondArray::from(vec![Some(1), None, Some(86_399_999)]))),
        ("time64(us)", Arc::new(Time64MicrosecondArray::from(vec![Some(1), None, Some(day * 1_000_000 - 1)]))),
        ("time64(ns)", Arc::new(Time64NanosecondArray::from(vec![Some(1), None, Some(day * 1_000_000_000 - 1)]))),
        ("timestamp(s)", Arc::new(TimestampSecondArray::from(seconds()))),
        ("timestamp(ms)", Arc::new(TimestampMillisecondArray::from_iter(of(1000)))),
        ("timestamp(us)", Arc::new(TimestampMicrosecondArray::from_iter(of(1_000_000)))),
        ("timestamp(ns)", Arc::new(TimestampNanosecondArray::from(nanos()))),
        ("timestamp(s, UTC)", Arc::new(TimestampSecondArray::from(seconds()).with_timezone("UTC"))),
        ("timestamp(ms, +02:00)", Arc::new(TimestampMillisecondArray::from_iter(of(1000)).with_timezone("+02:00"))),
        ("timestamp(us, UTC)", Arc::new(TimestampMicrosecondArray::from_iter(of(1_000_000)).with_timezone("UTC"))),
        ("timestamp(ns, UTC)", Arc::new(TimestampNanosecondArray::from(nanos()).with_timezone("UTC"))),
        ("duration(ms)", Arc::new(DurationMillisecondArray::from(vec![Some(i64::MIN), None, Some(i64::MAX)]))),
        ("duration(ns)", Arc::new(DurationNanosecondArray::from(vec![Some(i64::MIN), None, Some(1)]))),
    ]
}

fn field(name: &str, array: &ArrayRef) -> Arc<Field> {
    Arc::new(Field::new(name, array.data_type().clone(), true))
}

fn list(values: ArrayRef, lengths: &[usize], there: &[bool]) -> ListArray {
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    ListArray::new(field("item", &values), offsets, values, Some(NullBuffer::from(there.to_vec())))
}

fn map(keys: ArrayRef, values: ArrayRef, lengths: &[usize], there: &[bool]) -> MapArray {
    let key = Arc::new(Field::new("key", keys.data_type().clone(), false));
    let entries = StructArray::from(vec![(key, keys), (field("value", &values), values)]);
    let item = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    MapArray::new(item, offsets, entries, Some(NullBuffer::from(there.to_vec())), false)
}

fn nested() -> Vec<Case> {
    let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![Some(1), None, Some(u64::MAX), Some(0)]));
    let inner: ArrayRef =
        Arc::new(list(Arc::new(StringArray::from(vec![Some(""), None])), &[0, 2, 0], &[true, true, false]));
    let moments: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![Some(1000), None, Some(-1000), Some(0)]));
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "", "c\"", "a"]));
    let held = StructArray::new(
        vec![field("n", &numbers), field("at", &moments)].into(),
        vec![Arc::clone(&numbers), Arc::clone(&moments)],
        Some(NullBuffer::from(vec![true, true, false, true])),
    );
    let large = list(Arc::clone(&numbers), &[2, 0, 2], &[true, true, true]);
    let pairs =
        FixedSizeListArray::new(field("item", &numbers), 2, Arc::clone(&numbers), Some(vec![true, false].into()));
    let longs = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![3, -1, 3, 0]));
    vec![
        ("list of int64", Arc::new(longs)),
        ("list of list of utf8", Arc::new(list(inner, &[2, 0, 1], &[true, true, true]))),
        ("list of null", Arc::new(list(Arc::new(NullArray::new(2)), &[2, 0, 0], &[true, true, false]))),
        ("large-list of uint64", cast(&large, &large_list(&large)).unwrap()),
        ("fixed-size-list(2) of uint64", Arc::new(pairs)),
        ("struct of n: uint64, at: timestamp(ns)", Arc::new(held)),
        ("struct without fields", Arc::new(StructArray::new_empty_fields(3, Some(vec![true, false, true].into())))),
        (
            "map of utf8 to uint64",
            Arc::new(map(words, Arc::clone(&numbers), &[3, 0, 0, 1], &[true, true, false, true])),
        ),
        ("map of int64 to timestamp(ns)", Arc::new(map(keys, moments, &[2, 0, 2], &[true, true, true]))),
    ]
}

fn large_list(list: &ListArray) -> DataType {
    let made = LargeListArray::new_null(field("item", list.values()), 0);
    made.data_type().clone()
}

fn refused() -> Vec<Case> {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    vec![("interval", arrow::array::new_null_array(&interval, 1))]
}

/// A row of the table in the docs.
async fn documented((name, array): &Case) -> String {
    let schema: SchemaRef = Schema::new(vec![Field::new("c", array.data_type().clone(), true)]).into();
    let stored = |format| match Stored::new(format, &schema) {
        Ok(stored) => match stored.in_file().field(0).data_type() {
            same if same == array.data_type() => "as it is".to_owned(),
            other => word(other),
        },
        Err(_) => "refused".to_owned(),
    };
    let delta = match stored(Format::Parquet).as_str() {
        "refused" => "–".to_owned(),
        _ => published(array).await,
    };
    let cells = [stored(Format::Parquet), delta, stored(Format::Arrow), stored(Format::Ndjson), stored(Format::Csv)];
    format!("| {name} | {} |", cells.join(" | "))
}

/// What becomes of a column in a Delta table, which has another one beside it.
async fn published(array: &ArrayRef) -> String {
    let (store, dir) = local().await;
    let repo = store.repo_or_create("events", "").await.unwrap();
    let beside: ArrayRef = Arc::new(Int64Array::from_iter_values(0..array.len() as i64));
    let rows = [("c", Arc::clone(array), true), ("beside", beside, false)];
    let rows = RecordBatch::try_from_iter_with_nullable(rows).unwrap();
    let mut open = repo.open_commit();
    open.put_table("/t/a", PutMode::Append, encode(Format::Parquet, &rows)).await.unwrap();
    let mut writer = repo.writer("master", "events").await.unwrap();
    committed(writer.finish(open, CommitMeta::default()).await);
    let publication = Publisher::new(&repo, "master").publish().await.unwrap();
    assert!(publication.failures.is_empty(), "{publication:?}");
    let log = dir.path().join("repos/events/tables/master/t/_delta_log/00000000000000000000.json");
    let log = std::fs::read_to_string(log).unwrap();
    let actions = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let schema = actions.filter_map(|action| Some(action["metaData"]["schemaString"].as_str()?.to_owned())).next();
    let schema: serde_json::Value = serde_json::from_str(&schema.unwrap()).unwrap();
    let column = |name: &str| schema["fields"].as_array().unwrap().iter().find(|field| field["name"] == name);
    let Some(field) = column("c") else { return "left out".to_owned() };
    let kind = field["type"].as_str().or(field["type"]["type"].as_str()).unwrap();
    kind.to_owned() + column("c__nanos").map_or("", |_| ", and the rest")
}

/// A type as the docs call it.
fn word(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("list of {}", word(item.data_type())),
        DataType::LargeList(item) => format!("large-list of {}", word(item.data_type())),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{}: {}", field.name(), word(field.data_type())));
            format!("struct of {}", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(sides) => {
                format!("map of {} to {}", word(sides[0].data_type()), word(sides[1].data_type()))
            }
            other => panic!("{other}"),
        },
        DataType::Timestamp(unit, None) => format!("timestamp({})", unit_word(*unit)),
        DataType::Timestamp(unit, Some(zone)) => format!("timestamp({}, {zone})", unit_word(*unit)),
        other => other.to_string().to_lowercase(),
    }
}

fn unit_word(unit: arrow::datatypes::TimeUnit) -> &'static str {
    use arrow::datatypes::TimeUnit as U;
    match unit {
        U::Second => "s",
        U::Millisecond => "ms",
        U::Microsecond => "us",
        U::Nanosecond => "ns",
    }
}

#[tokio::test]
async fn the_docs_say_what_becomes_of_every_type() {
    let mut rows: Vec<String> = Vec::new();
    for case in [plain(), times(), nested(), refused()].concat() {
        rows.push(documented(&case).await);
    }
    let missing: Vec<_> = rows.iter().filter(|row| !DOCS.lines().any(|line| line == *row)).collect();
    assert!(missing.is_empty(), "docs/types.md has to have these rows:\n{}", rows.join("\n"));
}

#[tokio::test]
async fn every_type_in_every_format_is_read_back_as_it_was() {
    for (name, array) in [plain(), times(), nested()].concat() {
        let rows = RecordBatch::try_from_iter_with_nullable([("c", Arc::clone(&array), true)]).unwrap();
        for format in FORMATS {
            let writer = TableWriter::new(format, rows.schema());
            let Ok(mut writer) = writer else {
                assert_eq!(format, Format::Csv, "{name}: {writer:?}");
                continue;
            };
            // Twice, so that nothing depends on where a batch begins.
            writer.write(&rows).unwrap_or_else(|error| panic!("{name} in {format}: {error:?}"));
            writer.write(&rows.slice(1, rows.num_rows() - 1)).unwrap();
            let encoded = writer.finish().unwrap();
            assert!(encoded.portable);
            let store = Store::open("memory://").await.unwrap();
            let repo = store.repo_or_create("events", "").await.unwrap();
            let mut open = repo.open_commit();
            open.put_table(&format!("/t/a.{format}"), PutMode::Append, encoded).await.unwrap();
            let mut writer = repo.writer("master", "events").await.unwrap();
            let done = writer.finish(open, CommitMeta::default()).await.unwrap();
            assert!(matches!(done, Finished::Committed(_)));
            let answer = query(&store, "select c from events", &Default::default()).await.unwrap();
            let answer = answer.collect().await.unwrap_or_else(|error| panic!("{name} in {format}: {error:?}"));
            let found = concat_batches(answer[0].schema_ref(), &answer).unwrap();
            let expected = concat_batches(&rows.schema(), [&rows, &rows.slice(1, rows.num_rows() - 1)]).unwrap();
            assert_eq!(found.column(0), expected.column(0), "{name} in {format}");
            let report = fsck(&store, None, Depth::Decoded).await.unwrap();
            assert!(report.findings.is_empty() && report.tables == 1, "{name} in {format}: {report:?}");
        }
    }
}

#[test]
fn digits_are_those_that_were_given() {
    let array: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let stored = spout_format::convert(&array, &DataType::Decimal128(20, 0)).unwrap();
    assert_eq!(stored.as_primitive::<Decimal128Type>().value_as_string(0), "18446744073709551615");
}
