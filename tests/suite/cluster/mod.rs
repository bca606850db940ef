//! Several processes share a pipeline, and whatever happens to them, every version of its repo has each message once.

mod beside;
mod bulk;
mod fleet;
mod helm;
mod kafka;
mod keys;
mod oracle;
mod readers;
mod seen;
mod storm;
mod takeover;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use spout_tests::{
    Site,
    cables::{Cables, Way},
    seaweed::Seaweed,
};

use self::{
    fleet::{Fleet, Kept, STORE},
    oracle::{each_message_once, history},
    storm::{ALL, Trouble, dice, storm},
};
use crate::exactly_once::{outcome, same};

/// Partitions of the generator.
const PARTITIONS: u64 = 8;

/// Every event of the generator becomes a row, which says which message it was. With `stateful` a handler counts by key.
fn spec(total: u64, rate: u64, stateful: bool) -> String {
    let counts = "  - {id: seen, type: plugin, plugin: count, settings: {keys: [__partition, event]}}\n";
    format!(
        r#"
pipeline: {{name: events}}
producer:
  stream:
    plugin: nexmark
    topic: events
    settings: {{total: {total}, partitions: {PARTITIONS}, rate: {rate}}}
    metadata: [partition, offset]
  decoder:
    plugin: json
    settings: {{schema: '{{"event": "utf8", "bid": {{"auction": "int64", "bidder": "int64", "price": "int64"}}}}'}}
node:
  - {{id: euro, type: map, columns: {{euro: "bid['price'] * 0.9"}}, drop: [bid]}}
{}commit: {{path: /events/, flush: {{rows: 1500, time: 200ms}}}}
"#,
        if stateful { counts } else { "" }
    )
}

/// How much a round has to do, and how long it is troubled: 15 s in CI; `just soak`, which says `SPOUT_KILLS`, has as many seconds
/// for each of its rounds as it says kills, 200 at least: three of them are ten minutes.
fn length() -> Duration {
    let kills = std::env::var_os("SPOUT_KILLS").map(|_| spout_tests::kills());
    Duration::from_secs(kills.map_or(15, |kills| u64::from(kills).max(200)))
}

/// How many kills a test makes whose source is not a generator: `few` in CI, as many as it says in `just soak`.
fn kills(few: u32) -> u32 {
    std::env::var_os("SPOUT_KILLS").map_or(few, |_| spout_tests::kills())
}

/// The same on one host that nobody troubles.
fn alone(total: u64, stateful: bool) -> Result<Site> {
    let site = Site::new()?;
    site.write("spec.yaml", spec(total, 0, stateful))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    Ok(site)
}

/// Rows, in an order of their own.
fn rows(site: &Site) -> Result<Vec<String>> {
    let mut rows = site.rows("select * from events", None)?;
    rows.sort_unstable();
    Ok(rows)
}

/// Has the fleet run the pipeline; it has made a commit when this returns.
fn create(fleet: &Fleet, total: u64, rate: u64, stateful: bool) -> Result<()> {
    fleet.site.write("spec.yaml", spec(total, rate, stateful))?;
    for plugin in ["nexmark", "json", "count"] {
        let file = fleet.site.plugins.join(format!("{plugin}.wasm")).display().to_string();
        fleet.site.ok(&["put", "plugin", "-f", &file, plugin])?;
    }
    fleet.site.ok(&["create", "pipeline", "-f", "spec.yaml"])?;
    fleet.reaches("select count(*) from events", 1)
}

/// A round of `troubles` over a fleet whose pipeline has something to do for so long, and then some.
fn round(workers: u8, kept: Kept, stateful: bool, troubles: &[Trouble], length: Duration) -> Result<()> {
    let Some(mut fleet) = Fleet::start(workers, kept)? else { return Ok(()) };
    let (mut dice, rate) = (dice(), 2_000);
    let total = rate * (length.as_secs() + 5);
    create(&fleet, total, rate, stateful)?;
    storm(&mut fleet, &mut dice, troubles, length)?;
    let before = each_message_once(&history(&fleet.site, "events")?)?;
    println!("{} versions, {} of {total} messages when the trouble was over", before.versions, before.all());
    fleet.reaches("select count(*) from events", total)?;
    let sum = each_message_once(&history(&fleet.site, "events")?)?;
    println!("{} versions", sum.versions);
    ensure!(sum.all() == total && sum.messages.len() as u64 == PARTITIONS, "{sum:?}");
    let whole = alone(total, stateful)?;
    ensure!(rows(&fleet.site)? == rows(&whole)?, "rows differ from those of one host");
    if stateful && kept == Kept::Directory {
        same(&outcome(&fleet.site, "events")?, &outcome(&whole, "events")?)?;
    }
    fleet.site.ok(&["fsck"]).map(drop)
}

