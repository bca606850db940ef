//! Brings the messages of a whole stream, which keeps its own place and says where that is.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use spout_base::{clock, error::chain};
use spout_data::{Messages, PartitionId, Position, Span};
use spout_plugin::{Backoff, Checkpoint, FetchLimits, Progress, StreamConsumer, StreamStart, Task};

use super::{
    ConsumerType, Start, StreamSpec,
    out_of_range::{self, Lost},
    redelivered::Seen,
};
use crate::{Error, Fetched, Fetcher, Found, Standings};

/// Crashes in a row after which a source is given up.
const CRASHES: u32 = 3;

/// Answers without a message that are taken as they come, and the longest pause after more of them.
const EMPTY: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What messages are counted as that were sent again.
const AGAIN: &str = "dedupe";

/// Fetches a stream.
#[derive(Debug)]
pub(super) struct StreamFetcher {
    spec: StreamSpec,
    task: Task,
    found: Found,
    position: Position,
    /// After what the source has, as far as it said so: offsets count messages.
    end: Option<u64>,
    consumer: Option<Box<StreamConsumer>>,
    /// Where it says what is in the way.
    standings: Standings,
    /// Whether a call is on its way: where its fetch was dropped, the instance stands still half way in it.
    calling: bool,
    backoff: Backoff,
    crashes: u32,
    lull: Lull,
    /// What was taken of a source that sends again what was not acknowledged.
    seen: Option<Seen>,
}

/// A source that has nothing, again and again, and may say that it has more: it must not burn a core.
#[derive(Debug, Default)]
struct Lull {
    empty: u32,
    pause: Duration,
}

impl Lull {
    /// Takes an answer that came after `took`: what the source waited itself is no longer to be waited.
    fn heard(&mut self, empty: bool, took: Duration) {
        self.empty = if empty { self.empty.saturating_add(1) } else { 0 };
        let doublings = self.empty.saturating_sub(EMPTY);
        let pause = if doublings == 0 { Duration::ZERO } else { Duration::from_millis(1 << doublings.min(8)) };
        self.pause = pause.min(LONGEST_PAUSE).saturating_sub(took);
    }
}

#[async_trait]
impl Fetcher for StreamFetcher {
    async fn fetch(&mut self, most: u32) -> Result<Fetched, Error> {
        let pause = std::mem::take(&mut self.lull.pause);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        loop {
            let begun = clock::now();
            if std::mem::replace(&mut self.calling, true) {
                self.close();
            }
            let attempt = self.attempt(most).await;
            self.calling = false;
            match attempt {
                Ok(fetched) => {
                    self.lull.heard(!fetched.moves(), clock::now().duration_since(begun));
                    self.crashes = 0;
                    self.position = fetched.span.next.clone();
                    return Ok(fetched);
                }
                Err(spout_plugin::Error::OutOfRange { range, .. }) => {
                    return self.reenter(range.map(|range| *range)).await;
                }
                Err(error) => self.wait_out(error).await?,
            }
        }
    }

    fn passes_on(&self) -> bool {
        true
    }

    fn acknowledges(&self) -> bool {
        self.seen.is_some()
    }

    /// What goes wrong here is logged, no more.
    async fn committed(&mut self, upto: &BTreeMap<PartitionId, Position>) {
        if let Some(seen) = &mut self.seen {
            let others = upto.iter().filter(|(partition, _)| **partition != self.found.partition);
            others.for_each(|(reader, at)| seen.other(*reader, at));
        }
        let Some(upto) = upto.get(&self.found.partition) else { return };
        let Ok(token) = StreamToken::read(upto) else { return };
        if std::mem::take(&mut self.calling) {
            self.close();
        }
        // What an instance was handed goes with it: there is nothing to acknowledge through another one.
        if self.consumer.is_none() && self.seen.is_some() {
            return;
        }
        let told = match self.consumer().await {
            Ok(consumer) => consumer.committed(&token.checkpoint()).await,
            Err(error) => Err(error),
        };
        match told {
            Ok(()) => {
                if let Some(seen) = &mut self.seen {
                    seen.acknowledged(upto.offset);
                }
            }
            Err(error) => {
                tracing::warn!(
                    plugin = self.spec.plugin,
                    error = chain(&error),
                    "cannot notify the source of a finished commit"
                );
                if let Some(seen) = &mut self.seen {
                    seen.unacknowledged(upto.offset);
                }
                if error.is_crash() {
                    self.close();
                }
            }
        }
    }
}

