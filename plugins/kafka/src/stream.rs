//! The topic as one stream (`consumerType: highlevel`): all of its partitions, whose positions are the checkpoint.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spout_guest::{
    Checkpoint, Criteria, Error, Limits, Messages, Position, Progress, Result, SharedReader as _, SharedSource as _,
    Start, StreamConsumer, now,
};

use crate::{reader::Reader, settings::Settings, source::Kafka};

/// How often partitions are looked for that were added.
const DISCOVER: Duration = Duration::from_secs(5);

/// All partitions of a topic.
#[derive(Debug)]
pub struct Stream {
    source: Kafka,
    reader: Reader,
    start: Criteria,
    positions: BTreeMap<u32, Position>,
    discovered: Option<Instant>,
}

impl StreamConsumer for Stream {
    type Settings = Settings;

    fn open(topic: &str, _: &str, start: Start, settings: Settings) -> Result<Self> {
        let source = Kafka::open(topic, settings.clone())?;
        let reader = Kafka::open(topic, settings)?.into_reader()?;
        let (start, positions) = match start {
            Start::Earliest => (Criteria::Earliest, BTreeMap::new()),
            Start::Latest => (Criteria::Latest, BTreeMap::new()),
            // What was added since then is read from its beginning.
            Start::Checkpoint(checkpoint) => (Criteria::Earliest, checkpoint.positions.into_iter().collect()),
        };
        Ok(Self { source, reader, start, positions, discovered: None })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        self.discover(limits.timeout)?;
        let wanted: Vec<(u32, Position)> =
            self.positions.iter().map(|(partition, at)| (*partition, at.clone())).collect();
        let (mut messages, mut progress, mut failed) = (Messages::default(), Progress::Idle, None);
        let answers = self.reader.fetch(&wanted, limits)?;
        if answers.len() < wanted.len() {
            // Nothing is known of the others.
            progress = Progress::More;
        }
        for (partition, answer) in answers {
            match answer {
                Ok(fetched) => {
                    copy(&fetched.messages, partition, &mut messages);
                    let moved = self.positions.insert(partition, fetched.next.clone()).as_ref() != Some(&fetched.next);
                    if moved || fetched.progress == Progress::More {
                        progress = Progress::More;
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            // What others have goes first; the partition will say it again.
            Some(error) if messages.is_empty() => Err(whole(error)),
            _ => Ok((messages, progress)),
        }
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        let positions = self.positions.iter().map(|(partition, at)| (*partition, at.clone())).collect();
        Ok(Checkpoint { positions, extra: None })
    }

    fn committed(&mut self, upto: Checkpoint) -> Result<()> {
        self.reader.committed(&upto.positions)
    }
}

impl Stream {
    fn discover(&mut self, timeout: Duration) -> Result<()> {
        if self.discovered.is_some_and(|at| now().saturating_duration_since(at) < DISCOVER) {
            return Ok(());
        }
        let found = match self.source.partitions(&[], timeout) {
            // Those that are known can be read meanwhile.
            Err(Error::Retriable { .. }) if self.discovered.is_some() => return Ok(()),
            found => found?,
        };
        for partition in found {
            if !self.positions.contains_key(&partition.id) {
                let at = self.source.resolve(partition.id, self.start, timeout)?;
                self.positions.insert(partition.id, at.unwrap_or_default());
            }
        }
        self.start = Criteria::Earliest;
        self.discovered = Some(now());
        Ok(())
    }
}

/// Adds the messages of one partition to those of all.
fn copy(from: &Messages, partition: u32, to: &mut Messages) {
    let mut nulls = from.nulls().iter().peekable();
    for (index, message) in from.iter().enumerate() {
        let offset = message.offset().unwrap_or_default();
        let is_null = nulls.next_if(|null| **null as usize == index).is_some();
        let mut added =
            if is_null { to.add_null(offset) } else { to.add(offset, message.value()) }.partition(partition);
        if let Some(key) = message.key() {
            added = added.key(key);
        }
        if let Some(time) = message.timestamp_ms() {
            added = added.timestamp_ms(time);
        }
        for (name, value) in message.headers() {
            added = added.header(name, value);
        }
    }
}

/// A stream has one position, so one partition cannot be entered anew.
fn whole(error: Error) -> Error {
    match error {
        Error::OutOfRange { earliest, latest } => Error::fatal(
            "kafka.offset",
            format!(
                "a partition no longer has the offset of the last commit, but {} to {}; read the topic by partition, where \
                 `onOutOfRange` decides, or seek",
                earliest.offset, latest.offset
            ),
        ),
        error => error,
    }
}
