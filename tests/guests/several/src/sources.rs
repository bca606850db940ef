//! Messages with everything a message can have: every third without a key, every fourth without a time.

use std::time::Duration;

use spout_guest::{
    Checkpoint, Error, Fetched, Known, Limits, Messages, Partition, Position, Progress, Reader, Result, Source, Start,
    StreamConsumer,
};

/// Settings of the sources.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Messages of each of two partitions.
    total: u64,
    /// A payload that is sent in place of one number.
    #[serde(default)]
    poison: Option<u64>,
}

impl Settings {
    fn add(&self, messages: &mut Messages, partition: u32, n: u64) {
        let value = if self.poison == Some(n) { "crash".to_owned() } else { n.to_string() };
        let mut message = messages.add(n, value.as_bytes()).partition(partition);
        message = message.header("partition", partition.to_string().as_bytes());
        if !n.is_multiple_of(3) {
            message = message.key(format!("k{n}").as_bytes());
        }
        if !n.is_multiple_of(4) {
            message.timestamp_ms(1000 + n as i64).header("late", b"no");
        }
    }
}

/// The source by partition.
#[derive(Debug)]
pub(crate) struct Tags(Settings);

impl Source for Tags {
    type Settings = Settings;
    type Reader = One;

    fn open(_: &str, settings: Settings) -> Result<Self> {
        Ok(Self(settings))
    }

    fn partitions(&mut self, _: &[Known], _: Duration) -> Result<Vec<Partition>> {
        Ok((0..2).map(|id| Partition { id, label: format!("tags {id}"), ended: false }).collect())
    }

    fn read(&mut self, partition: u32) -> Result<One> {
        let Settings { total, poison } = self.0;
        Ok(One { settings: Settings { total, poison }, partition })
    }
}

/// Reads one partition.
#[derive(Debug)]
pub(crate) struct One {
    settings: Settings,
    partition: u32,
}

impl Reader for One {
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        let end = self.settings.total.min(start.offset + limits.messages as u64);
        let mut messages = Messages::default();
        (start.offset..end).for_each(|n| self.settings.add(&mut messages, self.partition, n));
        let progress = if end == self.settings.total { Progress::Ended } else { Progress::More };
        Ok(Fetched { messages, next: Position::at(end), high_watermark: None, progress })
    }
}

/// The source as one stream, a message of each partition in turn.
#[derive(Debug)]
pub(crate) struct Tagged {
    settings: Settings,
    next: u64,
}

impl StreamConsumer for Tagged {
    type Settings = Settings;

    fn open(_: &str, _: &str, start: Start, settings: Settings) -> Result<Self> {
        let next = match &start {
            Start::Checkpoint(Checkpoint { extra: Some(next), .. }) => {
                let next = std::str::from_utf8(next).ok().and_then(|next| next.parse().ok());
                next.ok_or_else(|| Error::fatal("several.checkpoint", "not a number"))?
            }
            _ => 0,
        };
        Ok(Self { settings, next })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        let (mut messages, total) = (Messages::default(), 2 * self.settings.total);
        while self.next < total && messages.len() < limits.messages {
            self.settings.add(&mut messages, (self.next % 2) as u32, self.next / 2);
            self.next += 1;
        }
        Ok((messages, if self.next == total { Progress::Ended } else { Progress::More }))
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        Ok(Checkpoint { positions: Vec::new(), extra: Some(self.next.to_string().into_bytes()) })
    }
}
