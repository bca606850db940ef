//! `objects`: the lines of new objects below a prefix of a bucket, or of new files in a granted directory.
//!
//! An offset counts messages; the token of a position says which objects were read, and how far the one that is being read. It names
//! the version (`ETag`) of that one, and every request asks for this version: bytes of two versions never mix.

mod bucket;
mod folder;
#[cfg(test)]
mod fuzz;
mod listing;
mod open;
mod place;
mod reader;
mod settings;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use spout_guest::{Criteria, Known, Partition, Position, Result, Source, register};

use self::{
    bucket::Bucket,
    folder::Folder,
    reader::Reader,
    settings::{DirectorySettings, Settings},
};

register! {
    source "objects": Objects, "the lines of new objects in a bucket; the topic is BUCKET/PREFIX", asks: {net: ["*"]};
    source "directory": Directory, "the lines of new files in a granted directory; the topic is DIRECTORY/PREFIX", asks: ["{topic}"];
}

/// The objects below a prefix.
#[derive(Debug)]
pub(crate) struct Objects {
    topic: String,
    settings: Settings,
}

impl Source for Objects {
    type Settings = Settings;
    type Reader = Reader<Bucket>;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        settings.check()?;
        Bucket::new(&settings, topic)?;
        Ok(Self { topic: topic.to_owned(), settings })
    }

    fn partitions(&mut self, _: &[Known], _: Duration) -> Result<Vec<Partition>> {
        Ok(one(&self.topic))
    }

    fn resolve(&mut self, _: u32, at: Criteria, _: Duration) -> Result<Option<Position>> {
        Ok(beginning(at))
    }

    fn read(&mut self, _: u32) -> Result<Self::Reader> {
        Ok(Reader::new(Bucket::new(&self.settings, &self.topic)?, self.settings.reading()))
    }
}

/// The files of a granted directory.
#[derive(Debug)]
pub(crate) struct Directory {
    topic: String,
    settings: DirectorySettings,
}

impl Source for Directory {
    type Settings = DirectorySettings;
    type Reader = Reader<Folder>;

    fn open(topic: &str, settings: DirectorySettings) -> Result<Self> {
        settings.check()?;
        Folder::new(&settings, topic)?;
        Ok(Self { topic: topic.to_owned(), settings })
    }

    fn partitions(&mut self, _: &[Known], _: Duration) -> Result<Vec<Partition>> {
        Ok(one(&self.topic))
    }

    fn resolve(&mut self, _: u32, at: Criteria, _: Duration) -> Result<Option<Position>> {
        Ok(beginning(at))
    }

    fn read(&mut self, _: u32) -> Result<Self::Reader> {
        Ok(Reader::new(Folder::new(&self.settings, &self.topic)?, self.settings.reading()))
    }
}

/// The partition that there is.
fn one(topic: &str) -> Vec<Partition> {
    vec![Partition { id: 0, label: topic.to_owned(), ended: false }]
}

/// The only place that can be found.
fn beginning(at: Criteria) -> Option<Position> {
    matches!(at, Criteria::Earliest).then(Position::default)
}
