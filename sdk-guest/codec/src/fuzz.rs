//! Fuzz targets as plain functions of a seed: in CI a few thousand seeds each, with `just fuzz` any number.
//!
//! A target panics if a decoder's answer differs from the oracle's or from another cut into calls, or if the decoder
//! itself panics. Every input comes from its seed alone.

use serde_json::Value;
use spout_fuzz::{Counting, Random, Target};

use crate::{
    Array, Data, DataType, Decode, Decoded, Input, Schema,
    json::{Json, Settings},
    schema_text,
};

#[global_allocator]
static MEMORY: Counting = Counting;

/// A message is JSON for us exactly if it is for serde_json.
#[test]
fn json_verdict() {
    Target::new("json-verdict", 20_000).seeds(verdict);
}

/// Inferred columns hold what serde_json reads.
#[test]
fn json_values() {
    Target::new("json-values", 8_000).seeds(values);
}

/// Numbers are what the standard library reads: floats to the last bit, integers and decimals digit for digit.
#[test]
fn json_numbers() {
    Target::new("json-numbers", 8_000).seeds(numbers);
}

/// The verdict on a message, and its row, depend neither on its neighbours nor on how calls were cut.
#[test]
fn json_cuts() {
    Target::new("json-cuts", 1_500).seeds(cuts);
}

/// Messages as they lie in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    bounds: Vec<u32>,
    bytes: Vec<u8>,
}

impl Run {
    /// These payloads.
    pub(crate) fn new<T: AsRef<[u8]>>(payloads: &[T]) -> Self {
        let mut run = Self { bounds: vec![0], bytes: Vec::new() };
        for payload in payloads {
            run.bytes.extend_from_slice(payload.as_ref());
            run.bounds.push(u32::try_from(run.bytes.len()).unwrap_or(u32::MAX));
        }
        run
    }

    /// As a decoder sees them.
    pub(crate) fn input(&self) -> Input<'_> {
        Input { bounds: &self.bounds, bytes: &self.bytes, ..Input::default() }
    }
}

/// The row of a message, or the code and reason of its fault.
pub(crate) type Verdict = Result<Vec<u8>, (String, String)>;

/// Rows and faults, message by message: must be the same natively, in plugins and for any cut.
pub(crate) fn verdicts(decoded: &Decoded, messages: usize) -> Vec<Verdict> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; messages];
    for fault in &decoded.faults {
        verdicts[fault.message as usize] = Some(Err((fault.code.to_string(), fault.reason.clone())));
    }
    let mut rows = 0;
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.is_none()) {
        let mut key = Vec::new();
        decoded.batch.columns().iter().for_each(|column| column.write_key(rows, &mut key));
        *verdict = Some(Ok(key));
        rows += 1;
    }
    assert_eq!(rows, decoded.batch.rows(), "rows and faults are not the messages");
    verdicts.into_iter().map(|verdict| verdict.unwrap()).collect()
}

const WORDS: [&str; 24] = [
    "a",
    "b",
    "id",
    "type",
    "é",
    "x y",
    "",
    "\\n",
    "\\\"",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\u0000",
    "actor",
    "created_at",
    "𝄞",
    "\u{1}",
    "\t",
    "k\\/",
    "\\x",
    "long long long text",
    "null",
    "0",
    "\u{feff}",
];
const NUMBERS: [&str; 26] = [
    "0",
    "-0",
    "1",
    "-1",
    "42",
    "1e3",
    "4.0",
    "21.7",
    "-0.9",
    "0.1",
    "1e400",
    "1e-400",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "01",
    "1.",
    ".5",
    "+1",
    "-",
    "1E+2",
    "123456789.123456789",
    "99999999999999999999999999999999999999999",
];

/// A mostly valid document.
fn document(random: &mut Random, depth: usize, out: &mut String) {
    let blank = |random: &mut Random, out: &mut String| {
        if random.below(8) == 0 {
            out.push_str(random.pick(&[" ", "\t", "\n", "\r", "  ", "\u{a0}", "\u{c}"]));
        }
    };
    blank(random, out);
    match random.below(if depth == 0 { 5 } else { 8 }) {
        0 => out.push_str(random.pick(&["null", "true", "false", "null", "true", "false", "nul", "True"])),
        1 | 2 => out.push_str(random.pick(&NUMBERS)),
        3 | 4 => out.push_str(&format!("\"{}\"", random.pick(&WORDS))),
        5 => {
            out.push('[');
            for item in 0..random.below(4) {
                out.push_str(if item > 0 { "," } else { "" });
                document(random, depth - 1, out);
            }
            out.push(']');
        }
        _ => object(random, depth - 1, out),
    }
    blank(random, out);
}

fn object(random: &mut Random, depth: usize, out: &mut String) {
    out.push('{');
    for field in 0..random.below(5) {
        out.push_str(if field > 0 { "," } else { "" });
        out.push_str(&format!("\"{}\":", random.pick(&WORDS)));
        document(random, depth, out);
    }
    out.push('}');
}

