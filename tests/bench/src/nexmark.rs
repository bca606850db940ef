//! Nexmark's queries as users run them, over one file of events: the binary, DataFusion as its wheel is built, and Bytewax.
//!
//! All read the same lines and write Parquet (Bytewax: lines) to the disk; what they wrote is compared row for row first.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Site, root, venv};

use crate::process;

const EVENTS: u64 = 1_000_000;
/// Bytewax takes a part of them, or a run would take minutes.
const FEW: u64 = 100_000;
const RUNS: usize = 3;
const QUERIES: [&str; 11] = ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q11", "q12"];
const STREAMED: [&str; 3] = ["q1", "q2", "q12"];
const PEERS: [&str; 3] = ["datafusion==55.0.0", "bytewax==0.21.1", "pyarrow==26.0.1"];
const SCRIPT: &str = include_str!("../../support/nexmark_peers.py");

/// What one run took.
#[derive(Clone, Copy, Debug)]
struct Took {
    wall: f64,
    cpu: f64,
}

/// Middle times.
fn middle(mut all: Vec<Took>) -> Took {
    let mut middle = |of: fn(&Took) -> f64| {
        all.sort_by(|a, b| of(a).total_cmp(&of(b)));
        all.get(all.len() / 2).map_or(0.0, of)
    };
    Took { wall: middle(|took| took.wall), cpu: middle(|took| took.cpu) }
}

/// Python with the peers.
struct Peers(PathBuf);

