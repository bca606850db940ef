//! Answers by HTTP that wait for the commit: latency and rate, against bare files that are synced one after the other, and
//! against requests to the same server that need no commit.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spout_tests::Site;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    process::Seen,
    timing::{at_percent, median, rate},
};

/// Clients at once, and the share of the time that each number of them gets.
const CLIENTS: [usize; 3] = [1, 16, 128];
const TIME: Duration = Duration::from_secs(5);
const BARE: u64 = 300;

const SPEC: &str = r#"
pipeline: {name: posted}
producer:
  http: {listen: "127.0.0.1:0", path: /in}
  decoder: {type: json, schema: {client: int64, n: int64, text: utf8}}
commit: {path: /posted/}
"#;

/// What clients measured.
#[derive(Debug, Default)]
struct Measured {
    times: Vec<Duration>,
    /// How many messages of each client were answered.
    answered: BTreeMap<u64, u64>,
    wall: Duration,
}

pub(crate) fn run() -> Result<()> {
    let dir = spout_tests::root().join("target/bench-store-serve");
    drop(fs::remove_dir_all(&dir));
    fs::create_dir_all(dir.join("bare"))?;
    let mut site = Site::new()?;
    site.store = dir.join("store").display().to_string();
    site.write("spec.yaml", SPEC)?;
    let out = site.path().join("out");
    let mut server = site.command(&["run", "spec.yaml", "--json"]).stdout(File::create(&out)?).spawn()?;
    let address = address(&out, &mut server)?;
    // One thread for all clients, so that the server has what is left of two cores.
    let clients = tokio::runtime::Builder::new_current_thread().enable_all().build()?;

    println!("serve: NDJSON by POST over connections that are kept, {TIME:?} each, on the disk of {}", dir.display());
    let mut bare = bare_files(&dir.join("bare"))?;
    let bare = median(&mut bare);
    println!("  bare create + fsync + fsync of the directory  p50 {:7.3} ms", bare.as_secs_f64() * 1e3);
    let (mut answered, mut next) = (0, 0);
    for count in CLIENTS {
        let mut seen = Seen::default();
        seen.look(&server);
        let before = seen.cpu;
        let commits = commits_of(&dir)?;
        let mut posted = clients.block_on(load(&address, next..next + count as u64, true))?;
        seen.look(&server);
        let commits = commits_of(&dir)? - commits;
        next += count as u64;
        let mut empty = clients.block_on(load(&address, 0..count as u64, false))?;
        let requests = posted.times.len();
        answered += posted.answered.values().sum::<u64>();
        let p50 = median(&mut posted.times);
        println!(
            "  {count:3} clients: {:6.0} requests/s   p50 {:6.2} ms   p99 {:6.2} ms   {:6.0} commits/s of {:5.1} requests   {:5.1} CPU µs a request   p50/bare {:4.1}x   without commit {:6.0} requests/s, {:.2}x of that   peak {} MiB",
            rate(requests as f64, posted.wall),
            p50.as_secs_f64() * 1e3,
            at_percent(&mut posted.times, 99).as_secs_f64() * 1e3,
            rate(commits as f64, posted.wall),
            requests as f64 / commits.max(1) as f64,
            (seen.cpu - before) * 1e6 / requests.max(1) as f64,
            p50.as_secs_f64() / bare.as_secs_f64(),
            rate(empty.times.len() as f64, empty.wall),
            rate(requests as f64, posted.wall) / rate(empty.times.len() as f64, empty.wall),
            seen.peak_mib,
        );
        empty.times.clear();
        verify(&mut posted)?;
    }
    println!("  aims: p50 3 ms at one client, 15,000 requests/s at 128");
    let stopping = Instant::now();
    Command::new("kill").args(["-INT", &server.id().to_string()]).status()?;
    ensure!(server.wait()?.success(), "the pipeline failed");
    println!("  stopped within {:.1} s", stopping.elapsed().as_secs_f64());
    let stored = "select count(*) from posted";
    let once = "select count(*) from (select distinct client, n from posted)";
    let (stored, once) = (site.number(stored, None)?, site.number(once, None)?);
    ensure!(
        (stored, once) == (answered, answered),
        "{answered} messages were answered, {stored} stored, {once} distinct"
    );
    println!("  {answered} messages answered, each of them stored once");
    Ok(())
}

/// Waits until the pipeline listens, and says where.
fn address(out: &Path, server: &mut Child) -> Result<String> {
    loop {
        for line in fs::read_to_string(out)?.lines() {
            let update: Value = serde_json::from_str(line).unwrap_or_default();
            if update.get("event").and_then(Value::as_str) == Some("listening") {
                let address = update.get("address").and_then(Value::as_str);
                return Ok(address.context("an address")?.to_owned());
            }
        }
        ensure!(server.try_wait()?.is_none(), "the pipeline ended before it listened");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every client counts its messages from zero, and none was left out.
fn verify(measured: &mut Measured) -> Result<()> {
    let sum: u64 = measured.answered.values().sum();
    ensure!(sum == measured.times.len() as u64, "{} answers to {sum} messages", measured.times.len());
    Ok(())
}

/// Each of `clients` sends one request after the other and waits for its answer.
async fn load(address: &str, clients: std::ops::Range<u64>, messages: bool) -> Result<Measured> {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for client in clients {
        let address = address.to_owned();
        tasks.spawn(
            async move { Ok::<_, anyhow::Error>((client, talk(&address, client, messages, begun + TIME).await?)) },
        );
    }
    let mut all = Measured::default();
    while let Some(done) = tasks.join_next().await {
        let (client, times) = done??;
        all.answered.insert(client, times.len() as u64);
        all.times.extend(times);
    }
    all.wall = begun.elapsed();
    Ok(all)
}

async fn talk(address: &str, client: u64, messages: bool, until: Instant) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut times = Vec::new();
    let mut answer = Vec::with_capacity(1024);
    while Instant::now() < until {
        let body = match messages {
            true => format!("{{\"client\":{client},\"n\":{},\"text\":\"a message of some length\"}}\n", times.len()),
            false => String::new(),
        };
        let length = body.len();
        let request = format!(
            "POST /in HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        while !is_whole(&answer) {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the connection was closed");
        }
        times.push(begun.elapsed());
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
    Ok(times)
}

/// Whether an answer is there to its last byte.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= head + 4 + length)
}

fn commits_of(dir: &Path) -> Result<usize> {
    Ok(fs::read_dir(dir.join("store/repos/posted/branches/master")).map_or(0, Iterator::count))
}

/// Creates and syncs files of the size of a small record.
fn bare_files(dir: &Path) -> Result<Vec<Duration>> {
    let bytes = vec![7; 4096];
    let create = |n: u64| {
        let begun = Instant::now();
        let mut file = File::create_new(dir.join(format!("{n:020}")))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(begun.elapsed())
    };
    (0..BARE).map(create).collect()
}
