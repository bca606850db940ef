//! `redis-streams`: the entries of Redis streams, each stream a partition, read with `XREAD` and replayable as long as they are
//! kept; or all streams read as a consumer of a group, whose entries are acknowledged ([`group`]).
//!
//! Offsets are made of ids ([`id`]). Whether entries were trimmed that were not read follows from what the server says of a stream
//! *after* they were read ([`info`]): trimming takes from the front, so what is still there then was there before.

mod client;
mod entry;
#[cfg(test)]
mod fuzz;
mod group;
mod id;
mod info;
mod reader;
mod resp;
mod settings;
#[cfg(test)]
mod tests;
mod topic;

use std::time::Duration;

use spout_guest::{Criteria, Known, Partition, Position, Result, SharedSource, now, register};

use self::{
    client::Client,
    entry::Form,
    id::{Added, EntryId, Place},
    topic::Topic,
};
pub use self::{group::Group, reader::Reader, settings::Settings};

register! {
    name: "redis-streams",
    summary: "the entries of Redis streams; the topic names their keys, with commas, or is a pattern",
    asks: {net: ["*"]},
    source: RedisStreams,
    stream: Group,
}

/// The streams of a topic.
#[derive(Debug)]
pub struct RedisStreams(Reader);

impl SharedSource for RedisStreams {
    type Settings = Settings;
    type Reader = Reader;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        settings.check()?;
        settings.without_group()?;
        let client = Client::new(settings.address, settings.username, settings.database);
        let form = Form { value: settings.value, key: settings.key };
        Ok(Self(Reader::new(client, Topic::parse(topic)?, form, settings.max_entry)))
    }

    fn partitions(&mut self, _: &[Known], timeout: Duration) -> Result<Vec<Partition>> {
        let reader = &mut self.0;
        let keys = reader.topic.keys(&mut reader.client, now() + timeout);
        let keys = keys.map_err(|error| error.of(reader.client.address()))?;
        Ok(keys.into_iter().map(Partition::named).collect())
    }

    fn resolve(&mut self, partition: u32, at: Criteria, timeout: Duration) -> Result<Option<Position>> {
        let reader = &mut self.0;
        let until = now() + timeout;
        Ok(match at {
            Criteria::Earliest => Some(Position::at(0)),
            Criteria::AtOffset(offset) => Some(Position::at(offset)),
            Criteria::AtTimeMs(ms) => {
                let first = EntryId { ms, sequence: 0 };
                let place = Place { offset: first.offset(), after: first.before(), added: Added::Unread, bare: false };
                Some(place.position())
            }
            Criteria::Latest => {
                let keys = reader.topic.keys(&mut reader.client, until)?;
                let Some(key) = keys.into_iter().find(|key| Partition::named(key.as_str()).id == partition) else {
                    return Ok(Some(Position::at(0)));
                };
                let info = reader.info(&[&key], until)?.into_iter().next().flatten();
                Some(info.map_or_else(|| Position::at(0), |info| info.latest(Place::default()).position()))
            }
        })
    }

    fn into_reader(self) -> Result<Reader> {
        Ok(self.0)
    }
}
