//! The plugin `kafka` against a broker: tansu, from PyPI, filled by librdkafka.
//!
//! What the broker cannot show is shown elsewhere: transactions, changes of leaders and every wrong answer by the plugin's own
//! tests, whose brokers do as they are told, and whose record batches kafka-python reads too.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use spout_tests::{
    Running, Site, guests, root,
    tansu::{Client, Tansu},
};

use crate::endure::Load;

const PATIENCE: Duration = Duration::from_secs(60);

/// A place with the plugin, and the guest that decodes all that a message has.
fn site() -> Result<Site> {
    let mut site = Site::new()?;
    let dir = site.path().join("plugins");
    fs::create_dir(&dir)?;
    for from in [root().join("plugins/kafka.wasm"), guests().join("several.wasm")] {
        let to: PathBuf = dir.join(from.file_name().context("a name")?);
        fs::copy(&from, to).with_context(|| format!("{}; `just plugins guests` builds it", from.display()))?;
    }
    site.plugins = dir;
    Ok(site)
}

/// A pipeline of the name of its topic.
fn spec(tansu: &Tansu, topic: &str, stream: &str, decoder: &str, rest: &str) -> String {
    let address = tansu.proxy.address();
    format!(
        "pipeline: {{name: {topic}}}
producer:
  stream:
    plugin: kafka
    topic: {topic}
    metadata: [partition, offset, timestamp, headers]
    {stream}
  decoder: {decoder}
grants: {{kafka: {{net: [\"{address}\"]}}}}
commit: {{flush: {{time: 100ms}}}}
{rest}
"
    )
    .replace("SETTINGS", &format!("bootstrap.servers: \"{address}\""))
}

/// What `SELECT` gives, by partition and offset.
fn by_place(site: &Site, sql: &str) -> Result<BTreeMap<(u64, u64), Value>> {
    let mut all = BTreeMap::new();
    for line in site.rows(sql, None)? {
        let row: Value = serde_json::from_str(&line)?;
        let place =
            (row["__partition"].as_u64().context("a partition")?, row["__offset"].as_u64().context("an offset")?);
        ensure!(all.insert(place, row).is_none(), "{place:?} is there twice");
    }
    Ok(all)
}

#[test]
fn all_of_a_message_arrives_whatever_it_is_compressed_with() -> Result<()> {
    let Some(mut tansu) = Tansu::start()? else { return Ok(()) };
    tansu.ask("make", &["mixed".into(), 3.into()])?;
    let sent = tansu.ask("mixed", &["mixed".into(), 3.into()])?;
    let site = site()?;
    site.write("spec.yaml", spec(&tansu, "mixed", "settings: {SETTINGS, group.id: hint}", "{type: raw}", ""))?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let rows = by_place(&site, "select * from mixed")?;
    let sent = sent.as_array().context("what was sent")?;
    ensure!(sent.len() == 300 && rows.len() == 300, "{} of {}", rows.len(), sent.len());
    for one in sent {
        let place = (one["partition"].as_u64().context("a partition")?, one["offset"].as_u64().context("an offset")?);
        let row = rows.get(&place).with_context(|| format!("{place:?} is missing"))?;
        // Null is left out.
        ensure!(row["value"] == one["value"] && row["key"] == one["key"], "{place:?}: {one} became {row}");
    }
    // The group is told between two fetches, so by one that goes on.
    let mut run = site.start(&["run", "spec.yaml"])?;
    tansu.ask("fill", &["mixed".into(), 3.into(), 0.into(), 3.into()])?;
    until_committed(&mut run, 3)?;
    let (mut told, begun) = (Value::Null, Instant::now());
    while told != json!([101, 101, 101]) {
        told = tansu.ask("committed", &["mixed".into(), 3.into(), "hint".into()])?;
        ensure!(begun.elapsed() < PATIENCE, "the group was told {told}");
    }
    Ok(())
}

#[test]
fn headers_keys_and_times_arrive_and_reading_begins_at_an_offset() -> Result<()> {
    let Some(mut tansu) = Tansu::start()? else { return Ok(()) };
    tansu.ask("make", &["tagged".into(), 1.into()])?;
    tansu.ask("tagged", &["tagged".into()])?;
    let check = |stream: &str, first: u64| -> Result<()> {
        let site = site()?;
        site.write(
            "spec.yaml",
            spec(&tansu, "tagged", &format!("settings: {{SETTINGS}}\n    {stream}"), "{plugin: several/envelope}", ""),
        )?;
        site.ok(&["run", "spec.yaml", "--until", "idle"])?;
        let rows = by_place(&site, "select * from tagged")?;
        let expected = (first..100).map(|n| {
            let sent = 1_700_000_000_000_u64 + 1000 * n;
            (n, json!({"n": n, "headers": format!("h={n} h= é=x"), "key": format!("k{n}"), "sent": sent, "partition": 0}))
        });
        ensure!(rows.len() as u64 == 100 - first, "{stream}: {} rows", rows.len());
        for (n, expected) in expected {
            let row = rows.get(&(0, n)).with_context(|| format!("{stream}: {n} is missing"))?;
            for (column, value) in expected.as_object().into_iter().flatten() {
                ensure!(row[column] == *value, "{stream}: {n} has {row}");
            }
        }
        // In their order, with both of one name.
        let names = "__headers[1]['name'] = 'h' and __headers[2]['name'] = 'h' and __headers[3]['name'] = 'é'";
        let values = "cast(__headers[1]['value'] as varchar) = cast(n as varchar) and cast(__headers[3]['value'] as varchar) = 'x'";
        let sql = format!("select count(*) from tagged where cardinality(__headers) = 3 and {names} and {values}");
        ensure!(site.number(&sql, None)? == 100 - first, "{stream}: {:?}", rows.values().next());
        Ok(())
    };
    check("start: earliest", 0)?;
    check("start: {offset: {0: 97}}", 97)
}

#[test]
fn it_keeps_what_sources_promise() -> Result<()> {
    let Some(mut tansu) = Tansu::start()? else { return Ok(()) };
    tansu.ask("make", &["tried".into(), 3.into()])?;
    tansu.ask("fill", &["tried".into(), 3.into(), 0.into(), 3000.into()])?;
    let (site, address) = (site()?, tansu.proxy.address());
    let settings = format!("bootstrap.servers={address}");
    for kind in ["--source", "--stream"] {
        let told = site.ok(&[
            "plugin",
            "test",
            "kafka",
            kind,
            "--topic",
            "tried",
            "--net",
            &address,
            "--settings",
            &settings,
        ])?;
        ensure!(told.contains("kept") && !told.contains("BROKEN"), "{told}");
        println!("{told}");
    }
    Ok(())
}

/// Waits for commits until there are so many messages.
fn until_committed(run: &mut Running, messages: u64) -> Result<()> {
    let (mut seen, begun) = (0, Instant::now());
    while seen < messages {
        let commit = run.wait_for("committed")?.context("it ended")?;
        seen += commit["messages"].as_u64().context("messages")?;
        ensure!(begun.elapsed() < PATIENCE, "only {seen} of {messages}");
    }
    Ok(())
}

#[test]
fn kills_and_cuts_neither_lose_nor_double_a_message() -> Result<()> {
    // Twice what others read in CI: 204,000.
    let load = Load::now();
    let rounds = load.kills + 2;
    let each = (2 * load.messages / rounds).next_multiple_of(1000);
    let Some(mut tansu) = Tansu::start()? else { return Ok(()) };
    let seed = std::env::var("SPOUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("seed {seed}; SPOUT_SEED={seed} repeats it");
    let mut dice = StdRng::seed_from_u64(seed);
    tansu.ask("make", &["killed".into(), 8.into()])?;
    let site = site()?;
    let stream = "settings: {SETTINGS, request.timeout.ms: 1000}\n    fetch: {messages: 500, timeout: 100ms}";
    let spec = spec(&tansu, "killed", stream, "{type: raw}", "").replace("time: 100ms", "rows: 1500, time: 30ms");
    site.write("spec.yaml", spec)?;
    let mut behind = 0;
    for round in 0..rounds {
        tansu.ask("fill", &["killed".into(), 8.into(), (round * each).into(), each.into()])?;
        let mut run = site.start(&["run", "spec.yaml"])?;
        run.wait_for("started")?;
        // Drawn by lot: how much is committed before death, and how long nobody is reached. The cut is before that or after.
        let some = dice.random_range(0..each / 4);
        if round % 2 == 0 {
            until_committed(&mut run, some)?;
        }
        tansu.proxy.down();
        thread::park_timeout(Duration::from_millis(dice.random_range(0..60)));
        tansu.proxy.up();
        if round % 2 == 1 {
            until_committed(&mut run, some)?;
        }
        thread::park_timeout(Duration::from_millis(dice.random_range(0..10)));
        run.child.kill()?;
        run.end()?;
        let rows = site.number("select count(*) from killed", None).unwrap_or(0);
        behind += u64::from(rows < (round + 1) * each);
    }
    ensure!(behind >= rounds / 2, "{behind} of {rounds} kills came before all was read: they show nothing");
    let all = rounds * each;
    let mut run = site.start(&["run", "spec.yaml"])?;
    let mut lag = None;
    let begun = Instant::now();
    while lag != Some(0) {
        let progress = run.wait_for("progress")?.context("it ended")?;
        lag = progress["lag"].as_u64();
        ensure!(begun.elapsed() < PATIENCE, "the lag is {lag:?} after a minute");
    }
    run.signal("TERM")?;
    let (ended, said) = run.end()?;
    ensure!(ended, "{said}");
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    let count = |what: &str| site.number(&format!("select {what} from killed"), None);
    let found = [
        count("count(*)")?,
        count("count(distinct value)")?,
        count("count(distinct __partition * 1000000 + __offset)")?,
    ];
    ensure!(found == [all; 3], "{found:?} of {all}");
    let commits = site.json(&["list", "commit", "killed@master"])?.len();
    println!(
        "{all} messages, {rounds} kills, {rounds} cuts, {behind} of them before all was read, {commits} commits, lag 0"
    );
    site.ok(&["fsck"])?;
    Ok(())
}

#[test]
fn five_hundred_partitions_take_few_connections_and_little_memory() -> Result<()> {
    const PARTITIONS: u64 = 500;
    const MESSAGES: u64 = 50_000;
    let Some(mut tansu) = Tansu::start()? else { return Ok(()) };
    tansu.ask("make", &["many".into(), PARTITIONS.into()])?;
    tansu.ask("fill", &["many".into(), PARTITIONS.into(), 0.into(), MESSAGES.into()])?;
    let site = site()?;
    site.write("spec.yaml", spec(&tansu, "many", "readers: 1\n    settings: {SETTINGS}", "{type: raw}", ""))?;
    // The client of the test has some of its own.
    let own = tansu.proxy.open();
    tansu.proxy.count_anew();
    let mut run = site.start(&["run", "spec.yaml"])?;
    until_committed(&mut run, MESSAGES)?;
    let connections = tansu.proxy.most() - own;
    // And what is added to one of them comes while all the others have nothing.
    tansu.ask("fill", &["many".into(), 1.into(), MESSAGES.into(), 100.into()])?;
    until_committed(&mut run, 100)?;
    let status = fs::read_to_string(format!("/proc/{}/status", run.child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    println!("{PARTITIONS} partitions: at most {connections} connections, {} MiB", kib >> 10);
    run.signal("TERM")?;
    ensure!(run.end()?.0, "it stops well");
    ensure!(connections <= 4, "{connections} connections");
    ensure!(kib <= 200 << 10, "{} MiB", kib >> 10);
    ensure!(site.number("select count(distinct value) from many", None)? == MESSAGES + 100);
    Ok(())
}

#[test]
fn a_topic_that_was_made_anew_is_not_read_on_in_silence() -> Result<()> {
    let Some(mut tansu) = Tansu::start()? else { return Ok(()) };
    let site = site()?;
    let policy =
        |policy: &str| spec(&tansu, "anew", &format!("settings: {{SETTINGS}}\n    {policy}"), "{type: raw}", "");
    let specs = [policy(""), policy("onOutOfRange: earliest")];
    tansu.ask("make", &["anew".into(), 1.into()])?;
    tansu.ask("fill", &["anew".into(), 1.into(), 0.into(), 100.into()])?;
    site.write("spec.yaml", &specs[0])?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    tansu.ask("drop", &["anew".into()])?;
    tansu.ask("make", &["anew".into(), 1.into()])?;
    // Longer than the first, so no offset is missing.
    tansu.ask("fill", &["anew".into(), 1.into(), 100.into(), 200.into()])?;
    let said = site.fails(&["run", "spec.yaml", "--until", "idle"], 1, &["E0301"])?;
    ensure!(said.contains("deleted and made anew"), "{said}");
    ensure!(site.number("select count(*) from anew", None)? == 100);
    site.write("spec.yaml", &specs[1])?;
    site.ok(&["run", "spec.yaml", "--until", "idle"])?;
    ensure!(site.number("select count(distinct value) from anew", None)? == 300);
    Ok(())
}

/// The plugin's own tests build record batches by hand; kafka-python has to see in them what they see.
#[test]
fn batches_that_the_plugins_tests_build_are_batches_for_others_too() -> Result<()> {
    let Some(mut client) = Client::alone()? else { return Ok(()) };
    let text = fs::read_to_string(root().join("plugins/kafka/src/tests/agreed.json"))?;
    let agreed: Vec<Value> = serde_json::from_str(&text)?;
    ensure!(agreed.len() >= 10, "{} batches", agreed.len());
    for one in &agreed {
        let read = client.ask("taken_apart", &[one["bytes"].clone()])?;
        ensure!(read == one["records"], "{}: {read}, not {}", one["name"], one["records"]);
    }
    Ok(())
}
