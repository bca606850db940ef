//! Reads a topic or streams from their beginning and says what that took: `spout-native kafka|rskafka|redis|redis-rs ADDRESS TOPIC MESSAGES`.
//!
//! `kafka` and `redis` are the plugins' own code over sockets of the system: what the sandbox costs is the difference. `rskafka` and
//! `redis-rs` are clients that share nothing with them.

mod cpu;
mod ours;
mod redis_rs;
mod theirs;

use anyhow::{Context as _, Result, bail};

/// What was read, and what that took.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    messages: u64,
    bytes: u64,
    /// Seconds, of the clock and of processors.
    wall: f64,
    cpu: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [client, address, topic, messages] = arguments.as_slice() else {
        bail!("spout-native kafka|rskafka|redis|redis-rs ADDRESS TOPIC MESSAGES");
    };
    let messages = messages.parse().context("MESSAGES is a number")?;
    let took = match client.as_str() {
        "kafka" => ours::kafka(address, topic, messages)?,
        "redis" => ours::redis(address, topic, messages)?,
        "redis-rs" => redis_rs::redis_rs(address, topic, messages)?,
        "rskafka" => theirs::rskafka(address, topic, messages)?,
        other => bail!("there is no client {other}"),
    };
    let Took { messages, bytes, wall, cpu } = took;
    println!("{}", serde_json::json!({"messages": messages, "bytes": bytes, "wall": wall, "cpu": cpu}));
    Ok(())
}
