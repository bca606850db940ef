//! Lines that follow the specification, and lines that do not.

use super::*;
use crate::{
    DataType, Field, TimeUnit,
    columns::MOST_COLUMNS,
    shown::{self, Messages},
};

fn settled(precision: Precision) -> Influx {
    Influx::new(&Settings { precision, ..Settings::<()>::default() }, None).unwrap()
}

/// Checks `lines`, each a message, with the schema they settle together.
#[track_caller]
fn check(lines: &[&str], rows: &[&str], faults: &[&str]) {
    shown::check(&mut settled(Precision::Ns), &Messages::new(lines), rows, faults);
}

#[test]
fn a_point_has_its_time_measurement_tags_and_fields() {
    let lines = [
        r#"weather,location=us\ mid,season=summer temperature=82,b="x\"y",c=t,d=1i,e=2u 1465839830100400200"#,
        "weather temperature=-1.5e3",
        "#a comment\n  # another\n\nweather temperature=1. 1\r\nweather temperature=.5,c=FALSE  -1  \n",
        "",
    ];
    let rows = [
        r#"0: time=1465839830100400200ns measurement="weather" location="us mid" season="summer" b="x\"y" c=true d=1 e=2 temperature=82.0"#,
        r#"1: measurement="weather" temperature=-1500.0"#,
        r#"2: time=1ns measurement="weather" temperature=1.0"#,
        r#"2: time=-1ns measurement="weather" c=false temperature=0.5"#,
    ];
    check(&lines, &rows, &[]);
}

#[test]
fn backslashes_escape_what_they_can_and_nothing_else() {
    let lines = [
        r"disk,check=C:\Windows value=1 1",
        r"cpu,regions=east\,west value=2 1",
        r"cpu,name=a\ b,expr=k\=v value=3 1",
        r#"log,host=a path="C:\\temp",say="say \"hi\"",raw="C:\temp" 1"#,
        r"my\,m\ x,host=a value=6 1",
        r"m=n\=o,t\ \,\=u=x\\y f\ g=1,h\=\,=2 1",
        r"m\\,host=a\b value=1 1",
    ];
    let rows = [
        r#"0: time=1ns measurement="disk" check="C:\\Windows" value=1.0"#,
        r#"1: time=1ns measurement="cpu" regions="east,west" value=2.0"#,
        r#"2: time=1ns measurement="cpu" expr="k=v" name="a b" value=3.0"#,
        r#"3: time=1ns measurement="log" host="a" path="C:\\temp" raw="C:\\temp" say="say \"hi\"""#,
        r#"4: time=1ns measurement="my,m x" host="a" value=6.0"#,
        r#"5: time=1ns measurement="m=n\\=o" t ,=u="x\\\\y" f g=1.0 h=,=2.0"#,
        // The backslash stays, and the comma is escaped: no tag begins there.
        r#"6: time=1ns measurement="m\\,host=a\\b" value=1.0"#,
    ];
    check(&lines, &rows, &[]);
}

