//! Brings the messages of one partition, or of a whole stream, and refuses a source that does not move forward.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{ConsumerType, Error, Fetched, Fetcher, Found, OutOfRange, Start, StreamSpec};
use crate::{
    data::{Messages, PartitionId, Position, Span},
    plugin::{self, Backoff, Checkpoint, FetchLimits, PartitionConsumer, Progress, StreamConsumer, StreamStart, Task},
};

/// Crashes in a row after which a source is given up.
const CRASHES: u32 = 3;

/// Fetches one partition.
#[derive(Debug)]
pub(super) struct StreamFetcher {
    spec: StreamSpec,
    task: Task,
    found: Found,
    position: Position,
    client: Option<Client>,
    backoff: Backoff,
    crashes: u32,
}

#[derive(Debug)]
enum Client {
    Partition(Box<PartitionConsumer>),
    Stream(Box<StreamConsumer>),
}

#[async_trait]
impl Fetcher for StreamFetcher {
    async fn fetch(&mut self, most: u32) -> Result<Fetched, Error> {
        loop {
            match self.attempt(most).await {
                Ok(fetched) => {
                    self.crashes = 0;
                    self.position = fetched.span.next.clone();
                    return Ok(fetched);
                }
                Err(plugin::Error::OutOfRange { range, .. }) => return self.reenter(range.map(|range| *range)).await,
                Err(error) => self.wait_out(error).await?,
            }
        }
    }

    /// What goes wrong here is logged, no more.
    async fn committed(&mut self, upto: &Position) {
        let told = match &mut self.client {
            Some(Client::Partition(consumer)) => consumer.committed(upto).await,
            Some(Client::Stream(consumer)) => match StreamToken::read(upto) {
                Ok(checkpoint) => consumer.committed(&checkpoint).await,
                Err(_) => Ok(()),
            },
            None => Ok(()),
        };
        if let Err(error) = told {
            tracing::warn!(plugin = self.spec.plugin, partition = self.found.partition, %error, "the source did not take the hint that a commit was finished");
        }
    }
}

impl StreamFetcher {
    /// A fetcher that starts where `found` says.
    #[must_use]
    pub(super) fn new(spec: StreamSpec, task: Task, found: Found) -> Self {
        let position = found.start.clone();
        Self { spec, task, found, position, client: None, backoff: Backoff::default(), crashes: 0 }
    }

    async fn attempt(&mut self, most: u32) -> Result<Fetched, plugin::Error> {
        let limits = FetchLimits {
            messages: self.spec.fetch.messages.min(most),
            bytes: u32::try_from(self.spec.fetch.bytes.0).unwrap_or(u32::MAX),
            timeout: self.spec.fetch.timeout.0,
        };
        let partition = self.found.partition;
        let start = self.position.clone();
        match self.client().await? {
            Client::Partition(consumer) => {
                let fetched = consumer.fetch(&start, &limits).await?;
                let span = Span { partition, start: start.offset, next: fetched.next };
                let (high_watermark, replaced) = (fetched.high_watermark, span.next.token != start.token);
                Ok(Fetched { high_watermark, replaced, ..Fetched::new(fetched.messages, span, fetched.progress) })
            }
            Client::Stream(consumer) => {
                let (messages, progress) = consumer.next(&limits).await?;
                let next = if messages.is_empty() {
                    start.clone()
                } else {
                    StreamToken::write(start.offset + messages.len() as u64, &consumer.checkpoint().await?)
                };
                let span = Span { partition, start: start.offset, next };
                Ok(Fetched::new(messages, span, progress))
            }
        }
    }

