//! `kinesis`: the records of Amazon Kinesis data streams, each shard a partition.
//!
//! Shards that come of others are read after them ([`lineage`]), so that messages of a key keep their order. A position has the
//! sequence number of the last record that was read ([`place`]); iterators, which the service forgets, are made of it. Whether records
//! were removed that were not read shows only where the last one that was read is still there, so it is asked for again once it is old
//! enough to be removed ([`shard`]).

mod aggregate;
mod api;
#[cfg(test)]
mod fuzz;
mod lineage;
mod place;
mod reader;
mod service;
mod settings;
mod shard;
#[cfg(test)]
mod tests;

use std::time::Duration;

use spout_guest::{Criteria, Known, Partition, Position, Result, SharedSource, now, register};

use self::{
    lineage::Lineage,
    place::Place,
    reader::now_ms,
    service::{PATIENCE, Service},
};
pub use self::{reader::Reader, settings::Settings};

register! {
    name: "kinesis",
    summary: "the records of an Amazon Kinesis data stream; the topic is its name",
    asks: {net: ["*"], secrets: ["key"]},
    source: Kinesis,
}

/// A stream.
#[derive(Debug)]
pub struct Kinesis {
    reader: Reader,
    lineage: Lineage,
}

impl SharedSource for Kinesis {
    type Settings = Settings;
    type Reader = Reader;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        settings.check()?;
        let service = Service::new(&settings, topic)?;
        Ok(Self { reader: Reader::new(service, &settings), lineage: Lineage::default() })
    }

    fn partitions(&mut self, known: &[Known], timeout: Duration) -> Result<Vec<Partition>> {
        let shards = self.reader.service.shards(now() + timeout.max(PATIENCE))?;
        self.lineage = Lineage::new(shards, known)?;
        Ok(self.lineage.partitions())
    }

    fn resolve(&mut self, partition: u32, at: Criteria, _: Duration) -> Result<Option<Position>> {
        Ok(match at {
            Criteria::Earliest => Some(self.lineage.beginning(partition).position()),
            Criteria::Latest => Some(Place::since(0, now_ms()).position()),
            Criteria::AtTimeMs(ms) => Some(Place::since(0, ms).position()),
            // An offset counts what was read, so none but the first says where to begin.
            Criteria::AtOffset(0) => Some(Position::at(0)),
            Criteria::AtOffset(_) => None,
        })
    }

    fn into_reader(self) -> Result<Reader> {
        Ok(self.reader)
    }
}
