//! Fuzz targets for CSV: against a model that reads one character at a time, and against other cuts into calls.

use spout_fuzz::{Random, Target};

use super::{Csv, Reader, RecordFinder, Settings, Style, WrongKind};
use crate::{Attribute, Decode, Decoded, Input, fuzz::Run, schema_text};

/// The reader finds what the model finds, and the finder frames the same records for any cut.
#[test]
fn csv_records() {
    Target::new("csv-records", 4_000).seeds(records);
}

/// The verdict on a message, and its rows, depend neither on its neighbours nor on how calls were cut.
#[test]
fn csv_cuts() {
    Target::new("csv-cuts", 4_000).seeds(cuts);
}

const PIECES: [&str; 28] = [
    ",",
    ",",
    ",",
    "\"",
    "\"",
    "\"\"",
    "\n",
    "\r\n",
    "\r",
    "a",
    "b",
    "id",
    "name",
    "1",
    "-2.5",
    "007",
    "1e3",
    " ",
    "\t",
    "é",
    "\u{feff}",
    "\0",
    "x\"y",
    "2026-01-31",
    "true",
    "a longer value than eight bytes",
    ";",
    "'",
];

/// Text that is mostly CSV.
pub(super) fn text(random: &mut Random, pieces: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..random.below(pieces) {
        match random.below(6) {
            0 => {
                text.push(b'"');
                for _ in 0..random.below(4) {
                    text.extend_from_slice(random.pick(&PIECES).replace('"', "\"\"").as_bytes());
                }
                text.push(b'"');
            }
            1 if random.below(20) == 0 => text.push(u8::try_from(random.below(256)).unwrap_or(0)),
            _ => text.extend_from_slice(random.pick(&PIECES).as_bytes()),
        }
    }
    text
}

/// A value, and whether it was quoted.
type Cell = (Vec<u8>, bool);

/// The records of `text`, by the rules alone, one byte at a time.
pub(super) fn model(text: &[u8]) -> Option<Vec<Vec<Cell>>> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("\u{feff}".as_bytes()) {
            at += 3;
        }
        let (mut record, mut ended) = (Vec::<Cell>::new(), false);
        while !ended {
            let mut value = Vec::new();
            let quoted = text.get(at) == Some(&b'"');
            if quoted {
                at += 1;
                loop {
                    match (text.get(at)?, text.get(at + 1)) {
                        (b'"', Some(b'"')) => {
                            value.push(b'"');
                            at += 2;
                        }
                        (b'"', _) => break,
                        (byte, _) => {
                            value.push(*byte);
                            at += 1;
                        }
                    }
                }
                at += 1;
            } else {
                while text.get(at).is_some_and(|byte| !matches!(byte, b',' | b'\n' | b'\r')) {
                    value.push(text[at]);
                    at += 1;
                }
            }
            record.push((value, quoted));
            match (text.get(at), text.get(at + 1)) {
                (Some(b','), _) => at += 1,
                (None, _) => ended = true,
                (Some(b'\n'), _) => {
                    at += 1;
                    ended = true;
                }
                (Some(b'\r'), Some(b'\n')) => {
                    at += 2;
                    ended = true;
                }
                _ => return None,
            }
        }
        if record != [(Vec::new(), false)] {
            records.push(record);
        }
    }
    Some(records)
}

fn records(seed: u64) {
    let mut random = Random::new(seed);
    let text = text(&mut random, 24);
    let shown = || format!("seed {seed}: {:?}", String::from_utf8_lossy(&text));
    let mut reader = Reader::new(Style::default());
    let all = |reader: &Reader, bytes: &[u8]| -> Vec<Vec<Cell>> {
        let values = |record| reader.values(bytes, record).map(|value| (value.bytes.to_vec(), value.quoted)).collect();
        (0..reader.len()).map(values).collect()
    };
    let read = reader.read(&text, 0, text.len()).map(|()| all(&reader, &text));
    assert_eq!(read.as_ref().ok(), model(&text).as_ref(), "{}", shown());
    let (mut finder, mut from, mut fed, mut frames) = (RecordFinder::new(Style::default()), 0, 0, Vec::new());
    while fed < text.len() {
        let cut = (fed + 1 + random.below(9)).min(text.len());
        while let Some(found) = finder.find(&text[fed..cut]) {
            fed += found;
            frames.push((from, fed));
            from = fed;
        }
        fed = cut;
    }
    frames.push((from, text.len()));
    let (mut framed, mut wrong) = (Vec::new(), None);
    for (from, to) in frames {
        match reader.read(&text, from, to) {
            Ok(()) => framed.extend(all(&reader, &text)),
            Err(found) => wrong = wrong.or(Some(found)),
        }
    }
    match (read, wrong) {
        (Ok(read), None) => assert_eq!(read, framed, "{}", shown()),
        (Err(whole), Some(first)) => assert_eq!(whole, first, "{}", shown()),
        (read, wrong) => panic!("{}: {read:?} whole, {wrong:?} framed", shown()),
    }
    let torn = reader.read(&text, from, text.len()).is_err_and(|wrong| wrong.kind == WrongKind::OpenQuote);
    assert!(!torn || finder.is_quoted(), "{}", shown());
}

