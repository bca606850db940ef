//! Lines that Carbon accepts, and lines it would not.

use super::*;
use crate::{
    DataType, Field, TimeUnit,
    columns::MOST_COLUMNS,
    shown::{self, Messages},
};

fn decoder(templates: &[&str], separator: &str, schema: Option<Schema>) -> Graphite {
    let settings = Settings {
        templates: templates.iter().map(|&template| template.to_owned()).collect(),
        separator: separator.to_owned(),
        ..Settings::<()>::default()
    };
    Graphite::new(&settings, schema).unwrap()
}

#[track_caller]
fn check(templates: &[&str], lines: &[&str], rows: &[&str], faults: &[&str]) {
    shown::check(&mut decoder(templates, "_", None), &Messages::new(lines), rows, faults);
}

#[test]
fn lines_become_points() {
    let row = r#"0: time=100000000us measurement="cpu_usage" region="eu-east" idle_percent=100.0"#;
    check(&["measurement.measurement.field.field.region"], &["cpu.usage.idle.percent.eu-east 100 100"], &[row], &[]);
    let lines = ["us.cpu.load 100", "\t us.cpu  0.0 \t 5 \r\n", "\u{feff}us.x 1 1"];
    let rows = [
        r#"0: measurement="cpu_load" region="us" value=100.0"#,
        r#"1: time=5000000us measurement="cpu" region="us" value=0.0"#,
        r#"2: time=1000000us measurement="x" region="us" value=1.0"#,
    ];
    check(&["region.measurement*"], &lines, &rows, &[]);
    check(
        &["measurement"],
        &["cpu;host=a;dc=eu 1 1"],
        &[r#"0: time=1000000us measurement="cpu" dc="eu" host="a" value=1.0"#],
        &[],
    );
}

#[test]
fn lines_of_one_point_merge_and_both_of_two_values_stay() {
    let message =
        "cpu.idle.a 1 20\ncpu.used.a 0.0 20\ncpu.idle.a 9 20\n\ncpu.idle.b 3 10\ncpu.idle.a 4\ncpu.idle.a 9 2e1\n";
    let rows = [
        r#"0: time=10000000us measurement="cpu" host="b" idle=3.0"#,
        r#"0: time=20000000us measurement="cpu" host="a" idle=1.0 used=0.0"#,
        r#"0: time=20000000us measurement="cpu" host="a" idle=9.0"#,
        r#"0: time=20000000us measurement="cpu" host="a" idle=9.0"#,
        r#"0: measurement="cpu" host="a" idle=4.0"#,
    ];
    check(&["measurement.field.host"], &[message], &rows, &[]);
}

#[test]
fn times_are_exact() {
    let lines = ["a 1 1700000000.123456", "a 1 1.7e9", "a 1 -2", "a 1 -1.5", "a 1 0", "a 1 -1", "a 1 -1.0"];
    let row = |message: usize, time: &str| format!("{message}: time={time}us measurement=\"a\" value=1.0");
    let rows = [
        row(0, "1700000000123456"),
        row(1, "1700000000000000"),
        row(2, "-2000000"),
        row(3, "-1500000"),
        row(4, "0"),
        "5: measurement=\"a\" value=1.0".into(),
        "6: measurement=\"a\" value=1.0".into(),
    ];
    check(&["measurement"], &lines, &rows.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    check(
        &["measurement"],
        &["a 1 1700000000.123456789"],
        &["0: time=1700000000123456789ns measurement=\"a\" value=1.0"],
        &[],
    );
    let faults = [
        "0: graphite.syntax: the time `now` is no number of seconds since 1970, at byte 4",
        "the time `1.0000000001` is finer than a nanosecond",
        "the time `1e40` is out of range",
        "the time `nan` is no number",
        "graphite.type: `time` must be a time in microseconds, as in 2026-01-31T12:00:00Z, not `1e12`: it is out of range, at byte 4",
    ];
    check(&["measurement"], &["a 1 now", "a 1 1.0000000001", "a 1 1e40", "a 1 nan", "a 1 1e12"], &[], &faults);
    let messages = Messages { sent_ms: Some(5500), ..Messages::new(&["cpu 1 -1", "cpu 2"]) };
    let rows = [r#"0: time=5500000us measurement="cpu" value=1.0"#, r#"1: time=5500000us measurement="cpu" value=2.0"#];
    shown::check(&mut decoder(&["measurement"], ".", None), &messages, &rows, &[]);
}

#[test]
fn values_are_numbers_and_keep_their_digits() {
    let lines =
        ["a +5", "a 007", "a .5", "a -1e-3", "a NaN", "a -inf", "a x", "a 1e999", "a 9007199254740993", "a 1_000"];
    let rows = ["5.0", "7.0", "0.5", "-0.001", "NaN", "-inf"];
    let rows: Vec<String> =
        rows.iter().enumerate().map(|(at, value)| format!("{at}: measurement=\"a\" value={value}")).collect();
    let faults = [
        "6: graphite.type: `value` must be a number, not `x`, at byte 2",
        "7: graphite.type: `value` must be a number, not `1e999`: it is out of range, at byte 2",
        "8: graphite.type: `value` must be a number, not `9007199254740993`: a float would lose its last digits",
        "9: graphite.type: `value` must be a number, not `1_000`",
    ];
    check(&["measurement"], &lines, &rows.iter().map(String::as_str).collect::<Vec<_>>(), &faults);
    check(
        &["measurement"],
        &["a 9007199254740993", "a 1"],
        &[r#"0: measurement="a" value=9007199254740993"#, r#"1: measurement="a" value=1"#],
        &[],
    );
    check(&["measurement"], &["a 18446744073709551615"], &[r#"0: measurement="a" value=18446744073709551615"#], &[]);
    check(
        &["measurement"],
        &["a 18446744073709551617", "a -1"],
        &[r#"0: measurement="a" value=18446744073709551617d"#, r#"1: measurement="a" value=-1d"#],
        &[],
    );
}

#[test]
fn what_no_template_takes_is_a_fault() {
    let schema = Schema::new(vec![Field::new("host", DataType::Utf8), Field::new("value", DataType::Int64)]);
    let mut decoder = decoder(&["measurement.host"], ".", Some(schema));
    let lines = [
        "cpu.a 1",
        "cpu.a.b 1",
        "cpu.a",
        "cpu.a 1 now",
        "cpu.a 1.5",
        "cpu.a 1\ncpu 2",
        "a\0.b 1",
        "cpu.a 1 2 3",
        "cpu.a 4.0",
    ];
    let faults = [
        "1: graphite.syntax: no template matches the path `cpu.a.b` of 3 parts; add one, or `measurement*` as the default, at byte 0",
        "2: graphite.syntax: there must be `path value [time]`, not `cpu.a`, at byte 0",
        "3: graphite.syntax: the time `now`",
        "4: graphite.type: `value` must be a whole number of 64 bits, not `1.5`: it has a fraction, at byte 6",
        "5: graphite.syntax: no template matches the path `cpu` of 1 parts; add one, or `measurement*` as the default, at line 2, column 1",
        "6: graphite.syntax: there is a NUL byte",
        "7: graphite.syntax: there must be `path value [time]`, not `cpu.a 1 2 3`",
    ];
    shown::check(&mut decoder, &Messages::new(&lines), &[r#"0: host="a" value=1"#, r#"8: host="a" value=4"#], &faults);
}

#[test]
fn nothing_overwrites_anything() {
    let faults = [
        "0: graphite.syntax: there are two values for the column `host`: a field and what the path has already, at byte 0",
        "1: graphite.syntax: there are two values for the column `time`",
        "2: graphite.syntax: there are two values for the column `measurement`",
        "3: graphite.syntax: there are two values for the tag `host`, at byte 0",
    ];
    let lines = ["cpu.a.host 1", "cpu.a.time 1", "cpu.a.measurement 1", "cpu.a.x;host=b 1", "cpu.a.x;dc=b 1"];
    check(&["measurement.host.field"], &lines, &[r#"4: measurement="cpu" dc="b" host="a" x=1.0"#], &faults);
}

#[test]
fn what_has_no_column_is_counted_or_fails() {
    let schema = Schema::new(vec![Field::new("idle", DataType::Float64)]);
    let mut loose = decoder(&["measurement.field"], ".", Some(schema.clone()));
    let decoded = Messages::new(&["cpu.idle 1\ncpu.used 1", "cpu.used 1"]).decode(&mut loose, 0, 2);
    assert_eq!((decoded.batch.rows(), decoded.unknown.len()), (1, 2));
    assert_eq!(
        decoded.faults[0].reason,
        "none of the fields (the first is `used`) has a column; declare `schema` with the columns you want"
    );
    let settings =
        Settings { templates: vec!["measurement.field".into()], unknown: Unknown::Fail, ..Settings::<()>::default() };
    let mut strict = Graphite::new(&settings, Some(schema)).unwrap();
    let faults =
        ["0: graphite.unknown: the schema has no column `measurement` for `cpu` at byte 0; `unknown: fail` wants one"];
    shown::check(&mut strict, &Messages::new(&["cpu.idle 1"]), &[], &faults);
}

#[test]
fn columns_have_the_types_of_the_schema() {
    let us = DataType::Timestamp(TimeUnit::Second, None);
    let schema = Schema::new(vec![Field::new("time", us), Field::new("value", DataType::Decimal128(10, 2))]);
    let mut decoder = decoder(&["measurement"], ".", Some(schema));
    let faults = [
        "1: graphite.type: `time` must be a time in seconds, as in 2026-01-31T12:00:00Z, not `1.5`: it is finer than that",
        "2: graphite.type: `value` must be a number of at most 10 digits, 2 of them after the point, not `0.125`: a digit would be lost",
    ];
    shown::check(
        &mut decoder,
        &Messages::new(&["a 12.50 1", "a 1 1.5", "a 0.125 1"]),
        &["0: time=1s value=1250d"],
        &faults,
    );
}

#[test]
fn many_lines_of_one_point_take_time_by_their_number() {
    let decode = |message: String, template: &str| {
        let decoded = Messages::new(&[message]).decode(&mut decoder(&[template], ".", None), 0, 1);
        assert_eq!(decoded.faults, []);
        (decoded.batch.rows(), decoded.batch.schema().fields().len())
    };
    assert_eq!(decode("a 1 1\n".repeat(100_000), "measurement"), (100_000, 3));
    let tags: String = (0..100_000).map(|at| format!(";t{at}=v")).collect();
    assert_eq!(decode(format!("a{tags} 1 1"), "measurement"), (1, 3 + MOST_COLUMNS / 2));
    let fields: String = (0..100_000).map(|at| format!("m.f{at} 1 1\n")).collect();
    assert_eq!(decode(fields, "measurement.field"), (1, 2 + MOST_COLUMNS));
    assert_eq!(decode(format!("{} 1 1", "a.".repeat(500_000)), "measurement*"), (1, 3));
}