    async fn client(&mut self) -> Result<&mut Client, plugin::Error> {
        if self.client.is_none() {
            let task = self.task.clone();
            self.client = Some(match self.spec.consumer_type {
                ConsumerType::Lowlevel => {
                    let consumer = PartitionConsumer::open(task, &self.spec.topic, self.found.partition).await?;
                    Client::Partition(Box::new(consumer))
                }
                ConsumerType::Highlevel => {
                    let group = self.task.pipeline.clone();
                    Client::Stream(Box::new(
                        StreamConsumer::open(task, &self.spec.topic, &group, self.stream_start()?).await?,
                    ))
                }
            });
        }
        self.client.as_mut().ok_or(plugin::Error::Closed)
    }

    fn stream_start(&self) -> Result<StreamStart, plugin::Error> {
        if self.position.token.is_some() {
            return StreamToken::read(&self.position).map(StreamStart::Checkpoint);
        }
        Ok(match self.spec.start {
            Start::Latest => StreamStart::Latest,
            _ => StreamStart::Earliest,
        })
    }

    /// Waits before another try, or gives up.
    async fn wait_out(&mut self, error: plugin::Error) -> Result<(), Error> {
        let pause = match &error {
            plugin::Error::Retriable { retry_after, .. } => {
                self.crashes = 0;
                retry_after.unwrap_or_else(|| self.backoff.delay())
            }
            crash if crash.is_crash() && self.crashes + 1 < CRASHES => {
                self.crashes += 1;
                // The stream-level consumer goes on from the checkpoint of what it has handed over.
                self.client = None;
                self.backoff.delay()
            }
            _ => return Err(self.failed("fetching", error)),
        };
        let partition = self.found.partition;
        tracing::warn!(plugin = self.spec.plugin, partition, offset = self.position.offset, ?pause, %error, "fetching failed; trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The source no longer has our offset: stops, or goes on where the spec says.
    async fn reenter(&mut self, range: Option<(Position, Position)>) -> Result<Fetched, Error> {
        let (partition, offset) = (self.found.partition, self.position.offset);
        let (earliest, latest) = range.unwrap_or_default();
        let to = match self.spec.on_out_of_range {
            OutOfRange::Earliest => earliest,
            OutOfRange::Latest => latest,
            OutOfRange::Fail => {
                return Err(Error::OutOfRange {
                    plugin: self.spec.plugin.clone(),
                    topic: self.spec.topic.clone(),
                    partition,
                    label: self.found.label.clone(),
                    offset,
                    earliest: earliest.offset,
                    latest: latest.offset,
                });
            }
        };
        tracing::warn!(
            plugin = self.spec.plugin,
            partition,
            label = self.found.label,
            offset,
            to = to.offset,
            "the source no longer has the offset of the last commit; going on where onOutOfRange says"
        );
        let span = Span { partition, start: to.offset, next: to.clone() };
        let jump = Some(to.offset);
        self.position = to;
        Ok(Fetched { jump, ..Fetched::new(Messages::default(), span, Progress::More) })
    }

    fn failed(&self, doing: &'static str, source: plugin::Error) -> Error {
        Error::Stream {
            plugin: self.spec.plugin.clone(),
            topic: self.spec.topic.clone(),
            partition: Some((self.found.partition, self.position.offset)),
            doing,
            source: Box::new(source),
        }
    }
}

/// A stream-level checkpoint as the token of a position: the offset counts messages, the token says where to go on.
#[derive(Serialize, Deserialize)]
struct StreamToken {
    positions: Vec<(PartitionId, Position)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<Vec<u8>>,
}

impl StreamToken {
    fn write(offset: u64, checkpoint: &Checkpoint) -> Position {
        let token = Self { positions: checkpoint.positions.clone(), extra: checkpoint.extra.clone() };
        Position { offset, token: Some(serde_json::to_vec(&token).unwrap_or_default()) }
    }

    fn read(position: &Position) -> Result<Checkpoint, plugin::Error> {
        let token: Self = serde_json::from_slice(position.token.as_deref().unwrap_or_default())
            .map_err(|error| plugin::Error::token(&error.to_string()))?;
        Ok(Checkpoint { positions: token.positions, extra: token.extra })
    }
}