#[test]
fn a_bare_equals_sign_ends_a_message_as_a_fault() {
    let lines = [
        r"disk,check=C:\,host=web value=4 1",
        r"cpu,regions=east\\,west=1 value=7 1",
        r"cpu,foo=ends-with-\ value=8 1",
        "cpu,a=b=c value=1",
        "ok value=1 1",
    ];
    let faults = [
        r"0: influx.syntax: the value of tag `check` has a bare `=`; write it as `\=`, near `C:\,host=web value=4 1`, at byte 11",
        r"1: influx.syntax: the value of tag `regions` has a bare `=`",
        r"2: influx.syntax: the value of tag `foo` has a bare `=`",
        r"3: influx.syntax: the value of tag `a` has a bare `=`",
    ];
    check(&lines, &[r#"4: time=1ns measurement="ok" value=1.0"#], &faults);
}

#[test]
fn nothing_overwrites_anything() {
    let lines = [
        "dup,region=us,day=1 value=10,day=3i 1",
        "t A=1,A=1 2",
        "t A=1,A=2 3",
        "t,time=noon v=1 4",
        r#"t measurement="x",v=2 5"#,
        "t time=5i,v=3 6",
        "m,host=a v=4 7",
        r#"m host="b",v=5 8"#,
        "ok,host=a v=6 9",
        "t,a=1,a=1 v=1",
        "m host=3i,v=5 8",
    ];
    let rows = [
        r#"6: time=7ns measurement="m" host="a" v=4.0"#,
        r#"7: time=8ns measurement="m" host="b" v=5.0"#,
        r#"8: time=9ns measurement="ok" host="a" v=6.0"#,
    ];
    let faults = [
        "0: influx.syntax: there are two values for the column `day`: a tag and a field, at byte 29",
        "1: influx.syntax: there are two values for the column `A`: a field and a field, at byte 6",
        "2: influx.syntax: there are two values for the column `A`",
        "3: influx.syntax: a tag cannot be called `time`",
        "4: influx.syntax: a field cannot be called `measurement`",
        "5: influx.syntax: a field cannot be called `time`, which every point has already, at byte 2",
        "9: influx.syntax: there are two values for the column `a`: a tag and a tag",
        "10: influx.type: `host` must be a text, not `3i`, at byte 7",
    ];
    check(&lines, &rows, &faults);
    // Which line came first does not matter, neither for the schema nor for the verdicts.
    let mut turned = lines;
    turned.reverse();
    let (mut ahead, mut behind) = (settled(Precision::Ns), settled(Precision::Ns));
    let messages = [lines, turned].map(|lines| Messages::new(&lines));
    let (ahead_rows, _) = shown::cut(&mut ahead, &messages[0], &[]);
    let (behind_rows, _) = shown::cut(&mut behind, &messages[1], &[]);
    let bare = |rows: Vec<String>| {
        let mut rows: Vec<String> = rows.iter().map(|row| row.split_once(": ").unwrap().1.to_owned()).collect();
        rows.sort();
        rows
    };
    assert_eq!(bare(ahead_rows), bare(behind_rows));
    assert_eq!(ahead.schema(), behind.schema());
}

#[test]
fn integers_keep_every_digit() {
    let lines = [
        "net rx=9007199254740993i,tx=18446744073709551615u,n=-9223372036854775808i 1",
        "net rx=1i,tx=1u -1",
        "net rx=18446744073709551615u,tx=3u,n=007i 2",
        "net n=9223372036854775808i",
        "net n=-1u",
        "net n=1.5i",
        "net n=1e3i",
        "net n=i",
        "net n=18446744073709551616u",
    ];
    let rows = [
        r#"0: time=1ns measurement="net" n=-9223372036854775808 rx=9007199254740993d tx=18446744073709551615"#,
        r#"1: time=-1ns measurement="net" rx=1d tx=1"#,
        r#"2: time=2ns measurement="net" n=7 rx=18446744073709551615d tx=3"#,
    ];
    let faults = [
        "3: influx.syntax: field `n` has `9223372036854775808i` as its value, which is beyond 64 bits, at byte 6",
        "4: influx.syntax: field `n` has `-1u` as its value, which is negative or beyond 64 bits",
        "which is no whole number",
        "which is no whole number",
        "which is no whole number",
        "which is negative or beyond 64 bits",
    ];
    check(&lines, &rows, &faults);
}

#[test]
fn whole_numbers_meet_fractions_without_loss() {
    let lines = ["m a=1i", "m a=1.5", "m a=9007199254740993i", "m a=9007199254740993", "m a=\"1\"", "m a=true"];
    let rows =
        [r#"0: measurement="m" a=1.0"#, r#"1: measurement="m" a=1.5"#, r#"3: measurement="m" a=9007199254740992.0"#];
    let faults = [
        "2: influx.type: `a` must be a number, not `9007199254740993i`: a float would lose its last digits",
        "4: influx.type: `a` must be a number, not `\"1\"`",
        "5: influx.type: `a` must be a number, not `true`",
    ];
    check(&lines, &rows, &faults);
}

#[test]
fn floats_are_numbers() {
    let faults = [
        "0: influx.syntax: field `a` has `NaN` as its value, which is no number, boolean or text in quotes, at byte 4",
        "no number",
        "no number",
        "1e400` as its value, which is beyond the largest float",
        "no number",
        "no number",
        "no number",
    ];
    check(
        &["m a=NaN", "m a=inf", "m a=x", "m a=1e400", "m a=", "m a=1=2", "m a=.", "m a=+1.e+2"],
        &[r#"7: measurement="m" a=100.0"#],
        &faults,
    );
}

#[test]
fn times_are_exact_in_every_precision() {
    let at = |precision, lines: &[&str], rows: &[&str], faults: &[&str]| {
        shown::check(&mut settled(precision), &Messages::new(lines), rows, faults);
    };
    at(
        Precision::S,
        &["m a=1 1700000000", "m a=1 -1"],
        &[r#"0: time=1700000000000000us measurement="m" a=1.0"#, r#"1: time=-1000000us measurement="m" a=1.0"#],
        &[],
    );
    let us = r#"0: time=9223372036854775us measurement="m" a=1.0"#;
    at(Precision::Us, &["m a=1 9223372036854775"], &[us], &[]);
    let out = "1: influx.type: `time` must be a time in microseconds, as in 2026-01-31T12:00:00Z, not `1700000000000000000`: it is out of range, at byte 6";
    at(Precision::S, &["m a=1", "m a=1 1700000000000000000"], &[r#"0: measurement="m" a=1.0"#], &[out]);
    let faults = [
        "0: influx.syntax: the time `9223372036854775808` is beyond 64 bits, at byte 6",
        "the time `1.5` is no whole number",
        "the time `now` is no whole number",
        "the time `+1` is no whole number",
        "after the time there must be nothing, not `2`, at byte 8",
    ];
    at(Precision::Ns, &["m a=1 9223372036854775808", "m a=1 1.5", "m a=1 now", "m a=1 +1", "m a=1 1 2"], &[], &faults);
    let schema = |unit| {
        Schema::new(vec![Field::new("time", DataType::Timestamp(unit, None)), Field::new("a", DataType::Float64)])
    };
    let mut us = Influx::new(&Settings::<()>::default(), Some(schema(TimeUnit::Microsecond))).unwrap();
    let fine = "1: influx.type: `time` must be a time in microseconds, as in 2026-01-31T12:00:00Z, not `1001`: it is finer than that; `coerce: {roundTimes: …}` rounds, at byte 6";
    shown::check(&mut us, &Messages::new(&["m a=1 1000", "m a=1 1001"]), &["0: time=1us a=1.0"], &[fine]);
    let far = Settings { precision: Precision::S, ..Settings::<()>::default() };
    let mut seconds = Influx::new(&far, Some(schema(TimeUnit::Second))).unwrap();
    shown::check(&mut seconds, &Messages::new(&["m a=1 99999999999"]), &["0: time=99999999999s a=1.0"], &[]);
}

#[test]
fn a_line_without_a_time_has_that_of_its_message() {
    let messages = Messages { sent_ms: Some(5500), ..Messages::new(&["m v=1i"]) };
    shown::check(&mut settled(Precision::Ns), &messages, &[r#"0: time=5500000000ns measurement="m" v=1"#], &[]);
}

#[test]
fn what_is_missing_is_named_with_its_place() {
    let lines = [
        "cpu,host=a",
        "cpu",
        "cpu ",
        ",host=a v=1",
        "cpu,host= v=1",
        "cpu,=a v=1",
        "cpu, v=1",
        "cpu,host v=1",
        "cpu =1",
        "cpu v",
        "cpu v=1,",
        "cpu v=\"x",
        "cpu v=\"x\"y",
        "ok v=1\ncpu,host v=1",
        "a\0b v=1",
        "cpu v=1,w 2",
        "ok v=\"a\nb\",w=1\nnot a line",
    ];
    let faults = [
        "0: influx.syntax: behind measurement and tags there must be a field, not the end of the line, at byte 10",
        "there must be a field",
        "2: influx.syntax: there must be field=value, not the end of the line, at byte 4",
        "3: influx.syntax: the measurement has no name, at `,host=a v=1`, at byte 0",
        "tag `host` has no value, near ` v=1`, at byte 9",
        "a tag has no name",
        "there must be tag=value, not ` v=1`",
        "there must be tag=value, not `host v=1`, at byte 4",
        "a field has no name",
        "there must be field=value, not `v`, at byte 4",
        "there must be field=value, not the end of the line, at byte 8",
        "the quote that field `v` opens with `\"x` is never closed, at byte 6",
        "behind the closing quote of field `v` there is `y`, at byte 9",
        "13: influx.syntax: there must be tag=value, not `host v=1`, at line 2, column 5",
        "14: influx.syntax: there is a NUL byte, at byte 1",
        "there must be field=value, not `w 2`, at byte 8",
        "16: influx.syntax: there must be field=value, not `a line`, at line 3, column 5",
    ];
    check(&lines, &[], &faults);
    let mut decoder = settled(Precision::Ns);
    let decoded = Messages { values: vec![b"cpu v=\xff".to_vec()], ..Messages::default() }.decode(&mut decoder, 0, 1);
    assert_eq!(decoded.faults[0].reason, "the message is not UTF-8, at byte 6");
    assert_eq!(decoder.schema(), None);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_measurement() {
    check(&["\u{feff}cpu,host=a idle=1 1"], &[r#"0: time=1ns measurement="cpu" host="a" idle=1.0"#], &[]);
    check(&["\u{feff}cpu,host"], &[], &["at byte 7"]);
}

#[test]
fn what_has_no_column_is_counted_or_fails() {
    let schema = Schema::new(vec![Field::new("idle", DataType::Float64)]);
    let mut decoder = Influx::new(&Settings::<()>::default(), Some(schema.clone())).unwrap();
    let messages = Messages::new(&["m,host=a idle=1,w=2\nm,host=b idle=2", "m idle=1,w=2", "m w=2", "m,host=a idle=x"]);
    let decoded = messages.decode(&mut decoder, 0, 4);
    let counts: Vec<_> = decoded.unknown.iter().map(|field| (field.name.as_str(), field.count)).collect();
    assert_eq!(counts, [("measurement", 2), ("host", 1), ("w", 2)]);
    assert_eq!(
        decoded.faults[0].reason,
        "none of the fields (the first is `w`) has a column; declare `schema` with the columns you want"
    );
    let strict = Settings { unknown: Unknown::Fail, ..Settings::<()>::default() };
    let mut decoder = Influx::new(&strict, Some(schema)).unwrap();
    let faults =
        ["0: influx.unknown: the schema has no column `measurement` for `m` at byte 0; `unknown: fail` wants one"];
    shown::check(&mut decoder, &Messages::new(&["m idle=1"]), &[], &faults);
    let capture = Settings { unknown: Unknown::Capture, unknown_column: "rest".into(), ..Settings::<()>::default() };
    let mut decoder = Influx::new(&capture, Some(Schema::new(vec![Field::new("idle", DataType::Float64)]))).unwrap();
    let rows = [
        r#"0: idle=1.0 rest="{\"measurement\":\"m\",\"host\":\"a\"}""#,
        r#"1: rest="{\"measurement\":\"m\",\"w\":2,\"x\":\".5\"}""#,
    ];
    shown::check(&mut decoder, &Messages::new(&["m,host=a idle=1", "m w=2i,x=.5"]), &rows, &[]);
    assert!(Influx::new(&Settings::<()>::default(), Some(Schema::new(vec![Field::new("a", DataType::Null)]))).is_err());
}

#[test]
fn a_long_line_takes_time_by_its_length() {
    use std::fmt::Write;
    let line = |count: usize| {
        let mut line = String::from("m ");
        (0..count).for_each(|at| write!(line, "{}f{at}=1", if at == 0 { "" } else { "," }).unwrap());
        line
    };
    // A name a column, as far as there are columns; and escapes all over.
    let messages = Messages::new(&[line(100_000), format!("m{} f0=1", r"\\ ".repeat(1 << 20))]);
    let decoded = messages.decode(&mut settled(Precision::Ns), 0, 2);
    assert_eq!((decoded.batch.rows(), decoded.batch.schema().fields().len()), (2, 2 + MOST_COLUMNS));
    assert_eq!(decoded.unknown[0], crate::UnknownField { name: "(others)".into(), count: 1 });
}
