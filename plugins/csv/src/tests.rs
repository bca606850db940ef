//! Sound, quoted and wrong records.

use spout_guest::{Array, testing};

use super::*;

fn decode(settings: &[(&str, &str)], lines: &[&str]) -> Decoded {
    let mut csv = Csv::open("", None, testing::settings(settings).unwrap()).unwrap();
    csv.decode(&testing::messages(lines)).unwrap()
}

fn column<'a>(decoded: &'a Decoded, name: &str) -> &'a Array {
    decoded.batch.column_by_name(name).unwrap()
}

const SCHEMA: (&str, &str) = ("schema", r#"{"id":"int64","name":"utf8","ok":"boolean"}"#);

#[test]
fn fields_become_values() {
    let decoded = decode(&[SCHEMA, ("null", "NA")], &["1,\"a \"\"b\"\", c\",true", "-2,,NA\r", "3,\"x\ny\",false\n"]);
    assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
    assert_eq!(column(&decoded, "id").i64(1), Some(-2));
    let name = column(&decoded, "name");
    assert_eq!((name.str(0), name.str(1), name.str(2)), (Some("a \"b\", c"), None, Some("x\ny")));
    assert_eq!((column(&decoded, "ok").bool(1), column(&decoded, "ok").bool(2)), (None, Some(false)));
}

#[test]
fn wrong_records_leave_no_trace() {
    let lines = ["1,a,true", "2,b", "x,c,true", "", "3,d,true\n4,e,true", "5,f,maybe", "6,g,false"];
    let decoded = decode(&[SCHEMA], &lines);
    let faults: Vec<_> = decoded.faults.iter().map(|fault| (fault.message, fault.code.as_str())).collect();
    let wrong = [(1, "csv.type"), (2, "csv.type"), (3, "csv.syntax"), (4, "csv.syntax"), (5, "csv.type")];
    assert_eq!(faults, wrong);
    assert_eq!((decoded.batch.rows(), decoded.origins.as_slice()), (2, [0, 6].as_slice()));
    assert_eq!(column(&decoded, "id").i64(1), Some(6));
}

#[test]
fn names_and_types_are_inferred() {
    let decoded = decode(&[("header", "true"), ("delimiter", ";")], &["id;x;y;z", "1;2;t;", "2;2.5;3;"]);
    let fields: Vec<_> = decoded.batch.schema().fields().iter().map(|f| (f.name.as_str(), &f.data_type)).collect();
    let expected =
        [("id", &DataType::Int64), ("x", &DataType::Float64), ("y", &DataType::Utf8), ("z", &DataType::Utf8)];
    assert_eq!(fields, expected);
    assert_eq!((decoded.batch.rows(), decoded.origins.as_slice()), (2, [1, 2].as_slice()));
    let named = decode(&[("columns", r#"["a","b"]"#)], &["true,7"]);
    assert_eq!((column(&named, "a").bool(0), column(&named, "b").i64(0)), (Some(true), Some(7)));
    assert_eq!(column(&decode(&[], &["x"]), "c0").str(0), Some("x"));
}

#[test]
fn long_and_wide_records_are_read() {
    let long = "y".repeat(5000);
    let wide: Vec<String> = (0..300).map(|at| at.to_string()).collect();
    assert_eq!(column(&decode(&[], &[&format!("{long},1")]), "c0").str(0), Some(long.as_str()));
    assert_eq!(column(&decode(&[], &[&wide.join(",")]), "c299").i64(0), Some(299));
}

#[test]
fn wrong_settings_are_refused() {
    let open = |list: &[(&str, &str)]| Csv::open("", None, testing::settings(list).unwrap());
    assert!(open(&[("delimiter", "\"")]).is_err());
    assert!(open(&[("schema", r#"{"a":["utf8"]}"#)]).is_err());
    assert!(testing::settings::<Settings>(&[("delimiter", ";;")]).is_err());
}
