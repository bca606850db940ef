//! Sound, wrong and odd messages.

use spout_guest::{Array, DataType, TimeUnit, testing};

use super::*;

fn open(settings: &[(&str, &str)]) -> Result<Csv> {
    Csv::open(testing::settings(settings)?, Opening::default())
}

fn decode(settings: &[(&str, &str)], lines: &[&str]) -> Decoded {
    open(settings).unwrap().decode(&testing::messages(lines)).unwrap()
}

fn column<'a>(decoded: &'a Decoded, name: &str) -> &'a Array {
    decoded.batch.column_by_name(name).unwrap()
}

fn codes(decoded: &Decoded) -> Vec<(u32, &str)> {
    decoded.faults.iter().map(|fault| (fault.message, &*fault.code)).collect()
}

fn refused(settings: &[(&str, &str)], part: &str) {
    let error = open(settings).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

const SCHEMA: (&str, &str) =
    ("schema", r#"{"id":"int64","name":"utf8","price":"decimal128(9, 2)","at":"timestamp(ms)"}"#);

#[test]
fn values_arrive_as_they_are() {
    let lines =
        ["1,plain,12.5,2021-07-21T06:00:00Z", "-2,\"a, \"\"b\"\"\",-0.01,1626847200000\r", "3,\"\",,", " 4 ,, 7 ,"];
    let decoded = decode(&[SCHEMA], &lines);
    assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
    let (id, name) = (column(&decoded, "id"), column(&decoded, "name"));
    assert_eq!((0..4).map(|row| id.i64(row).unwrap()).collect::<Vec<_>>(), [1, -2, 3, 4]);
    let names: Vec<_> = (0..4).map(|row| name.str(row)).collect();
    assert_eq!(names, [Some("plain"), Some("a, \"b\""), Some(""), None]);
    assert_eq!(
        (column(&decoded, "at").i64(0), column(&decoded, "at").i64(1)),
        (Some(1_626_847_200_000), Some(1_626_847_200_000))
    );
    let price = |row: usize| match column(&decoded, "price").data() {
        spout_guest::batch::Data::Fixed { bytes, .. } => {
            i128::from_le_bytes(bytes[row * 16..][..16].try_into().unwrap())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((price(0), price(1), price(3)), (1250, -1, 700));
    assert!(!column(&decoded, "price").is_valid(2));
}

#[test]
fn line_breaks_stand_in_quotes_only() {
    let decoded = decode(&[("columns", "a,b")], &["\"x\ny\",1\r\n", "3,d\n4,e"]);
    assert_eq!((column(&decoded, "a").str(0), column(&decoded, "b").i64(0)), (Some("x\ny"), Some(1)));
    assert_eq!(codes(&decoded), [(1, "csv.syntax")]);
}

#[test]
fn long_and_wide_records_are_read() {
    let (long, wide) = ("y".repeat(5000), (0..300).map(|at| at.to_string()).collect::<Vec<_>>());
    assert_eq!(column(&decode(&[], &[&format!("{long},1")]), "c0").str(0), Some(long.as_str()));
    assert_eq!(column(&decode(&[], &[&wide.join(",")]), "c299").i64(0), Some(299));
}

#[test]
fn bad_messages_leave_no_trace() {
    let lines = ["1,a,1,", "2,b", "x,c,1,", "4,\"d,1,", "5,\"e\"f,1,", "6,f,1.234,", "7,g,1,soon", "8,h,8,"];
    let decoded = decode(&[SCHEMA], &lines);
    let expected =
        [(1, "csv.fields"), (2, "csv.type"), (3, "csv.syntax"), (4, "csv.syntax"), (5, "csv.type"), (6, "csv.type")];
    assert_eq!(codes(&decoded), expected);
    assert_eq!((decoded.origins.as_slice(), decoded.batch.rows()), ([].as_slice(), 2));
    assert_eq!((column(&decoded, "id").i64(0), column(&decoded, "id").i64(1)), (Some(1), Some(8)));
    assert_eq!(column(&decoded, "name").str(1), Some("h"));
    assert!(decoded.faults[1].reason.contains("`id`"), "{}", decoded.faults[1].reason);
    let mut csv = open(&[SCHEMA]).unwrap();
    let bytes: [&[u8]; 2] = [b"1,\xFF,1,", b"2,b,1,"];
    assert_eq!(codes(&csv.decode(&testing::messages(&bytes)).unwrap()), [(0, "csv.utf8")]);
}

#[test]
fn types_are_inferred_once() {
    let mut csv = open(&[("columns", "i,f,b,d,t,s,zip,big,e")]).unwrap();
    let lines = [
        "1,1,true,2021-07-21,2021-07-21 06:00:00,x,01234,12345678901234567890,",
        "2,2.5,FALSE,2021-07-22,2021-07-21,7,56789,1,",
    ];
    let decoded = csv.decode(&testing::messages(&lines)).unwrap();
    let types: Vec<DataType> = decoded.batch.schema().fields().iter().map(|field| field.data_type.clone()).collect();
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let text = || DataType::Utf8;
    let expected =
        [DataType::Int64, DataType::Float64, DataType::Boolean, DataType::Date32, time, text(), text(), text(), text()];
    assert_eq!(types, expected);
    assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
    let later = csv.decode(&testing::messages(&["1.5,1,true,2021-07-21,2021-07-21 06:00:00,x,1,1,1"])).unwrap();
    assert_eq!(codes(&later), [(0, "csv.type")], "the type is fixed");
    assert_eq!(later.batch.schema(), decoded.batch.schema());
}

#[test]
fn names_come_from_the_first_line() {
    let mut csv = open(&[("header", "true"), ("delimiter", ";")]).unwrap();
    let decoded = csv.decode(&testing::messages(&["\u{feff}id;\"the name\"", "1;a", "", "2;b"])).unwrap();
    let names: Vec<&str> = decoded.batch.schema().fields().iter().map(|field| field.name.as_str()).collect();
    assert_eq!((names.as_slice(), decoded.batch.rows()), (["id", "the name"].as_slice(), 2));
    assert_eq!((decoded.origins, decoded.faults), (vec![1, 3], vec![]));
    // Another file: the same first line is no row, another one is refused.
    assert_eq!(csv.decode(&testing::messages(&["id;the name", "3;c"])).unwrap().batch.rows(), 1);
    let error = csv.decode(&testing::messages(&["the name;id", "d;4"])).unwrap_err().to_string();
    assert!(error.contains("csv.header") && error.contains("`columns`"), "{error}");
}

#[test]
fn names_that_are_gone_are_not_made_up() {
    let mut csv = open(&[("header", "true")]).unwrap();
    let mut messages = Messages::default();
    messages.push(17, b"1,a");
    assert!(csv.decode(&messages).unwrap_err().to_string().contains("csv.header"));
    // The host hands over the schema of earlier commits; it has the names.
    let mut csv = open(&[("header", "true"), ("schema", r#"{"id":"int64","name":"utf8"}"#)]).unwrap();
    assert_eq!(csv.decode(&messages).unwrap().batch.rows(), 1);
}

#[test]
fn without_names_columns_are_numbered() {
    let decoded = decode(&[("delimiter", "tab"), ("null", "\\N")], &["1\t\\N\t", "2\tx\t\"\""]);
    assert_eq!(column(&decoded, "c0").i64(1), Some(2));
    assert_eq!((column(&decoded, "c1").str(0), column(&decoded, "c2").str(1)), (None, Some("")));
}

#[test]
fn only_bad_messages_settle_nothing() {
    let mut csv = open(&[]).unwrap();
    let decoded = csv.decode(&testing::messages(&["\"open", "\"x\"y"])).unwrap();
    assert_eq!((codes(&decoded), decoded.batch.rows()), (vec![(0, "csv.syntax"), (1, "csv.syntax")], 0));
    assert_eq!(csv.decode(&testing::messages(&["1,2"])).unwrap().batch.rows(), 1);
}

#[test]
fn columns_may_be_left_out() {
    let decoded = decode(&[("columns", "a,b,c"), ("schema", r#"{"c":"int64","a":"utf8"}"#)], &["x,y,3"]);
    assert_eq!((column(&decoded, "c").i64(0), column(&decoded, "a").str(0)), (Some(3), Some("x")));
    assert_eq!(decoded.batch.columns().len(), 2);
}

#[test]
fn wrong_settings_are_named() {
    refused(&[("delimiter", ",,")], "`delimiter`");
    refused(&[("delimiter", "\"")], "same character");
    refused(&[("columns", "a"), ("schema", r#"{"b":"int64"}"#)], "`b`");
    refused(&[("columns", "a,a"), ("schema", r#"{"a":"int64"}"#)], "twice");
    refused(&[("schema", r#"{"a":["int64"]}"#)], "nested");
    refused(&[("colums", "a")], "colums");
}