#[test]
fn processes_that_are_killed_share_a_pipeline_of_a_directory() -> Result<()> {
    round(3, Kept::Directory, true, &[Trouble::Kills, Trouble::Apart], length())
}

#[test]
fn processes_in_all_kinds_of_trouble_share_a_pipeline_of_a_bucket() -> Result<()> {
    if std::env::var_os("SPOUT_KILLS").is_none() {
        return round(3, Kept::Bucket, false, &[Trouble::Pause, Trouble::NoStore, Trouble::Kills], length());
    }
    round(3, Kept::Bucket, true, &ALL, length())?;
    round(5, Kept::Bucket, false, &ALL, length())
}

#[test]
fn somebody_else_leads_soon_after_a_leader_was_killed_or_paused() -> Result<()> {
    let Some(mut fleet) = Fleet::start(3, Kept::Directory)? else { return Ok(()) };
    create(&fleet, 200_000, 1_000, false)?;
    for _ in 0..if std::env::var_os("SPOUT_KILLS").is_some() { 10 } else { 1 } {
        for killed in [true, false] {
            let (claimed, committed) = takeover::measured(&mut fleet, "events", killed)?;
            let how = if killed { "killed" } else { "paused" };
            println!("a leader was {how}: claimed after {claimed:.1?}, the next commit after {committed:.1?}");
        }
    }
    // It has time to say what it still wants to.
    let more = fleet.site.number("select count(*) from events", None)? + 5_000;
    fleet.reaches("select count(*) from events", more)?;
    takeover::none_is_late(&fleet, "events")?;
    each_message_once(&history(&fleet.site, "events")?).map(drop)
}

#[test]
fn the_oracle_sees_what_one_host_commits_and_what_somebody_has_damaged() -> Result<()> {
    let total = 6_000;
    let site = alone(total, false)?;
    let sum = each_message_once(&history(&site, "events")?)?;
    ensure!(sum.versions > 2 && sum.all() == total && sum.messages.len() as u64 == PARTITIONS, "{sum:?}");
    // Somebody moves the marker back, and messages are read again; the history before it is whole.
    site.ok(&["marker", "seek", "events", "--to", "700", "--partition", "3"])?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let doubled = history(&site, "events")?;
    let refused = each_message_once(&doubled).err().context("messages are there twice")?.to_string();
    ensure!(refused.contains("has message 700 of partition 3 twice"), "{refused}");
    ensure!(each_message_once(&doubled[..sum.versions])? == sum);
    // And ahead of the first message, so that those before it are left out.
    let site = Site::new()?;
    site.write("spec.yaml", spec(800, 0, false))?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    site.write("spec.yaml", spec(total, 0, false))?;
    site.ok(&["marker", "seek", "events", "--to", "110", "--partition", "5"])?;
    site.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let refused = each_message_once(&history(&site, "events")?).err().context("messages are missing")?.to_string();
    ensure!(refused.contains("has message 100 of partition 5 not before those that follow"), "{refused}");
    Ok(())
}

/// The store that the rounds use, over a cable: a pipeline on one host stands still while its answers are cut off, and ends with each message
/// once.
#[test]
fn a_pipeline_on_a_bucket_goes_on_once_its_cable_is_whole_again() -> Result<()> {
    let Some(seaweed) = Seaweed::start("spout")? else { return Ok(()) };
    let (mut site, cables, total) = (Site::new()?, Cables::default(), 30_000);
    let local = std::net::Ipv4Addr::LOCALHOST;
    let led = cables.lead(local, STORE, seaweed.address().parse()?)?;
    site.store = "s3://spout/store".to_owned();
    site.environment = fleet::bucket(led);
    site.write("spec.yaml", spec(total, 0, false).replace("rows: 1500", "rows: 800"))?;
    let mut running = site.start(&["run", "spec.yaml", "--until", "ended"])?;
    for way in [(Way::CUT, Way::CUT), (Way::WHOLE, Way::CUT), (Way::CUT, Way::WHOLE)] {
        running.wait_for("committed")?.context("a commit")?;
        cables.set(local, STORE, way.0, way.1);
        // What was sent is under way, or its answer is.
        std::thread::park_timeout(Duration::from_millis(500));
        cables.reset(local, STORE);
        cables.mend();
    }
    let (succeeded, said) = running.end()?;
    ensure!(succeeded, "{said}");
    let sum = each_message_once(&history(&site, "events")?)?;
    ensure!(sum.all() == total, "{sum:?}");
    site.ok(&["fsck"]).map(drop)
}

