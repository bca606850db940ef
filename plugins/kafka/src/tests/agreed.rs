//! Batches on which two libraries agree: those that are built here, and those of kafka-python. The suite has kafka-python read the
//! same file (`tests/suite/kafka.rs`).

use serde_json::{Value, json};
use spout_guest::Messages;

use super::build::{Bat, GZIP, LOG_TIME, LZ4, Rec, SNAPPY, ZSTD, batch, plain, xerial};
use crate::records::{Budget, Records};

const AGREED: &str = include_str!("agreed.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// Something of everything.
fn all() -> Bat {
    let rec = |delta, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]| Rec {
        delta,
        time: i64::from(delta) * 10,
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.map(<[u8]>::to_vec))).collect(),
    };
    let long = vec![b'x'; 300];
    let records = vec![
        rec(0, None, Some(b"first"), &[]),
        rec(1, Some(b"key"), None, &[("h", Some(b"1")), ("h", Some(b"")), ("\u{e9}", Some(&[0xff, 0]))]),
        rec(2, Some(b"\x00\x01"), Some(b""), &[]),
        rec(5, Some(&long), Some(&long), &[]),
    ];
    Bat { base: 1_000_000_000_000, last_delta: 7, time: 1_700_000_000_000, records, ..batch(0, &[]) }
}

/// Batches as they are built here.
fn ours() -> Vec<(&'static str, Vec<u8>)> {
    let snappy = all().with(SNAPPY);
    vec![
        ("plain", all().bytes()),
        ("the time of the log", all().with(LOG_TIME).bytes()),
        ("of a transaction", all().of(7).bytes()),
        ("several", [all().bytes(), Bat { base: all().last() + 3, ..all() }.bytes()].concat()),
        ("gzip", all().with(GZIP).bytes()),
        ("snappy in blocks", snappy.around(&xerial(&plain(&snappy), 100))),
        ("lz4", all().with(LZ4).bytes()),
        ("zstd", all().with(ZSTD).bytes()),
    ]
}

/// The records as they are read here, in the words of the file.
fn read(bytes: Vec<u8>) -> Value {
    let mut messages = Messages::default();
    let mut budget = Budget { messages: 1000, bytes: 1 << 20, first: true };
    Records::new(bytes.into(), 0, None, true).drain(&mut messages, &mut budget, None).unwrap();
    let nulls = messages.nulls().to_vec();
    let record = |(at, message): (usize, spout_guest::Message<'_>)| {
        let value = (!nulls.contains(&u32::try_from(at).unwrap())).then(|| hex(message.value()));
        let headers: Vec<Value> = message.headers().map(|(name, value)| json!([name, hex(value)])).collect();
        json!([message.offset(), message.timestamp_ms(), message.key().map(hex), value, headers])
    };
    messages.iter().enumerate().map(record).collect()
}

#[test]
fn kafka_python_and_this_read_the_same() {
    let agreed: Vec<Value> = serde_json::from_str(AGREED).unwrap();
    for one in &agreed {
        let text = one["bytes"].as_str().unwrap();
        assert_eq!(read(bytes(text)), one["records"], "{}", one["name"]);
    }
    for (name, built) in ours() {
        let known = agreed.iter().find(|one| one["name"] == name);
        let known = known.unwrap_or_else(|| panic!("`{name}` is not in the file: {}", hex(&built)));
        // Compressors may do better one day.
        assert_eq!(read(built.clone()), known["records"], "{name}");
        if !["gzip", "snappy in blocks", "lz4", "zstd"].contains(&name) {
            assert_eq!(hex(&built), known["bytes"], "{name}");
        }
    }
}