impl StreamFetcher {
    /// A fetcher that starts where `found` says.
    #[must_use]
    pub(super) fn new(spec: StreamSpec, task: Task, standings: Standings, found: Found) -> Self {
        let position = found.start.clone();
        let acked = spec.consumer_type == ConsumerType::Acked;
        let seen = acked.then(|| Seen::read(spec.dedupe.clone().unwrap_or_default(), &position));
        Self {
            spec,
            task,
            found,
            position,
            end: None,
            consumer: None,
            standings,
            calling: false,
            backoff: Backoff::default(),
            crashes: 0,
            lull: Lull::default(),
            seen,
        }
    }

    /// Drops the instance. The next one goes on from the checkpoint of what was handed over.
    fn close(&mut self) {
        self.consumer = None;
        if let Some(seen) = &mut self.seen {
            seen.lost();
        }
    }

    async fn attempt(&mut self, most: u32) -> Result<Fetched, spout_plugin::Error> {
        let room = self.seen.as_mut().map_or(u32::MAX, Seen::room_now);
        // The token of a position may be long: it is not copied for each fetch.
        let (partition, offset) = (self.found.partition, self.position.offset);
        if room == 0 {
            // As many wait to be acknowledged as may: the commit that they wait for is on its way.
            let span = Span { partition, start: offset, next: self.position.clone() };
            let nothing = Fetched::new(Messages::default(), span, Progress::Idle);
            return Ok(Fetched { expects: true, high_watermark: self.end, ..nothing });
        }
        let limits = FetchLimits {
            messages: self.spec.fetch.messages.min(most).min(room),
            bytes: u32::try_from(self.spec.fetch.bytes.0).unwrap_or(u32::MAX),
            timeout: self.spec.fetch.timeout.0,
        };
        let consumer = self.consumer().await?;
        let (messages, progress) = consumer.next(&limits).await?;
        let brought = messages.len() as u64;
        let high_watermark = consumer.waiting().map(|waiting| (offset + brought).saturating_add(waiting));
        if messages.is_empty() {
            self.end = high_watermark;
            let span = Span { partition, start: offset, next: self.position.clone() };
            return Ok(Fetched { high_watermark, ..Fetched::new(messages, span, progress) });
        }
        let checkpoint = consumer.checkpoint().await?;
        self.end = high_watermark;
        let Some(seen) = &mut self.seen else {
            let next = StreamToken::write(offset + brought, checkpoint, None);
            let span = Span { partition, start: offset, next };
            return Ok(Fetched { high_watermark, ..Fetched::new(messages, span, progress) });
        };
        let messages = seen.take(messages, offset);
        let next = StreamToken::write(offset + brought, checkpoint, Some(seen));
        let span = Span { partition, start: offset, next };
        let mut fetched = Fetched { high_watermark, ..Fetched::new(messages, span, progress) };
        let again = brought - fetched.messages.len() as u64;
        fetched.counts.messages += again;
        fetched.counts.filter(AGAIN, again);
        fetched.awaited = seen.is_pressing().then_some(Duration::ZERO);
        Ok(fetched)
    }

    async fn consumer(&mut self) -> Result<&mut StreamConsumer, spout_plugin::Error> {
        if self.consumer.is_none() {
            let (task, group) = (self.task.clone(), &self.task.pipeline);
            let consumer = StreamConsumer::open(task, &self.spec.topic, group, self.stream_start()?).await?;
            self.consumer = Some(Box::new(consumer));
        }
        self.consumer.as_deref_mut().ok_or(spout_plugin::Error::Closed)
    }

    fn stream_start(&self) -> Result<StreamStart, spout_plugin::Error> {
        if self.position.token.is_some() {
            return StreamToken::read(&self.position).map(|token| StreamStart::Checkpoint(token.checkpoint()));
        }
        Ok(match self.spec.start {
            Start::Latest => StreamStart::Latest,
            _ => StreamStart::Earliest,
        })
    }

