//! Rows of arrow, avro and protobuf, and what becomes of hostile ones.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, DictionaryArray, Float32Array, Int32Array, Int64Array, ListArray, StringArray, StructArray},
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
use proptest::prelude::*;
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
        let dead = [(11, "avro.syntax"), (12, "avro.syntax"), (13, "avro.syntax")];
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

fn mutated(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    for (at, with) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *with;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len() + 1));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn hostile_messages_are_faults_and_nothing_else(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("shop.pb"), descriptors()).unwrap();
        let zstd = Some(CompressionType::ZSTD);
        let cases = [
            (r#"{"type":"arrow","compression":true}"#.to_owned(), ipc(&[batch(&[0, 1, 2])], None)),
            (r#"{"type":"arrow","compression":true}"#.to_owned(), ipc(&[batch(&[2; 200])], zstd)),
            (r#"{"type":"avro"}"#.to_owned(), ocf(&[batch(&[0, 1, 2])], None)),
            (r#"{"type":"avro"}"#.to_owned(), ocf(&[batch(&[2; 50])], Some(CompressionCodec::Snappy))),
            (format!(r#"{{"type":"avro","encoding":"record","writer":{ORDER}}}"#), b"\x02\x02\x02\x04hi".to_vec()),
            (r#"{"type":"protobuf","descriptor":"shop.pb","message":"shop.Order"}"#.to_owned(), order()),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (spec, sound) in cases {
            let bad = mutated(sound.clone(), &changes, cut);
            let batch = runtime.block_on(decode(&factory(&spec, dir.path()), messages(&[sound, bad, noise.clone()], None)));
            // The sound message has its rows whatever came after it, and each other has rows or a fault.
            prop_assert!(batch.records.num_rows() > 0);
            prop_assert!(batch.dead.iter().all(|dead| dead.offset > 10));
        }
    }
}
