//! Sound, wrong, odd and hostile messages.

use spout_guest::{Array, DataType, testing};

use super::*;

fn decode(settings: &[(&str, &str)], lines: &[&str]) -> Decoded {
    let mut json = Json::open(testing::settings(settings).unwrap(), Opening::default()).unwrap();
    json.decode(&testing::messages(lines)).unwrap()
}

fn column<'a>(decoded: &'a Decoded, name: &str) -> &'a Array {
    decoded.batch.column_by_name(name).unwrap()
}

fn codes(decoded: &Decoded) -> Vec<(u32, &str)> {
    decoded.faults.iter().map(|fault| (fault.message, &*fault.code)).collect()
}

const SCHEMA: (&str, &str) = ("schema", r#"{"a":"int64","b":{"c":"utf8","d":["float64"]},"at":"timestamp(ms)"}"#);

#[test]
fn values_arrive_as_they_are() {
    let lines = [
        r#"{"a":-7,"b":{"c":"x\n\u00e4\ud83d\ude00","d":[1,2.5,null]},"at":"2021-07-21T06:00:00Z"}"#,
        r#" { "b" : { "d" : [] , "zzz" : [{"q":1}] } , "unknown": "…" , "a" : 9223372036854775807 } "#,
    ];
    let decoded = decode(&[SCHEMA], &lines);
    assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
    assert_eq!((column(&decoded, "a").i64(0), column(&decoded, "a").i64(1)), (Some(-7), Some(i64::MAX)));
    assert_eq!(column(&decoded, "b").fields()[0].str(0), Some("x\nä😀"));
    assert_eq!(column(&decoded, "b").fields()[0].str(1), None);
    assert_eq!(column(&decoded, "at").i64(0), Some(1_626_847_200_000));
}

#[test]
fn bad_messages_leave_no_trace() {
    let lines = [
        r#"{"a":1,"b":{"c":"one","d":[1]}}"#,
        r#"{"a":2,"b":{"c":"two","d":[1,"x"]}}"#,
        r#"{"a":3,"b":{"c":"three""#,
        r#"{"a":4.5}"#,
        "",
        "[]",
        r#"{"a":5}{"a":6}"#,
        r#"{"a":01}"#,
        r#"{"a":7,"b":{"c":"seven","d":[7]}}"#,
    ];
    let decoded = decode(&[SCHEMA], &lines);
    let expected = [
        (1, "json.type"),
        (2, "json.syntax"),
        (3, "json.type"),
        (4, "json.syntax"),
        (5, "json.type"),
        (6, "json.syntax"),
        (7, "json.syntax"),
    ];
    assert_eq!(codes(&decoded), expected);
    assert_eq!(decoded.batch.rows(), 2);
    assert_eq!((column(&decoded, "a").i64(0), column(&decoded, "a").i64(1)), (Some(1), Some(7)));
    assert_eq!(column(&decoded, "b").fields()[0].str(1), Some("seven"));
    assert!(decoded.faults[0].reason.contains("`b.d`"), "{}", decoded.faults[0].reason);
}

#[test]
fn a_schema_is_inferred_once() {
    let lines = [r#"{"n":1,"m":1,"e":null,"o":{"x":1}}"#, r#"{"n":2.5,"m":"two","o":{"y":true},"l":[1,2]}"#];
    let decoded = decode(&[], &lines);
    let types: Vec<(&str, &DataType)> =
        decoded.batch.schema().fields().iter().map(|field| (field.name.as_str(), &field.data_type)).collect();
    assert_eq!(types[0], ("n", &DataType::Float64));
    assert_eq!(types[1], ("m", &DataType::Utf8));
    assert_eq!(types[2], ("e", &DataType::Utf8));
    assert_eq!((column(&decoded, "m").str(0), column(&decoded, "m").str(1)), (Some("1"), Some("two")));
    assert_eq!(column(&decoded, "n").f64(0), Some(1.0));
    assert!(decoded.faults.is_empty());
}

#[test]
fn only_bad_messages_settle_nothing() {
    let mut json = Json::open(testing::settings(&[]).unwrap(), Opening::default()).unwrap();
    assert_eq!(codes(&json.decode(&testing::messages(&["{\"a\":", "[]"])).unwrap()).len(), 2);
    let decoded = json.decode(&testing::messages(&[r#"{"a":1}"#])).unwrap();
    assert_eq!((column(&decoded, "a").i64(0), decoded.faults.len()), (Some(1), 0));
}

#[test]
fn a_field_outside_the_schema_may_fail() {
    let decoded = decode(&[("schema", r#"{"a":"int64"}"#), ("unknown", "fail")], &[r#"{"a":1}"#, r#"{"z":1}"#]);
    assert_eq!(codes(&decoded), [(1, "json.type")]);
}

#[test]
fn the_last_of_two_equal_fields_counts() {
    let decoded = decode(&[("schema", r#"{"a":"int64","b":"boolean"}"#)], &[r#"{"a":1,"b":true,"a":2,"b":false}"#]);
    assert_eq!((column(&decoded, "a").i64(0), column(&decoded, "b").bool(0)), (Some(2), Some(false)));
}

#[test]
fn nothing_is_too_deep_or_too_strange_to_refuse() {
    let deep = "[".repeat(100_000);
    let lines =
        [format!("{{\"z\":{deep}"), "{\"a\":\"\u{1}\"}".into(), "{\"a\":\"\\ud800\"}".into(), "{\"a\":1,}".into()];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let decoded = decode(&[("schema", r#"{"a":"utf8"}"#)], &lines);
    assert_eq!(decoded.faults.len(), 4);
    assert!(codes(&decoded).iter().all(|(_, code)| *code == "json.syntax"));
}
