//! Streams of RabbitMQ: each is a partition, and can be read again from any offset that it still has.

use std::{collections::BTreeSet, time::Duration};

use spout_guest::{Criteria, Error, Known, Partition, Position, Result, Source};

use crate::{client::Client, edge::edge, method::Begin, reader::Reader, settings::Settings};

/// The streams that a topic names.
#[derive(Debug)]
pub struct Streams {
    names: BTreeSet<String>,
    settings: Settings,
}

impl Streams {
    fn client(&self, partition: u32) -> Result<Client> {
        let found = self.names.iter().find(|name| Partition::named(name.as_str()).id == partition);
        let name = found.ok_or_else(|| {
            let what = format!("partition {partition} is none of the streams that the topic names");
            Error::fatal("amqp.queue", what)
        })?;
        Ok(Client::new(self.settings.clone(), name.clone()))
    }
}

impl Source for Streams {
    type Settings = Settings;
    type Reader = Reader;

    fn open(topic: &str, settings: Settings) -> Result<Self> {
        settings.check()?;
        if settings.id.is_some() {
            let what = "`id` is for a queue, whose messages are acknowledged; add `consumerType: acked` to the stream";
            return Err(Error::invalid_config(what));
        }
        let names: BTreeSet<String> =
            topic.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if names.is_empty() || names.iter().any(|name| name.len() > 255) {
            return Err(Error::invalid_config("the topic names streams, with commas, each with at most 255 bytes"));
        }
        Ok(Self { names, settings })
    }

    fn partitions(&mut self, known: &[Known], _: Duration) -> Result<Vec<Partition>> {
        let partitions: Vec<Partition> = self.names.iter().map(|name| Partition::named(name.as_str())).collect();
        // One that is being made anew comes back; one that nobody has seen yet may be misspelt.
        for new in partitions.iter().filter(|one| !known.iter().any(|known| known.id == one.id)) {
            let mut client = self.client(new.id)?;
            client.count()?;
            client.leave();
        }
        Ok(partitions)
    }

    fn resolve(&mut self, partition: u32, at: Criteria, _: Duration) -> Result<Option<Position>> {
        let mut client = self.client(partition)?;
        Ok(Some(match at {
            Criteria::Earliest => Position::at(0),
            Criteria::AtOffset(offset) => Position::at(offset),
            Criteria::AtTimeMs(ms) => match edge(&mut client, Begin::Second(ms / 1000))? {
                Some(edge) => Position::at(edge.first),
                None => end(&mut client)?,
            },
            Criteria::Latest => end(&mut client)?,
        }))
    }

    fn read(&mut self, partition: u32) -> Result<Reader> {
        Ok(Reader::new(self.client(partition)?, self.client(partition)?, self.settings.clone()))
    }
}

fn end(client: &mut Client) -> Result<Position> {
    Ok(edge(client, Begin::Last)?.map_or(Position::at(0), |edge| edge.next()))
}