/// A message that is mostly an object, and sometimes damaged.
pub(crate) fn message(random: &mut Random) -> Vec<u8> {
    let mut text = String::new();
    match random.below(12) {
        0 => document(random, 4, &mut text),
        _ => object(random, 4, &mut text),
    }
    let mut bytes = text.into_bytes();
    if random.below(3) == 0 {
        for _ in 0..=random.below(3) {
            damage(random, &mut bytes);
        }
    }
    bytes
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let byte = *b"{}[]\",:\\u0eE.-+ \t\n\0\x80\xff\xc3tn".get(random.below(27)).unwrap_or(&b'x');
    match random.below(5) {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => {
            bytes.remove(at);
        }
        3 => bytes.truncate(at),
        _ => {
            let again = bytes[at..].to_vec();
            bytes.extend(again);
        }
    }
}

/// What serde_json reads in a message, without the byte order mark, which it does not allow.
fn oracle(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

/// Whether serde_json accepts the message: numbers beyond its floats are JSON too.
fn is_json(bytes: &[u8]) -> bool {
    match oracle(bytes) {
        Ok(_) => true,
        // What passes over values does not look at the bytes of their texts.
        Err(error) if error.to_string().contains("number out of range") => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
        }
        Err(_) => false,
    }
}

fn verdict(seed: u64) {
    let mut random = Random::new(seed);
    let bytes = message(&mut random);
    let schema = schema_text::parse(r#"{"zz":"utf8"}"#).unwrap();
    let mut json = Json::new(&Settings::<()>::default(), Some(schema), None).unwrap();
    let decoded = json.decode(&Run::new(&[&bytes]).input()).unwrap();
    let ours = decoded.faults.first().is_none_or(|fault| fault.code == "json.type");
    // Where serde_json cannot say (a lone half of a pair beside a number out of range), only that nothing panics counts.
    let lone = decoded.faults.first().is_some_and(|fault| fault.reason.contains("surrogate"));
    assert!(
        ours == is_json(&bytes) || (lone && oracle(&bytes).is_err()),
        "seed {seed}: {:?}: {:?}, serde_json {:?}",
        String::from_utf8_lossy(&bytes),
        decoded.faults,
        oracle(&bytes)
    );
}

fn values(seed: u64) {
    let mut random = Random::new(seed);
    let count = 1 + random.below(6);
    let messages: Vec<Vec<u8>> = (0..count).map(|_| message(&mut random)).collect();
    let settings: Settings<()> = serde_json::from_str(r#"{"duplicates":"last"}"#).unwrap();
    let mut json = Json::new(&settings, None, None).unwrap();
    let decoded = json.decode(&Run::new(&messages).input()).unwrap();
    if decoded.batch.schema().fields().is_empty() {
        return;
    }
    let mut faults = decoded.faults.iter().map(|fault| fault.message as usize).peekable();
    let sound = (0..count).filter(|message| faults.next_if_eq(message).is_none());
    for (row, index) in sound.enumerate() {
        let Ok(Value::Object(object)) = oracle(&messages[index]) else { continue };
        for (field, column) in decoded.batch.schema().fields().iter().zip(decoded.batch.columns()) {
            let expected = object.get(&field.name).unwrap_or(&Value::Null);
            let same = same(column, &field.data_type, row, expected);
            let shown = String::from_utf8_lossy(&messages[index]);
            assert!(same, "seed {seed}: {shown}: `{}` is not {expected}: {:?}", field.name, field.data_type);
        }
    }
}

/// Whether row `row` is what serde_json read. Text forms of other values are compared as values.
fn same(array: &Array, data_type: &DataType, row: usize, expected: &Value) -> bool {
    if !array.is_valid(row) {
        return expected.is_null();
    }
    match (data_type, expected) {
        (DataType::Utf8, Value::String(text)) => array.str(row) == Some(text),
        (DataType::Utf8, other) => {
            array.str(row).is_some_and(|text| serde_json::from_str::<Value>(text).is_ok_and(|value| value == *other))
        }
        (DataType::Boolean, Value::Bool(value)) => array.bool(row) == Some(*value),
        (DataType::Int64, Value::Number(number)) => match number.as_i64() {
            Some(value) => array.i64(row) == Some(value),
            None => array.i64(row).map(|value| value as f64) == number.as_f64(),
        },
        (DataType::UInt64, Value::Number(number)) => match number.as_u64() {
            Some(value) => array.u64(row) == Some(value),
            None => array.u64(row).map(|value| value as f64) == number.as_f64(),
        },
        (DataType::Float64, Value::Number(number)) => match (array.f64(row), number.as_f64()) {
            // serde_json's own floats are one step off now and then; `json-numbers` asks the standard library.
            (Some(ours), Some(theirs)) => ours.to_bits().abs_diff(theirs.to_bits()) <= 1,
            _ => false,
        },
        (DataType::Decimal128(..), Value::Number(_)) => true,
        (DataType::Struct(fields), Value::Object(object)) => {
            fields.iter().zip(array.fields()).all(|(field, column)| {
                same(column, &field.data_type, row, object.get(&field.name).unwrap_or(&Value::Null))
            })
        }
        (DataType::List(item), Value::Array(values)) => match array.data() {
            Data::List { offsets, items, .. } => {
                let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
                to - from == values.len()
                    && (from..to).zip(values).all(|(at, value)| same(items, &item.data_type, at, value))
            }
            _ => false,
        },
        _ => false,
    }
}

fn numbers(seed: u64) {
    let mut random = Random::new(seed);
    let digits = |random: &mut Random, most: usize| -> String {
        let count = 1 + random.below(most);
        (0..count).map(|_| char::from(b'0' + u8::try_from(random.below(10)).unwrap())).collect()
    };
    let most = *random.pick(&[&3, &9, &18, &20, &40]);
    let whole = digits(&mut random, most);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = if random.below(2) == 0 { digits(&mut random, 25) } else { String::new() };
    let exponent = if random.below(3) == 0 { i32::try_from(random.below(60)).unwrap() - 30 } else { 0 };
    let mut text = format!("{}{whole}", random.pick(&["", "-"]));
    if !fraction.is_empty() {
        text.push_str(&format!(".{fraction}"));
    }
    if exponent != 0 {
        text.push_str(&format!("{}{exponent}", random.pick(&["e", "E"])));
    }
    let schema = r#"{"f":"float64","g":"float32","i":"int64","u":"uint64","d":"decimal128(38, 4)"}"#;
    let line = |key: &str| format!("{{\"{key}\":{text}}}");
    let lines = ["f", "g", "i", "u", "d"].map(line);
    let read = |line: &String| {
        let mut json = Json::new(&Settings::<()>::default(), Some(schema_text::parse(schema).unwrap()), None).unwrap();
        json.decode(&Run::new(&[line]).input()).unwrap().batch
    };
    let [f, g, i, u, d] = lines.each_ref().map(read);
    let finite = text.parse::<f64>().ok().filter(|value| value.is_finite());
    assert_eq!(f.columns()[0].f64(0).map(f64::to_bits), finite.map(f64::to_bits), "seed {seed}: {text}");
    let finite = text.parse::<f32>().ok().filter(|value| value.is_finite());
    assert_eq!(g.columns()[1].f32(0).map(f32::to_bits), finite.map(f32::to_bits), "seed {seed}: {text}");
    let exact = |scale: i32| exact(text.starts_with('-'), whole, &fraction, exponent + scale);
    let of = |value: Option<i128>| value.and_then(|value| i64::try_from(value).ok());
    assert_eq!(i.columns()[2].i64(0), of(exact(0)), "seed {seed}: {text}");
    let of = |value: Option<i128>| value.and_then(|value| u64::try_from(value).ok());
    assert_eq!(u.columns()[3].u64(0), of(exact(0)), "seed {seed}: {text}");
    let decimal = match d.columns()[4].data() {
        Data::Fixed { bytes, .. } => bytes.first_chunk().map(|bytes| i128::from_le_bytes(*bytes)),
        _ => None,
    };
    let expected = exact(4).filter(|value| value.unsigned_abs() < 10_u128.pow(38));
    assert_eq!(decimal, expected, "seed {seed}: {text}");
}

/// `whole.fraction` times a power of ten as an integer, if it is one: by moving the point through the text.
fn exact(negative: bool, whole: &str, fraction: &str, exponent: i32) -> Option<i128> {
    let digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    let kept = usize::try_from(point.max(0)).ok()?;
    let padded = format!("{digits:0<kept$}");
    let (kept, rest) = padded.split_at(kept);
    if rest.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let kept = kept.trim_start_matches('0');
    let value: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    Some(if negative { -value } else { value })
}

fn cuts(seed: u64) {
    let mut random = Random::new(seed);
    let count = 2 + random.below(20);
    let messages: Vec<Vec<u8>> = (0..count).map(|_| message(&mut random)).collect();
    let settings =
        random.pick(&["{}", r#"{"duplicates":"last"}"#, r#"{"unknown":"capture"}"#, r#"{"unknown":"fail"}"#]);
    let settings: Settings<()> = serde_json::from_str(settings).unwrap();
    let schema: Schema = schema_text::parse(random.pick(&[
        r#"{"a":"int64","b":"utf8","id":"float64","type":["utf8"],"actor":{"a":"utf8","b":"bool"}}"#,
        r#"{"actor":"map(utf8, utf8)","a":"decimal128(20, 2)","id":"timestamp(us)","é":[{"a":"uint64"}]}"#,
        r#"{"null":"utf8"}"#,
    ]))
    .unwrap();
    let open = || Json::new(&settings, Some(schema.clone()), None).unwrap();
    let whole = open().decode(&Run::new(&messages).input()).unwrap();
    let whole = verdicts(&whole, count);
    let mut json = open();
    let mut from = 0;
    while from < count {
        let to = (from + 1 + random.below(5)).min(count);
        let part = json.decode(&Run::new(&messages[from..to]).input()).unwrap();
        assert_eq!(verdicts(&part, to - from), whole[from..to], "seed {seed}, messages {from}..{to}");
        from = to;
    }
    let alone = random.below(count);
    let one = open().decode(&Run::new(&messages[alone..=alone]).input()).unwrap();
    assert_eq!(verdicts(&one, 1), whole[alone..=alone], "seed {seed}, message {alone} alone");
}
