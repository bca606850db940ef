//! What sharing a pipeline costs, and what it brings: the same work in one process, in a cluster of one, and of two, each on a core of its
//! own.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use spout_tests::{Site, clustered};

use crate::{process::children, timing::median};

/// Events of a run, and runs of each kind.
const EVENTS: u64 = 2_400_000;
const RUNS: usize = 3;
/// Rows of a commit: so many that it is seconds of work, some, and as few as nobody would ask for.
const COMMITS: [u64; 4] = [1_200_000, 600_000, 150_000, 3_000];

/// What is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Texts of each row.
    Rows,
    /// Windows by key, of texts, and of numbers only.
    Texts,
    Windows,
}

/// Windows of each auction, which have what a handler before them does not compute.
fn windows(aggregate: &str) -> String {
    format!(
        r#"
pipeline: {{name: shared}}
producer:
  stream:
    plugin: nexmark
    topic: events
    settings: {{total: {EVENTS}, partitions: 8}}
  decoder: {{type: json, schema: {{event: utf8, bid: {{auction: int64, price: int64, url: utf8, extra: utf8, date_time: int64}}}}, unknown: drop}}
node:
  - {{id: bids, type: filter, where: "event = 'bid'"}}
  - id: columns
    type: map
    columns: {{auction: "bid['auction']", price: "bid['price']", at: "bid['date_time']", extra: "bid['extra']"}}
    select: [auction, price, at, extra]
  - id: windows
    type: window
    period: 1s
    groupBy: [auction]
    time: {{column: at, unit: ms}}
    aggregate: {{n: count(*), {aggregate}}}
commit: {{flush: {{rows: 1000000, time: 1s}}}}
"#
    )
}

/// Work that is bound by what handlers compute.
fn spec(work: Work, rows: u64) -> String {
    match work {
        Work::Rows => {}
        Work::Texts => {
            return windows(
                r#"letters: "max(character_length(regexp_replace(extra, '[aeiou]+', '-', 'g')))", words: "max(character_length(regexp_replace(extra, '([b-d]+)[^b-d]*', '\\1', 'g')))""#,
            );
        }
        Work::Windows => return windows("most: max(price), sum: sum(price)"),
    }
    format!(
        r#"
pipeline: {{name: shared}}
producer:
  stream:
    plugin: nexmark
    topic: events
    settings: {{total: {EVENTS}, partitions: 8}}
    metadata: [partition, offset]
  decoder: {{type: json, schema: {{event: utf8, bid: {{auction: int64, price: int64, url: utf8, extra: utf8}}}}, unknown: drop}}
node:
  - id: texts
    type: map
    columns:
      host: "regexp_replace(bid['url'], '^https?://([^/]+)/.*$', '\\1')"
      letters: "regexp_replace(bid['extra'], '[aeiou]+', '-', 'g')"
      words: "regexp_replace(bid['extra'], '([b-d]+)[^b-d]*', '\\1', 'g')"
    drop: [bid]
commit: {{flush: {{rows: {rows}, time: 1h}}}}
"#
    )
}

/// Who does it.
#[derive(Clone, Copy)]
enum Who {
    Alone,
    Cluster(usize),
}

pub(crate) fn run() -> Result<()> {
    println!(
        "cluster: {EVENTS} events through regular expressions, each process on a core of its own; medians of {RUNS}"
    );
    if !Command::new(clustered())
        .args(["worker", "--help"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?
        .success()
    {
        println!(
            "  SKIPPED: {} was built without the feature `cluster`; `just cluster` builds it",
            clustered().display()
        );
        return Ok(());
    }
    let cores = std::thread::available_parallelism()?.get();
    let rows = COMMITS.map(|rows| (Work::Rows, rows));
    for (work, rows) in rows.into_iter().chain([(Work::Texts, 0), (Work::Windows, 0)]) {
        let all = [Who::Alone, Who::Cluster(1), Who::Cluster(2)];
        let mut times = vec![Vec::new(); all.len()];
        let mut cpu = vec![0.0; all.len()];
        // In turn, so that what else the machine does is in all of them.
        for _ in 0..RUNS {
            for (at, who) in all.iter().enumerate() {
                let before = children().0;
                times[at].push(once(*who, work, rows)?);
                cpu[at] += (children().0 - before) / RUNS as f64;
            }
        }
        let of: Vec<f64> = times.iter_mut().map(|times| median(times).as_secs_f64()).collect();
        match work {
            Work::Rows => {
                println!("  commits of {rows} rows ({:.1} s of one process)", of[0] * rows as f64 / EVENTS as f64)
            }
            Work::Texts => println!("  windows by key, of texts, committed each second"),
            Work::Windows => println!("  windows by key, of numbers, committed each second"),
        }
        println!("    one process               {:6.2} s   {:5.1} CPU s", of[0], cpu[0]);
        println!(
            "    a cluster of one          {:6.2} s   {:5.1} CPU s   {:.2}x of that (aim 1.15x)",
            of[1],
            cpu[1],
            of[1] / of[0]
        );
        if cores < 2 {
            println!("    a cluster of two needs two cores");
        } else {
            println!(
                "    a cluster of two          {:6.2} s   {:5.1} CPU s   {:.2}x as fast (aim 1.6x)",
                of[2],
                cpu[2],
                of[1] / of[2]
            );
        }
    }
    Ok(())
}

/// How long it takes.
fn once(who: Who, work: Work, rows: u64) -> Result<Duration> {
    let mut site = Site::new()?;
    site.environment = vec![("SPOUT_JOIN_TOKEN", "a token of this benchmark".to_owned())];
    site.write("spec.yaml", spec(work, rows))?;
    let workers = if let Who::Cluster(count) = who { 1..count } else { 1..1 };
    let workers: Vec<Ended> = workers.map(|core| on(&site, core, &["worker"]).map(Ended)).collect::<Result<_>>()?;
    let begun = Instant::now();
    let mut args = vec!["run", "spec.yaml", "--until", "ended"];
    if matches!(who, Who::Cluster(_)) {
        args.push("--cluster");
    }
    let succeeded = on(&site, 0, &args)?.wait()?.success();
    let took = begun.elapsed();
    drop(workers);
    ensure!(succeeded, "the pipeline failed");
    let counted = if work == Work::Rows { "count(*)" } else { "sum(n)" };
    let count = site.number(&format!("select {counted} from shared"), None)?;
    // Of fifty events of the generator, 46 are bids.
    let expected = if work == Work::Rows { EVENTS } else { EVENTS / 50 * 46 };
    ensure!(count == expected, "{count} rows");
    Ok(took)
}

fn on(site: &Site, core: usize, args: &[&str]) -> Result<Child> {
    let plain = site.command_of(&clustered(), args);
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", &core.to_string()]).arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        if let Some(value) = value {
            pinned.env(name, value);
        }
    }
    pinned.current_dir(site.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    pinned.spawn().context("taskset of util-linux")
}

/// A worker, which is told to stop when it is no longer needed.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status());
        drop(self.0.wait());
    }
}
