//! What decoders do with sound, wrong and missing messages.

use arrow::json::LineDelimitedWriter;

use super::*;
use crate::{data::Position, producer::JsonSpec};

fn messages(lines: &[&str]) -> Messages {
    let mut messages = Messages::default();
    for (index, line) in lines.iter().enumerate() {
        messages.values.push(line.as_bytes());
        messages.offsets.push(10 + index as u64);
    }
    messages
}

async fn decode(spec: &str, lines: &[&str]) -> Batch {
    let spec: JsonSpec = serde_json::from_str(spec).unwrap();
    let factory = DecoderFactory {
        spec: DecoderSpec::Native(NativeDecoder::Json(spec)),
        task: None,
        topic: String::new(),
        metadata: vec![MetadataColumn::Offset],
        pin: SchemaPin::default(),
        base: PathBuf::new(),
    };
    let span = Span { partition: 1, start: 10, next: Position::at(10 + lines.len() as u64) };
    factory.decoder().decode(messages(lines), span).await.unwrap()
}

async fn check(spec: &str, lines: &[&str], expected: &[&str], dead: &[(u64, &str)]) {
    let batch = decode(spec, lines).await;
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(&batch.records).unwrap();
    writer.finish().unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let got: Vec<(u64, &str)> = batch.dead.iter().map(|dead| (dead.offset, dead.code.as_str())).collect();
    assert_eq!(got, dead);
}

#[tokio::test]
async fn rows_keep_their_offsets() {
    check(
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
    check(r#"{"schema": {"a": "int64"}}"#, &lines, &rows, &dead).await;
}

#[tokio::test]
async fn two_halves_are_not_a_whole() {
    let dead = [(10, "json.syntax"), (11, "json.syntax")];
    check(r#"{"schema": {"a": "int64"}}"#, &[r#"{"a""#, r#":1}{"a":2}"#], &[], &dead).await;
}

#[tokio::test]
async fn a_field_outside_the_schema_is_left_out_or_fails() {
    let spec = r#"{"schema": {"a": "int64"}, "unknown": "fail"}"#;
    check(spec, &[r#"{"a":1,"z":1}"#, r#"{"a":2}"#], &[r#"{"a":2,"__offset":11}"#], &[(10, "json.type")]).await;
    let spec = r#"{"schema": {"a": "int64"}}"#;
    check(spec, &[r#"{"a":1,"z":1}"#], &[r#"{"a":1,"__offset":10}"#], &[]).await;
}

#[tokio::test]
async fn all_partitions_share_the_first_schema() {
    let factory = DecoderFactory {
        spec: DecoderSpec::Native(NativeDecoder::Json(JsonSpec::default())),
        task: None,
        topic: String::new(),
        metadata: Vec::new(),
        pin: SchemaPin::default(),
        base: PathBuf::new(),
    };
    let span = |partition| Span { partition, start: 0, next: Position::at(1) };
    let first = factory.decoder().decode(messages(&[r#"{"a":1}"#]), span(0)).await.unwrap();
    let second = factory.decoder().decode(messages(&[r#"{"b":1,"a":null}"#]), span(1)).await.unwrap();
    assert_eq!(first.records.schema(), second.records.schema());
    assert_eq!(second.records.column(0).null_count(), 1);
}
