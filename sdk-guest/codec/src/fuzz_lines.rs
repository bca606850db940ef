//! Fuzz targets for the line formats: text written by the rules is read back unchanged, and cuts change nothing.

use std::{collections::BTreeMap, fmt::Write};

use spout_fuzz::{Random, Target};

use crate::{
    Array, Attribute, Decode, Decoded, Input, Schema,
    graphite::{self, Graphite},
    influx::{self, Influx},
    schema_text,
    syslog::{self, Syslog},
};

/// A point written with escapes is read back value by value.
#[test]
fn influx_values() {
    Target::new("influx-values", 2_000).seeds(influx_point);
}

/// No value of a message is lost or duplicated, however its lines share points; each is in a row with its own time.
#[test]
fn graphite_values() {
    Target::new("graphite-values", 2_000).seeds(graphite_message);
}

/// A message written by RFC 5424 is read back part by part; so is one by RFC 3164.
#[test]
fn syslog_values() {
    Target::new("syslog-values", 2_000).seeds(syslog_message);
}

/// The verdict on a message, and its rows, depend neither on its neighbours nor on how calls were cut.
#[test]
fn lines_cuts() {
    Target::new("lines-cuts", 3_000).seeds(cuts);
}

/// Names and texts, some of which need escaping.
const WORDS: [&str; 20] = [
    "a",
    "host",
    "us-east",
    "C:\\temp",
    "a b",
    "k=v",
    "x,y",
    "é",
    "\\",
    "say \"hi\"",
    "]",
    "[x]",
    "𝄞",
    "t",
    "1",
    "1i",
    "#",
    ":",
    "\t",
    ";",
];

/// A word without the bytes of `not`, and without a backslash at its end.
fn word(random: &mut Random, not: &str) -> String {
    let count = 1 + random.below(3);
    let text: String = (0..count).map(|_| random.pick(&WORDS)).collect();
    let text: String = text.chars().filter(|c| !not.contains(*c)).collect();
    let text = text.trim_end_matches('\\').to_owned();
    if text.is_empty() { "w".into() } else { text }
}

fn escaped(text: &str, what: &str) -> String {
    text.chars().flat_map(|c| what.contains(c).then_some('\\').into_iter().chain([c])).collect()
}

fn schema(text: &str) -> Schema {
    schema_text::parse(text).unwrap()
}

fn one(decoder: &mut dyn Decode, message: &str) -> Decoded {
    let bounds = [0, u32::try_from(message.len()).unwrap()];
    decoder.decode(&Input { bounds: &bounds, bytes: message.as_bytes(), ..Input::default() }).unwrap()
}

fn column<'a>(decoded: &'a Decoded, name: &str) -> &'a Array {
    decoded.batch.column_by_name(name).unwrap()
}

fn influx_point(seed: u64) {
    let mut random = Random::new(seed);
    let measurement = word(&mut random, "\t");
    let measurement = measurement.trim_start_matches('#').to_owned();
    let measurement = if measurement.is_empty() { "m".to_owned() } else { measurement };
    let mut line = escaped(&measurement, ", ");
    let mut tags = BTreeMap::new();
    for index in 0..random.below(4) {
        let (name, value) = (format!("t{index}{}", word(&mut random, "")), word(&mut random, ""));
        write!(line, ",{}={}", escaped(&name, ",= "), escaped(&value, ",= ")).unwrap();
        tags.insert(name, value);
    }
    let text = word(&mut random, "");
    let (int, uint, float) = (random.next() as i64, random.next(), f64::from_bits(random.next()));
    let float = if float.is_finite() { float } else { 0.5 };
    let bool = random.below(2) == 0;
    let time = random.next() as i64;
    write!(line, " s=\"{}\",i={int}i,u={uint}u,f={float:e},b={bool} {time}", escaped(&text, "\"\\")).unwrap();
    let mut decoder = Influx::new(&influx::Settings::<()>::default(), None).unwrap();
    let decoded = one(&mut decoder, &line);
    assert_eq!(decoded.faults, [], "seed {seed}: {line}");
    assert_eq!(column(&decoded, "measurement").str(0), Some(&*measurement), "seed {seed}: {line}");
    assert_eq!(column(&decoded, "time").i64(0), Some(time), "seed {seed}: {line}");
    for (name, value) in &tags {
        assert_eq!(column(&decoded, name).str(0), Some(&**value), "seed {seed}: {line}");
    }
    assert_eq!(column(&decoded, "s").str(0), Some(&*text), "seed {seed}: {line}");
    assert_eq!(column(&decoded, "i").i64(0), Some(int), "seed {seed}: {line}");
    assert_eq!(column(&decoded, "u").u64(0), Some(uint), "seed {seed}: {line}");
    assert_eq!(column(&decoded, "f").f64(0), Some(float), "seed {seed}: {line}");
    assert_eq!(column(&decoded, "b").bool(0), Some(bool), "seed {seed}: {line}");
}