/// The rows of one message, and the codes and reasons of its faults.
type Verdict = (Vec<Vec<u8>>, Vec<(String, String)>);

/// Rows and faults of each message.
fn verdicts(decoded: &Decoded, messages: usize) -> Vec<Verdict> {
    let mut verdicts = vec![(Vec::new(), Vec::new()); messages];
    for fault in &decoded.faults {
        verdicts[fault.message as usize].1.push((fault.code.to_string(), fault.reason.clone()));
    }
    let mut origins = decoded.origins.clone();
    if origins.is_empty() {
        origins =
            (0..u32::try_from(messages).unwrap()).filter(|message| verdicts[*message as usize].1.is_empty()).collect();
    }
    for (row, origin) in origins.into_iter().take(decoded.batch.rows()).enumerate() {
        let mut key = Vec::new();
        decoded.batch.columns().iter().for_each(|column| column.write_key(row, &mut key));
        verdicts[origin as usize].0.push(key);
    }
    assert!(verdicts.iter().all(|(rows, faults)| faults.len() <= 1 && (rows.is_empty() || faults.is_empty())));
    verdicts
}

fn cuts(seed: u64) {
    let mut random = Random::new(seed);
    let count = 2 + random.below(12);
    let messages: Vec<Vec<u8>> = (0..count).map(|_| text(&mut random, 12)).collect();
    let settings: Settings<()> = serde_json::from_str(random.pick(&[
        "{}",
        r#"{"header":false}"#,
        r#"{"header":["name","b","id"],"unknown":"capture"}"#,
        r#"{"unknown":"capture","quotedNulls":true}"#,
        r#"{"unknown":"fail","coerce":{"trim":true,"looseNumbers":true}}"#,
        r#"{"header":false,"delimiter":";","quote":"'"}"#,
    ]))
    .unwrap();
    let schema = schema_text::parse(random.pick(&[
        r#"{"id":"utf8","name":"utf8"}"#,
        r#"{"id":"int64","name":"float64","b":"boolean"}"#,
        r#"{"name":"date32"}"#,
        r#"{"b":"decimal128(6, 2)","id":"timestamp(us, UTC)"}"#,
    ]));
    // Not all settings go with all schemas.
    let Ok(open) = Csv::new(&settings, schema.clone().ok(), None) else { return };
    let open = || Csv::new(&settings, schema.clone().ok(), None).unwrap_or_else(|error| panic!("{error}: {open:?}"));
    let header = Attribute { first: 0, name: "header".into(), value: b"b,\"name\",id\r\n".to_vec() };
    let attributes =
        if random.below(3) == 0 && settings.header != super::Header::Given(false) { vec![header] } else { Vec::new() };
    let decode = |csv: &mut Csv, part: &[Vec<u8>]| {
        let run = Run::new(part);
        verdicts(&csv.decode(&Input { attributes: &attributes, ..run.input() }).unwrap(), part.len())
    };
    let whole = decode(&mut open(), &messages);
    let (mut csv, mut from) = (open(), 0);
    while from < count {
        let to = (from + 1 + random.below(5)).min(count);
        assert_eq!(decode(&mut csv, &messages[from..to]), whole[from..to], "seed {seed}, messages {from}..{to}");
        from = to;
    }
    let alone = random.below(count);
    assert_eq!(
        decode(&mut open(), &messages[alone..=alone]),
        whole[alone..=alone],
        "seed {seed}, message {alone} alone"
    );
}
