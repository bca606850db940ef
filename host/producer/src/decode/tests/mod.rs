//! What decoders do with sound, wrong and missing messages.

use arrow::{array::Array, json::LineDelimitedWriter};
use spout_data::Position;

use super::*;
use crate::NativeDecoder;

mod binary;
mod cuts;
mod decimals;
mod evolve;
mod fuzz;
mod peer;
mod text;

pub(super) fn messages<M: AsRef<[u8]>>(values: &[M], at: Option<i64>) -> Messages {
    let mut messages = Messages::default();
    for (index, value) in values.iter().enumerate() {
        messages.values.push(value.as_ref());
        messages.offsets.push(10 + index as u64);
        messages.timestamps_ms.extend(at);
    }
    messages
}

pub(super) fn factory(spec: &str, base: &std::path::Path) -> DecoderFactory {
    DecoderFactory {
        spec: serde_json::from_str::<NativeDecoder>(spec).unwrap().into(),
        task: None,
        topic: String::new(),
        decodes: true,
        metadata: Vec::new(),
        pin: SchemaPin::default(),
        base: base.to_owned(),
        schemas: Default::default(),
    }
}

/// Whether a decoder of `spec` can be opened.
pub(super) fn opened(spec: &str) -> Result<(), String> {
    serde_json::from_str::<NativeDecoder>(spec).unwrap().check(std::path::Path::new("/nowhere"))
}

pub(super) async fn decode(factory: &DecoderFactory, messages: Messages) -> Batch {
    let span = Span { partition: 1.into(), start: 10, next: Position::at(10 + messages.len() as u64) };
    factory.decoder().decode(messages, span).await.unwrap()
}

/// The rows as JSON, each without its nulls, and the offsets and codes of dead letters.
pub(super) fn told(batch: &Batch) -> (Vec<String>, Vec<(u64, String)>) {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(&batch.records).unwrap();
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    let dead = batch.dead.iter().map(|dead| (dead.offset, dead.code.clone())).collect();
    (text.lines().map(str::to_owned).collect(), dead)
}

pub(super) async fn check<M: AsRef<[u8]>>(spec: &str, values: &[M], expected: &[&str], dead: &[(u64, &str)]) {
    expect(&factory(spec, std::path::Path::new("")), messages(values, None), expected, dead).await;
}

pub(super) async fn check_at<M: AsRef<[u8]>>(
    at: i64,
    spec: &str,
    values: &[M],
    expected: &[&str],
    dead: &[(u64, &str)],
) {
    expect(&factory(spec, std::path::Path::new("")), messages(values, Some(at)), expected, dead).await;
}

pub(super) async fn expect(factory: &DecoderFactory, messages: Messages, expected: &[&str], dead: &[(u64, &str)]) {
    let batch = decode(factory, messages).await;
    let (rows, letters) = told(&batch);
    let reasons: Vec<&str> = batch.dead.iter().map(|dead| dead.reason.as_str()).collect();
    assert_eq!(rows, expected, "{reasons:?}");
    assert_eq!(letters.iter().map(|(offset, code)| (*offset, code.as_str())).collect::<Vec<_>>(), dead, "{reasons:?}");
}

/// Checks the `json` decoder, with the offset of each row beside it.
async fn check_json(spec: &str, lines: &[&str], expected: &[&str], dead: &[(u64, &str)]) {
    let mut factory =
        factory(&spec.replacen('{', r#"{"type":"json","#, 1).replace(",}", "}"), std::path::Path::new(""));
    factory.metadata = vec![MetadataColumn::Offset];
    expect(&factory, messages(lines, None), expected, dead).await;
}

#[tokio::test]
async fn rows_keep_their_offsets() {
    check_json(
        "{}",
        &[r#"{"a":1,"b":"x"}"#, r#" {"a":2} "#],
        &[r#"{"a":1,"b":"x","__offset":10}"#, r#"{"a":2,"__offset":11}"#],
        &[],
    )
    .await;
}

#[tokio::test]
async fn a_bad_message_does_not_take_its_neighbours_down() {
    let lines =
        [r#"{"a":1}"#, r#"{"a":"#, r#"{"a":2}"#, "", "[1]", r#"{"a":3}{"a":4}"#, r#"{"a":{"b":1}}"#, r#"{"a":5}"#];
    let rows = [r#"{"a":1,"__offset":10}"#, r#"{"a":2,"__offset":12}"#, r#"{"a":5,"__offset":17}"#];
    let dead = [(11, "json.syntax"), (13, "json.syntax"), (14, "json.type"), (15, "json.syntax"), (16, "json.type")];
    check_json(r#"{"schema": {"a": "int64"}}"#, &lines, &rows, &dead).await;
}

#[tokio::test]
async fn two_halves_are_not_a_whole() {
    let dead = [(10, "json.syntax"), (11, "json.syntax")];
    check_json(r#"{"schema": {"a": "int64"}}"#, &[r#"{"a""#, r#":1}{"a":2}"#], &[], &dead).await;
}

#[tokio::test]
async fn a_field_outside_the_schema_is_left_out_or_fails() {
    let spec = r#"{"schema": {"a": "int64"}, "unknown": "fail"}"#;
    check_json(spec, &[r#"{"a":1,"z":1}"#, r#"{"a":2}"#], &[r#"{"a":2,"__offset":11}"#], &[(10, "json.unknown")]).await;
    let spec = r#"{"schema": {"a": "int64"}}"#;
    check_json(spec, &[r#"{"a":1,"z":1}"#], &[r#"{"a":1,"__offset":10}"#], &[]).await;
}

#[tokio::test]
async fn all_partitions_share_the_first_schema() {
    let factory = factory(r#"{"type":"json"}"#, std::path::Path::new(""));
    let first = decode(&factory, messages(&[r#"{"a":1}"#], None)).await;
    let second = decode(&factory, messages(&[r#"{"b":1,"a":null}"#], None)).await;
    assert_eq!(first.records.schema(), second.records.schema());
    assert_eq!(second.records.column(0).null_count(), 1);
}
