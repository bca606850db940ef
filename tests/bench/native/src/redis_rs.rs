//! `redis`, the client in Rust that most use, which shares nothing with the plugin.

use anyhow::{Context as _, Result, ensure};
use redis::{Commands as _, Value, streams::StreamRangeReply};

use crate::{Took, cpu::Begun};

/// Entries of one answer: as the host asks.
const ENTRIES: usize = 8192;

pub(crate) fn redis_rs(address: &str, topic: &str, messages: u64) -> Result<Took> {
    let mut server = redis::Client::open(format!("redis://{address}"))?.get_connection()?;
    let (mut read, mut bytes) = (0_u64, 0_u64);
    let begun = Begun::now();
    for key in topic.split(',') {
        let mut from = "-".to_owned();
        loop {
            let reply: StreamRangeReply = server.xrange_count(key, &from, "+", ENTRIES)?;
            let Some(last) = reply.ids.last() else { break };
            from = format!("({}", last.id);
            for entry in &reply.ids {
                let value = entry.map.get("v").context("an entry has no v")?;
                let Value::BulkString(value) = value else { anyhow::bail!("{value:?} is no value") };
                read += 1;
                bytes += value.len() as u64;
            }
        }
    }
    ensure!(read == messages, "{read} messages of {messages} came");
    Ok(begun.took(read, bytes))
}