fn graphite_message(seed: u64) {
    let mut random = Random::new(seed);
    let (mut message, mut sent) = (String::new(), Vec::new());
    for value in 0..1 + random.below(12) {
        let (host, field, time) = (random.pick(&["a", "b"]), random.pick(&["x", "y", "z"]), random.below(3));
        writeln!(message, "cpu.{host}.{field} {value} {time}").unwrap();
        sent.push((i64::try_from(time).unwrap(), host.to_owned(), field.to_owned(), value as f64));
    }
    let settings: graphite::Settings<()> = serde_json::from_str(r#"{"templates":["measurement.host.field"]}"#).unwrap();
    let columns = r#"{"time":"timestamp(s)","host":"utf8","x":"float64","y":"float64","z":"float64"}"#;
    let mut decoder = Graphite::new(&settings, Some(schema(columns))).unwrap();
    let decoded = one(&mut decoder, &message);
    let mut got = Vec::new();
    for row in 0..decoded.batch.rows() {
        let (time, host) = (column(&decoded, "time").i64(row).unwrap(), column(&decoded, "host").str(row).unwrap());
        for field in ["x", "y", "z"] {
            got.extend(column(&decoded, field).f64(row).map(|value| (time, host.to_owned(), field.to_owned(), value)));
        }
    }
    assert!(got.is_sorted_by_key(|value| value.0), "seed {seed}: {message}");
    got.sort_by(|a, b| a.3.total_cmp(&b.3));
    assert_eq!(got, sent, "seed {seed}: {message}");
}

fn syslog_message(seed: u64) {
    let mut random = Random::new(seed);
    let header = |random: &mut Random| {
        let text = word(random, "é𝄞 \t");
        (random.below(4) > 0 && text != "-").then_some(text)
    };
    let [host, app, pid, id] = [(); 4].map(|()| header(&mut random));
    let or = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".into());
    let priority = random.below(192);
    let value = word(&mut random, "");
    let data = if random.below(2) == 0 { "-".to_owned() } else { format!("[x@1 k=\"{}\"]", escaped(&value, "\"\\]")) };
    let text = word(&mut random, "");
    let message = format!("<{priority}>1 - {} {} {} {} {data} {text}", or(&host), or(&app), or(&pid), or(&id));
    let mut decoder = Syslog::new(&syslog::Settings::<()>::default(), None).unwrap();
    let decoded = one(&mut decoder, &message);
    assert_eq!(decoded.faults, [], "seed {seed}: {message}");
    for (name, part) in [("hostname", &host), ("appname", &app), ("procid", &pid), ("msgid", &id)] {
        assert_eq!(column(&decoded, name).str(0), part.as_deref(), "seed {seed}: {message}");
    }
    let json = (data != "-").then(|| serde_json::json!({"x@1": {"k": value}}).to_string());
    assert_eq!(column(&decoded, "structured_data").str(0), json.as_deref(), "seed {seed}: {message}");
    assert_eq!(column(&decoded, "message").str(0), Some(&*text), "seed {seed}: {message}");

    let old = format!("<{priority}>2023-10-11T22:14:15Z host app[{}]: {text}", random.below(100_000));
    let decoded = one(&mut decoder, &old);
    assert_eq!(column(&decoded, "hostname").str(0), Some("host"), "seed {seed}: {old}");
    assert_eq!(column(&decoded, "appname").str(0), Some("app"), "seed {seed}: {old}");
    assert_eq!(column(&decoded, "message").str(0), Some(&*text), "seed {seed}: {old}");
}

/// Text with meaning in one of the formats.
const PIECES: [&str; 40] = [
    "<34>",
    "<192>",
    "Oct 11 22:14:15 ",
    "Feb 30 00:00:00 ",
    "Feb 29 12:00:00",
    "2023-10-11T22:14:15.123456789Z ",
    "1 ",
    "- ",
    "[a b=\"c\"] ",
    "\\]",
    "host ",
    "app[1]: ",
    "::1 ",
    "m",
    ",t=v",
    ",t=",
    " f=1",
    " f=1i,g=\"x\"",
    "=",
    ",",
    "\\",
    "\"",
    " ",
    "\n",
    "\r",
    "\0",
    "1",
    "-1",
    "1e9",
    ".5",
    "nan",
    ";t=v",
    ".",
    ":",
    "é",
    "\u{feff}",
    "18446744073709551615u",
    "9007199254740993",
    "# x\n",
    "cpu.a 1 1\n",
];

/// Messages of such pieces, some of them damaged.
fn soup(random: &mut Random) -> Vec<Vec<u8>> {
    let count = 2 + random.below(12);
    let message = |_| {
        let mut bytes: Vec<u8> = (0..random.below(10)).flat_map(|_| random.pick(&PIECES).bytes()).collect();
        if random.below(4) == 0 && !bytes.is_empty() {
            let at = random.below(bytes.len());
            bytes[at] = u8::try_from(random.below(256)).unwrap();
        }
        bytes
    };
    (0..count).map(message).collect()
}

/// The rows of a message, and the code and reason of its fault.
type Verdict = (Vec<Vec<u8>>, Option<(String, String)>);

/// The rows and faults of each message.
fn verdicts(decoded: &Decoded, messages: usize) -> Vec<Verdict> {
    let mut verdicts = vec![(Vec::new(), None); messages];
    for (row, origin) in decoded.origins.iter().enumerate() {
        let mut key = Vec::new();
        decoded.batch.columns().iter().for_each(|column| column.write_key(row, &mut key));
        verdicts[*origin as usize].0.push(key);
    }
    assert_eq!(decoded.origins.len(), decoded.batch.rows());
    for fault in &decoded.faults {
        let (rows, told) = &mut verdicts[fault.message as usize];
        assert!(rows.is_empty() && told.is_none(), "a message is a fault and has rows");
        *told = Some((fault.code.to_string(), fault.reason.clone()));
    }
    verdicts
}

fn cuts(seed: u64) {
    let mut random = Random::new(seed);
    let messages = soup(&mut random);
    let count = messages.len();
    let columns = random.pick(&[
        r#"{"time":"timestamp(us)","measurement":"utf8","f":"float64","value":"decimal128(20, 2)","t":"utf8"}"#,
        r#"{"f":"int64","value":"float64"}"#,
        r#"{"measurement":"utf8","f":"utf8","value":"utf8","g":"utf8"}"#,
    ]);
    let unknown = random.pick(&["drop", "capture", "fail"]);
    let kind = random.below(3);
    let open = || -> Box<dyn Decode> {
        let settings = format!(r#"{{"unknown":"{unknown}"}}"#);
        match kind {
            0 => {
                let settings: influx::Settings<()> = serde_json::from_str(&settings).unwrap();
                Box::new(Influx::new(&settings, Some(schema(columns))).unwrap())
            }
            1 => {
                let settings: graphite::Settings<()> = serde_json::from_str(&settings).unwrap();
                Box::new(Graphite::new(&settings, Some(schema(columns))).unwrap())
            }
            _ => Box::new(Syslog::new(&syslog::Settings::<()>::default(), None).unwrap()),
        }
    };
    let call = |decoder: &mut dyn Decode, from: usize, to: usize| {
        let mut bounds = vec![0];
        messages[from..to]
            .iter()
            .for_each(|message| bounds.push(bounds.last().unwrap() + u32::try_from(message.len()).unwrap()));
        let modified = [Attribute { first: 0, name: "modified".into(), value: b"1700000000000".to_vec() }];
        let bytes = messages[from..to].concat();
        let input = Input { bounds: &bounds, bytes: &bytes, attributes: &modified, ..Input::default() };
        verdicts(&decoder.decode(&input).unwrap(), to - from)
    };
    let whole = call(&mut *open(), 0, count);
    let (mut decoder, mut from) = (open(), 0);
    while from < count {
        let to = (from + 1 + random.below(4)).min(count);
        assert_eq!(call(&mut *decoder, from, to), whole[from..to], "seed {seed}, messages {from}..{to}");
        from = to;
    }
    let alone = random.below(count);
    assert_eq!(call(&mut *open(), alone, alone + 1), whole[alone..=alone], "seed {seed}, message {alone} alone");
    // Without a schema nothing panics either, and a fault of syntax is the same.
    if kind < 2 {
        let mut settling: Box<dyn Decode> = match kind {
            0 => Box::new(Influx::new(&influx::Settings::<()>::default(), None).unwrap()),
            _ => Box::new(Graphite::new(&graphite::Settings::<()>::default(), None).unwrap()),
        };
        let syntax = |verdict: &Verdict| verdict.1.clone().filter(|(code, _)| code.ends_with(".syntax"));
        for (ours, theirs) in call(&mut *settling, 0, count).iter().zip(&whole) {
            assert_eq!(syntax(ours), syntax(theirs), "seed {seed}");
        }
    }
}
