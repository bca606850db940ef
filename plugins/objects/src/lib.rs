//! `objects`: the lines of new objects below a prefix of a bucket.
//!
//! An offset counts messages; the token of a position says which objects were read, and how far the one that is being read. It names
//! the version (`ETag`) of that one, and every request asks for this version: bytes of two versions never mix.

mod bucket;
#[cfg(test)]
mod fuzz;
mod listing;
mod open;
mod place;
mod reader;
mod settings;
#[cfg(test)]
mod tests;

use std::time::Duration;

use spout_guest::{Criteria, Known, Partition, Position, Result, Source, register};

use self::bucket::Bucket;
pub use self::{
    reader::Reader,
    settings::{Order, Settings},
};

register! {
    name: "objects",
    summary: "the lines of new objects in a bucket; the topic is BUCKET/PREFIX",
    asks: {net: ["*"]},
    source: Objects,
}

/// The objects below a prefix.
#[derive(Debug)]
pub struct Objects {
    topic: String,
    settings: Settings,
}

impl Source for Objects {
    type Settings = Settings;
    type Reader = Reader;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        settings.check()?;
        Bucket::new(&settings, topic)?;
        Ok(Self { topic: topic.to_owned(), settings })
    }

    fn partitions(&mut self, _: &[Known], _: Duration) -> Result<Vec<Partition>> {
        Ok(vec![Partition { id: 0, label: self.topic.clone(), ended: false }])
    }

    fn resolve(&mut self, _: u32, at: Criteria, _: Duration) -> Result<Option<Position>> {
        Ok(matches!(at, Criteria::Earliest).then(Position::default))
    }

    fn read(&mut self, _: u32) -> Result<Reader> {
        Ok(Reader::new(Bucket::new(&self.settings, &self.topic)?, self.settings.clone()))
    }
}
