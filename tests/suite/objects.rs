//! The plugin `objects` against PyPI's `moto`, and against SeaweedFS.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use spout_tests::{
    Site, door,
    moto::{Door, Moto},
    proxy::{Proxy, Trick},
    seaweed::Seaweed,
};

use crate::endure::{self, Load, message};

/// Puts an object that everybody may read.
fn put(address: &str, path: &str, content: &[u8]) -> Result<()> {
    put_as(address, path, "public-read", content)
}

fn put_as(address: &str, path: &str, acl: &str, content: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "PUT /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nx-amz-acl: {acl}\r\nContent-Length: {}\r\n\r\n",
        content.len()
    )?;
    stream.write_all(content)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

/// An object with messages `from..to`, packed as its number says; how it is called.
pub(crate) fn object(number: u64, from: u64, to: u64) -> Result<(String, Vec<u8>)> {
    let text: String = (from..to).map(|n| message(n) + "\n").collect();
    Ok(match number % 3 {
        0 => (format!("{number:05}.ndjson"), text.into_bytes()),
        1 => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(text.as_bytes())?;
            (format!("{number:05}.ndjson.gz"), packed.finish()?)
        }
        _ => (format!("{number:05}.ndjson.zst"), zstd::encode_all(text.as_bytes(), 1)?),
    })
}

fn spec(address: &str, topic: &str, settings: &str) -> String {
    format!(
        "pipeline: {{name: lines}}
producer:
  stream:
    plugin: objects
    topic: {topic}
    fetch: {{timeout: 50ms}}
    settings: {{endpoint: \"http://{address}\", every: 0.02{settings}}}
  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}
commit: {{flush: {{rows: 3000, time: 50ms}}}}
grants:
  objects: {{net: [\"{address}\"]}}
"
    )
}

#[test]
fn every_line_is_there_once_over_kills() -> Result<()> {
    let Some(moto) = Moto::start(Door::Open, &["bucket"])? else { return Ok(()) };
    over_kills(moto.address(), Load::now())
}

#[test]
fn every_line_is_there_once_over_kills_in_seaweedfs() -> Result<()> {
    let Some(seaweed) = Seaweed::start("bucket")? else { return Ok(()) };
    let load = Load::now();
    over_kills(seaweed.address(), Load { messages: load.messages / 4, ..load })
}

/// Puts objects into a bucket while the host that reads them is killed over and over.
fn over_kills(address: String, load: Load) -> Result<()> {
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let (mut dice, total, size) = (StdRng::seed_from_u64(seed), load.messages, (load.messages / 40).min(2500));
    let site = Site::new()?;
    // Connections break off in the middle of lists and objects, as those of a service that is restarted.
    let cuts = (1..200).map(|cut| Trick::Cut(if cut % 10 == 0 { cut * 500 } else { usize::MAX })).collect();
    let proxy = Proxy::start(address.clone(), cuts)?;
    site.write("spec.yaml", spec(&proxy.address(), "bucket/in/", ""))?;
    let allowed = Arc::new(AtomicU64::new(0));
    let writer = {
        let allowed = Arc::clone(&allowed);
        thread::spawn(move || -> Result<()> {
            for number in 0..total / size {
                while allowed.load(Ordering::SeqCst) < (number + 1) * size {
                    thread::park_timeout(Duration::from_millis(2));
                }
                let (name, content) = object(number, number * size, (number + 1) * size)?;
                put(&address, &format!("bucket/in/{name}"), &content)?;
            }
            Ok(())
        })
    };
    for round in 1..=load.kills {
        allowed.store(total * round / (load.kills + 1), Ordering::SeqCst);
        let mut running = site.start(&["run", "spec.yaml"])?;
        running.wait_for("committed")?.context("a commit in this round")?;
        // Not a wait for something to happen: the moment of death is what the test draws by lot.
        let until = Instant::now() + Duration::from_millis(dice.random_range(0..200));
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        running.child.kill()?;
        running.end()?;
    }
    allowed.store(total, Ordering::SeqCst);
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let before = site.number("select count(*) from lines", None)?;
    ensure!(before > 0 && before < total, "{before} rows before the last run: the kills proved nothing");
    endure::complete(&site, total)?;
    site.ok(&["fsck"]).map(drop)
}

#[test]
fn objects_are_new_by_their_names_or_their_times() -> Result<()> {
    let Some(moto) = Moto::start(Door::Open, &["bucket"])? else { return Ok(()) };
    let address = moto.address();
    for number in 0..9 {
        let (name, content) = object(number, number * 100, (number + 1) * 100)?;
        put(&address, &format!("bucket/by/{number}/{name}"), &content)?;
    }
    put(&address, "bucket/elsewhere", b"{}\n")?;
    put(&address, "bucket/by/empty/", b"")?;
    let test = |more: &[&str]| {
        let (endpoint, net) = (format!("endpoint=http://{address}"), address.as_str());
        let test =
            ["plugin", "test", "objects/objects", "--topic", "bucket/by/", "--net", net, "--settings", &endpoint];
        Site::new()?.ok(&[&test, more].concat())
    };
    test(&["--settings", "every=0.01"])?;
    test(&["--settings", "every=0.01", "--settings", "order=modified"])?;
    let (by_name, by_time) = (Site::new()?, Site::new()?);
    by_name.write("spec.yaml", spec(&address, "bucket/by/", ""))?;
    by_time.write("spec.yaml", spec(&address, "bucket/by/", ", order: modified"))?;
    endure::complete(&by_name, 900)?;
    endure::complete(&by_time, 900)?;
    // One that sorts before those that were read is new by its time alone; one that sorts after them is new for both.
    for (name, from) in [("bucket/by/0/00000.a", 900), ("bucket/by/x y&ä?", 1000)] {
        let content: String = (from..from + 100).map(|n| message(n) + "\r\n").collect();
        put(
            &address,
            &name.replace(' ', "%20").replace('&', "%26").replace('?', "%3F").replace('ä', "%C3%A4"),
            content.as_bytes(),
        )?;
    }
    endure::complete(&by_time, 1100)?;
    endure::caught_up(&by_name)?;
    ensure!(by_name.number("select count(*) from lines", None)? == 1000);
    Ok(())
}

#[test]
fn a_service_that_hangs_lies_or_breaks_off_is_waited_out() -> Result<()> {
    let Some(moto) = Moto::start(Door::Open, &["bucket"])? else { return Ok(()) };
    let site = Site::new()?;
    let (name, content) = object(0, 0, 3000)?;
    put(&moto.address(), &format!("bucket/in/{name}"), &content)?;
    let tricks = vec![
        Trick::Say(b"SSH-2.0-OpenSSH\r\n".to_vec()),
        Trick::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>".to_vec()),
        Trick::Answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Trick::Silence,
        Trick::Flip(3),
    ];
    let count = tricks.len();
    let proxy = Proxy::start(moto.address(), tricks)?;
    site.write("spec.yaml", spec(&proxy.address(), "bucket/in/", ""))?;
    endure::complete(&site, 3000)?;
    ensure!(proxy.connections() > count, "{} connections", proxy.connections());
    let other = Site::new()?;
    other.write("spec.yaml", spec(&moto.address(), "none/in/", ""))?;
    other.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["objects.status", "NoSuchBucket"])?;
    let denied = b"HTTP/1.1 403 No\r\nContent-Length: 33\r\n\r\n<Error><Code>AccessDenied</Code> ";
    let proxy = Proxy::start(moto.address(), vec![Trick::Answer(denied.to_vec()); 3])?;
    let strict = Site::new()?;
    strict.write("spec.yaml", spec(&proxy.address(), "bucket/in/", ""))?;
    strict.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["objects.denied", "AccessDenied"])?;
    Ok(())
}

#[test]
fn requests_are_signed_by_the_host() -> Result<()> {
    let Some(moto) = Moto::start(Door::Open, &["bucket"])? else { return Ok(()) };
    let mut site = Site::new()?;
    for number in 0..4 {
        let (name, content) = object(number, number * 100, (number + 1) * 100)?;
        put_as(&moto.address(), &format!("bucket/in/a%20{name}"), "private", &content)?;
    }
    let plain = spec(&moto.address(), "bucket/in/", "");
    site.write("spec.yaml", &plain)?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["objects.denied", "403"])?;
    site.environment.push(("SPOUT_TEST_KEY", "very-secret-0123456789".into()));
    let signed = spec(&moto.address(), "bucket/in/", ", keyId: AKIATEST");
    site.write("spec.yaml", &signed)?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 2, &["secret `key`"])?;
    let grant = format!("{{net: [\"{}\"], secrets: {{key: {{env: SPOUT_TEST_KEY}}}}}}", moto.address());
    site.write("spec.yaml", signed.replace(&format!("{{net: [\"{}\"]}}", moto.address()), &grant))?;
    endure::complete(&site, 400)
}

