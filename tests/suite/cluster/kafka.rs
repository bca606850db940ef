//! A topic of many partitions that processes share, while it is written to and they are killed.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use spout_tests::tansu::{Client, Tansu};

use super::{
    beside::Beside,
    fleet::{Fleet, Kept},
    kills,
    oracle::{each_message_once, history},
    storm::{self, dice},
    takeover,
};

const PARTITIONS: u64 = 64;
/// Messages that are written together: as many to each partition.
const EACH: u64 = 20 * PARTITIONS;
const PATIENCE: Duration = Duration::from_secs(120);

/// The group is told where each partition stands, which commits nothing.
fn spec(address: &str) -> String {
    format!(
        r#"
pipeline: {{name: topic}}
producer:
  stream:
    plugin: kafka
    topic: topic
    fetch: {{timeout: 100ms}}
    settings: {{bootstrap.servers: "{address}", group.id: hint, request.timeout.ms: 2000}}
    metadata: [partition, offset]
  decoder: {{type: raw}}
grants: {{kafka: {{net: ["{address}"]}}}}
commit: {{flush: {{rows: 3000, time: 200ms}}}}
"#
    )
}

/// Writes the numbers after the first, round the partitions; how many there are then.
fn write(mut client: Client, over: &AtomicBool) -> Result<u64> {
    let mut written = EACH;
    while !over.load(Ordering::SeqCst) {
        client.ask("fill", &["topic".into(), PARTITIONS.into(), written.into(), EACH.into()])?;
        written += EACH;
        thread::park_timeout(Duration::from_millis(200));
    }
    Ok(written)
}

/// Where the group stands, by partition; -1 where it was told nothing.
fn standing(client: &mut Client) -> Result<Vec<i64>> {
    let said = client.ask("committed", &["topic".into(), PARTITIONS.into(), "hint".into()])?;
    let offset = |offset: &serde_json::Value| offset.as_i64().map(|offset| offset.max(-1)).context("an offset");
    said.as_array().context("offsets")?.iter().map(offset).collect()
}

/// Looks where the group stands, which goes back nowhere; how often it was somewhere else.
fn rises(mut client: Client, over: &AtomicBool) -> Result<u64> {
    let (mut before, mut changes) = (standing(&mut client)?, 0);
    while !over.load(Ordering::SeqCst) {
        let now = standing(&mut client)?;
        let back = before.iter().zip(&now).position(|(before, now)| now < before);
        ensure!(back.is_none(), "the group went back in partition {back:?}: from {before:?} to {now:?}");
        changes += u64::from(now != before);
        before = now;
        thread::park_timeout(Duration::from_millis(50));
    }
    Ok(changes)
}

/// The group is told of the last commit too, with nothing that follows.
fn is_told(client: &mut Client, offset: i64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let now = standing(client)?;
        if now.iter().all(|at| *at == offset) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            bail!("the group stands at {now:?}, and all of it was committed, {offset} of each partition");
        }
    }
}

#[test]
fn a_topic_of_64_partitions_is_read_exactly_once_by_processes_that_are_killed() -> Result<()> {
    let Some(mut fleet) = Fleet::start(3, Kept::Directory)? else { return Ok(()) };
    let broker = Tansu::led(|port| fleet.lead("broker", ([127, 0, 0, 1], port).into()))?;
    let Some(mut tansu) = broker else { return Ok(()) };
    tansu.ask("make", &["topic".into(), PARTITIONS.into()])?;
    tansu.ask("fill", &["topic".into(), PARTITIONS.into(), 0.into(), EACH.into()])?;
    let plugin = fleet.site.plugins.join("kafka.wasm").display().to_string();
    fleet.site.ok(&["put", "plugin", "-f", &plugin, "kafka"])?;
    fleet.site.write("spec.yaml", spec(tansu.advertised()))?;
    fleet.site.ok(&["create", "pipeline", "-f", "spec.yaml"])?;
    fleet.reaches("select count(*) from topic", EACH)?;

    let (writer, watcher) = (tansu.client()?, tansu.client()?);
    let writer = Beside::start(|over| write(writer, over));
    let watcher = Beside::start(|over| rises(watcher, over));
    storm::kills(&mut fleet, &mut dice(), kills(3))?;
    let (claimed, committed) = takeover::measured(&mut fleet, "topic", true)?;
    println!("the leader was killed: claimed after {claimed:.1?}, the next commit after {committed:.1?}");
    let total = writer.end()?;

    fleet.reaches("select count(*) from topic", total)?;
    is_told(&mut tansu.client()?, i64::try_from(total / PARTITIONS)?)?;
    let changes = watcher.end()?;
    ensure!(changes > 2, "the group was told {changes} times");
    // At every version each partition has its messages from the first on, each once; in the end they are those that were written.
    let sum = each_message_once(&history(&fleet.site, "topic")?)?;
    println!("{total} messages, {} versions, the group stood at {changes} places", sum.versions);
    ensure!(sum.all() == total && sum.messages.len() as u64 == PARTITIONS, "{sum:?}");
    let number = "cast(cast(value as varchar) as bigint)";
    let placed = format!("__partition = {number} % {PARTITIONS} and __offset = {number} / {PARTITIONS}");
    let same = fleet.site.number(&format!("select count(distinct value) from topic where {placed}"), None)?;
    ensure!(same == total, "{same} of {total} messages are what was written where they are");
    takeover::none_is_late(&fleet, "topic")?;
    fleet.site.ok(&["fsck"]).map(drop)
}
