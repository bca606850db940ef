//! `nats`: the messages of NATS JetStream streams, each stream a partition, by the numbers that they have there.
//!
//! A reader asks the server for a consumer that begins at a number, acknowledges nothing and is forgotten when nobody asks it: all
//! state is the number. Whether messages were purged that were not read follows from what the server says of the stream *after* a
//! gap was seen.
//!
//! Read as `acked`, a stream has a durable consumer of the server's own, and what was committed is acknowledged ([`durable`]).

mod client;
mod durable;
#[cfg(test)]
mod fuzz;
mod protocol;
mod reader;
mod stream;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Criteria, Error, Known, Partition, Position, Result, Source, now, register};

use self::client::Client;
pub use self::{durable::Durable, reader::Reader};

register! {
    name: "nats",
    summary: "the messages of NATS JetStream streams; the topic names them, with commas",
    asks: {net: ["*"]},
    source: Nats,
    stream: Durable,
}

/// Settings of the source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Where the server listens, as in `nats:4222`, or the name of an endpoint of the spec.
    pub address: String,
    /// The user whose password is the secret `password`. Left out, the secret is a token.
    pub username: Option<String>,
    /// Only messages with this subject: `orders.*.new`, `orders.>`.
    pub subject: Option<String>,
    /// Most bytes of a message with its headers; a larger one stops the pipeline.
    #[serde(default = "max_message")]
    pub max_message: usize,
    /// With `consumerType: acked`, the durable pull consumer of the stream; the name of the pipeline, if left out.
    pub durable: Option<String>,
    /// With `consumerType: acked`, whether to create the consumer where the stream does not have it, at `start`.
    #[serde(default)]
    pub create: bool,
    /// With `create`, milliseconds after which the server hands out again what was not acknowledged: 30000, if left out.
    pub ack_wait: Option<u64>,
    /// With `create`, how many messages the server hands out that are not acknowledged: 20000, if left out.
    pub max_ack_pending: Option<u64>,
}

fn max_message() -> usize {
    64 << 20
}

/// The streams of a topic.
#[derive(Debug)]
pub struct Nats {
    streams: Vec<String>,
    settings: Settings,
}

impl Nats {
    fn reader(&self, stream: &str) -> Reader {
        let client =
            Client::new(self.settings.address.clone(), self.settings.username.clone(), self.settings.max_message);
        Reader::new(client, stream, self.settings.subject.clone())
    }

    fn stream(&self, partition: u32) -> Result<&str> {
        let found = self.streams.iter().find(|name| Partition::named(name.as_str()).id == partition);
        found.map(String::as_str).ok_or_else(|| {
            Error::fatal(
                "nats.stream",
                format!("partition {partition} is none of the streams {}", self.streams.join(", ")),
            )
        })
    }
}

/// Whether a text can stand in a command without ending it.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}

/// The streams that `topic` names.
fn streams(topic: &str, settings: &Settings) -> Result<Vec<String>> {
    let names: BTreeSet<&str> = topic.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err(Error::invalid_config("the topic names no stream; write its name, or several with commas"));
    }
    if let Some(wrong) = names.iter().find(|name| !is_word(name) || name.contains(['.', '*', '>'])) {
        return Err(Error::invalid_config(format!("`{wrong}` is not the name of a stream")));
    }
    if settings.subject.as_deref().is_some_and(|subject| !is_word(subject)) {
        return Err(Error::invalid_config("`subject` has a blank, or nothing, in it"));
    }
    if settings.max_message == 0 || settings.max_message > 256 << 20 {
        return Err(Error::invalid_config("`maxMessage` is from 1 to 268435456 bytes"));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

impl Source for Nats {
    type Settings = Settings;
    type Reader = Reader;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        if settings.durable.is_some()
            || settings.create
            || settings.ack_wait.is_some()
            || settings.max_ack_pending.is_some()
        {
            let what = "`durable`, `create`, `ackWait` and `maxAckPending` are for a consumer that acknowledges; add `consumerType: acked` to the stream";
            return Err(Error::invalid_config(what));
        }
        Ok(Self { streams: streams(topic, &settings)?, settings })
    }

    fn partitions(&mut self, known: &[Known], timeout: Duration) -> Result<Vec<Partition>> {
        let until = now() + timeout;
        let mut partitions = Vec::new();
        for stream in &self.streams {
            let partition = Partition::named(stream.as_str());
            // One that is being made anew comes back; one that nobody has seen yet may be misspelt.
            let looked = || self.reader(stream).look(until).map_err(|error| error.of(&self.settings.address));
            if !known.iter().any(|one| one.id == partition.id) && looked()?.is_none() {
                let what = format!("{} has no stream `{stream}`", self.settings.address);
                return Err(Error::fatal("nats.stream", what));
            }
            partitions.push(partition);
        }
        Ok(partitions)
    }

    fn resolve(&mut self, partition: u32, at: Criteria, timeout: Duration) -> Result<Option<Position>> {
        let until = now() + timeout;
        let mut reader = self.reader(self.stream(partition)?);
        Ok(Some(match at {
            Criteria::Earliest => Position::at(0),
            Criteria::AtOffset(offset) => Position::at(offset),
            Criteria::AtTimeMs(ms) => reader.at_time(ms, until)?,
            Criteria::Latest => {
                let stream = reader.look(until)?.ok_or_else(|| reader.missing())?;
                stream.at(stream.after())
            }
        }))
    }

    fn read(&mut self, partition: u32) -> Result<Reader> {
        Ok(self.reader(self.stream(partition)?))
    }
}