/// What the rounds compare says nothing of where commits were cut.
#[test]
fn states_of_one_host_are_equal_wherever_it_commits() -> Result<()> {
    let other = Site::new()?;
    other.write("spec.yaml", spec(6_000, 0, true).replace("rows: 1500", "rows: 400"))?;
    other.ok(&["run", "spec.yaml", "--until", "ended"])?;
    let whole = alone(6_000, true)?;
    same(&outcome(&other, "events")?, &outcome(&whole, "events")?)
}

/// What the machine's systemd says of the unit that is shipped, with the binary of this build and ports that nobody has.
#[test]
fn systemd_takes_the_unit_of_a_worker() -> Result<()> {
    if std::process::Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("SKIPPED: there is no systemd-analyze here");
        return Ok(());
    }
    let unit = std::fs::read_to_string(spout_tests::root().join("examples/deploy/spout-worker@.service"))?;
    let site = Site::new()?;
    let binary = spout_tests::clustered().display().to_string();
    let unit = unit.replace("/usr/local/bin/spout", &binary);
    let file = site.write("spout-worker@1.service", &unit)?;
    let verified = std::process::Command::new("systemd-analyze").arg("verify").arg(&file).output()?;
    let said = String::from_utf8_lossy(&verified.stderr);
    ensure!(verified.status.success() && !said.contains("spout-worker"), "{said}");
    if !fleet::built()? {
        return Ok(());
    }
    // Its flags are flags of the command: that it has no certificate is all that is wrong.
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).context("ExecStart")?;
    let line = line.replace("%i", "1").replace("%H", "localhost").replace("${CREDENTIALS_DIRECTORY}", ".");
    let args: Vec<&str> = line.split_whitespace().skip(1).collect();
    site.write("join-token", "a token of this test: 0123456789abcdef")?;
    let refused = site.command_of(&spout_tests::clustered(), &args).output()?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(!refused.status.success() && said.contains("cert.pem") && !said.contains("E0801"), "{said}");
    Ok(())
}

/// Whoever waits for the end of a pipeline hears of it, also where it is shared; nobody tries again what cannot pass.
#[test]
fn a_pipeline_that_is_shared_and_cannot_go_on_ends_with_its_error() -> Result<()> {
    if !fleet::built()? {
        return Ok(());
    }
    let mut site = Site::new()?;
    site.environment = vec![("SPOUT_JOIN_TOKEN", "a token of this test: 0123456789abcdef".to_owned())];
    let spec = |plugin: &str| {
        format!(
            "pipeline: {{name: p}}\nproducer:\n  stream: {{plugin: {plugin}, topic: in}}\n  decoder: {{type: json, schema: {{n: int64}}}}\n\
             errors: {{decode: fail}}\ngrants: {{{plugin}: {{dirs: {{in: ./in}}}}}}\n"
        )
    };
    site.write("in/a.ndjson", "{\"n\": 1}\n{\"n\": \"x\"}\n")?;
    let run = |site: &Site| -> Result<(bool, String)> {
        let args = ["run", "spec.yaml", "--cluster", "--until", "idle"];
        let output = site.command_of(&spout_tests::clustered(), &args).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    for (plugin, codes) in [("files", ["E0981", "E0703"]), ("nothere", ["E02", "nothere"])] {
        site.write("spec.yaml", spec(plugin))?;
        let (succeeded, said) = run(&site)?;
        ensure!(!succeeded && codes.iter().all(|code| said.contains(code)), "{plugin}: {said}");
    }
    // What is wrong is mended, and it goes on.
    site.write("in/a.ndjson", "{\"n\": 1}\n{\"n\": 2}\n")?;
    site.write("spec.yaml", spec("files"))?;
    let (succeeded, said) = run(&site)?;
    ensure!(succeeded, "{said}");
    ensure!(site.number("select count(*) from p", None)? == 2);
    Ok(())
}
