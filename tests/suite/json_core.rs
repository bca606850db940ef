//! The JSON decoder of the core natively and in the sandbox: the same rows, dead letters, codes and reasons for any cut.

use std::{path::Path, sync::Arc};

use anyhow::{Result, ensure};
use arrow::array::RecordBatch;
use rand::{Rng, SeedableRng, rngs::StdRng};
use spout_codec::{
    Decode as _,
    json::{Json, Settings},
    record_batch, schema_text,
};
use spout_data::Messages;
use spout_plugin::{Decoding, GrantSpec, LimitsSpec, Metrics, Plugins, Quotas, Task};

const SCHEMA: &str = r#"{"a":"int64","b":"utf8","c":"float64","at":"timestamp(us, UTC)","d":"decimal128(12, 2)","o":{"x":"uint64","l":["utf8"]},"m":"map(utf8, int64)"}"#;

/// Pieces that values of messages are made of: sound ones, wrong ones, odd ones.
const VALUES: [&str; 44] = [
    "1",
    "-7",
    "1e3",
    "4.0",
    "21.7",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551615",
    "01",
    "+5",
    "1e400",
    "\"22\"",
    "\"x\"",
    "\"\"",
    "\"\\u00e9\\n\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"a\tb\"",
    "\"seventeen bytes !\"",
    "\"2026-01-31T12:00:00.5Z\"",
    "\"2016-12-31T23:59:60Z\"",
    "\"2026-01-31T12:00:00.0000001Z\"",
    "\"2026-02-30\"",
    "1500",
    "12.345",
    "0.5",
    "true",
    "false",
    "null",
    "nul",
    "{}",
    "[]",
    "[1,\"a\",null]",
    "[\"a\",\"b\"]",
    "{\"x\":1,\"l\":[\"a\"]}",
    "{\"x\":-1}",
    "{\"x\":1,\"x\":2}",
    "{\"l\":[1,{\"y\":2}],\"z\":3}",
    "{\"k\":1,\"j\":null}",
    "{\"k\":1,\"k\":1}",
    "[1,]",
    "{\"a\"}",
    "[[[[[[1]]]]]]",
    "\u{feff}1",
];
const KEYS: [&str; 10] = ["a", "b", "c", "at", "d", "o", "m", "new", "o\\u0062", "a\\\"b"];

fn message(random: &mut StdRng) -> Vec<u8> {
    let fields = random.random_range(0..6);
    let field = |random: &mut StdRng| {
        let (key, value) = (random.random_range(0..KEYS.len()), random.random_range(0..VALUES.len()));
        format!("\"{}\":{}", KEYS[key], VALUES[value])
    };
    let all: Vec<String> = (0..fields).map(|_| field(random)).collect();
    let mut text = format!("{{{}}}", all.join(if random.random_bool(0.3) { " , " } else { "," })).into_bytes();
    match random.random_range(0..20) {
        0 => text.truncate(text.len() / 2),
        1 => text.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        2 => text.extend_from_slice(b"{\"a\":1}"),
        3 => text.push(0xff),
        4 => text = b"[1]".to_vec(),
        _ => {}
    }
    text
}

/// What became of each message: its row as text, or code and reason.
type Fates = Vec<std::result::Result<String, (String, String)>>;

fn fates(records: &RecordBatch, faults: Vec<(u32, String, String)>, count: usize) -> Result<Fates> {
    let mut fates: Vec<Option<_>> = vec![None; count];
    for (message, code, reason) in faults {
        fates[message as usize] = Some(Err((code, reason)));
    }
    let mut rows = (0..records.num_rows()).map(|row| format!("{:?}", records.slice(row, 1).columns()));
    for fate in fates.iter_mut().filter(|fate| fate.is_none()) {
        *fate = rows.next().map(Ok);
    }
    ensure!(rows.next().is_none() && fates.iter().all(Option::is_some), "rows and dead letters are not the messages");
    Ok(fates.into_iter().flatten().collect())
}

fn native(json: &mut Json, messages: &Messages) -> Result<Fates> {
    let decoded = json.decode(&messages.input())?;
    let schema = Arc::new(decoded.batch.schema().into());
    let faults =
        decoded.faults.into_iter().map(|fault| (fault.message, fault.code.into_owned(), fault.reason)).collect();
    fates(&record_batch(decoded.batch, schema)?, faults, messages.len())
}

async fn sandboxed(json: &mut Decoding, messages: &Messages) -> Result<Fates> {
    let decoded = json.decode(messages, 0).await?;
    let faults = decoded.faults.into_iter().map(|fault| (fault.message, fault.code, fault.reason)).collect();
    fates(&decoded.records, faults, messages.len())
}

async fn plugin(dir: &Path, settings: &[(&str, &str)]) -> Result<Decoding> {
    let plugins = Plugins::open(dir, Some(&spout_tests::root().join("target/test-cache")))?;
    let task = Task {
        pipeline: "json-core".into(),
        plugin: plugins.get("json").await?,
        offer: String::new(),
        grants: GrantSpec::default(),
        exposed: None,
        limits: LimitsSpec::default(),
        quotas: Quotas::default(),
        settings: settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        draining: Default::default(),
        metrics: Metrics::default(),
    };
    Ok(Decoding::open(task, "", None).await?)
}

#[tokio::test]
async fn json_is_the_same_in_the_sandbox_for_any_cut() -> Result<()> {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for (unknown, duplicates, coerce) in [
        ("drop", "fail", "{}"),
        ("capture", "last", r#"{"numbersFromStrings":true,"roundDecimals":"halfUp"}"#),
        ("fail", "fail", "{}"),
    ] {
        let list = [("schema", SCHEMA), ("unknown", unknown), ("duplicates", duplicates), ("coerce", coerce)];
        let text = format!(r#"{{"unknown":"{unknown}","duplicates":"{duplicates}","coerce":{coerce}}}"#);
        let settings: Settings<()> = serde_json::from_str(&text)?;
        let mut wasm = plugin(&spout_tests::root().join("plugins"), &list).await?;
        let mut core = Json::new(&settings, Some(schema_text::parse(SCHEMA)?), None)?;
        let mut messages = Messages::default();
        for offset in 0..600 {
            messages.values.push(&message(&mut random));
            messages.offsets.push(offset);
        }
        let whole = native(&mut core, &messages)?;
        let letters = whole.iter().filter(|fate| fate.is_err()).count();
        ensure!(letters > 50 && letters < 580, "{letters} dead letters of 600 messages show little");
        ensure!(sandboxed(&mut wasm, &messages).await? == whole, "seed {seed}, {text}: the plugin differs");
        let mut from = 0;
        while from < messages.len() {
            let to = (from + random.random_range(1..40)).min(messages.len());
            let part = messages.slice(from..to);
            for (name, fates) in [("native", native(&mut core, &part)?), ("plugin", sandboxed(&mut wasm, &part).await?)]
            {
                let differs = fates.iter().zip(&whole[from..to]).position(|(part, whole)| part != whole);
                if let Some(at) = differs {
                    let text = String::from_utf8_lossy(part.values.get(at));
                    anyhow::bail!(
                        "seed {seed}, {name}, messages {from}..{to}: {text}: {:?}, not {:?}",
                        fates[at],
                        whole[from + at]
                    );
                }
            }
            from = to;
        }
    }
    Ok(())
}