#[test]
fn a_bucket_with_tls_is_read_with_signatures_that_are_right() -> Result<()> {
    const SECRET: &str = "very-secret-0123456789";
    let Some(moto) = Moto::start(Door::Open, &["bucket"])? else { return Ok(()) };
    let proof = door::Proof::Signature(["s3", "us-east-1", "AKIATEST", SECRET]);
    let Some(door) = door::Door::open(&moto.address(), proof)? else { return Ok(()) };
    for number in 0..6 {
        let (name, content) = object(number, number * 100, (number + 1) * 100)?;
        put_as(&moto.address(), &format!("bucket/in/a%20%C3%A4%26{name}"), "private", &content)?;
    }
    let mut site = Site::new()?;
    site.write("ca.pem", door.certificate()?)?;
    site.environment.push(("SPOUT_TEST_KEY", SECRET.into()));
    let address = door.address();
    let text = |more: &str, tls: &str| {
        let text = spec(&address, "bucket/in/", &format!(", keyId: AKIATEST{more}")).replace("http://", "https://");
        let endpoint = format!("{{s3: {{address: \"{address}\"{tls}}}}}, secrets: {{key: {{env: SPOUT_TEST_KEY}}}}");
        text.replace(&format!("net: [\"{address}\"]"), &format!("endpoints: {endpoint}"))
    };
    let trusted = ", tls: {ca: ./ca.pem, serverName: localhost}";
    for (tls, said) in [(", tls: true", ["http.io", "certificate"]), ("", ["http.denied", "no TLS"])] {
        site.write("spec.yaml", text("", tls))?;
        site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &said)?;
    }
    site.write("spec.yaml", text(", region: eu-west-1", trusted))?;
    site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["objects.denied", "403"])?;
    site.write("spec.yaml", text("", trusted))?;
    endure::complete(&site, 600)
}
