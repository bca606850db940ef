//! `http-poll`: what an HTTP API has to say, asked for again and again.
//!
//! An offset counts items; the token of a position says which request comes next and what of its answer was read, with a hash of that,
//! so that an API which does not keep to its own pages is noticed instead of losing or doubling items.

mod address;
mod page;
mod place;
mod reader;
mod settings;
#[cfg(test)]
mod tests;

use std::time::Duration;

use spout_guest::{Criteria, Error, Known, Partition, Position, Result, Source, register};

pub use self::{
    reader::Reader,
    settings::{Mode, Settings},
};

register! {
    name: "http-poll",
    summary: "the items of an HTTP API, page by page; the topic is its address",
    asks: {net: ["*"]},
    source: HttpPoll,
}

/// An API.
#[derive(Debug)]
pub struct HttpPoll {
    url: String,
    settings: Settings,
}

impl Source for HttpPoll {
    type Settings = Settings;
    type Reader = Reader;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        settings.check()?;
        if !topic.starts_with("http://") && !topic.starts_with("https://") {
            let what = format!("the topic `{topic}` is not an address: http://HOST:PORT/PATH or https://HOST/PATH");
            return Err(Error::invalid_config(what));
        }
        // A secret that is missing is said before anything is asked.
        Reader::new(topic, settings.clone())?;
        Ok(Self { url: topic.to_owned(), settings })
    }

    fn partitions(&mut self, _: &[Known], _: Duration) -> Result<Vec<Partition>> {
        // What follows the question mark may be nobody's business.
        let label = self.url.split(['?', '#']).next().unwrap_or_default().to_owned();
        Ok(vec![Partition { id: 0, label, ended: false }])
    }

    fn resolve(&mut self, _: u32, at: Criteria, _: Duration) -> Result<Option<Position>> {
        // The number of an item says nothing to an API, and neither does a time.
        Ok(matches!(at, Criteria::Earliest).then(Position::default))
    }

    fn read(&mut self, _: u32) -> Result<Reader> {
        Reader::new(&self.url, self.settings.clone())
    }
}
