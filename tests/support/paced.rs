//! An honest pipeline beside whatever else a host runs: rows at an even pace over TCP, and when they were committed.

use std::{
    fmt, fs,
    io::Write as _,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{Running, Site};

/// One row.
const ROW: &[u8] = b"{\"n\":1,\"a\":\"some text that is parsed\",\"b\":1.5,\"c\":true}\n";

/// Ticks of processor time in a second, as Linux counts them for everybody.
const TICKS: f64 = 100.0;

/// Longest that rows may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is offered, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rows in a second.
    pub rate: f64,
    /// How long.
    pub time: Duration,
}

/// A host that runs the honest pipeline, and others.
#[derive(Debug)]
pub struct Paced {
    /// The process.
    pub running: Running,
    address: String,
}

/// What became of rows that were offered.
#[derive(Clone)]
pub struct Kept {
    /// Rows that were sent.
    pub sent: u64,
    /// How long after the last one was due everything was committed.
    pub lag: Duration,
    /// Part of a processor that the whole host took meanwhile.
    pub processors: f64,
    /// Part of the whole machine that everybody else took meanwhile.
    pub others: f64,
    /// When the last one was due, and how many were committed when.
    due: Instant,
    commits: Vec<(Instant, u64)>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, lag, processors, others, .. } = self;
        write!(
            f,
            "{sent} rows, all of them {lag:?} after the last was due, by {processors:.2} of a processor, others {others:.2}"
        )
    }
}

impl Kept {
    /// Which part of them was committed so long after the last one was due.
    #[must_use]
    pub fn by(&self, after: Duration) -> f64 {
        let commits = self.commits.iter().filter(|(at, _)| *at <= self.due + after);
        commits.map(|(_, rows)| rows).sum::<u64>() as f64 / self.sent.max(1) as f64
    }
}

/// Processor time that all processors of the machine were busy for so far, and that they had, in ticks.
fn machine() -> Result<(f64, f64)> {
    let all = fs::read_to_string("/proc/stat")?;
    let first = all.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("all processors")?;
    let ticks: Vec<f64> = first.split_whitespace().filter_map(|ticks| ticks.parse().ok()).collect();
    // User, nice, system, idle, waiting for disks, interrupts and what another machine took; the rest is in these.
    let whole: f64 = ticks.iter().take(8).sum();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    Ok((whole - idle, whole))
}

/// Threads of this process that compute for as long as this lives, as others on the same machine could.
#[derive(Debug)]
pub struct Others {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Others {
    /// As many as there are processors.
    #[must_use]
    pub fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let spin = |over: Arc<AtomicBool>| move || while !over.load(Ordering::Relaxed) {};
        let many = thread::available_parallelism().map_or(1, Into::into);
        let threads = (0..many).map(|_| thread::spawn(spin(Arc::clone(&over)))).collect();
        Self { over, threads }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// How late this machine wakes who sleeps, for as long as this lives.
#[derive(Debug)]
pub struct Alarm {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Alarm {
    /// Begins to sleep and to look at the clock.
    #[must_use]
    pub fn start() -> Self {
        const PAUSE: Duration = Duration::from_millis(5);
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut latest = Duration::ZERO;
            while !ends.load(Ordering::Relaxed) {
                let before = Instant::now();
                thread::sleep(PAUSE);
                latest = latest.max(before.elapsed().saturating_sub(PAUSE));
            }
            latest
        });
        Self { over, thread }
    }

    /// The latest.
    #[must_use]
    pub fn latest(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

impl Paced {
    /// Starts it with further specs, for which `kib` of private memory are enough.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(site: &Site, kib: u64, further: &[&str]) -> Result<Self> {
        let spec = "pipeline: {name: honest}\nproducer:\n  tcp: {listen: '127.0.0.1:0'}\n  decoder: {type: json}\ncommit: {flush: {time: 200ms}}\n";
        site.write("honest.yaml", spec)?;
        let args: Vec<&str> = ["run", "honest.yaml"].into_iter().chain(further.iter().copied()).collect();
        let mut running = site.start_within(kib, &args)?;
        let Some(update) = running.wait_for("listening")? else {
            anyhow::bail!("it ended before it listened: {}", running.end()?.1);
        };
        let address = update["address"].as_str().context("an address")?.replace("tcp://", "");
        Ok(Self { running, address })
    }

    /// Offers rows at `pace`, and waits until all are committed.
    ///
    /// # Errors
    /// If some are lost or doubled, or never committed.
    pub fn offer(&mut self, pace: Pace) -> Result<Kept> {
        let (before, begun) = (self.ticks()?, Instant::now());
        let (busy, whole) = machine()?;
        let mut client = TcpStream::connect(&self.address)?;
        client.set_write_timeout(Some(PATIENCE))?;
        let sending = thread::spawn(move || -> Result<(u64, Instant)> {
            let block = ROW.repeat(10_000);
            let begun = Instant::now();
            let mut sent = 0;
            loop {
                let since = begun.elapsed().min(pace.time);
                let due = (since.as_secs_f64() * pace.rate) as u64;
                while sent < due {
                    let rows = (due - sent).min(10_000);
                    client.write_all(&block[..rows as usize * ROW.len()])?;
                    sent += rows;
                }
                if since == pace.time {
                    // When the last was due, and not when it could be sent.
                    return Ok((sent, begun + pace.time));
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        let expected = (pace.time.as_secs_f64() * pace.rate) as u64;
        let (mut committed, mut commits) = (0, Vec::new());
        while committed < expected {
            let update = self.running.wait_for("committed")?.context("it ended before all was committed")?;
            if update["pipeline"] == "honest" {
                let rows = update["rows"].as_u64().context("rows")?;
                committed += rows;
                commits.push((Instant::now(), rows));
            }
        }
        let over = Instant::now();
        let (sent, due) = sending.join().ok().context("the sender panicked")??;
        ensure!(committed == sent, "{sent} rows were sent, and {committed} committed");
        let took = self.ticks()? - before;
        let processors = took / TICKS / begun.elapsed().as_secs_f64();
        let now = machine()?;
        let others = (now.0 - busy - took).max(0.0) / (now.1 - whole).max(1.0);
        Ok(Kept { sent, lag: over.saturating_duration_since(due), processors, others, due, commits })
    }

    /// Processor time of the process so far, in ticks.
    fn ticks(&self) -> Result<f64> {
        let about = fs::read_to_string(format!("/proc/{}/stat", self.running.child.id()))?;
        let after = about.rsplit_once(')').context("a name")?.1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).context("ticks");
        Ok(ticks(11)? + ticks(12)?)
    }

    /// What it has had in memory at most, in MiB.
    ///
    /// # Errors
    /// If it has ended.
    pub fn peak(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a peak")?;
        Ok(peak.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
    }
}
