//! Each way in which a plugin can be hostile, beside an honest pipeline of the same host: what it costs, as one table.
//!
//! The host may have 1,024 files open and 2 GiB of memory. Of what the neighbour is offered, at half a processor's worth of rows, it
//! keeps all, and as much in time as without the plugin; time and memory are measured against the same host without it, in the same
//! run. A machine that is busy is late for everybody: how late it wakes a thread of the test is taken off what a call is late, calls are
//! held to seconds only where others take most of the machine, and where the neighbour is late, it is compared with one beside as many
//! threads of somebody else as the plugin may have.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::ChildStderr,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{
    Site, guests,
    paced::{Alarm, Kept, Others, Pace, Paced},
};

/// Private memory of the host, in KiB.
const DATA: u64 = 2 << 20;
/// What all instances of the plugin may have, in MiB, and what the host may need for them.
const QUOTA: u64 = 128;
const OVERHEAD: u64 = 32;
/// What a call may take, besides what a fetch may wait.
const CALL: Duration = Duration::from_millis(300);
/// What may pass beyond it before a call is over, by the clock of the host.
const BEYOND: Duration = Duration::from_millis(200);
/// How often somebody has to be woken until it is: the timer, the call, what made it, and what watches that.
const WAKES: u32 = 4;
/// The same where others take more than this part of the machine: it is them who are measured then.
const BUSY: f64 = 0.5;
const BEYOND_BUSY: Duration = Duration::from_secs(3);
const STOP: Duration = Duration::from_secs(5);
/// How long rows are offered.
const TIME: Duration = Duration::from_millis(1000);
/// Part of the rows that are committed as soon as all are without the plugin, or with the next commit.
const PART: f64 = 0.95;
const FLUSH: Duration = Duration::from_millis(200);
/// Who else runs on this machine may have been in the way.
const TRIES: usize = 4;

/// What a plugin does, in which call.
const DEEDS: [(&str, &str); 17] = [
    ("spin", "fetch"),
    ("spin", "partitions"),
    ("sleep", "fetch"),
    ("pause", "fetch"),
    ("trap", "fetch"),
    ("memory", "fetch"),
    ("hoard", "consumer-open"),
    ("recurse", "fetch"),
    ("handles", "fetch"),
    ("files", "fetch"),
    ("flood", "fetch"),
    ("imports", "fetch"),
    ("cycle", "fetch"),
    ("fill", "fetch"),
    ("giant", "fetch"),
    ("nothing", "fetch"),
    ("many", "partitions"),
];

