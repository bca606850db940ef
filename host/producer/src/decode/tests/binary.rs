//! Rows of arrow, avro and protobuf, and what becomes of hostile ones.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, DictionaryArray, Float32Array, Int32Array, Int64Array, ListArray,
        StringArray, StructArray,
    },
    datatypes::{Field, Int32Type, Int64Type},
    ipc::{
        CompressionType,
        writer::{IpcWriteOptions, StreamWriter},
    },
};
use arrow_avro::{
    compression::CompressionCodec,
    writer::{WriterBuilder, format::AvroOcfFormat},
};
use prost_reflect::{
    DescriptorPool, DynamicMessage, MapKey, Value,
    prost::Message,
    prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
        FileDescriptorSet, MessageOptions, OneofDescriptorProto,
        field_descriptor_proto::{Label, Type},
    },
};

use super::*;

pub(super) fn batch(ids: &[i64]) -> RecordBatch {
    let names: StringArray = ids.iter().map(|id| (id % 2 == 0).then(|| format!("n{id}"))).collect();
    let tags = ids.iter().map(|id| Some(vec![Some(*id), None]));
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        ("name", Arc::new(names)),
        ("tags", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(tags))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

pub(super) fn ipc(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), batches[0].schema_ref(), options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

pub(super) fn ocf(batches: &[RecordBatch], codec: Option<CompressionCodec>) -> Vec<u8> {
    let builder = WriterBuilder::new(batches[0].schema().as_ref().clone()).with_compression(codec);
    let mut writer = builder.build::<_, AvroOcfFormat>(Vec::new()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner()
}

#[tokio::test]
async fn arrow_streams_have_a_schema_of_their_own() {
    let spec = r#"{"type":"arrow"}"#;
    let mut unended = ipc(&[batch(&[2])], None);
    unended.truncate(unended.len() - 8);
    let other: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let other = RecordBatch::try_from_iter([("id", other)]).unwrap();
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let narrow = RecordBatch::try_from_iter([("id", narrow)]).unwrap();
    let values = [
        ipc(&[batch(&[0, 1]), batch(&[5])], None),
        unended,
        b"nonsense".to_vec(),
        ipc(&[other], None),
        ipc(&[narrow], None),
        ipc(&[batch(&[0; 100])], Some(CompressionType::ZSTD)),
    ];
    let rows = [
        r#"{"id":0,"name":"n0","tags":[0,null]}"#,
        r#"{"id":1,"tags":[1,null]}"#,
        r#"{"id":5,"tags":[5,null]}"#,
        r#"{"id":2,"name":"n2","tags":[2,null]}"#,
        r#"{"id":7}"#,
    ];
    check(spec, &values, &rows, &[(12, "arrow.syntax"), (13, "arrow.type"), (15, "arrow.syntax")]).await;
}

#[tokio::test]
async fn compressed_arrow_streams_are_read_where_that_is_asked_for() {
    for codec in [CompressionType::ZSTD, CompressionType::LZ4_FRAME] {
        let values = [ipc(&[batch(&[4; 1000])], Some(codec))];
        let rows = vec![r#"{"id":4,"name":"n4","tags":[4,null]}"#; 1000];
        check(r#"{"type":"arrow","compression":true}"#, &values, &rows, &[]).await;
    }
}

#[tokio::test]
async fn arrow_types_that_no_reader_knows_are_settled() {
    let dictionary: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let inner: ArrayRef = Arc::new(Float32Array::from(vec![1.5, 2.5, 3.5]));
    let inner = StructArray::from(vec![(Arc::new(Field::new("f", inner.data_type().clone(), false)), inner)]);
    let columns: [(&str, ArrayRef); 2] = [("d", Arc::new(dictionary)), ("s", Arc::new(inner))];
    let rows = [r#"{"d":"a","s":{"f":1.5}}"#, r#"{"d":"b","s":{"f":2.5}}"#, r#"{"d":"a","s":{"f":3.5}}"#];
    let value = ipc(&[RecordBatch::try_from_iter(columns).unwrap()], None);
    check(r#"{"type":"arrow"}"#, &[&value], &rows, &[]).await;
    let rows = [r#"{"s":{"f":1.5}}"#, r#"{"s":{"f":2.5}}"#, r#"{"s":{"f":3.5}}"#];
    check(r#"{"type":"arrow","schema":{"s":{"f":"float64","g":"utf8"}}}"#, &[&value], &rows, &[]).await;
    let strict = r#"{"type":"arrow","schema":{"d":"utf8"},"unknown":"fail"}"#;
    check(strict, &[&value], &[], &[(10, "arrow.type")]).await;
}

#[tokio::test]
async fn avro_containers_are_read_with_every_codec() {
    use CompressionCodec::{Deflate, Snappy, ZStandard};
    for codec in [None, Some(Deflate), Some(Snappy), Some(ZStandard)] {
        let whole = ocf(&[batch(&[0, 1]), batch(&[5])], codec);
        let values = [&whole[..], &whole[..whole.len() - 20], &whole[..30], b"Obj\x01"];
        let rows =
            [r#"{"id":0,"name":"n0","tags":[0,null]}"#, r#"{"id":1,"tags":[1,null]}"#, r#"{"id":5,"tags":[5,null]}"#];
        // The first block of the one that is cut short is whole.
        let rows = [&rows[..], &rows[..2]].concat();
        let dead = [(12, "avro.syntax"), (13, "avro.syntax"), (11, "avro.syntax")];
        check(r#"{"type":"avro"}"#, &values, &rows, &dead).await;
    }
}

#[tokio::test]
async fn a_block_that_hides_rows_does_not_keep_the_decoder_busy() {
    let mut hiding = ocf(&[batch(&[0, 1])], None);
    let marker = hiding[hiding.len() - 16..].to_vec();
    let header = hiding.windows(16).position(|window| window == marker).unwrap() + 16;
    assert_eq!(hiding[header], 4);
    hiding[header] = 2;
    check(r#"{"type":"avro"}"#, &[hiding], &[], &[(10, "avro.syntax")]).await;
}

/// A container as a writer makes it, with blocks of so many records.
pub(super) fn raw_container(schema: &str, blocks: &[(u8, &[u8])]) -> Vec<u8> {
    let number = |n: usize| match n {
        0..64 => vec![(n as u8) << 1],
        _ => vec![((n << 1) as u8 & 0x7f) | 0x80, (n >> 6) as u8],
    };
    let mut out = b"Obj\x01\x02\x16avro.schema".to_vec();
    out.extend(number(schema.len()));
    out.extend(schema.as_bytes());
    out.push(0);
    out.extend(MARKER);
    for (count, data) in blocks {
        out.extend([number(usize::from(*count)), number(data.len()), data.to_vec(), MARKER.to_vec()].concat());
    }
    out
}

const MARKER: [u8; 16] = *b"0123456789abcdef";

pub(super) fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

#[tokio::test]
async fn unions_are_their_branch_or_a_struct_of_branches() {
    let spec = r#"{"type":"avro"}"#;
    let single = record(r#"{"name":"id","type":["long"]},{"name":"n","type":["null"]}"#);
    check(spec, &[raw_container(&single, &[(2, &[0, 14, 0, 0, 16, 0])])], &[r#"{"id":7}"#, r#"{"id":8}"#], &[]).await;
    let point = r#"{"type":"record","name":"P","fields":[{"name":"x","type":"int"}]}"#;
    let several = record(&format!(r#"{{"name":"v","type":["null","int","string",{point}]}}"#));
    let data = [&[0][..], &[2, 10], &[4, 4, b'h', b'i'], &[6, 8]].concat();
    let rows = ["{}", r#"{"v":{"int":5}}"#, r#"{"v":{"string":"hi"}}"#, r#"{"v":{"P":{"x":4}}}"#];
    check(spec, &[raw_container(&several, &[(4, &data)])], &rows, &[]).await;
    let lists = record(r#"{"name":"l","type":{"type":"array","items":["int","string"]}}"#);
    let data = [4, 0, 2, 2, 2, b'a', 0];
    check(spec, &[raw_container(&lists, &[(1, &data)])], &[r#"{"l":[{"int":1},{"string":"a"}]}"#], &[]).await;
    let last = record(
        r#"{"name":"s","type":["string","null"]},{"name":"t","type":{"type":"array","items":["null","int"]}},{"name":"m","type":{"type":"map","values":["null","string"]}}"#,
    );
    let data = [&[2][..], &[6, 2, 2, 0, 2, 6, 0], &[4, 2, b'a', 0, 2, b'b', 2, 2, b'x', 0]].concat();
    let factory = factory(spec, std::path::Path::new(""));
    let decoded = decode(&factory, messages(&[raw_container(&last, &[(1, &data)])], None)).await;
    assert!(decoded.dead.is_empty(), "{:?}", decoded.dead);
    let (got, _) = told(&decoded);
    assert!(got[0].starts_with(r#"{"t":[1,null,3],"m":{"#), "{got:?}");
    let entries = decoded.records.column_by_name("m").unwrap().as_map().entries().clone();
    let shown = |column: usize, row| arrow::util::display::array_value_to_string(entries.column(column), row).unwrap();
    assert_eq!([shown(0, 0), shown(0, 1), shown(1, 1)], ["a", "b", "x"]);
    assert!(entries.column(1).is_null(0));
    let empty = record(r#"{"name":"id","type":"long"},{"name":"e","type":{"type":"record","name":"E","fields":[]}}"#);
    let values = [raw_container(&empty, &[(1, &[2])]), ocf(&[batch(&[1])], None)];
    check(spec, &values, &[r#"{"id":1,"tags":[1,null]}"#], &[(10, "avro.syntax")]).await;
}

#[tokio::test]
async fn a_type_that_contains_itself_is_refused_by_the_name_of_its_field() {
    let schema = record(r#"{"name":"value","type":"long"},{"name":"next","type":["null","R"]}"#);
    let good = ocf(&[batch(&[1])], None);
    let values = [raw_container(&schema, &[(1, &[2, 0])]), good];
    let batch = decode(&factory(r#"{"type":"avro"}"#, std::path::Path::new("")), messages(&values, None)).await;
    assert_eq!((batch.records.num_rows(), batch.dead.len()), (1, 1));
    let reason = &batch.dead[0].reason;
    assert!(
        reason.contains("field `next`") && reason.contains("contains itself") && reason.contains("text"),
        "{reason}"
    );
}

#[tokio::test]
async fn what_is_broken_of_a_container_is_set_aside_and_the_rest_is_rows() {
    let schema = record(r#"{"name":"id","type":"long"},{"name":"s","type":"string"}"#);
    let row = |id: u8, text: &[u8]| [&[id << 1, (text.len() as u8) << 1][..], text].concat();
    let set_aside = async |container: Vec<u8>, ids: &[i64], pieces: &[(&[u8], &str)]| {
        let factory = factory(r#"{"type":"avro"}"#, std::path::Path::new(""));
        let batch = decode(&factory, messages(&[container], None)).await;
        let got: Vec<String> = told(&batch).0;
        let expected: Vec<String> = ids.iter().map(|id| format!(r#"{{"id":{id},"s":"x"}}"#)).collect();
        assert_eq!(got, expected);
        assert_eq!(batch.origins, Origins::Taken(vec![0; ids.len()].into()));
        for (letter, (value, part)) in batch.dead.iter().zip(pieces) {
            assert_eq!((letter.offset, &letter.value[..]), (10, *value));
            assert!(letter.code == "avro.syntax" && letter.reason.contains(part), "{}", letter.reason);
        }
        assert_eq!(batch.dead.len(), pieces.len(), "{:?}", batch.dead);
    };
    let good = |ids: &[u8]| ids.iter().flat_map(|&id| row(id, b"x")).collect::<Vec<u8>>();
    // A text that is none: its record alone.
    let bad = row(2, b"\xff");
    let mixed = [good(&[1]), bad.clone(), good(&[3])].concat();
    let container = raw_container(&schema, &[(3, &mixed), (1, &good(&[4]))]);
    set_aside(container, &[1, 3, 4], &[(&bad[..], "record 2")]).await;
    // A length that is none: what follows it in the block.
    let lost = [&[4, 0x7f][..], &good(&[9])].concat();
    let mixed = [good(&[1]), lost.clone()].concat();
    let container = raw_container(&schema, &[(3, &mixed), (1, &good(&[4]))]);
    set_aside(container, &[1, 4], &[(&lost[..], "record 2 of 3: a length is negative")]).await;
    // A block that says it is longer than it is: up to the next marker.
    let mut container = raw_container(&schema, &[(1, &good(&[1])), (1, &good(&[2])), (1, &good(&[3]))]);
    let second = container.len() - 2 * (2 + 3 + 16);
    assert_eq!(container[second..second + 2], [2, 6]);
    container[second + 1] = 8;
    let broken = container[second..second + 21].to_vec();
    set_aside(container.clone(), &[1, 3], &[(&broken[..], format!("the block at byte {second}").as_str())]).await;
    // A marker that is none, and an end that is cut off.
    container[second + 1] = 6;
    container[second + 10] ^= 1;
    container.truncate(container.len() - 3);
    let broken = container[second..].to_vec();
    set_aside(container, &[1], &[(&broken[..], "marker")]).await;
}

/// One byte says that all of many are null, and each of them has its place in a column.
#[tokio::test]
async fn nulls_take_no_more_room_than_there_is() {
    let spec = |writer: &str| format!(r#"{{"type":"avro","encoding":"record","writer":{writer}}}"#);
    let fields: Vec<String> = (0..2000).map(|n| format!(r#"{{"name":"c{n}","type":"long"}}"#)).collect();
    let wide = format!(r#"["null",{{"type":"record","name":"W","fields":[{}]}}]"#, fields.join(","));
    let list = format!(r#"{{"type":"array","items":{wide}}}"#);
    let large = r#"["null",{"type":"fixed","name":"F","size":2147483647}]"#;
    let refused = async |spec: &str, value: Vec<u8>, why: &str| {
        let batch = decode(&factory(spec, std::path::Path::new("")), messages(&[value], None)).await;
        assert!(!batch.dead.is_empty(), "{spec:.100}");
        let last = batch.dead.last().map(|letter| letter.reason.clone()).unwrap_or_default();
        assert!(last.contains(why), "{last}");
    };
    let room = "far more room than its bytes";
    // Two gigabytes each.
    let container = raw_container(&record(&format!(r#"{{"name":"f","type":{large}}}"#)), &[(60, &[0; 60])]);
    refused(r#"{"type":"avro"}"#, container, "of fixed size").await;
    // A hundred thousand items of two thousand columns.
    let items = [&[0xc0, 0x9a, 0x0c][..], &[0; 100_000], &[0]].concat();
    let schema = record(&format!(r#"{{"name":"f","type":{list}}}"#));
    refused(&spec(&schema), items, room).await;
    // One of them is honest.
    let batch = decode(&factory(&spec(&schema), std::path::Path::new("")), messages(&[[2, 0, 0]], None)).await;
    assert!(batch.dead.is_empty() && batch.records.num_rows() == 1, "{:?}", batch.dead);
}

#[tokio::test]
async fn a_container_with_nothing_but_broken_rows_is_set_aside_whole() {
    let schema = record(r#"{"name":"s","type":"string"}"#);
    let block: (u8, &[u8]) = (1, &[2, 0xff]);
    let container = raw_container(&schema, &vec![block; 1001]);
    let batch = decode(&factory(r#"{"type":"avro"}"#, std::path::Path::new("")), messages(&[&container], None)).await;
    assert_eq!((batch.dead.len(), &batch.dead[0].value[..]), (1, &container[..]));
    assert!(batch.dead[0].reason.contains("more than 1000"), "{}", batch.dead[0].reason);
}

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"kind","type":{"type":"enum","name":"Kind","symbols":["NEW","OLD"]}},{"name":"note","type":["null","string"]}]}"#;

#[tokio::test]
async fn avro_records_are_read_with_their_writers_schema() {
    let spec = |encoding: &str| format!(r#"{{"type":"avro","encoding":"{encoding}","writer":{ORDER}}}"#);
    let (record, rows) = (b"\x02\x02\x02\x04hi", [r#"{"id":1,"kind":"OLD","note":"hi"}"#]);
    let dead = [(11, "avro.syntax"), (12, "avro.syntax")];
    check(&spec("record"), &[&record[..], &record[..4], b"\x02\x02\x00\x00"], &rows, &dead).await;
    let behind = [b"\x00\x00\x00\x00\x2a", &record[..]].concat();
    let twice = [rows[0], rows[0]];
    check(&spec("confluent"), &[&behind[..], record], &twice, &[]).await;
    let schema = arrow_avro::schema::AvroSchema::new(ORDER.into());
    let rabin = schema.fingerprint(arrow_avro::schema::FingerprintAlgorithm::Rabin).unwrap();
    let arrow_avro::schema::Fingerprint::Rabin(rabin) = rabin else { panic!("{rabin:?}") };
    let single = [b"\xc3\x01", &rabin.to_le_bytes()[..], record].concat();
    let mut other = single.clone();
    other[4] ^= 1;
    check(&spec("single"), &[&single[..], &other, record], &rows, &dead).await;
}

#[tokio::test]
async fn names_of_types_may_have_their_namespace_in_front() {
    let city = r#"{"type":"record","name":"geo.City","fields":[{"name":"n","type":"string"}]}"#;
    let fields = format!(r#"{{"name":"to","type":{city}}},{{"name":"via","type":"geo.City"}}"#);
    let writer = format!(r#"{{"type":"record","name":"shop.Order","fields":[{fields}]}}"#);
    let row = r#"{"to":{"n":"a"},"via":{"n":"b"}}"#;
    let spec = format!(r#"{{"type":"avro","encoding":"record","writer":{writer}}}"#);
    check(&spec, &[b"\x02a\x02b"], &[row], &[]).await;
    check(r#"{"type":"avro"}"#, &[raw_container(&writer, &[(1, b"\x02a\x02b")])], &[row], &[]).await;
}

#[tokio::test]
async fn files_start_at_the_directory_of_the_spec() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("order.avsc"), ORDER).unwrap();
    let spec = r#"{"type":"avro","encoding":"record","writer":{"file":"order.avsc"}}"#;
    let factory = factory(spec, dir.path());
    expect(&factory, messages(&[b"\x02\x00\x00"], None), &[r#"{"id":1,"kind":"NEW"}"#], &[]).await;
}

fn field(name: &str, number: i32, kind: Type, of: &str, label: Label) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(label.into()),
        type_name: (!of.is_empty()).then(|| of.into()),
        ..Default::default()
    }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.into()), field, ..Default::default() }
}

/// A type with one field of each kind, and one that contains itself.
pub(super) fn descriptors() -> Vec<u8> {
    use Label::{Optional, Repeated};
    let mut entry = message(
        "CountsEntry",
        vec![field("key", 1, Type::String, "", Optional), field("value", 2, Type::Int32, "", Optional)],
    );
    entry.options = Some(MessageOptions { map_entry: Some(true), ..Default::default() });
    let mut maybe = field("maybe", 9, Type::Bool, "", Optional);
    (maybe.oneof_index, maybe.proto3_optional) = (Some(0), Some(true));
    let mut order = message(
        "Order",
        vec![
            field("id", 1, Type::Int64, "", Optional),
            field("kind", 2, Type::Enum, ".shop.Kind", Optional),
            field("items", 3, Type::Message, ".shop.Item", Repeated),
            field("counts", 4, Type::Message, ".shop.Order.CountsEntry", Repeated),
            field("blob", 5, Type::Bytes, "", Optional),
            field("at", 6, Type::Message, ".google.protobuf.Timestamp", Optional),
            field("parent", 7, Type::Message, ".shop.Order", Optional),
            field("sizes", 8, Type::Float, "", Repeated),
            maybe,
        ],
    );
    order.nested_type = vec![entry];
    order.oneof_decl = vec![OneofDescriptorProto { name: Some("_maybe".into()), options: None }];
    let value =
        |name: &str, number| EnumValueDescriptorProto { name: Some(name.into()), number: Some(number), options: None };
    let kind = EnumDescriptorProto {
        name: Some("Kind".into()),
        value: vec![value("NEW", 0), value("OLD", 1)],
        ..Default::default()
    };
    let time = FileDescriptorProto {
        name: Some("google/protobuf/timestamp.proto".into()),
        package: Some("google.protobuf".into()),
        message_type: vec![message(
            "Timestamp",
            vec![field("seconds", 1, Type::Int64, "", Optional), field("nanos", 2, Type::Int32, "", Optional)],
        )],
        syntax: Some("proto3".into()),
        ..Default::default()
    };
    let shop = FileDescriptorProto {
        name: Some("shop.proto".into()),
        package: Some("shop".into()),
        dependency: vec!["google/protobuf/timestamp.proto".into()],
        message_type: vec![message("Item", vec![field("sku", 1, Type::String, "", Optional)]), order],
        enum_type: vec![kind],
        syntax: Some("proto3".into()),
        ..Default::default()
    };
    FileDescriptorSet { file: vec![time, shop] }.encode_to_vec()
}

pub(super) fn order() -> Vec<u8> {
    let pool = DescriptorPool::decode(&*descriptors()).unwrap();
    let of = |name: &str| DynamicMessage::new(pool.get_message_by_name(name).unwrap());
    let (mut order, mut item, mut at, mut parent) =
        (of("shop.Order"), of("shop.Item"), of("google.protobuf.Timestamp"), of("shop.Order"));
    item.set_field_by_name("sku", Value::String("s".into()));
    at.set_field_by_name("seconds", Value::I64(1));
    at.set_field_by_name("nanos", Value::I32(5_000));
    parent.set_field_by_name("id", Value::I64(1));
    order.set_field_by_name("id", Value::I64(-3));
    order.set_field_by_name("kind", Value::EnumNumber(1));
    order.set_field_by_name("items", Value::List(vec![Value::Message(item)]));
    let counts = ["b", "a"].map(|key| (MapKey::String(key.into()), Value::I32(2)));
    order.set_field_by_name("counts", Value::Map(counts.into()));
    order.set_field_by_name("blob", Value::Bytes(vec![0xab].into()));
    order.set_field_by_name("at", Value::Message(at));
    order.set_field_by_name("parent", Value::Message(parent));
    order.set_field_by_name("sizes", Value::List(vec![Value::F32(0.5)]));
    order.set_field_by_name("maybe", Value::Bool(false));
    order.encode_to_vec()
}

#[tokio::test]
async fn protobuf_messages_are_read_with_their_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("shop.pb"), descriptors()).unwrap();
    let spec = r#"{"type":"protobuf","descriptor":"shop.pb","message":"shop.Order"}"#;
    let whole = r#"{"id":-3,"kind":"OLD","items":[{"sku":"s"}],"counts":{"a":2,"b":2},"blob":"ab","at":"1970-01-01T00:00:01.000005Z","parent":"0801","sizes":[0.5],"maybe":false}"#;
    let rows = [
        whole,
        r#"{"id":0,"kind":"NEW","items":[],"counts":{},"blob":"","sizes":[]}"#,
        r#"{"id":0,"kind":"7","items":[],"counts":{},"blob":"","sizes":[]}"#,
    ];
    let values = [&order()[..], b"", b"\x10\x07", b"\x08", b"\xff\xff"];
    expect(
        &factory(spec, dir.path()),
        messages(&values, None),
        &rows,
        &[(13, "protobuf.syntax"), (14, "protobuf.syntax")],
    )
    .await;
    let some = r#"{"type":"protobuf","descriptor":"shop.pb","message":"shop.Order","unknown":"fail","schema":{"kind":"utf8","at":"timestamp(s)"},"coerce":{"roundTimes":"down"}}"#;
    let rows = [r#"{"kind":"OLD","at":"1970-01-01T00:00:01"}"#];
    // Nothing is cut off unless that is said.
    let exact = some.replace(r#","coerce":{"roundTimes":"down"}"#, "");
    expect(&factory(&exact, dir.path()), messages(&[&order()[..]], None), &[], &[(10, "protobuf.type")]).await;
    expect(
        &factory(some, dir.path()),
        messages(&[&order()[..], b"\xf8\x07\x01"], None),
        &rows,
        &[(11, "protobuf.syntax")],
    )
    .await;
}
