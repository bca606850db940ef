//! The plugin `kinesis` against npm's `kinesis-local`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use spout_tests::{
    Site,
    daemon::{Daemon, free_port},
    door::{Door, Proof},
    http, npm,
    proxy::{Proxy, Trick},
};

use crate::endure::{self, message};

/// How often the host is killed.
const KILLS: u64 = 12;
const SECRET: &str = "very-secret-0123456789";

/// A service whose streams change at once.
fn server() -> Result<Option<Daemon>> {
    let Some(package) = npm::package("kinesis-local", "0.6.2")? else { return Ok(None) };
    let server = Daemon::start(move |port| {
        let mut command = std::process::Command::new(&package.node);
        command.arg(package.dir.join("main.js")).env("KINESIS_MOCK_PLAIN_PORT", port.to_string());
        // It has TLS at another port; the door of these tests does that.
        command.env("KINESIS_MOCK_TLS_PORT", free_port().unwrap_or(0).to_string());
        command.env("KINESIS_MOCK_CERT_PATH", package.dir.join("server.json"));
        for change in ["CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS"] {
            command.env(format!("{change}_DURATION"), "10ms");
        }
        command.env("LOG_LEVEL", "ERROR");
        command
    })?;
    Ok(Some(server))
}

/// What the service answers; its refusal as an error.
fn ask(address: &str, action: &str, body: &Value) -> Result<Value> {
    let target = format!("Kinesis_20131202.{action}");
    let signed =
        "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0";
    let headers = [
        ("x-amz-target", target.as_str()),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-date", "20260101T000000Z"),
        ("authorization", signed),
    ];
    let answer = http::request(address, "POST /", &headers, body.to_string().as_bytes())?;
    ensure!(answer.status == 200, "{action}: {}", String::from_utf8_lossy(&answer.body));
    // Some actions have nothing to say.
    Ok(if answer.body.is_empty() { Value::Null } else { answer.json()? })
}

/// Asks again while the stream is being changed.
fn patient(address: &str, action: &str, body: &Value) -> Result<Value> {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match ask(address, action, body) {
            Err(error) if format!("{error:#}").contains("ResourceInUse") && Instant::now() < until => {
                thread::park_timeout(Duration::from_millis(2));
            }
            answer => return answer,
        }
    }
}

fn create(address: &str, shards: u32) -> Result<()> {
    ask(address, "CreateStream", &json!({"StreamName": "s", "ShardCount": shards}))?;
    let until = Instant::now() + Duration::from_secs(60);
    while ask(address, "DescribeStreamSummary", &json!({"StreamName": "s"}))?["StreamDescriptionSummary"]["StreamStatus"]
        != "ACTIVE"
    {
        ensure!(Instant::now() < until, "the stream does not become active");
        thread::park_timeout(Duration::from_millis(2));
    }
    Ok(())
}

/// The shards that are open: name, and first and last hash key.
fn open(address: &str) -> Result<Vec<(String, u128, u128)>> {
    let list = ask(address, "ListShards", &json!({"StreamName": "s"}))?;
    let mut open = Vec::new();
    for shard in list["Shards"].as_array().context("shards")? {
        let key = |name: &str| -> Result<u128> { Ok(shard["HashKeyRange"][name].as_str().context("a key")?.parse()?) };
        if shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null() {
            let name = shard["ShardId"].as_str().context("a name")?.to_owned();
            open.push((name, key("StartingHashKey")?, key("EndingHashKey")?));
        }
    }
    open.sort_by_key(|one| one.1);
    Ok(open)
}

/// Splits the widest shard.
fn split(address: &str) -> Result<()> {
    let open = open(address)?;
    let (name, first, last) = open.iter().max_by_key(|one| one.2 - one.1).context("a shard")?;
    let middle = (first + (last - first) / 2).to_string();
    let asked = json!({"StreamName": "s", "ShardToSplit": name, "NewStartingHashKey": middle});
    patient(address, "SplitShard", &asked).map(drop)
}

/// Merges the two neighbours that are the narrowest together.
fn merge(address: &str) -> Result<()> {
    let open = open(address)?;
    let pair = open.windows(2).min_by_key(|pair| pair[1].2 - pair[0].1).context("two shards")?;
    let asked = json!({"StreamName": "s", "ShardToMerge": pair[0].0, "AdjacentShardToMerge": pair[1].0});
    patient(address, "MergeShards", &asked).map(drop)
}

