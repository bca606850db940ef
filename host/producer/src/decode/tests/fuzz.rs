//! Messages in formats with a structure of their own: a damaged one is a dead letter, and its neighbours have their rows.

use std::path::Path;

use arrow::ipc::CompressionType;
use arrow_avro::compression::CompressionCodec;
use spout_fuzz::{Corpus, Counting, Target};

use super::{
    binary::{batch, descriptors, ipc, ocf, order, raw_container, record},
    *,
};

#[global_allocator]
static MEMORY: Counting = Counting;

const ROOM: &str = env!("CARGO_MANIFEST_DIR");

fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Between two sound messages, which settle the schema, a damaged one takes nothing from either.
fn between(spec: &str, base: &Path, sound: &[u8], damaged: &[u8]) -> bool {
    now(async {
        let factory = factory(spec, base);
        let alone = decode(&factory, messages(&[sound], None)).await;
        let rows = alone.records.num_rows();
        assert!(rows > 0 && alone.dead.is_empty());
        let both = decode(&factory, messages(&[sound, damaged, sound], None)).await;
        both.records.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
        let total = both.records.num_rows();
        assert!(total >= 2 * rows, "a neighbour's rows are gone");
        assert_eq!(both.records.slice(0, rows), alone.records);
        assert_eq!(both.records.slice(total - rows, rows), alone.records);
        assert!(both.dead.iter().all(|letter| letter.offset == 11), "{:?}", both.dead);
        assert!(total > 2 * rows || !both.dead.is_empty() || both.counts.empty == 1, "a message is gone");
        total > 2 * rows
    })
}

#[test]
fn arrow_stream() {
    let sound = ipc(&[batch(&[0, 1])], None);
    let packed = ipc(&[batch(&[2; 200])], Some(CompressionType::ZSTD));
    let corpus = Corpus::of_room(ROOM, "arrow-stream").and([ipc(&[batch(&[0, 1]), batch(&[5])], None), packed]);
    let spec = r#"{"type":"arrow","compression":true}"#;
    Target::new("arrow-stream", 1_500)
        .within(600 << 20)
        .bytes(&corpus, |bytes| between(spec, Path::new(""), &sound, bytes));
}

#[test]
fn avro_container() {
    let sound = ocf(&[batch(&[0, 1])], None);
    let union = record(r#"{"name":"id","type":"long"},{"name":"v","type":["null","int","string"]}"#);
    let inputs = [
        ocf(&[batch(&[0, 1]), batch(&[5])], None),
        ocf(&[batch(&[4; 30])], Some(CompressionCodec::Deflate)),
        ocf(&[batch(&[4; 30])], Some(CompressionCodec::Snappy)),
        ocf(&[batch(&[4; 30])], Some(CompressionCodec::ZStandard)),
        raw_container(&union, &[(2, &[2, 0, 4, 4, 2, b'x']), (1, &[6, 2, 10])]),
    ];
    let words = [
        "\"long\"",
        "\"null\"",
        "[\"null\",",
        "\"R\"",
        "{\"type\":\"array\",\"items\":",
        "Obj\x01",
        "avro.codec",
        "\x02\x02",
    ];
    let corpus = Corpus::of_room(ROOM, "avro-container").and(inputs).words(&words);
    Target::new("avro-container", 1_500)
        .bytes(&corpus, |bytes| between(r#"{"type":"avro"}"#, Path::new(""), &sound, bytes));
}

const ORDER: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"kind","type":{"type":"enum","name":"Kind","symbols":["NEW","OLD"]}},{"name":"note","type":["null","string"]},{"name":"l","type":{"type":"array","items":"int"}},{"name":"m","type":{"type":"map","values":"boolean"}}]}"#;

#[test]
fn avro_record() {
    let spec = format!(r#"{{"type":"avro","encoding":"record","writer":{ORDER}}}"#);
    let sound = b"\x02\x02\x02\x04hi\x04\x02\x04\0\x02\x02a\x01\0";
    let corpus = Corpus::of_room(ROOM, "avro-record").and([sound.to_vec(), b"\x02\0\0\0\0".to_vec()]);
    Target::new("avro-record", 2_000).bytes(&corpus, |bytes| between(&spec, Path::new(""), sound, bytes));
}

#[test]
fn protobuf_message() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("shop.pb"), descriptors()).unwrap();
    let spec = r#"{"type":"protobuf","descriptor":"shop.pb","message":"shop.Order"}"#;
    let sound = order();
    let corpus = Corpus::of_room(ROOM, "protobuf-message").and([sound.clone(), b"\x08\x01\x3a\x02\x08\x02".to_vec()]);
    Target::new("protobuf-message", 2_000).bytes(&corpus, |bytes| between(spec, dir.path(), &sound, bytes));
}

/// What a spec names as the description of its messages is refused, or messages can be read by it.
#[test]
fn descriptions() {
    let words = [
        "\"null\"",
        "\"R\"",
        "[",
        "]",
        "\"Order\"",
        "\"fixed\"",
        "\"size\":1000000000000",
        ".shop.Order",
        "google.protobuf.",
    ];
    let corpus = Corpus::of_room(ROOM, "descriptions").and([descriptors(), ORDER.as_bytes().to_vec()]).words(&words);
    Target::new("descriptions", 1_000).bytes(&corpus, |bytes| {
        let specs = [
            r#"{"type":"protobuf","descriptor":"d","message":"shop.Order"}"#,
            r#"{"type":"avro","encoding":"record","writer":{"file":"d"}}"#,
        ];
        let mut taken = false;
        for spec in specs {
            let native: NativeDecoder = serde_json::from_str(spec).unwrap();
            let Ok(mut decoder) = native.open(Some(bytes), None, None) else { continue };
            taken |= decoder.decode(&messages(&[b"\x02\x02\x02\x04hi\x04\x02\x04\0".as_slice(), b""], None)).is_ok();
        }
        taken
    });
}

/// Messages that are text go through the core, whose own targets have oracles; here they meet Arrow.
#[test]
fn text_messages() {
    let specs = [
        (
            r#"{"type":"json","schema":{"a":"int64","b":["utf8"],"c":"timestamp(us, UTC)","d":"decimal128(9, 2)"}}"#,
            r#"{"a":1,"b":["x"],"c":"2026-01-31T12:00:00Z","d":1.25}"#,
        ),
        (r#"{"type":"csv","header":["a","b"],"schema":{"a":"int64","b":"date32"}}"#, "1,2026-01-31"),
        (r#"{"type":"influx","schema":{"time":"timestamp(ns)","m":"utf8","f":"float64"}}"#, "m,t=v f=1.5 17"),
        (r#"{"type":"graphite","schema":{"time":"timestamp(s)","path":"utf8","value":"float64"}}"#, "a.b.c 1.5 17"),
        (r#"{"type":"syslog"}"#, "<34>1 2026-01-31T12:00:00Z h a 1 - [x@1 k=\"v\"] text"),
        (r#"{"type":"raw"}"#, "bytes"),
    ];
    let inputs = specs.iter().map(|(_, sound)| sound.as_bytes().to_vec());
    let corpus = Corpus::of_room(ROOM, "text-messages")
        .and(inputs.collect::<Vec<_>>())
        .words(&["\"", "\\u0000", ",", "=", "1e400", "\n", "é"]);
    Target::new("text-messages", 600).bytes(&corpus, |bytes| {
        let each = specs.map(|(spec, sound)| between(spec, Path::new(""), sound.as_bytes(), bytes));
        each.into_iter().any(|taken| taken)
    });
}
