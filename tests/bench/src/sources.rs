//! Streams read by plugins in the sandbox, and by the same code and by another client outside of it: the same messages, from the
//! same server, in turn. What is read is unpacked and handed over, and neither decoded nor committed.

use std::{
    collections::BTreeMap,
    io::{BufWriter, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spout_data::{Marker, Position};
use spout_plugin::{FetchLimits, GrantSpec, PartitionConsumer, Provider};
use spout_tests::{daemon::Daemon, debian, tansu::Tansu};
use tokio::runtime::Runtime;

use crate::{process::own_cpu, sandbox};

/// Messages of a topic, and its partitions.
const MESSAGES: u64 = 1_000_000;
const PARTITIONS: u64 = 4;
/// Entries of each stream of Redis, and how many streams there are.
const ENTRIES: u64 = 100_000;
const STREAMS: u64 = 2;
/// Runs of each, one after the other in turn.
const RUNS: usize = 5;
/// What the host asks for in one call, unless a spec says something else.
const LIMITS: FetchLimits = FetchLimits { messages: 8192, bytes: 4 << 20, timeout: Duration::from_secs(1) };
/// Fetches in a row that brought nothing, after which nothing more comes.
const PATIENCE: u32 = 10;

/// What one run read, and what that took.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    messages: u64,
    bytes: u64,
    /// Seconds, of the clock and of processors.
    wall: f64,
    cpu: f64,
}

/// A stream to read.
struct Stream {
    plugin: &'static str,
    topic: String,
    address: String,
    messages: u64,
    settings: Vec<(&'static str, String)>,
}

/// Compares what is in `only`, or everything.
pub(crate) fn run(runtime: &Runtime, only: &[String]) -> Result<()> {
    let native = native()?;
    let codecs =
        ["none", "lz4", "zstd"].into_iter().filter(|codec| only.is_empty() || only.iter().any(|one| one == codec));
    let codecs: Vec<&str> = codecs.collect();
    let redis = only.is_empty() || only.iter().any(|one| one == "redis");
    println!("sources: fetched, unpacked and handed over, not decoded; medians of {RUNS} in turn; aim 0.9x of native");
    if !codecs.is_empty()
        && let Some(mut broker) = Tansu::direct()?
    {
        for codec in codecs {
            broker.ask("make", &[json!(codec), json!(PARTITIONS)])?;
            broker.ask("events", &[json!(codec), json!(PARTITIONS), json!(MESSAGES), json!(codec)])?;
            let address = broker.proxy.address();
            let settings = vec![("bootstrap.servers", address.clone())];
            let stream = Stream { plugin: "kafka", topic: codec.into(), address, messages: MESSAGES, settings };
            compare(runtime, &native, &format!("kafka, {codec}"), &stream, &["kafka", "rskafka"])?;
        }
    }
    if redis && let Some(program) = debian::program("redis-server", "usr/bin/redis-server")? {
        let server = Daemon::start(move |port| {
            let mut command = program.command();
            command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
            command
        })?;
        let address = server.address();
        let keys: Vec<String> = (0..STREAMS).map(|stream| format!("s{stream}")).collect();
        keys.iter().try_for_each(|key| fill(&address, key))?;
        let settings = vec![("address", address.clone()), ("value", "v".into())];
        let (topic, messages) = (keys.join(","), ENTRIES * STREAMS);
        let stream = Stream { plugin: "redis-streams", topic, address, messages, settings };
        compare(runtime, &native, "redis-streams", &stream, &["redis", "redis-rs"])?;
    }
    Ok(())
}

/// The program that reads without a sandbox, built as plugins are.
fn native() -> Result<PathBuf> {
    let (root, target) = (spout_tests::root(), spout_tests::root().join("target/native"));
    let manifest = root.join("tests/bench/native/Cargo.toml");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    ensure!(status.success(), "the native client cannot be built");
    Ok(target.join("release/spout-native"))
}

fn compare(runtime: &Runtime, native: &PathBuf, name: &str, stream: &Stream, clients: &[&str]) -> Result<()> {
    let mut all: Vec<(String, Vec<Took>)> = vec![("sandbox".into(), Vec::new())];
    all.extend(clients.iter().map(|client| (format!("native {client}"), Vec::new())));
    for _ in 0..RUNS {
        for (at, (_, took)) in all.iter_mut().enumerate() {
            let one = match at.checked_sub(1).and_then(|at| clients.get(at)) {
                None => runtime.block_on(sandboxed(stream))?,
                Some(client) => outside(native, client, stream)?,
            };
            ensure!(one.messages == stream.messages, "{} messages of {}", one.messages, stream.messages);
            took.push(one);
        }
    }
    println!("  {name}");
    let mut first = None;
    for (name, took) in all {
        let bytes = took.first().map_or(0, |took| took.bytes);
        let middle = |of: fn(&Took) -> f64| {
            let mut times: Vec<f64> = took.iter().map(of).collect();
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or_default()
        };
        let (wall, cpu, millions) = (middle(|took| took.wall), middle(|took| took.cpu), stream.messages as f64 / 1e6);
        let (base_wall, base_cpu, base_bytes) = *first.get_or_insert((wall, cpu, bytes));
        ensure!(bytes == base_bytes, "{bytes} bytes of messages, not {base_bytes}");
        let ratio = if name == "sandbox" {
            String::new()
        } else {
            format!("   sandbox is {:.2}x as fast, for {:.2}x of the CPU", wall / base_wall, base_cpu / cpu)
        };
        println!(
            "    {name:16} {:7.1} MB/s {:9.0} messages/s   {:.3} CPU s a million{ratio}",
            bytes as f64 / 1e6 / wall,
            stream.messages as f64 / wall,
            cpu / millions
        );
    }
    Ok(())
}

/// Reads in the sandbox, as a pipeline does.
async fn sandboxed(stream: &Stream) -> Result<Took> {
    let settings: Vec<(&str, &str)> = stream.settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let grants: GrantSpec = serde_json::from_value(json!({"net": ["127.0.0.1:1-65535"]}))?;
    let task = sandbox::granted(&spout_tests::root().join("plugins"), stream.plugin, &settings, grants).await?;
    let mut provider = Provider::new(task.clone(), &stream.topic);
    let partitions = provider.partitions(&Marker::default(), LIMITS.timeout).await?;
    let mut wanted: Vec<(u32, Position)> =
        partitions.iter().map(|partition| (partition.id, Position::default())).collect();
    let mut consumer = PartitionConsumer::new(task, &stream.topic);
    // The first call opens the instance.
    consumer.committed(Vec::new()).await?;
    let (mut read, mut bytes, mut nothing) = (0_u64, 0_u64, 0);
    let (begun, cpu) = (Instant::now(), own_cpu());
    while read < stream.messages {
        let before = read;
        let answers = consumer.fetch(wanted.clone(), LIMITS).await?;
        let mut next = BTreeMap::new();
        for (partition, answer) in answers {
            let fetched = answer?;
            read += fetched.messages.len() as u64;
            bytes += fetched.messages.values.bytes.len() as u64;
            next.insert(partition, fetched.next);
        }
        for (partition, position) in &mut wanted {
            if let Some(next) = next.remove(partition) {
                *position = next;
            }
        }
        // Those that were served go behind those that were not.
        wanted.rotate_left(1);
        nothing = if read == before { nothing + 1 } else { 0 };
        ensure!(nothing < PATIENCE, "{read} messages of {} came", stream.messages);
    }
    Ok(Took { messages: read, bytes, wall: begun.elapsed().as_secs_f64(), cpu: own_cpu() - cpu })
}

/// Reads by a program of its own.
fn outside(native: &PathBuf, client: &str, stream: &Stream) -> Result<Took> {
    let output =
        Command::new(native).args([client, &stream.address, &stream.topic, &stream.messages.to_string()]).output()?;
    ensure!(output.status.success(), "{client}: {}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| said.get(name).and_then(Value::as_f64).context("a number");
    let count = |name: &str| said.get(name).and_then(Value::as_u64).context("a count");
    Ok(Took { messages: count("messages")?, bytes: count("bytes")?, wall: number("wall")?, cpu: number("cpu")? })
}

/// Entries of some 200 bytes in one field, in pieces that the server answers.
fn fill(address: &str, key: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    for from in (0..ENTRIES).step_by(1000) {
        let mut out = BufWriter::new(&stream);
        let mut replies = 0;
        for n in from..(from + 1000).min(ENTRIES) {
            let value =
                format!("{{\"n\":{n},\"user\":\"user-{}\",\"text\":\"{}\"}}", n * 7919 % 100_003, "x".repeat(150));
            let id = format!("{}-1", n + 1);
            let words = ["XADD", key, &id, "v", &value];
            write!(out, "*{}\r\n", words.len())?;
            words.iter().try_for_each(|word| write!(out, "${}\r\n{word}\r\n", word.len()))?;
            // A bulk string: its length, its bytes.
            replies += format!("${}\r\n{id}\r\n", id.len()).len();
        }
        out.flush()?;
        drop(out);
        let mut said = vec![0; replies];
        stream.read_exact(&mut said)?;
        ensure!(said.starts_with(b"$"), "redis says {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}
