//! `rskafka`, a client in Rust that shares nothing with the plugin.

use anyhow::{Context as _, Result, ensure};
use rskafka::client::{ClientBuilder, partition::UnknownTopicHandling};

use crate::{Took, cpu::Begun};

/// Bytes of one answer, and milliseconds that the broker waits for the first: as the plugin asks.
const BYTES: std::ops::Range<i32> = 1..1 << 20;
const WAIT: i32 = 500;

pub(crate) fn rskafka(address: &str, topic: &str, messages: u64) -> Result<Took> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(read(address, topic, messages))
}

async fn read(address: &str, topic: &str, messages: u64) -> Result<Took> {
    let client = ClientBuilder::new(vec![address.to_owned()]).build().await?;
    let topics = client.list_topics().await?;
    let found = topics.into_iter().find(|one| one.name == topic).context("there is no such topic")?;
    let mut partitions = Vec::new();
    for id in found.partitions.into_iter() {
        partitions.push((client.partition_client(topic, id, UnknownTopicHandling::Error).await?, 0_i64, false));
    }
    let (mut read, mut bytes) = (0_u64, 0_u64);
    let begun = Begun::now();
    while read < messages {
        let before = read;
        for (partition, next, ended) in partitions.iter_mut().filter(|(_, _, ended)| !ended) {
            let (records, high) = partition.fetch_records(*next, BYTES, WAIT).await?;
            for record in records {
                read += 1;
                bytes += record.record.value.map_or(0, |value| value.len() as u64);
                *next = record.offset + 1;
            }
            *ended = *next >= high;
        }
        ensure!(read > before, "{read} messages of {messages} came");
    }
    Ok(begun.took(read, bytes))
}
