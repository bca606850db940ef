//! From a message at its source to the commit in which it can be read, while messages come at a steady rate.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::{Running, Site, daemon::Daemon, debian};

use crate::{
    process::Seen,
    timing::{at_percent, median, rate},
};

/// Messages a second, and the aims where there are some.
const RATES: [(u64, Option<(Duration, Duration)>); 2] =
    [(1_000, Some((Duration::from_millis(15), Duration::from_millis(50)))), (50_000, None)];
/// How long messages come, and the first part of that, in which nothing is measured.
const TIME: Duration = Duration::from_secs(8);
const WARM: Duration = Duration::from_secs(2);
/// Messages that come at once, but for the rate.
const TICK: Duration = Duration::from_millis(1);

/// Where messages are put.
trait Source: Send {
    /// Puts messages with these numbers.
    fn put(&mut self, numbers: std::ops::Range<u64>) -> Result<()>;
}

pub(crate) fn run() -> Result<()> {
    println!("latency: from a message at its source to its commit, flush {{time: 10ms}}, {:?} each", TIME - WARM);
    for (rate, aims) in RATES {
        let site = site()?;
        let dir = site.path().join("in");
        std::fs::create_dir_all(&dir)?;
        let file = File::create(dir.join("events.ndjson"))?;
        let stream = "{plugin: files, topic: in, settings: {pattern: \"*.ndjson\"}}".to_owned();
        let grants = format!("files: {{dirs: {{in: \"{}\"}}}}", dir.display());
        measure("files", &site, &stream, &grants, Box::new(Lines(file)), rate, aims)?;
    }
    let Some(program) = debian::program("redis-server", "usr/bin/redis-server")? else { return Ok(()) };
    let server = Daemon::start(move |port| {
        let mut command = program.command();
        command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
        command
    })?;
    for (rate, aims) in RATES {
        let site = site()?;
        let (address, key) = (server.address(), format!("s{rate}"));
        let stream = format!("{{plugin: redis-streams, topic: {key}, settings: {{address: \"{address}\", value: v}}}}");
        let grants = format!("redis-streams: {{net: [\"{address}\"]}}");
        let mut connection = TcpStream::connect(&address)?;
        // It has to be there when the pipeline looks for it.
        connection.write_all(format!("XGROUP CREATE {key} none $ MKSTREAM\r\n").as_bytes())?;
        ensure!(connection.read(&mut [0; 64])? > 0, "the server ended");
        let entries = Entries { connection, key };
        measure("redis-streams", &site, &stream, &grants, Box::new(entries), rate, aims)?;
    }
    Ok(())
}

/// On the disk of this repository, because fsync is most of it.
fn site() -> Result<Site> {
    let dir = spout_tests::root().join("target/bench-store-latency");
    drop(std::fs::remove_dir_all(&dir));
    let mut site = Site::new()?;
    site.store = dir.display().to_string();
    Ok(site)
}

fn measure(
    name: &str,
    site: &Site,
    stream: &str,
    grants: &str,
    source: Box<dyn Source>,
    each_second: u64,
    aims: Option<(Duration, Duration)>,
) -> Result<()> {
    let spec = format!(
        "pipeline: {{name: timed}}\nproducer:\n  stream: {stream}\n  decoder: {{type: json, schema: {{n: int64, text: utf8}}}}\ncommit: {{path: /timed/, flush: {{time: 10ms}}}}\ngrants:\n  {grants}\n"
    );
    site.write("spec.yaml", spec)?;
    let mut running = site.start(&["run", "spec.yaml"])?;
    running.wait_for("started")?.context("it ended before it started")?;
    let mut seen = Seen::default();
    seen.look(&running.child);
    let (begun, cpu) = (Instant::now(), seen.cpu);
    let over = Arc::new(AtomicBool::new(false));
    let putting = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let put = steadily(source, each_second, begun);
            over.store(true, Ordering::SeqCst);
            put
        }
    });
    let commits = commits(&mut running, begun, &over, each_second)?;
    seen.look(&running.child);
    let put = putting.join().map_err(|_| anyhow::anyhow!("the source failed"))??;
    let mut times = latencies(&put, &commits);
    let (p50, p99) = (median(&mut times), at_percent(&mut times, 99));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let aims = aims.map(|(p50, p99)| format!("   (aims p50 {p50:?}, p99 {p99:?})")).unwrap_or_default();
    println!(
        "  {name:14} {each_second:6} messages/s: p50 {:6.1} ms   p99 {:6.1} ms   {:4.0} commits/s   {:4.1} % of a core{aims}",
        ms(p50),
        ms(p99),
        rate(commits.len() as f64, begun.elapsed()),
        (seen.cpu - cpu) / begun.elapsed().as_secs_f64() * 100.0,
    );
    running.signal("INT")?;
    let (fine, said) = running.end()?;
    ensure!(fine, "{said}");
    let (rows, once) =
        (site.number("select count(*) from timed", None)?, site.number("select count(distinct n) from timed", None)?);
    let all = put.last().map_or(0, |(number, _)| *number);
    ensure!((rows, once) == (all, all), "{all} messages were put, {rows} stored, {once} of them different");
    Ok(())
}

