//! The same promises on a bucket: PyPI's `moto` as the service, killed runs, wrong names and wrong keys.

use anyhow::{Context as _, Result, ensure};
use spout_tests::{
    Site,
    moto::{Door, Moto},
};

const SPEC: &str = r#"
pipeline: {name: lines}
producer:
  stream: {plugin: files, topic: in, settings: {pattern: "*.ndjson", follow: FOLLOW}}
  decoder: {type: json, schema: {n: int64, text: utf8}}
commit: {path: /lines/, flush: {rows: 500, time: 100ms}}
grants:
  files: {dirs: {in: ./in}}
"#;

fn lines(from: u64, count: u64) -> String {
    (from..from + count).map(|n| format!("{{\"n\":{n},\"text\":\"line {n}\"}}\n")).collect()
}

/// A place whose store is in a bucket of a server that is gone with the handle.
fn site(door: Door, store: &str) -> Result<Option<(Site, Moto)>> {
    let Some(moto) = Moto::start(door, &["spout"])? else { return Ok(None) };
    let mut site = Site::new()?;
    store.clone_into(&mut site.store);
    site.environment = moto.environment().into();
    site.write("spec.yaml", SPEC.replace("FOLLOW", "false"))?;
    site.write("follow.yaml", SPEC.replace("FOLLOW", "true"))?;
    Ok(Some((site, moto)))
}

/// Where the environment is, what it holds must not be said anywhere.
fn without_secrets(text: &str) -> Result<()> {
    ensure!(!text.contains("very-secret"), "a secret was printed:\n{text}");
    Ok(())
}

#[test]
fn a_killed_run_on_a_bucket_goes_on_where_it_was() -> Result<()> {
    let Some((site, _moto)) = site(Door::Open, "s3://spout/some/prefix")? else { return Ok(()) };
    site.write("in/a.ndjson", lines(0, 3_000))?;
    let mut running = site.start(&["run", "follow.yaml"])?;
    running.wait_for("committed")?.context("a first commit")?;
    running.signal("KILL")?;
    let (_, told) = running.end()?;
    without_secrets(&told)?;
    let before = site.number("select count(*) from lines", None)?;
    ensure!(before > 0 && before <= 3_000, "{before} rows after the kill");

    site.write("in/b.ndjson", lines(3_000, 3_000))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(*) from lines", None)? == 6_000, "rows are missing or doubled");
    ensure!(site.number("select count(distinct n) from lines", None)? == 6_000, "rows are doubled");
    site.ok(&["fsck"])?;
    ensure!(site.json(&["list", "repo"])?.len() == 1, "the probes of the store are taken for a repo");
    ensure!(!site.path().join("store").exists() && !site.path().join("s3:").exists(), "something was written here");
    Ok(())
}

#[test]
fn a_file_that_is_sent_in_parts_arrives_whole() -> Result<()> {
    let Some((site, _moto)) = site(Door::Open, "s3://spout")? else { return Ok(()) };
    // Text that does not compress, so that one commit is more than two parts of 8 MiB.
    let text = |n: u64| {
        let word = |salt: u64| {
            (n * 8 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
        };
        (0..8).map(|salt| format!("{:016x}", word(salt))).collect::<String>()
    };
    let all: String = (0..300_000).map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", text(n))).collect();
    site.write("in/a.ndjson", all)?;
    let whole = SPEC.replace("FOLLOW", "false").replace("rows: 500, time: 100ms", "rows: 1000000, time: 10m");
    site.write("whole.yaml", whole)?;
    site.ok(&["run", "whole.yaml", "--until", "ended"])?;
    ensure!(site.number("select count(distinct text) from lines", None)? == 300_000, "rows are missing");
    site.ok(&["fsck"])?;
    Ok(())
}

#[test]
fn what_is_wrong_with_a_bucket_is_said() -> Result<()> {
    let Some((mut site, _moto)) = site(Door::Open, "s3://none/prefix")? else { return Ok(()) };
    site.write("in/a.ndjson", lines(0, 10))?;
    let run = ["run", "spec.yaml", "--until", "ended"];
    let told = site.fails(&run, 2, &["error[E0557]", "s3://none/prefix", "NoSuchBucket"])?;
    ensure!(!told.contains("<?xml"), "{told}");
    site.fails(&["list", "repo"], 2, &["error[E0557]"])?;
    site.store = "s3://spout/empty".into();
    site.fails(&["list", "repo"], 2, &["error[E0502]", "s3://spout/empty"])?;
    site.store = "s3://AKIATEST:very-secret@spout".into();
    without_secrets(&site.fails(&run, 2, &["error[E0501]", "***"])?)?;
    site.store = "s3://spout".into();
    site.environment.retain(|(name, _)| *name != "AWS_ALLOW_HTTP");
    site.fails(&run, 2, &["error[E0501]", "AWS_ALLOW_HTTP=true"])?;
    Ok(())
}

#[test]
fn a_key_that_the_service_does_not_know_is_said_and_not_shown() -> Result<()> {
    let Some((site, _moto)) = site(Door::Strict, "s3://spout")? else { return Ok(()) };
    site.write("in/a.ndjson", lines(0, 10))?;
    for args in [&["run", "spec.yaml", "--until", "ended"][..], &["list", "repo"]] {
        let told = site.fails(args, 1, &["error[E0556]", "403", "InvalidAccessKeyId"])?;
        without_secrets(&told)?;
    }
    Ok(())
}

#[test]
fn an_endpoint_that_is_dead_is_an_error_within_a_minute() -> Result<()> {
    let mut site = Site::new()?;
    site.store = "s3://spout".into();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    site.environment = vec![
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "very-secret-0123456789".to_owned()),
    ];
    let begun = std::time::Instant::now();
    without_secrets(&site.fails(&["list", "repo"], 1, &["error[E0503]", &format!("127.0.0.1:{port}")])?)?;
    ensure!(begun.elapsed().as_secs() < 60, "it took {:?}", begun.elapsed());
    Ok(())
}
