//! Handlers with state whose keys several processes share.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, cables::Way};

use rand::Rng as _;

use super::{
    PARTITIONS,
    fleet::{Fleet, Kept, place},
    storm::dice,
    takeover::leader,
};

/// Bids of each auction in windows of event time, which all partitions have to have passed.
fn spec(total: u64, rate: u64) -> String {
    format!(
        r#"
pipeline: {{name: events}}
producer:
  stream:
    plugin: nexmark
    topic: events
    settings: {{total: {total}, partitions: {PARTITIONS}, rate: {rate}}}
  decoder: {{type: json, unknown: drop, schema: {{event: utf8, bid: {{auction: int64, price: int64, date_time: int64}}}}}}
node:
  - {{id: bids, type: filter, where: "event = 'bid'"}}
  - id: columns
    type: map
    columns: {{auction: "bid['auction']", price: "bid['price']", at: "bid['date_time']"}}
    select: [auction, price, at]
  - id: windows
    type: window
    period: 100ms
    groupBy: [auction]
    time: {{column: at, unit: ms}}
    aggregate: {{n: count(*), most: max(price), first: first(price)}}
commit: {{path: /events/, flush: {{rows: 200, time: 200ms}}}}
"#
    )
}

/// What windows have given, in an order of its own, and what became of all messages.
fn outcome(site: &Site) -> Result<(Vec<String>, u64)> {
    let mut rows = site.rows("select * from events", None)?;
    rows.sort_unstable();
    Ok((rows, site.number("select sum(n) from events", None)?))
}

/// Whether the branch ever had state that is kept by key.
fn splits(site: &Site) -> Result<bool> {
    let records = site.path().join("store/repos/events/branches/master");
    for entry in std::fs::read_dir(records)? {
        let path = entry?.path();
        if path.is_file() && String::from_utf8_lossy(&std::fs::read(path)?).contains("windows/@16.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What one process makes of so many events, whatever it went on with.
fn alone(site: &Site, total: u64) -> Result<(Vec<String>, u64)> {
    site.write("spec.yaml", spec(total, 0))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    outcome(site)
}

/// Gives a fleet the pipeline; it has committed something then.
fn create(fleet: &Fleet, total: u64, rate: u64) -> Result<()> {
    fleet.site.write("spec.yaml", spec(total, rate))?;
    let nexmark = fleet.site.plugins.join("nexmark.wasm").display().to_string();
    fleet.site.ok(&["put", "plugin", "-f", &nexmark, "nexmark"])?;
    fleet.site.ok(&["create", "pipeline", "-f", "spec.yaml"])?;
    fleet.reaches("select count(*) from events", 1)
}

#[test]
fn processes_that_do_not_reach_each_other_do_not_keep_the_others_waiting() -> Result<()> {
    let Some(fleet) = Fleet::start(3, Kept::Directory)? else { return Ok(()) };
    let total = 12_000;
    let expected = alone(&Site::new()?, total)?;
    create(&fleet, total, 2_000)?;
    let leads = leader(&fleet, "events")?;
    let others: Vec<usize> = (0..fleet.len()).filter(|other| *other != leads).collect();
    // For good: both reach the leader and the store, and nobody is lost.
    fleet.cable(others[0], &place(others[1]), Way::CUT, Way::CUT)?;
    fleet.cable(others[1], &place(others[0]), Way::CUT, Way::CUT)?;
    fleet.reaches("select sum(n) from events", expected.1)?;
    ensure!(outcome(&fleet.site)? == expected, "windows differ from those of one host");
    ensure!(splits(&fleet.site)?, "its state is in one piece");
    ensure!(fleet.says("two processes of the cluster do not reach each other"), "it was never in two parts");
    Ok(())
}

#[test]
fn processes_that_are_killed_share_windows_by_key_and_one_goes_on_with_them() -> Result<()> {
    let Some(mut fleet) = Fleet::start(3, Kept::Directory)? else { return Ok(()) };
    let (total, rate) = (12_000, 2_000);
    let whole = Site::new()?;
    let expected = alone(&whole, total)?;
    create(&fleet, total, rate)?;
    let mut dice = dice();
    // Each of them dies, so also whoever leads.
    for whom in [0, 1, 2, 0] {
        thread::park_timeout(Duration::from_millis(dice.random_range(500..1_500)));
        fleet.kill(whom)?;
        fleet.wake(whom)?;
    }
    fleet.reaches("select sum(n) from events", expected.1)?;
    ensure!(outcome(&fleet.site)? == expected, "windows differ from those of one host");
    ensure!(splits(&fleet.site)?, "its state is in one piece");
    (0..fleet.len()).try_for_each(|whom| fleet.kill(whom))?;
    // One process goes on with what three have left.
    let expected = alone(&whole, 2 * total)?;
    ensure!(alone(&fleet.site, 2 * total)? == expected, "windows differ after one process went on");
    ensure!(splits(&fleet.site)? && !splits(&whole)?);
    fleet.site.ok(&["fsck"]).map(drop).context("fsck")
}
