//! The plugins' own code, without a sandbox around it.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use serde_json::json;
use spout_guest::{Criteria, Limits, Position, SharedReader, SharedSource};

use crate::{Took, cpu::Begun};

/// What the host asks for in one call, unless a spec says something else.
const LIMITS: Limits = Limits { messages: 8192, bytes: 4 << 20, timeout: Duration::from_secs(1) };
/// Fetches in a row that brought nothing, after which nothing more comes.
const PATIENCE: u32 = 10;

pub(crate) fn kafka(address: &str, topic: &str, messages: u64) -> Result<Took> {
    read::<plugin_kafka::Kafka>(topic, json!({"bootstrap.servers": address}), messages)
}

pub(crate) fn redis(address: &str, topic: &str, messages: u64) -> Result<Took> {
    read::<plugin_redis_streams::RedisStreams>(topic, json!({"address": address, "value": "v"}), messages)
}

fn read<S: SharedSource>(topic: &str, settings: serde_json::Value, messages: u64) -> Result<Took> {
    let failed = |error: spout_guest::Error| anyhow!("{error:?}");
    let mut source = S::open(topic, serde_json::from_value(settings)?).map_err(failed)?;
    let partitions = source.partitions(&[], LIMITS.timeout).map_err(failed)?;
    let mut wanted: Vec<(u32, Position)> = Vec::new();
    for partition in partitions {
        let start = source.resolve(partition.id, Criteria::Earliest, LIMITS.timeout).map_err(failed)?;
        wanted.push((partition.id, start.unwrap_or_default()));
    }
    let mut reader = source.into_reader().map_err(failed)?;
    let (mut read, mut bytes, mut nothing) = (0_u64, 0_u64, 0);
    let begun = Begun::now();
    while read < messages {
        let before = read;
        for (partition, answer) in reader.fetch(&wanted, LIMITS).map_err(failed)? {
            let fetched = answer.map_err(failed)?;
            read += fetched.messages.len() as u64;
            bytes += fetched.messages.iter().map(|message| message.value().len() as u64).sum::<u64>();
            if let Some(place) = wanted.iter_mut().find(|(id, _)| *id == partition) {
                place.1 = fetched.next;
            }
        }
        // Those that were served go behind those that were not, as in the host.
        wanted.rotate_left(1);
        nothing = if read == before { nothing + 1 } else { 0 };
        ensure!(nothing < PATIENCE, "{read} messages of {messages} came");
    }
    Ok(begun.took(read, bytes))
}