/// A record as Amazon's library for producers makes it of several messages, all with the key `key`.
fn aggregated(key: &str, messages: &[String]) -> Vec<u8> {
    fn field(into: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
        into.push(tag << 3 | 2);
        let mut length = bytes.len();
        while length > 127 {
            into.push((length & 127) as u8 | 128);
            length >>= 7;
        }
        into.push(length as u8);
        into.extend_from_slice(bytes);
    }
    let mut body = Vec::new();
    field(&mut body, 1, key.as_bytes());
    for message in messages {
        let mut inner = vec![1 << 3, 0];
        field(&mut inner, 3, message.as_bytes());
        field(&mut body, 3, &inner);
    }
    [&[0xf3, 0x89, 0x9a, 0xc2][..], &body, &md5(&body)].concat()
}

/// RFC 1321, which no crate of these tests has.
fn md5(bytes: &[u8]) -> [u8; 16] {
    const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((bytes.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let word =
            |at: usize| u32::from_le_bytes([block[at * 4], block[at * 4 + 1], block[at * 4 + 2], block[at * 4 + 3]]);
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, at) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let sine = ((step + 1) as f64).sin().abs();
            let sum = a.wrapping_add(mixed).wrapping_add((sine * 4_294_967_296.0) as u32).wrapping_add(word(at % 16));
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(TURNS[step / 16][step % 4])));
        }
        state =
            [state[0].wrapping_add(a), state[1].wrapping_add(b), state[2].wrapping_add(c), state[3].wrapping_add(d)];
    }
    let mut digest = [0; 16];
    digest.chunks_exact_mut(4).zip(state).for_each(|(into, word)| into.copy_from_slice(&word.to_le_bytes()));
    digest
}

/// Puts messages `from..to`, most of them many in a record: the service takes some milliseconds for each record.
fn put(address: &str, from: u64, to: u64) -> Result<()> {
    let (mut records, mut n) = (Vec::new(), from);
    while n < to {
        let key = format!("key {}", n % 97);
        let count = if n.is_multiple_of(7) { 400.min(to - n) } else { 1 };
        let data = if count > 1 {
            aggregated(&key, &(n..n + count).map(message).collect::<Vec<_>>())
        } else {
            message(n).into_bytes()
        };
        records.push(json!({"Data": STANDARD.encode(data), "PartitionKey": key}));
        n += count;
    }
    while !records.is_empty() {
        let some = records.split_off(records.len().saturating_sub(500));
        let answer = patient(address, "PutRecords", &json!({"StreamName": "s", "Records": some}))?;
        let said = answer["Records"].as_array().context("what became of each")?;
        // Those of a shard that is just being split are put again.
        let refused = some.into_iter().zip(said).filter(|(_, said)| !said["ErrorCode"].is_null());
        records.extend(refused.map(|(record, _)| record));
    }
    Ok(())
}

