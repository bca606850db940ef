//! Messages by the RFCs, and as senders write them.

use super::*;
use crate::shown::{self, Messages};

const SENT: i64 = 1_697_100_000_000; // 2023-10-12T08:40:00Z

fn decoder(format: Format) -> Syslog {
    Syslog::new(&Settings { format, ..Settings::<()>::default() }, None).unwrap()
}

#[track_caller]
fn check(lines: &[&str], rows: &[&str], faults: &[&str]) {
    let messages = Messages { sent_ms: Some(SENT), ..Messages::new(lines) };
    shown::check(&mut decoder(Format::Auto), &messages, rows, faults);
}

/// 2023-10-11T22:14:15Z, in nanoseconds.
const AT: &str = "timestamp=1697062455000000000ns";

#[test]
fn messages_of_rfc_5424_have_all_columns() {
    let lines = [
        r#"<165>1 2003-10-11T22:14:15.003Z host app 42 ID47 [ex@1 k="v" q="\"x\""][e2 a="b"] hello"#,
        "<34>1 2023-10-11T22:14:15Z 2600:db8:2:: app 1 - - zero-tail host",
        "<34>1 2023-10-11T22:14:15.123456789+05:30 host app 1 - - nanos",
        r#"<34>1 2023-10-11T22:14:15Z host app 1 ID [ex@1 k="a\]b\"c\\\n"] escapes"#,
        "<34>1 2023-10-11T22:14:15Z host app 1 - - \u{feff}bom message",
        "<191>1 - - - - - -",
        "<0>1 - - - - - - ",
        "\u{feff}<34>1 2023-10-11T22:14:15Z host app 1 - - hi\r\n",
        "<34>1 - h a - - [o ip=\"1\" ip=\"2\"][b] two\nlines",
    ];
    let rows = [
        r#"0: timestamp=1065910455003000000ns facility="local4" severity="notice" hostname="host" appname="app" procid="42" msgid="ID47" structured_data="{\"e2\":{\"a\":\"b\"},\"ex@1\":{\"k\":\"v\",\"q\":\"\\\"x\\\"\"}}" message="hello""#.to_owned(),
        format!(r#"1: {AT} facility="auth" severity="crit" hostname="2600:db8:2::" appname="app" procid="1" message="zero-tail host""#),
        r#"2: timestamp=1697042655123456789ns facility="auth" severity="crit" hostname="host" appname="app" procid="1" message="nanos""#.to_owned(),
        format!(r#"3: {AT} facility="auth" severity="crit" hostname="host" appname="app" procid="1" msgid="ID" structured_data="{{\"ex@1\":{{\"k\":\"a]b\\\"c\\\\\\\\n\"}}}}" message="escapes""#),
        format!(r#"4: {AT} facility="auth" severity="crit" hostname="host" appname="app" procid="1" message="bom message""#),
        r#"5: facility="local7" severity="debug""#.to_owned(),
        r#"6: facility="kern" severity="emerg" message="""#.to_owned(),
        format!(r#"7: {AT} facility="auth" severity="crit" hostname="host" appname="app" procid="1" message="hi""#),
        r#"8: facility="auth" severity="crit" hostname="h" appname="a" structured_data="{\"b\":{},\"o\":{\"ip\":[\"1\",\"2\"]}}" message="two\nlines""#.to_owned(),
    ];
    check(&lines, &rows.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
}

#[test]
fn messages_of_rfc_5424_are_right_or_faults() {
    let lines = [
        "<192>1 - h a - - - x",
        "<034>1 - h a - - - x",
        "<1000>1 - h a - - - x",
        "<>1 - h",
        "<34",
        "<x>Oct 11 22:14:15 h a: x",
        "<34>1 2023-10-11T22:14:15 host app 1 - - x",
        "<34>1 2023-10-11T22:14:15+0530 host app 1 - - x",
        "<34>1 2023-10-11t22:14:15z host app 1 - - x",
        "<34>1 2023-13-11T22:14:15Z host app 1 - - x",
        "<34>1 2023-10-11T22:14:60Z host app 1 - - x",
        "<34>2 2023-10-11T22:14:15Z host app 1 - - x",
        "<34>1 - host app 1",
        "<34>1 - host  1 - - x",
        "<34>1 - hö app 1 - - x",
        "<34>1 - h a 1 - x",
        "<34>1 - h a 1 - -x",
        "<34>1 - h a 1 - [a b=c] x",
        "<34>1 - h a 1 - [a b=\"c\" ] x",
        "<34>1 - h a 1 - [a b=\"c] x\"] x",
        "<34>1 - h a 1 - [a b=\"c",
        "<34>1 - h a 1 - [] x",
        "<34>1 - h a 1 - [a][a] x",
        "<34>1 - h a 1 - [a]x",
        "<34>1 2023-10-11T22:14:15.1234567890Z h a 1 - - x",
        "",
    ];
    let faults = [
        "0: syslog.syntax: the priority must be a number from 0 to 191 in <…>, not `<192>1 - h a - - - x`, at byte 0",
        "1: syslog.syntax: the priority must be",
        "2: syslog.syntax: the priority must be",
        "the priority must be",
        "the priority must be",
        "the priority must be",
        "6: syslog.syntax: TIMESTAMP must be `-` or like 2026-01-31T12:00:00.000000Z, not `2023-10-11T22:14:15 host app 1 - - x`, at byte 6",
        "7: syslog.syntax: TIMESTAMP must be",
        "8: syslog.syntax: TIMESTAMP must be",
        "9: syslog.syntax: the time `2023-13-11T22:14:15Z` is in no calendar, or its year has no such day, at byte 6",
        "10: syslog.syntax: the time `2023-10-11T22:14:60Z` has second 60",
        "11: syslog.syntax: the only version of RFC 5424 is 1, and this message has `2 2023-10-11",
        "12: syslog.syntax: behind PROCID there must be more, not the end of the message, at byte 18",
        "13: syslog.syntax: APP-NAME is missing before ` 1 - - x`, at byte 13",
        "14: syslog.syntax: HOSTNAME has a character that is not printable ASCII: `ö app",
        "15: syslog.syntax: the structured data must be `-` or begin with `[`, not with `x`, at byte 16",
        "16: syslog.syntax: behind the structured data there must be a blank, not `x`, at byte 17",
        "17: syslog.syntax: behind parameter `b` there must be =\"value\", not `=c] x`, at byte 20",
        "18: syslog.syntax: a name in structured data is missing before `] x`",
        "19: syslog.syntax: the value of parameter `b` has a bare `]`; write it as `\\]`, at `] x\"] x`, at byte 23",
        "20: syslog.syntax: the quote that parameter `b` opens is never closed: `\"c`, at byte 21",
        "21: syslog.syntax: a name in structured data is missing before `] x`, at byte 17",
        "22: syslog.syntax: the structured data has two elements `a`, at byte 16",
        "23: syslog.syntax: behind the structured data there must be a blank",
        "24: syslog.syntax: TIMESTAMP must be",
        "25: syslog.syntax: the message is empty",
    ];
    check(&lines, &[], &faults);
}

#[test]
fn lines_of_files_have_no_priority() {
    let lines = [
        "Dec  8 16:48:11 node-01 auditd[38707]: Audit daemon rotating log files",
        "Dec 8 16:48:12 node-01 CRON[27153]: (root) CMD (test -x /usr/sbin/anacron)",
        "Dec  8 16:48:13 node-01 kernel: [12345.678901] eth0: link up",
        "Dec  8 16:48:14 node-01 systemd[1]: Started Daily apt activities.",
        "2023-12-08T16:48:15.5+01:00 node-01 systemd-logind[9]: New session",
        "Dec  8 16:48:16 node-01 last message repeated 2 times",
    ];
    let rows = [
        r#"0: timestamp=1702054091000000000ns hostname="node-01" appname="auditd" procid="38707" message="Audit daemon rotating log files""#,
        r#"1: timestamp=1702054092000000000ns hostname="node-01" appname="CRON" procid="27153" message="(root) CMD (test -x /usr/sbin/anacron)""#,
        r#"2: timestamp=1702054093000000000ns hostname="node-01" appname="kernel" message="[12345.678901] eth0: link up""#,
        r#"3: timestamp=1702054094000000000ns hostname="node-01" appname="systemd" procid="1" message="Started Daily apt activities.""#,
        r#"4: timestamp=1702050495500000000ns hostname="node-01" appname="systemd-logind" procid="9" message="New session""#,
        r#"5: timestamp=1702054096000000000ns hostname="node-01" message="last message repeated 2 times""#,
    ];
    // The file is of January: its lines of December are of the year before.
    let messages = Messages { modified_ms: Some(1_704_100_000_000), ..Messages::new(&lines) };
    shown::check(&mut decoder(Format::Auto), &messages, &rows, &[]);
    shown::check(&mut decoder(Format::Rfc3164), &messages, &rows, &[]);
    // Its own time comes before that of its file.
    let messages = Messages { sent_ms: Some(1_670_600_000_000), ..messages };
    let got = shown::cut(&mut decoder(Format::Auto), &messages, &[]);
    assert!(got.0[0].starts_with("0: timestamp=1670518091000000000ns"), "{}", got.0[0]);
    // Nothing says the year: no row says another.
    let fault = "0: syslog.year: the time `Dec  8 16:48:11` has no year, and neither the message nor its file says when it was written; set `year` in the decoder, at byte 0";
    shown::check(&mut decoder(Format::Auto), &Messages::new(&lines[..1]), &[], &[fault]);
    let set = Settings { year: Some(2020), timezone: "+02:00".into(), ..Settings::<()>::default() };
    let mut set = Syslog::new(&set, None).unwrap();
    let got = shown::cut(&mut set, &Messages::new(&lines), &[]);
    assert!(got.0[0].starts_with("0: timestamp=1607438891000000000ns"), "{}", got.0[0]);
    assert!(got.0[4].starts_with("4: timestamp=1702050495500000000ns"), "{}", got.0[4]);
    // Without the column the year is not missed.
    let schema = Schema::new(vec![Field::new("message", DataType::Utf8), Field::new("procid", DataType::Int64)]);
    let mut some = Syslog::new(&Settings::<()>::default(), Some(schema)).unwrap();
    shown::check(
        &mut some,
        &Messages::new(&lines[..1]),
        &[r#"0: message="Audit daemon rotating log files" procid=38707"#],
        &[],
    );
}

#[test]
fn odd_senders_keep_their_words() {
    let lines = [
        "<131>Oct 11 22:14:15 master apache_error: [Mon Jun 07 11:54:08 2021] [error] client denied",
        "<167>2023-10-11T22:14:15Z esxi-dev-0 Rhttpproxy: verbose rhttpproxy[2475368] [Originator@6876 sub=Proxy] Resolved endpoint",
        "<38>User logged into the appliance. User: ann.",
        "<30>Network link has gone down on interface 1.",
        "<30>Oct 11 22:14:15 ZscalerNSS: action=Allowed",
        "<30>Oct 11 22:14:15 app[7]: no host",
        "<30>Oct 11 22:14:15 2600:db8:2:: app[7]: an address",
        "<30>Oct 11 22:14:15 fe80::1%eth0 app: an address",
        "<30>Oct 11 22:14:15 10.0.0.99 Use the BFG!",
        "<30> Oct 11 2023 22:14:15: %ASA-6-302013: Built",
        "<30>Oct 11 22:14:15 h sshd(pam_unix)[12]:  two blanks",
        "<30>Oct 11 22:14:15 h rhttpproxy[2475368] no colon",
        "<30>Oct 11 22:14:15 h http://x.example/ is no tag",
        "<30>Oct 11 22:14:15 h {\"a\": 1}",
        "<30>Oct 11 22:14:15 \"quoted\" text",
        "<30>Oct 11 22:14:15 h",
        "<30>Oct 11 22:14:15",
        "<30>Oct 11 22:14:15 h app:",
        "<30>12 monkeys",
        "<30>Oct 11 22:14 no time",
        "<30>Oct 11 22:14:15 h a[b c]: no pid",
        "<30> app: no time",
    ];
    let at = format!(r#"{AT} facility="daemon" severity="info""#);
    let rows = [
        format!(
            r#"0: {AT} facility="local0" severity="err" hostname="master" appname="apache_error" message="[Mon Jun 07 11:54:08 2021] [error] client denied""#
        ),
        format!(
            r#"1: {AT} facility="local4" severity="debug" hostname="esxi-dev-0" appname="Rhttpproxy" message="verbose rhttpproxy[2475368] [Originator@6876 sub=Proxy] Resolved endpoint""#
        ),
        r#"2: facility="auth" severity="info" message="User logged into the appliance. User: ann.""#.to_owned(),
        r#"3: facility="daemon" severity="info" message="Network link has gone down on interface 1.""#.to_owned(),
        format!(r#"4: {at} appname="ZscalerNSS" message="action=Allowed""#),
        format!(r#"5: {at} appname="app" procid="7" message="no host""#),
        format!(r#"6: {at} hostname="2600:db8:2::" appname="app" procid="7" message="an address""#),
        format!(r#"7: {at} hostname="fe80::1%eth0" appname="app" message="an address""#),
        format!(r#"8: {at} hostname="10.0.0.99" message="Use the BFG!""#),
        format!(r#"9: {at} appname="%ASA-6-302013" message="Built""#),
        format!(r#"10: {at} hostname="h" appname="sshd(pam_unix)" procid="12" message=" two blanks""#),
        format!(r#"11: {at} hostname="h" appname="rhttpproxy" procid="2475368" message="no colon""#),
        format!(r#"12: {at} hostname="h" message="http://x.example/ is no tag""#),
        format!(r#"13: {at} hostname="h" message="{{\"a\": 1}}""#),
        format!(r#"14: {at} message="\"quoted\" text""#),
        format!(r#"15: {at} message="h""#),
        format!(r#"16: {at} message="""#),
        format!(r#"17: {at} hostname="h" appname="app" message="""#),
        r#"18: facility="daemon" severity="info" message="12 monkeys""#.to_owned(),
        r#"19: facility="daemon" severity="info" message="Oct 11 22:14 no time""#.to_owned(),
        format!(r#"20: {at} hostname="h" message="a[b c]: no pid""#),
        r#"21: facility="daemon" severity="info" message=" app: no time""#.to_owned(),
    ];
    check(&lines, &rows.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
}

#[test]
fn what_is_no_syslog_is_a_fault_that_says_why() {
    let lines = [
        "no syslog",
        "64 <34>1 2023-10-11T22:14:15Z host app 1 - - first line",
        "second line49 <34>1 2023-10-11T22:14:16Z host app 2 - - x",
        "<999>Oct 11 22:14:15 host app[1]: pri too large",
        "<30>Oct 32 22:14:15 h a: x",
        "Feb 30 22:14:15 h a: x",
        "<30>Oct 11 22:14:60 h a: x",
        "<30>Oct 11 22:14:15 h a: x\0y",
    ];
    let faults = [
        "0: syslog.syntax: a message of syslog begins with <PRI> or a time, this one with `no syslog`, at byte 0",
        "1: syslog.syntax: the length 64 stands in front (octet counting: set `framing: {type: octet}`) of `<34>1 2023-10-11",
        "2: syslog.syntax: a message of syslog begins with <PRI> or a time, this one with `second line49 <34>1",
        "3: syslog.syntax: the priority must be a number from 0 to 191",
        "4: syslog.syntax: the time `Oct 32 22:14:15` is in no calendar, or its year has no such day, at byte 4",
        "5: syslog.syntax: the time `Feb 30 22:14:15` is in no calendar",
        "6: syslog.syntax: the time `Oct 11 22:14:60` has second 60",
        "7: syslog.syntax: there is a NUL byte, at byte 26",
    ];
    check(&lines, &[], &faults);
    let strict = [
        "0: syslog.syntax: a message of RFC 5424 begins with <PRI>, this one with `Oct",
        "1: syslog.syntax: behind <PRI> there must be the version `1`, not `Oct",
    ];
    shown::check(
        &mut decoder(Format::Rfc5424),
        &Messages::new(&["Oct 11 22:14:15 h a: x", "<30>Oct 11 22:14:15 h a: x"]),
        &[],
        &strict,
    );
    let mut decoder = decoder(Format::Auto);
    let decoded = Messages { values: vec![b"<30>caf\xe9".to_vec(), b"<30>x\0\n".to_vec()], ..Messages::default() }
        .decode(&mut decoder, 0, 2);
    assert_eq!(decoded.faults[0].reason, "the message is not UTF-8, at byte 7");
    assert_eq!(shown::told(&decoded, 0).0, [r#"1: facility="daemon" severity="info" message="x""#]);
}

#[test]
fn structured_data_can_be_a_map() {
    let settings = || Settings { structured_data: StructuredData::Map, ..Settings::<()>::default() };
    let time = DataType::Timestamp(TimeUnit::Second, None);
    let map = columns(StructuredData::Map).fields()[7].clone();
    let schema = Schema::new(vec![map, Field::new("timestamp", time)]);
    let mut decoder = Syslog::new(&settings(), Some(schema)).unwrap();
    let lines = [
        r#"<165>1 2003-10-11T22:14:15Z h a 4 I [ex@1 k="v" q="\"x\""][e2 a="b"] hello"#,
        r#"<165>1 2003-10-11T22:14:15.5Z h a 4 I - hello"#,
        r#"<165>1 - h a 4 I [o ip="1" ip="2"]"#,
        r#"<165>1 - h a 4 I -"#,
    ];
    let rows = [r#"0: structured_data={ex@1.k=v,ex@1.q="x",e2.a=b} timestamp=1065910455s"#, "3:"];
    let faults = [
        "1: syslog.type: `timestamp` must be a time in seconds, as in 2026-01-31T12:00:00Z, not `2003-10-11T22:14:15.5Z`: it is finer than that",
        "2: syslog.type: the structured data has `o.ip` twice, and a map keeps one; `structuredData: json` keeps both",
    ];
    shown::check(&mut decoder, &Messages::new(&lines), &rows, &faults);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let check = |settings: Settings<()>, schema: Option<Schema>, part: &str| {
        let error = Syslog::new(&settings, schema).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(Settings { timezone: "Mars".into(), ..Settings::<()>::default() }, None, "write it like +02:00");
    check(Settings { year: Some(0), ..Settings::<()>::default() }, None, "from 1 to 9999");
    let schema = |name: &str, data_type| Some(Schema::new(vec![Field::new(name, data_type)]));
    check(
        Settings::<()>::default(),
        schema("host", DataType::Utf8),
        "syslog has no column `host`; it has timestamp, facility",
    );
    check(
        Settings::<()>::default(),
        schema("message", DataType::Null),
        "cannot be null: no value is; choose another type",
    );
}
