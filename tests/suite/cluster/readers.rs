//! A queue whose readers processes share: JetStream's durable consumer, which hands out again what was not acknowledged.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use spout_tests::Site;

use super::{
    beside::Beside,
    fleet::{Fleet, Kept},
    kills,
    storm::{self, dice},
    takeover,
};
use crate::{
    endure::{each_once, emptied, sent_again},
    nats::{Client, server, standing},
};

const PATIENCE: Duration = Duration::from_secs(120);
/// Messages that are written together.
const EACH: u64 = 500;

fn spec(address: &str, readers: u32) -> String {
    format!(
        r#"
pipeline: {{name: lines}}
producer:
  stream:
    plugin: nats
    topic: S
    consumerType: acked
    readers: {readers}
    dedupe: {{window: 30000}}
    fetch: {{messages: 200, timeout: 50ms}}
    settings: {{address: "{address}", durable: c, create: true, ackWait: 2000}}
  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}
grants: {{nats: {{net: ["{address}"]}}}}
commit: {{flush: {{rows: 1500, time: 200ms}}}}
"#
    )
}

/// Writes messages after `from`; how many there are then.
fn write(address: &str, from: u64, over: &AtomicBool) -> Result<u64> {
    let mut client = Client::connect(address)?;
    let mut written = from;
    while !over.load(Ordering::SeqCst) {
        client.add("S.x", written, written + EACH)?;
        written += EACH;
        thread::park_timeout(Duration::from_millis(100));
    }
    Ok(written)
}

/// Waits until the server has nothing that it was not told of: each message that is committed is acknowledged.
fn is_acknowledged(address: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = standing(address)?;
        if left == (0, 0) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "(not handed out, not acknowledged): {left:?}");
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// What one process does with the store and spec of a fleet, which is dead.
fn alone(site: &Site, address: &str, readers: u32, total: u64) -> Result<()> {
    site.write("spec.yaml", spec(address, readers))?;
    emptied(site, || standing(address).map(|(lag, pending)| lag + pending))?;
    each_once(site, total)
}

#[test]
fn readers_of_a_queue_are_spread_over_processes_that_are_killed_and_each_message_is_there_once() -> Result<()> {
    let Some(mut fleet) = Fleet::start(3, Kept::Directory)? else { return Ok(()) };
    let Some(nats) = server(&fleet.site)? else { return Ok(()) };
    let address = nats.address();
    Client::connect(&address)?.create("S")?;
    Client::connect(&address)?.add("S.x", 0, EACH)?;
    let led = fleet.lead("nats", address.parse()?)?.to_string();
    // One reader, in one process.
    alone(&fleet.site, &led, 1, EACH)?;
    let plugin = fleet.site.plugins.join("nats.wasm").display().to_string();
    fleet.site.ok(&["put", "plugin", "-f", &plugin, "nats"])?;
    fleet.site.write("spec.yaml", spec(&led, 3))?;
    fleet.site.ok(&["create", "pipeline", "-f", "spec.yaml"])?;
    let writes = address.clone();
    let writer = Beside::start(move |over| write(&writes, EACH, over));
    fleet.reaches("select count(*) from lines", 2 * EACH)?;
    storm::kills(&mut fleet, &mut dice(), kills(2))?;
    let (claimed, committed) = takeover::measured(&mut fleet, "lines", true)?;
    println!("the leader was killed: claimed after {claimed:.1?}, the next commit after {committed:.1?}");
    let mut total = writer.end()?;
    // What killed processes had is handed out again to the others, and all is acknowledged without a further message.
    is_acknowledged(&address)?;
    fleet.reaches("select count(*) from lines", total)?;
    each_once(&fleet.site, total)?;
    sent_again(&fleet.site)?;
    takeover::none_is_late(&fleet, "lines")?;
    // Three readers in one process, and one, and in three processes again.
    fleet.kill_all()?;
    for readers in [3, 1] {
        Client::connect(&address)?.add("S.x", total, total + EACH)?;
        total += EACH;
        alone(&fleet.site, &led, readers, total)?;
    }
    (0..fleet.len()).try_for_each(|number| fleet.wake(number))?;
    Client::connect(&address)?.add("S.x", total, total + EACH)?;
    total += EACH;
    is_acknowledged(&address)?;
    fleet.reaches("select count(*) from lines", total)?;
    each_once(&fleet.site, total)?;
    println!("{total} messages");
    fleet.site.ok(&["fsck"]).map(drop)
}