fn spec(address: &str, stream: &str, settings: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: kinesis
    topic: s
    discoverEvery: 50ms
    fetch: {{timeout: 50ms}}
    settings: {{endpoint: \"http://{address}\", region: us-east-1, keyId: AKIATEST, requestsPerSecond: 50{settings}}}
{stream}
  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}
commit: {{flush: {{rows: 5000, time: 50ms}}}}
grants:
  kinesis: {{net: [\"{address}\"], secrets: {{key: {{env: SPOUT_TEST_KEY}}}}}}
"
    )
}

fn site() -> Result<Site> {
    let mut site = Site::new()?;
    site.environment.push(("SPOUT_TEST_KEY", SECRET.into()));
    Ok(site)
}

#[test]
fn every_record_is_there_once_over_kills_splits_and_merges() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let (mut dice, total) = (StdRng::seed_from_u64(seed), 100_000);
    let (site, address) = (site()?, server.address());
    create(&address, 2)?;
    // Connections break off in the middle of records, as those of a service that is restarted.
    let cuts = (1..500).map(|cut| Trick::Cut(if cut % 20 == 0 { cut * 200 } else { usize::MAX })).collect();
    let proxy = Proxy::start(address.clone(), cuts)?;
    site.write("spec.yaml", spec(&proxy.address(), "", ""))?;
    let allowed = Arc::new(AtomicU64::new(0));
    let writer = {
        let (allowed, address) = (Arc::clone(&allowed), address.clone());
        thread::spawn(move || -> Result<()> {
            let mut written = 0;
            while written < total {
                let to = allowed.load(Ordering::SeqCst).min(written + 1000);
                if to > written {
                    put(&address, written, to)?;
                    written = to;
                } else {
                    thread::park_timeout(Duration::from_millis(2));
                }
            }
            Ok(())
        })
    };
    for round in 1..=KILLS {
        allowed.store(total * round / (KILLS + 1), Ordering::SeqCst);
        let mut running = site.start(&["run", "spec.yaml"])?;
        running.wait_for("committed")?.context("a commit in this round")?;
        if round % 3 == 0 {
            merge(&address)?
        } else {
            split(&address)?
        };
        // Not a wait for something to happen: the moment of death is what the test draws by lot.
        let until = Instant::now() + Duration::from_millis(dice.random_range(0..300));
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        running.child.kill()?;
        running.end()?;
        if writer.is_finished() {
            bail!("the writer gave up: {:?}", writer.join());
        }
    }
    allowed.store(total, Ordering::SeqCst);
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let before = site.number("select count(*) from lines", None)?;
    ensure!(before > 0 && before < total, "{before} rows before the last run: the kills proved nothing");
    endure::complete(&site, total)?;
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn shards_are_read_to_the_last_child_before_a_run_is_over() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let address = server.address();
    create(&address, 1)?;
    for (at, change) in [split, split, merge, merge].into_iter().enumerate() {
        let at = at as u64;
        put(&address, at * 100, (at + 1) * 100)?;
        change(&address)?;
    }
    put(&address, 400, 500)?;
    // Two generations of parents ended long ago, and discovery would not come again before the run is idle.
    let site = site()?;
    site.write("spec.yaml", spec(&address, "", "").replace("discoverEvery: 50ms", "discoverEvery: 1h"))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(distinct n) from lines", None)? == 500);
    ensure!(site.number("select count(*) from lines", None)? == 500);
    // What is older than the beginning is not wanted of the children either.
    let late = self::site()?;
    late.write("spec.yaml", spec(&address, "    start: latest", ""))?;
    late.ok(&["run", "spec.yaml", "--until", "idle"])?;
    put(&address, 500, 600)?;
    endure::caught_up(&late)?;
    ensure!(late.number("select min(n) from lines", None)? == 500);
    ensure!(late.number("select count(*) from lines", None)? == 100);
    Ok(())
}

#[test]
fn the_source_keeps_its_promises() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let (site, address) = (site()?, server.address());
    create(&address, 3)?;
    put(&address, 0, 600)?;
    split(&address)?;
    let endpoint = format!("endpoint=http://{address}");
    let own = ["--topic", "s", "--net", &address, "--secret", "key=SPOUT_TEST_KEY", "--settings", &endpoint];
    let more = ["region=us-east-1", "keyId=AKIATEST", "requestsPerSecond=1000"].map(|one| ["--settings", one]);
    site.ok(&[&["plugin", "test", "kinesis"], &own[..], &more.concat()].concat()).map(drop)
}

#[test]
fn requests_are_signed_by_the_host_and_go_through_tls() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    create(&server.address(), 2)?;
    put(&server.address(), 0, 300)?;
    let Some(door) = Door::open(&server.address(), Proof::Signature(["kinesis", "us-east-1", "AKIATEST", SECRET]))?
    else {
        return Ok(());
    };
    let mut site = site()?;
    site.write("ca.pem", door.certificate()?)?;
    let address = door.address();
    let text = spec(&address, "", "").replace("http://", "https://");
    let granted = |tls: &str| {
        text.replace(
            &format!("net: [\"{address}\"]"),
            &format!("endpoints: {{kinesis: {{address: \"{address}\"{tls}}}}}"),
        )
    };
    site.write("spec.yaml", granted(", tls: {ca: ./ca.pem, serverName: localhost}"))?;
    endure::complete(&site, 300)?;
    // Nobody speaks to who cannot prove who he is, nor in the clear.
    for (tls, code) in [(", tls: {ca: ./ca.pem}", "http.io"), (", tls: true", "http.io"), ("", "http.denied")] {
        let other = self::site()?;
        other.write("ca.pem", door.certificate()?)?;
        other.write("spec.yaml", granted(tls))?;
        other.fails(&["run", "spec.yaml", "--until", "idle"], 1, &[code])?;
    }
    site.environment.clear();
    site.environment.push(("SPOUT_TEST_KEY", "another-0123456789".into()));
    let said = site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["kinesis.denied", "InvalidSignature"])?;
    ensure!(!said.contains("another-0123456789"), "{said}");
    site.write("spec.yaml", text.replace(", secrets: {key: {env: SPOUT_TEST_KEY}}", ""))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 2, &["E0216", "secrets key"]).map(drop)
}