/// Puts messages at a rate until the time is over: how many there were, and when.
fn steadily(mut source: Box<dyn Source>, each_second: u64, begun: Instant) -> Result<Vec<(u64, Instant)>> {
    let (mut put, mut number) = (Vec::new(), 0);
    while begun.elapsed() < TIME {
        let wanted = (begun.elapsed().as_secs_f64() * each_second as f64) as u64;
        if wanted > number {
            source.put(number..wanted)?;
            number = wanted;
            put.push((number, Instant::now()));
        }
        thread::sleep(TICK);
    }
    Ok(put)
}

/// How many messages were committed, and when it was known, until all are.
fn commits(running: &mut Running, begun: Instant, over: &AtomicBool, each_second: u64) -> Result<Vec<(u64, Instant)>> {
    let (mut all, mut commits) = (0, Vec::new());
    loop {
        let update = running.next_event()?.context("it ended")?;
        if update.get("event").and_then(Value::as_str) != Some("committed") {
            continue;
        }
        all += update.get("messages").and_then(Value::as_u64).context("a number of messages")?;
        commits.push((all, Instant::now()));
        // The last ones come within a moment, and are counted when it has stopped.
        let most = (TIME.as_secs_f64() * each_second as f64) as u64;
        if over.load(Ordering::SeqCst) || all >= most || begun.elapsed() > TIME * 4 {
            return Ok(commits);
        }
    }
}

/// How long each group of messages took.
fn latencies(put: &[(u64, Instant)], commits: &[(u64, Instant)]) -> Vec<Duration> {
    let warm = put.first().map(|(_, at)| *at + WARM);
    let measured = put.iter().filter(|(_, at)| warm.is_some_and(|warm| *at >= warm));
    let latency = |(number, at): &(u64, Instant)| {
        let commit = commits.partition_point(|(all, _)| all < number);
        commits.get(commit).map(|(_, known)| known.saturating_duration_since(*at))
    };
    measured.filter_map(latency).collect()
}

fn message(number: u64) -> String {
    format!("{{\"n\":{number},\"text\":\"a message of some length, as they come\"}}")
}

/// Lines of a file.
struct Lines(File);

impl Source for Lines {
    fn put(&mut self, numbers: std::ops::Range<u64>) -> Result<()> {
        let lines: String = numbers.map(|number| message(number) + "\n").collect();
        Ok(self.0.write_all(lines.as_bytes())?)
    }
}

/// Entries of a stream of Redis.
struct Entries {
    connection: TcpStream,
    key: String,
}

impl Source for Entries {
    fn put(&mut self, numbers: std::ops::Range<u64>) -> Result<()> {
        let (mut requests, count) = (String::new(), numbers.end - numbers.start);
        for number in numbers {
            let (key, value) = (&self.key, message(number));
            requests += &format!(
                "*5\r\n$4\r\nXADD\r\n${}\r\n{key}\r\n$1\r\n*\r\n$1\r\nv\r\n${}\r\n{value}\r\n",
                key.len(),
                value.len()
            );
        }
        self.connection.write_all(requests.as_bytes())?;
        // Each is answered by its length and its id, two lines.
        let (mut lines, mut part) = (0, [0; 4096]);
        while lines < count * 2 {
            let read = self.connection.read(&mut part)?;
            ensure!(read > 0, "the server ended");
            lines += part.get(..read).context("what was read")?.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        Ok(())
    }
}
