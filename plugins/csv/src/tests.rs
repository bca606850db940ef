//! Settings as the host hands them over, and the way of messages through the shell. The rest is tested in the core.

use spout_guest::{DataType, Schema, testing};

use super::*;

fn open(settings: &[(&str, &str)], schema: Option<Schema>) -> Result<Csv> {
    Csv::open(testing::settings(settings)?, Opening { schema, ..Opening::default() })
}

fn decode(csv: &mut Csv, lines: &[&str]) -> Decoded {
    csv.decode(&testing::messages(lines)).unwrap()
}

#[test]
fn settings_arrive_as_texts() {
    let all = [
        ("schema", r#"{"b":"int64","a":"utf8"}"#),
        ("header", r#"["a","b","c"]"#),
        ("delimiter", "tab"),
        ("quote", "'"),
        ("nulls", r#"["","\\N"]"#),
        ("quotedNulls", "true"),
        ("unknown", "capture"),
        ("unknownColumn", "rest"),
        ("coerce", r#"{"trim":true}"#),
    ];
    let decoded = decode(&mut open(&all, None).unwrap(), &["'x\ty'\t 7 \t", "'\\N'\t\\N\t1"]);
    let (a, b) = (decoded.batch.column_by_name("a").unwrap(), decoded.batch.column_by_name("b").unwrap());
    assert_eq!((a.str(0), b.i64(0), a.str(1), b.i64(1)), (Some("x\ty"), Some(7), None, None));
    let refused = |settings: &[(&str, &str)], part: &str| {
        let error = open(settings, None).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&[("colums", "a")], "colums");
    refused(&[("delimiter", ",,")], "`delimiter`");
    refused(&[("schema", r#"{"a":["int64"]}"#)], "nested");
    refused(&[("coerce", r#"{"round":true}"#)], "round");
}

#[test]
fn a_settled_schema_is_kept() {
    let decoded = decode(&mut open(&[], None).unwrap(), &["id,zip", "1,00501"]);
    let schema = decoded.batch.schema().clone();
    let mut again = open(&[], Some(schema.clone())).unwrap();
    let decoded = decode(&mut again, &["2,7", "x,8"]);
    assert_eq!((decoded.batch.schema(), decoded.batch.rows(), &*decoded.faults[0].code), (&schema, 1, "csv.type"));
    assert_eq!(schema.fields()[1].data_type, DataType::Utf8);
}

#[test]
fn a_headers_attribute_names_the_columns_and_advice_is_logged_once() {
    let mut messages = Messages::default();
    messages.attribute("header", b"b,a");
    messages.push(0, b"1,x");
    let mut csv = open(&[("schema", r#"{"a":"utf8","b":"int64"}"#)], None).unwrap();
    let decoded = csv.decode(&messages).unwrap();
    assert_eq!(decoded.batch.column_by_name("b").unwrap().i64(0), Some(1));
    assert!(testing::take_log().is_empty());
    for _ in 0..2 {
        assert_eq!(&*decode(&mut csv, &["x,\"1"]).faults[0].code, "csv.syntax");
    }
    let log = testing::take_log();
    assert!(log.len() == 1 && log[0].1.contains("`framing: csv`"), "{log:?}");
}