#[test]
fn a_session_token_is_signed_too() -> Result<()> {
    const TOKEN: &str = "FwoGZXIvYXdzEJr//////////wEaDExample+token/0123456789==";
    let Some(server) = server()? else { return Ok(()) };
    create(&server.address(), 1)?;
    put(&server.address(), 0, 300)?;
    let proof = Proof::Session(["kinesis", "us-east-1", "AKIATEST", SECRET, TOKEN]);
    let Some(door) = Door::open(&server.address(), proof)? else { return Ok(()) };
    let mut site = site()?;
    site.environment.push(("SPOUT_TEST_TOKEN", TOKEN.into()));
    site.write("ca.pem", door.certificate()?)?;
    let address = door.address();
    let text = spec(&address, "", "").replace("http://", "https://").replace(
        &format!("net: [\"{address}\"]"),
        &format!("endpoints: {{kinesis: {{address: \"{address}\", tls: {{ca: ./ca.pem, serverName: localhost}}}}}}"),
    );
    let run = ["run", "spec.yaml", "--until", "idle"];
    site.write("spec.yaml", &text)?;
    site.fails(&run, 1, &["kinesis.denied"])?;
    let granted = |reveal: &str| {
        let both = format!("key: {{env: SPOUT_TEST_KEY}}, sessionToken: {{env: SPOUT_TEST_TOKEN{reveal}}}");
        text.replace("key: {env: SPOUT_TEST_KEY}", &both)
    };
    site.write("spec.yaml", granted(""))?;
    site.fails(&run, 2, &["reveal: true"])?;
    site.write("spec.yaml", granted(", reveal: true"))?;
    endure::complete(&site, 300)
}

#[test]
fn a_service_that_throttles_hangs_lies_or_breaks_off_is_waited_out() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    create(&server.address(), 1)?;
    put(&server.address(), 0, 3000)?;
    let refused = |kind: &str| {
        let body = json!({"__type": kind, "message": "slow down"}).to_string();
        Trick::Answer(format!("HTTP/1.1 400 Bad\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    };
    // The list of shards is asked for twice, as a whole and by the reader. Between two that fail is one that does not, or waits grew.
    let through = || Trick::Cut(usize::MAX);
    let bad = [
        refused("ProvisionedThroughputExceededException"),
        refused("LimitExceededException"),
        Trick::Say(b"SSH-2.0-OpenSSH\r\n".to_vec()),
        Trick::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>".to_vec()),
        Trick::Answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Trick::Cut(100),
        Trick::Silence,
        refused("ExpiredIteratorException"),
        Trick::Cut(300),
    ];
    let tricks = [through(), through()].into_iter().chain(bad.into_iter().flat_map(|bad| [bad, through()]));
    let tricks: Vec<Trick> = tricks.collect();
    let count = tricks.len();
    let proxy = Proxy::start(server.address(), tricks)?;
    let first = site()?;
    first.write("spec.yaml", spec(&proxy.address(), "", ", maxRecordsToFetch: 3"))?;
    endure::complete(&first, 3000)?;
    ensure!(proxy.connections() > count, "{} connections", proxy.connections());
    let proxy = Proxy::start(server.address(), vec![refused("AccessDeniedException"); 3])?;
    let other = site()?;
    other.write("spec.yaml", spec(&proxy.address(), "", ""))?;
    other.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["kinesis.denied", "AccessDenied"])?;
    other.write("spec.yaml", spec(&server.address(), "", "").replace("topic: s\n", "topic: none\n"))?;
    other.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["kinesis.stream", "none"]).map(drop)
}

#[test]
fn pinots_words_for_kinesis_are_understood() -> Result<()> {
    let Some(server) = server()? else { return Ok(()) };
    let (site, address) = (site()?, server.address());
    create(&address, 2)?;
    put(&address, 0, 200)?;
    let text = format!(
        "pipeline: {{name: lines}}
producer:
  streamConfigs:
    streamType: kinesis
    stream.kinesis.topic.name: s
    region: us-east-1
    endpoint: \"http://{address}\"
    accessKey: AKIATEST
    shardIteratorType: TRIM_HORIZON
    maxRecordsToFetch: 100
    stream.kinesis.consumer.type: lowlevel
    stream.kinesis.consumer.factory.class.name: org.apache.pinot.plugin.stream.kinesis.KinesisConsumerFactory
    stream.kinesis.decoder.class.name: org.apache.pinot.plugin.inputformat.json.JSONMessageDecoder
    stream.kinesis.fetch.timeout.millis: 100
    realtime.segment.flush.threshold.rows: 5000
grants:
  kinesis: {{net: [\"{address}\"], secrets: {{key: {{env: SPOUT_TEST_KEY}}}}}}
"
    );
    site.write("spec.yaml", text)?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(distinct n) from lines", None)? == 200);
    ensure!(site.number("select count(*) from lines", None)? == 200);
    Ok(())
}

#[test]
fn the_digest_of_these_tests_is_the_known_one() {
    let hex = |text: &str| md5(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(""), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
    let long = "12345678901234567890123456789012345678901234567890123456789012345678901234567890";
    assert_eq!(hex(long), "57edf4a22be3c955ac49da2e2107b67a");
    assert_eq!(hex(&"a".repeat(56)).len(), 32);
}