    /// Waits before another try, or gives up.
    async fn wait_out(&mut self, error: spout_plugin::Error) -> Result<(), Error> {
        let pause = match &error {
            spout_plugin::Error::Retriable { retry_after, .. } => {
                self.crashes = 0;
                retry_after.unwrap_or_else(|| self.backoff.delay())
            }
            crash if crash.is_crash() && self.crashes + 1 < CRASHES => {
                self.crashes += 1;
                self.close();
                self.backoff.delay()
            }
            _ => return Err(self.failed("fetching", error)),
        };
        let partition = self.found.partition.number;
        self.standings.put_off(&[partition], &error, pause);
        tracing::warn!(
            plugin = self.spec.plugin,
            partition,
            offset = self.position.offset,
            ?pause,
            error = chain(&error),
            "fetch failed; retrying"
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The source no longer has our offset: stops, or goes on where the spec says.
    async fn reenter(&mut self, range: Option<(Position, Position)>) -> Result<Fetched, Error> {
        let partition = self.found.partition;
        let lost = Lost { partition: partition.number, label: &self.found.label, offset: self.position.offset };
        let to = out_of_range::enter(&self.spec, lost, range)?;
        let span = Span { partition, start: to.offset, next: to.clone() };
        let jump = Some(to.offset);
        self.position = to;
        Ok(Fetched { jump, ..Fetched::new(Messages::default(), span, Progress::More) })
    }

    fn failed(&self, doing: &'static str, source: spout_plugin::Error) -> Error {
        Error::Stream {
            plugin: self.spec.plugin.clone(),
            topic: self.spec.topic.clone(),
            partition: Some((self.found.partition.number, self.position.offset)),
            doing,
            source: Box::new(source),
        }
    }
}

/// A stream-level checkpoint as the token of a position: the offset counts messages, the token says where to go on. With what was seen,
/// it begins with a zero and the length of the rest of the checkpoint, and ends with ids.
#[derive(Serialize, Deserialize)]
pub(super) struct StreamToken {
    positions: Vec<(u32, Position)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<Vec<u8>>,
    /// How many of the ids may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) doubtful: Option<usize>,
    #[serde(skip)]
    pub(super) ids: Vec<u8>,
}

impl StreamToken {
    pub(super) fn write(offset: u64, checkpoint: Checkpoint, seen: Option<&Seen>) -> Position {
        let (doubtful, ids) = seen.map(Seen::write).map_or((None, Vec::new()), |(count, ids)| (Some(count), ids));
        let token = Self { positions: checkpoint.positions, extra: checkpoint.extra, doubtful, ids };
        let json = serde_json::to_vec(&token).unwrap_or_default();
        let bytes = match doubtful {
            None => json,
            Some(_) => {
                let length = u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes();
                [&[0], length.as_slice(), &json, &token.ids].concat()
            }
        };
        Position { offset, token: Some(bytes) }
    }

    pub(super) fn read(position: &Position) -> Result<Self, spout_plugin::Error> {
        let bytes = position.token.as_deref().unwrap_or_default();
        let cut = || {
            let (length, rest) = bytes.strip_prefix(&[0])?.split_first_chunk()?;
            rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        };
        let (json, ids) = cut().unwrap_or((bytes, &[]));
        let token = serde_json::from_slice(json).map_err(|error| spout_plugin::Error::token(&error.to_string()))?;
        Ok(Self { ids: ids.to_vec(), ..token })
    }

    fn checkpoint(self) -> Checkpoint {
        Checkpoint { positions: self.positions, extra: self.extra }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::DedupeSpec, *};

    #[test]
    fn a_token_has_the_checkpoint_and_what_was_seen() {
        let checkpoint =
            || Checkpoint { positions: vec![(1, Position { offset: 2, token: None })], extra: Some(vec![0, 9]) };
        let plain = StreamToken::write(7, checkpoint(), None);
        let mut seen = Seen::new(DedupeSpec::default());
        let mut messages = Messages { offsets: vec![5, 6], ..Messages::default() };
        ["a", "b"].iter().for_each(|value| messages.values.push(value.as_bytes()));
        assert_eq!(seen.take(messages.clone(), 7).len(), 2);
        let full = StreamToken::write(9, checkpoint(), Some(&seen));
        for (position, known) in [(&plain, 2), (&full, 0)] {
            assert_eq!(StreamToken::read(position).unwrap().checkpoint(), checkpoint());
            assert_eq!(Seen::read(DedupeSpec::default(), position).take(messages.clone(), 9).len(), known);
        }
        for broken in [&b""[..], b"\0", b"\0\xff\xff\xff\xff{}", b"\0\x02\0\0\0{", b"[]"] {
            let position = Position { offset: 0, token: Some(broken.to_vec()) };
            assert!(StreamToken::read(&position).is_err(), "{broken:?}");
            assert_eq!(Seen::read(DedupeSpec::default(), &position).take(messages.clone(), 0).len(), 2);
        }
    }

    #[test]
    fn who_has_nothing_again_and_again_is_asked_less_often() {
        let mut lull = Lull::default();
        let mut pauses = |empty: &[bool], took: Duration| -> Vec<u128> {
            let pause = |&empty: &bool| {
                lull.heard(empty, took);
                lull.pause.as_millis()
            };
            empty.iter().map(pause).collect()
        };
        assert_eq!(pauses(&[true; 8], Duration::ZERO), [0; 8]);
        assert_eq!(pauses(&[true; 9], Duration::ZERO), [2, 4, 8, 16, 32, 64, 128, 250, 250]);
        assert_eq!(pauses(&[true], Duration::from_millis(240)), [10], "what the source waited counts");
        assert_eq!(pauses(&[true], Duration::from_secs(1)), [0]);
        assert_eq!(pauses(&[false, true], Duration::ZERO), [0, 0]);
    }
}
