//! Rows of csv, graphite, influx and syslog.

use super::{check, check_at, opened};

#[tokio::test]
async fn records_have_the_columns_of_their_header() {
    let spec = r#"{"type":"csv"}"#;
    let rows = [r#"{"id":1,"name":"a,b","ok":true}"#, r#"{"id":2,"ok":false}"#, r#"{"id":3,"name":"x\ny","ok":true}"#];
    let lines = ["id,name,ok", "1,\"a,b\",true", "id,name,ok", "2,,false", "3,\"x\ny\",true"];
    check(spec, &lines, &rows, &[]).await;
    check(spec, &[&lines.join("\n")], &rows, &[]).await;
}

#[tokio::test]
async fn a_bad_record_takes_its_message_with_it_and_no_other() {
    let spec = r#"{"type":"csv","header":false,"schema":{"id":"int64","at":"timestamp(s)"}}"#;
    let lines = ["1,2020-01-01T00:00:00", "x,", "2,\n3,never", "4", "\"5", "6,,7", "7,"];
    let rows = [r#"{"id":1,"at":"2020-01-01T00:00:00"}"#, r#"{"id":7}"#];
    let dead = [(11, "csv.type"), (12, "csv.type"), (13, "csv.width"), (14, "csv.syntax"), (15, "csv.width")];
    check(spec, &lines, &rows, &dead).await;
    let strict = r#"{"type":"csv","schema":{"id":"int64"},"unknown":"fail"}"#;
    check(strict, &["id\n1\n", "id,age\n2,3\n"], &[r#"{"id":1}"#], &[(11, "csv.header")]).await;
}

#[tokio::test]
async fn delimiter_quote_names_and_nulls_are_what_the_spec_says() {
    let spec = r#"{"type":"csv","header":["a","b"],"delimiter":";","quote":"'","nulls":["","NA"]}"#;
    let rows = [r#"{"a":"x;y"}"#, r#"{"a":"NA","b":2.5}"#];
    check(spec, &["'x;y';NA", "'NA';2.5"], &rows, &[]).await;
    check(r#"{"type":"csv","header":false}"#, &["1,x"], &[r#"{"column_1":1,"column_2":"x"}"#], &[]).await;
}

#[tokio::test]
async fn graphite_lines_become_points() {
    let spec = r#"{"type":"graphite","separator":"_","templates":["measurement.measurement.field.field.region"]}"#;
    let row = r#"{"time":"1970-01-01T00:01:40Z","measurement":"cpu_usage","region":"eu-east","idle_percent":100.0}"#;
    check(spec, &["cpu.usage.idle.percent.eu-east 100 100"], &[row], &[]).await;
    let spec = r#"{"type":"graphite","templates":["region.measurement*"]}"#;
    check(spec, &["us.cpu.load 100"], &[r#"{"measurement":"cpu.load","region":"us","value":100.0}"#], &[]).await;
}

#[tokio::test]
async fn graphite_lines_of_one_message_merge() {
    let spec = r#"{"type":"graphite","separator":"_","templates":["measurement.field.host"]}"#;
    let message = "cpu.idle.a 1 20\ncpu.used.a 0.0 20\ncpu.idle.a 9 20\ncpu.idle.b 3 10\ncpu.idle.a 4\n";
    // Both values of one point stay.
    let rows = [
        r#"{"time":"1970-01-01T00:00:10Z","measurement":"cpu","host":"b","idle":3.0}"#,
        r#"{"time":"1970-01-01T00:00:20Z","measurement":"cpu","host":"a","idle":1.0,"used":0.0}"#,
        r#"{"time":"1970-01-01T00:00:20Z","measurement":"cpu","host":"a","idle":9.0}"#,
        r#"{"measurement":"cpu","host":"a","idle":4.0}"#,
    ];
    check(spec, &[message], &rows, &[]).await;
}

#[tokio::test]
async fn a_missing_time_is_the_time_of_the_message() {
    let row = r#"{"time":"1970-01-01T00:00:05.500Z","measurement":"cpu","value":1.0}"#;
    check_at(5500, r#"{"type":"graphite"}"#, &["cpu 1 -1"], &[row], &[]).await;
    let row = r#"{"time":"1970-01-01T00:00:05.500Z","measurement":"cpu","v":1}"#;
    check_at(5500, r#"{"type":"influx"}"#, &["cpu v=1i"], &[row], &[]).await;
}

#[tokio::test]
async fn graphite_paths_that_nothing_matches_are_faults() {
    let spec = r#"{"type":"graphite","templates":["measurement.host"],"schema":{"host":"utf8","value":"int64"}}"#;
    let lines = ["cpu.a 1", "cpu.a.b 1", "cpu.a", "cpu.a 1 now", "cpu.a 1.5", "cpu.a 1\ncpu 2"];
    let dead = [
        (11, "graphite.syntax"),
        (12, "graphite.syntax"),
        (13, "graphite.syntax"),
        (14, "graphite.type"),
        (15, "graphite.syntax"),
    ];
    check(spec, &lines, &[r#"{"host":"a","value":1}"#], &dead).await;
    let spec = r#"{"type":"graphite","templates":["measurement.field"],"schema":{"idle":"float64"}}"#;
    check(spec, &["cpu.idle 1", "cpu.used 1"], &[r#"{"idle":1.0}"#], &[(11, "graphite.type")]).await;
}

#[tokio::test]
async fn influx_points_have_tags_and_fields_as_columns() {
    let spec = r#"{"type":"influx","precision":"s"}"#;
    let lines = [
        "cpu,host=a\\ b,dc=eu idle=1.5,n=3i,up=t,who=\"x \\\"y\\\"\" 10",
        "# a comment\ncpu,dc=us idle=2 20\r\ncpu,dc=uk idle=3 30\n",
        "cpu idle=\"high\"",
        "cpu,host=a",
        "cpu,idle=a idle=1",
    ];
    let rows = [
        r#"{"time":"1970-01-01T00:00:10Z","measurement":"cpu","dc":"eu","host":"a b","idle":1.5,"n":3,"up":true,"who":"x \"y\""}"#,
        r#"{"time":"1970-01-01T00:00:20Z","measurement":"cpu","dc":"us","idle":2.0}"#,
        r#"{"time":"1970-01-01T00:00:30Z","measurement":"cpu","dc":"uk","idle":3.0}"#,
    ];
    check(spec, &lines, &rows, &[(12, "influx.type"), (13, "influx.syntax"), (14, "influx.syntax")]).await;
    let strict = r#"{"type":"influx","schema":{"idle":"float64"},"unknown":"fail"}"#;
    check(strict, &["cpu idle=1"], &[], &[(10, "influx.unknown")]).await;
    let capture = r#"{"type":"influx","schema":{"idle":"float64"},"unknown":"capture","unknownColumn":"rest"}"#;
    let row = r#"{"idle":1.0,"rest":"{\"measurement\":\"cpu\",\"n\":2}"}"#;
    check(capture, &["cpu idle=1,n=2i"], &[row], &[]).await;
}

#[tokio::test]
async fn syslog_has_two_formats() {
    let lines = [
        r#"<165>1 2003-10-11T22:14:15.003Z host app 42 ID47 [ex@1 k="v" q="\"x\""][e2 a="b"] hello"#,
        "<34>Oct 11 22:14:15 mymachine su[7]: failed\n",
        "no syslog",
    ];
    let rows = [
        r#"{"timestamp":"2003-10-11T22:14:15.003Z","facility":"local4","severity":"notice","hostname":"host","appname":"app","procid":"42","msgid":"ID47","structured_data":"{\"e2\":{\"a\":\"b\"},\"ex@1\":{\"k\":\"v\",\"q\":\"\\\"x\\\"\"}}","message":"hello"}"#,
        r#"{"timestamp":"2023-10-11T22:14:15Z","facility":"auth","severity":"crit","hostname":"mymachine","appname":"su","procid":"7","message":"failed"}"#,
    ];
    let january = 1_704_070_800_000;
    check_at(january, r#"{"type":"syslog"}"#, &lines, &rows, &[(12, "syslog.syntax")]).await;
    // Where nothing says which year it was, no row says another.
    let unread = [(11, "syslog.year"), (12, "syslog.syntax")];
    check(r#"{"type":"syslog"}"#, &lines, &rows[..1], &unread).await;
    let set = rows[1].replace("2023", "2001");
    check(r#"{"type":"syslog","year":2001}"#, &lines, &[rows[0], &set], &[(12, "syslog.syntax")]).await;
    let spec = r#"{"type":"syslog","structuredData":"map","timezone":"+02:00","coerce":{"roundTimes":"down"},"schema":{"timestamp":"timestamp(s, UTC)","structured_data":"map(utf8, utf8)"}}"#;
    // A message of December that arrived in January is of the year before.
    let rows = [
        r#"{"timestamp":"2003-10-11T22:14:15Z","structured_data":{"ex@1.k":"v","ex@1.q":"\"x\"","e2.a":"b"}}"#,
        r#"{"timestamp":"2023-12-31T21:14:15Z"}"#,
    ];
    let messages = [lines[0], "<34>Dec 31 23:14:15 mymachine su: x"];
    check_at(january, spec, &messages, &rows, &[]).await;
    // Nothing is cut off unless that is said.
    let exact = spec.replace(r#""coerce":{"roundTimes":"down"},"#, "");
    check_at(january, &exact, &messages, &rows[1..], &[(10, "syslog.type")]).await;
}

#[test]
fn settings_that_cannot_work_are_said_before_anything_runs() {
    let check = |spec: &str, part: &str| match opened(spec) {
        Err(reason) => assert!(reason.contains(part), "{spec}: {reason}"),
        Ok(()) => panic!("{spec}"),
    };
    check(r#"{"type":"csv","delimiter":"é"}"#, "one ASCII character");
    check(r#"{"type":"csv","header":["a","a"]}"#, "one twice");
    check(r#"{"type":"csv","header":["a"],"schema":{"b":"utf8"}}"#, "not in `header`");
    check(r#"{"type":"csv","schema":{"b":["utf8"]}}"#, "nested");
    check(r#"{"type":"graphite","templates":["a.b"]}"#, "no part `measurement`");
    check(r#"{"type":"influx","schema":{"a":"date32"}}"#, "column `a` cannot be a date");
    check(r#"{"type":"syslog","timezone":"Mars"}"#, "+02:00");
    check(r#"{"type":"syslog","schema":{"host":"utf8"}}"#, "syslog has no column `host`; it has timestamp");
    check(r#"{"type":"avro","encoding":"record"}"#, "writer");
    check(r#"{"type":"avro","encoding":"record","writer":"long"}"#, "not a record");
    check(r#"{"type":"protobuf","descriptor":"none.pb","message":"M"}"#, "cannot read");
    check(r#"{"type":"json","schema":{"a":"int65"}}"#, "unknown type");
    check(r#"{"type":"json","schema":{"a":"null"}}"#, "holds no values");
}