impl Peers {
    fn ask(&self, args: &[&str]) -> Result<Vec<Value>> {
        let output = Command::new(&self.0).args(["-c", SCRIPT]).args(args).output()?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Runs a query; what it took, and the peer's version.
    fn run(&self, verb: &str, lines: &Path, out: &Path, query: &str) -> Result<(Took, String)> {
        let told = self.ask(&[verb, text(lines)?, text(out)?, query])?;
        let told = told.first().context("what it took")?;
        let number = |key: &str| told[key].as_f64().with_context(|| format!("no {key} in {told}"));
        let version = told["version"].as_str().unwrap_or_default().to_owned();
        Ok((Took { wall: number("wall")?, cpu: number("cpu")? }, version))
    }

    fn same(&self, verb: &str, one: &Path, other: &Path, query: &str) -> Result<()> {
        let told = self.ask(&[verb, text(one)?, text(other)?, query])?;
        let told = told.first().context("a comparison")?;
        let number = |key: &str| told[key].as_u64().with_context(|| format!("no {key} in {told}"));
        ensure!(number("rows")? > 0, "{query} gives nothing, so that this shows nothing: {told}");
        ensure!(number("only_ours")? == 0 && number("only_theirs")? == 0, "{query}: {told}");
        Ok(())
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is no text")
}

/// The first events as lines, in a directory of their own; made once.
fn events(peers: &Peers, count: u64) -> Result<PathBuf> {
    let dir = root().join(format!("target/bench-nexmark/{count}"));
    let lines = dir.join("events.ndjson");
    if lines.exists() {
        return Ok(lines);
    }
    fs::create_dir_all(&dir)?;
    let site = Site::new()?;
    site.write(
        "events.yaml",
        format!(
            "pipeline: {{name: events}}
producer:
  stream: {{plugin: nexmark, topic: auctions, settings: {{total: {count}, partitions: 1}}}}
  decoder:
    type: json
    schema:
      event: utf8
      person: {{id: int64, name: utf8, city: utf8, state: utf8, date_time: int64}}
      auction: {{id: int64, seller: int64, category: int64, date_time: int64, expires: int64}}
      bid: {{auction: int64, bidder: int64, price: int64, channel: utf8, url: utf8, date_time: int64, extra: utf8}}
commit: {{path: /events/, publish: none}}
"
        ),
    )?;
    site.ok(&["run", "events.yaml", "--until", "ended"])?;
    // Rows of several files come in no order; queries would find most of them late.
    let by = "coalesce(bid['date_time'], auction['date_time'], person['date_time'])";
    site.ok(&["sql", &format!("select * from events order by {by}"), "-o", "events.parquet"])?;
    let (parquet, staged) = (site.path().join("events.parquet"), dir.join("staged"));
    peers.ask(&["make", text(&parquet)?, text(&staged)?])?;
    fs::rename(staged, &lines)?;
    Ok(lines)
}

/// The example of a query over lines instead of the generator.
fn spec(query: &str, lines: &Path) -> Result<String> {
    let spec = fs::read_to_string(root().join(format!("examples/nexmark/{query}.yaml")))?;
    let (before, after) = spec.split_once("  stream:\n").context("a stream")?;
    let (_, after) = after.split_once("  decoder:").context("a decoder")?;
    let dir = lines.parent().context("a directory")?;
    // A file has no time that its messages carry; the event's own stands for it.
    let after = after.replace("time: __timestamp", "time: at").replace(
        "columns: {bidder: \"bid['bidder']\"}, select: [bidder, __timestamp]",
        "columns: {bidder: \"bid['bidder']\", at: \"bid['date_time']\"}, select: [bidder, at]",
    );
    Ok(format!(
        "{before}  stream: {{plugin: files, topic: lines, settings: {{pattern: events.ndjson, follow: false}}}}\n  decoder:{after}\
         grants:\n  files: {{dirs: {{lines: {}}}}}\n",
        dir.display()
    ))
}

/// Runs a query through the binary; its rows in a file of `site`.
fn ours(site: &Site, query: &str, spec: &str) -> Result<(Took, PathBuf)> {
    site.write("spec.yaml", spec)?;
    let begun = Instant::now();
    let (before, _) = process::children();
    let status =
        site.command(&["run", "spec.yaml", "--until", "ended"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let took = Took { wall: begun.elapsed().as_secs_f64(), cpu: process::children().0 - before };
    ensure!(status.success(), "{query} failed");
    site.ok(&["sql", &format!("select * from \"nexmark-{query}\""), "-o", "ours.parquet"])?;
    Ok((took, site.path().join("ours.parquet")))
}

/// All queries, or those that are wanted.
pub(crate) fn run(wanted: &[String]) -> Result<()> {
    let Some(python) = venv::python(&PEERS)? else { return Ok(()) };
    let peers = Peers(python);
    let (lines, few) = (events(&peers, EVENTS)?, events(&peers, FEW)?);
    println!(
        "nexmark: {EVENTS} events in lines of {} bytes, to Parquet; events per second of processor time, and of the clock; median of {RUNS}",
        fs::metadata(&lines)?.len() / EVENTS
    );
    for query in QUERIES.into_iter().filter(|query| wanted.is_empty() || wanted.iter().any(|wanted| wanted == query)) {
        let (mut mine, mut theirs, mut version) = (Vec::new(), Vec::new(), String::new());
        let spec_of = spec(query, &lines)?;
        for run in 0..RUNS {
            let site = Site::new()?;
            let (took, rows) = ours(&site, query, &spec_of)?;
            mine.push(took);
            let out = site.path().join("theirs.parquet");
            let (took, peer) = peers.run("run", &lines, &out, query)?;
            theirs.push(took);
            version = peer;
            if run == 0 {
                peers.same("same", &rows, &out, query)?;
            }
        }
        let (mine, theirs) = (middle(mine), middle(theirs));
        let speed = |seconds: f64| EVENTS as f64 / seconds / 1e6;
        println!(
            "  {query:4} {:5.2} M/s CPU {:5.2} M/s wall   DataFusion {version} {:5.2} {:5.2}   {:.2}x CPU {:.2}x wall (aim 0.80)",
            speed(mine.cpu),
            speed(mine.wall),
            speed(theirs.cpu),
            speed(theirs.wall),
            theirs.cpu / mine.cpu,
            theirs.wall / mine.wall
        );
        if STREAMED.contains(&query) {
            streamed(&peers, &few, query, mine)?;
        }
    }
    Ok(())
}

/// A query by Bytewax over the first events.
fn streamed(peers: &Peers, few: &Path, query: &str, mine: Took) -> Result<()> {
    let site = Site::new()?;
    let (reference, out) = (site.path().join("reference.parquet"), site.path().join("bytewax.ndjson"));
    peers.run("run", few, &reference, query)?;
    let (took, version) = peers.run("bytewax", few, &out, query)?;
    peers.same("same-lines", &reference, &out, query)?;
    let speed = |seconds: f64, count: u64| count as f64 / seconds / 1e6;
    println!(
        "       Bytewax {version} {:5.3} M/s CPU {:5.3} M/s wall   {:.0}x CPU {:.0}x wall",
        speed(took.cpu, FEW),
        speed(took.wall, FEW),
        speed(mine.cpu, EVENTS) / speed(took.cpu, FEW),
        speed(mine.wall, EVENTS) / speed(took.wall, FEW)
    );
    Ok(())
}