fn spec(mode: &str, call: &str) -> String {
    format!(
        "pipeline: {{name: hostile}}
producer:
  stream: {{plugin: hostile, topic: t, readers: 8, fetch: {{timeout: 100ms}}, settings: {{mode: {mode}, call: {call}, partitions: \"60\", loud: \"yes\"}}}}
  decoder: {{type: json}}
limits: {{call: {}ms, memory: 64MiB, totalMemory: {QUOTA}MiB, answer: 16MiB, log: 64KiB, disk: 16MiB}}
grants: {{hostile: {{dirs: {{data: {{path: ./data, write: true}}}}}}}}
",
        CALL.as_millis()
    )
}

fn site() -> Result<Site> {
    let mut site = Site::new()?;
    let hostile = fs::read(guests().join("hostile.wasm")).context("`just guests` builds the guests")?;
    site.write("plugins/hostile.wasm", hostile)?;
    site.write("data/in.txt", "granted")?;
    site.plugins = site.path().join("plugins");
    site.open_files = Some(1024);
    site.environment.push(("SPOUT_LOG", "warn,spout=info,spout_plugin::apart=debug".into()));
    Ok(site)
}

/// How much longer than they might calls of the plugin took that ran into their limit, the shortest first, as the host says it.
fn calls(stderr: ChildStderr) -> JoinHandle<Vec<Duration>> {
    thread::spawn(move || {
        let mut late = Vec::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
            let fields = &line["fields"];
            if fields["message"] == "a call is over by its limit"
                && let (Some(limit), Some(took)) = (milliseconds(&fields["limit_ms"]), milliseconds(&fields["took_ms"]))
            {
                late.push(took.saturating_sub(limit));
            }
        }
        late.sort_unstable();
        late
    })
}

fn milliseconds(text: &Value) -> Option<Duration> {
    text.as_str()?.parse().ok().map(Duration::from_millis)
}

/// What one host came to.
#[derive(Debug)]
struct Row {
    kept: Kept,
    peak: u64,
    /// How many calls ran into their limit; half of them were over no later, and none later than that.
    calls: usize,
    half: Duration,
    latest: Duration,
    /// The latest that a thread of this process woke.
    alarm: Duration,
    stop: Duration,
}

fn measure(specs: &[&str], text: Option<String>, pace: Pace) -> Result<Row> {
    let site = site()?;
    if let Some(text) = text {
        site.write("hostile.yaml", text)?;
    }
    let mut host = Paced::start(&site, DATA, specs)?;
    let (calls, alarm) = (calls(host.running.child.stderr.take().context("standard error")?), Alarm::start());
    let kept = host.offer(pace)?;
    let peak = host.peak()?;
    let since = Instant::now();
    host.running.signal("TERM")?;
    host.running.end()?;
    let (stop, alarm) = (since.elapsed(), alarm.latest());
    let late = calls.join().ok().context("the reader panicked")?;
    let half = late.get(late.len() / 2).copied().unwrap_or_default();
    let latest = late.last().copied().unwrap_or_default();
    ensure!(
        site.number("select count(*) from honest", None)? == kept.sent,
        "rows of the neighbour are lost or doubled"
    );
    Ok(Row { kept, peak, calls: late.len(), half, latest, alarm, stop })
}

#[test]
fn a_hostile_plugin_costs_its_quota_and_its_neighbour_nothing() -> Result<()> {
    // How many rows are half of a processor's, here and now.
    let fast = Pace { rate: 400_000.0, time: Duration::from_millis(500) };
    let first = measure(&[], None, fast)?.kept;
    let rate = (fast.rate * 0.5 / first.processors.max(0.05)).min(2_000_000.0);
    let pace = Pace { rate, time: TIME };
    let alone = measure(&[], None, pace)?;
    let soon = alone.kept.lag + FLUSH;
    let mut table = format!(
        "{rate:.0} rows a second, which are {:.2} of a processor; without a hostile plugin {} MiB, and committed {:.2} s later
{:24} {:>9} {:>6} {:>10} {:>10} {:>10} {:>7} {:>8} {:>7} {:>7}\n",
        alone.kept.processors, alone.peak, alone.kept.lag.as_secs_f64(),
        "deed", "MiB more", "calls", "half late", "latest", "timer", "others", "stop", "kept", "beside"
    );
    let mut wrong = Vec::new();
    // Some of them, where somebody looks into one.
    let wanted = std::env::var("SPOUT_DEEDS").unwrap_or_default();
    for (mode, call) in
        DEEDS.into_iter().filter(|(mode, _)| wanted.is_empty() || wanted.split(',').any(|one| one == *mode))
    {
        let mut late = Vec::new();
        // The most that the neighbour kept, and the least that it did beside others.
        let (mut most, mut least) = (0.0_f64, 1.0_f64);
        for _ in 0..TRIES {
            let row = measure(&["hostile.yaml"], Some(spec(mode, call)), pace)?;
            let (more, kept) = (row.peak.saturating_sub(alone.peak), row.kept.by(soon));
            let deed = format!("{mode} in {call}");
            eprintln!("{deed} {row:?}");
            late.clear();
            most = most.max(kept);
            if most < PART {
                // Whether it is the plugin that has more of the machine than it may, or somebody else.
                let others = Others::start();
                least = least.min(measure(&[], None, pace)?.kept.by(soon));
                drop(others);
                if most < PART * least {
                    late.push(format!(
                        "{deed}: {:.0} % of its rows were kept by the neighbour in time, and {:.0} % beside others then",
                        most * 100.0,
                        least * 100.0
                    ));
                }
            }
            table.push_str(&format!(
                "{deed:24} {more:>9} {:>6} {:>7} ms {:>7} ms {:>7} ms {:>5.0} % {:>6.2} s {:>5.0} % {:>5.0} %\n",
                row.calls,
                row.half.as_millis(),
                row.latest.as_millis(),
                row.alarm.as_millis(),
                row.kept.others * 100.0,
                row.stop.as_secs_f64(),
                kept * 100.0,
                least * 100.0
            ));
            let beyond = if row.kept.others > BUSY { BEYOND_BUSY } else { BEYOND } + row.alarm * WAKES;
            if row.latest > beyond {
                late.push(format!(
                    "{deed}: a call was over {:?} after its limit, which is more than {beyond:?}; others took {:.0} % of the machine",
                    row.latest,
                    row.kept.others * 100.0
                ));
            }
            if mode == "spin" && row.calls == 0 {
                wrong.push(format!("{deed}: no call is known to have run into its limit"));
            }
            if more > QUOTA + OVERHEAD {
                wrong.push(format!("{deed}: {more} MiB more than without it"));
            }
            if row.stop > STOP {
                wrong.push(format!("{deed}: it stopped after {:?}", row.stop));
            }
            if late.is_empty() {
                break;
            }
        }
        wrong.extend(late);
    }
    println!("{table}");
    ensure!(wrong.is_empty(), "{}\n{table}", wrong.join("\n"));
    Ok(())
}

/// Ten million calls of the host, none of which leaves anything there.
#[test]
fn ten_million_imports_end_and_take_no_memory() -> Result<()> {
    let site = site()?;
    let text = spec("imports", "fetch").replace("call: 300ms", "call: 5m").replace("\"60\"", "\"1\"");
    site.write("hostile.yaml", text)?;
    let mut host = Paced::start(&site, DATA, &["hostile.yaml"])?;
    let mut said = BufReader::new(host.running.child.stderr.take().context("standard error")?).lines();
    let mut wait_for = |text: &str| said.by_ref().map_while(Result::ok).any(|line| line.contains(text));
    ensure!(wait_for("\"begun\""), "it did not begin");
    let before = host.peak()?;
    ensure!(wait_for("\"done\""), "it did not get to the end");
    let after = host.peak()?;
    println!("{before} MiB before ten million imports, {after} MiB after them");
    ensure!(after <= before + OVERHEAD, "{before} MiB, then {after} MiB");
    host.running.signal("TERM")?;
    thread::spawn(move || said.for_each(drop));
    ensure!(host.running.end()?.0, "it did not end in order");
    Ok(())
}

/// What process `id` has: files, threads, MiB.
fn has(id: u32) -> Result<(usize, usize, u64)> {
    let count = |what: &str| anyhow::Ok(fs::read_dir(format!("/proc/{id}/{what}"))?.count());
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok((count("fd")?, count("task")?, memory.trim().trim_end_matches(" kB").parse::<u64>()? >> 10))
}

/// A thousand instances, each of which opens and closes a thousand times what can be opened.
#[test]
fn a_thousand_instances_leave_no_file_no_thread_and_no_memory() -> Result<()> {
    let site = site()?;
    // A message that crashes the decoder costs it an instance, and there are 1,100 of them.
    let text = "pipeline: {name: hostile}
producer:
  stream: {plugin: hostile, topic: t, settings: {mode: cycle, call: fetch, total: \"11000\"}, fetch: {messages: 50}}
  decoder: {plugin: hostile, settings: {mode: poison, call: decode}}
errors: {decode: dead-letter}
commit: {flush: {rows: 500}}
grants: {hostile: {dirs: {data: {path: ./data, write: true}}}}
limits: {call: 30s}
";
    site.write("hostile.yaml", text)?;
    let mut host = Paced::start(&site, DATA, &["hostile.yaml"])?;
    let errors = host.running.child.stderr.take().context("standard error")?;
    thread::spawn(move || BufReader::new(errors).lines().for_each(drop));
    let id = host.running.child.id();
    let mut first = None;
    let (mut letters, mut last) = (0, (0, 0, 0));
    while letters < 1100 {
        let update = host.running.wait_for("committed")?.context("it ended early")?;
        letters += update["dead_letters"].as_u64().context("dead letters")?;
        last = has(id)?;
        if letters >= 200 && first.is_none() {
            first = Some(last);
        }
    }
    let first = first.context("it was over at once")?;
    println!("files, threads and MiB after 200 instances {first:?}, after {letters} {last:?}");
    ensure!(last.0 <= first.0 + 16, "files: {first:?}, then {last:?}");
    // The pool of those that wait grows with what waits at once on a busy machine, and shrinks again; not with how many instances
    // there were.
    let until = Instant::now() + Duration::from_secs(60);
    while last.1 > first.1 + 128 && Instant::now() < until {
        thread::park_timeout(Duration::from_millis(50));
        last.1 = has(id)?.1;
    }
    ensure!(last.1 <= first.1 + 128, "threads: {first:?}, then {last:?}");
    ensure!(last.2 <= first.2 + 2 * OVERHEAD, "memory: {first:?}, then {last:?}");
    host.running.signal("TERM")?;
    host.running.end().map(drop)
}
