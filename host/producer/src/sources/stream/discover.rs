//! Reads a stream through a plugin: which partitions its topic has, and where those start that no commit has seen.
//!
//! Once partitions are read, the plugin is asked for others by a task: whatever it does in that call, commits and a stop go on.

use std::{collections::BTreeMap, future::pending, time::Duration};

use async_trait::async_trait;
use spout_base::{
    clock::{self, Instant},
    error::chain,
    owner,
    panicked::go_on,
};
use spout_data::{Marker, PartitionId, Position};
use spout_plugin::{Backoff, Criteria, Provider, Task};
use tokio::task::JoinHandle;

use super::{ConsumerType, Start, StreamSpec, partitions::PartitionFetcher, whole::StreamFetcher};
use crate::{Error, Fetcher, Found, Goal, Producer, ProducerTraits, Standings};

/// Crashes in a row after which a source is given up, as in a fetch.
const CRASHES: u32 = 3;

/// What stands in settings for the number of the reader that they are for, where several read one stream.
const READER: &str = "{reader}";

/// Reads a stream through a plugin.
#[derive(Debug)]
pub(super) struct StreamProducer {
    spec: StreamSpec,
    task: Task,
    standings: Standings,
    looking: Looking,
}

/// What was found by whoever was asked.
type Asked = (Box<Lister>, Result<Vec<Found>, Error>);

/// What looks for partitions.
#[derive(Debug)]
enum Looking {
    /// Nothing is asked now.
    Rests(Box<Lister>),
    /// It is being asked.
    Asks(JoinHandle<Asked>),
    /// Its task is gone, with the runtime or by a panic that went on where it was waited for.
    Gone,
}

/// Asks the plugin for partitions.
#[derive(Debug)]
struct Lister {
    spec: StreamSpec,
    provider: Provider,
    seen: BTreeMap<u32, String>,
    standings: Standings,
    backoff: Backoff,
    crashes: u32,
    /// After trouble: when it is asked again.
    again: Option<Instant>,
}

impl StreamProducer {
    /// Reads the topic of `spec`.
    pub(super) fn new(spec: StreamSpec, task: Task, standings: Standings) -> Self {
        let provider = Provider::new(task.clone(), &spec.topic);
        let (seen, backoff) = (BTreeMap::new(), Backoff::default());
        let own = (spec.clone(), standings.clone());
        let lister = Lister { spec, provider, seen, standings, backoff, crashes: 0, again: None };
        Self { spec: own.0, task, standings: own.1, looking: Looking::Rests(Box::new(lister)) }
    }

    /// What asks, once it rests, and what it has found since it was last waited for.
    async fn lister(&mut self) -> Result<(&mut Lister, Vec<Found>), Error> {
        let found = match &mut self.looking {
            Looking::Asks(_) => self.looked().await?,
            Looking::Rests(_) | Looking::Gone => Vec::new(),
        };
        match &mut self.looking {
            Looking::Rests(lister) => Ok((lister, found)),
            Looking::Asks(_) | Looking::Gone => pending().await,
        }
    }
}

impl Drop for StreamProducer {
    fn drop(&mut self) {
        if let Looking::Asks(task) = &self.looking {
            task.abort();
        }
    }
}

impl Lister {
    /// The partition that the whole stream counts as when it is read at once.
    const STREAM: u32 = 0;

    async fn discover_now(&mut self, marker: &Marker, initial: bool) -> Result<Vec<Found>, Error> {
        if self.spec.consumer_type != ConsumerType::Lowlevel {
            return Ok(self.whole_stream(marker));
        }
        let timeout = self.spec.fetch.timeout.0.max(std::time::Duration::from_secs(1));
        let told = self.provider.partitions(marker, timeout).await;
        let told = told.map_err(|source| self.failed("listing partitions", None, source))?;
        let (mut found, mut seen) = (Vec::new(), self.seen.clone());
        for info in told {
            // Of many, others have their turn meanwhile.
            tokio::task::consume_budget().await;
            match seen.get(&info.id) {
                Some(label) if *label == info.label => continue,
                Some(label) => return Err(self.ambiguous(info.id, label, &info.label)),
                None => {}
            }
            let entry = marker.partitions.get(&info.id.into());
            if let Some(entry) = entry.filter(|entry| !entry.label.is_empty() && entry.label != info.label) {
                return Err(self.ambiguous(info.id, &entry.label, &info.label));
            }
            let start = match entry {
                Some(entry) => entry.position.clone(),
                None if initial => self.resolve(info.id, &self.spec.start.clone()).await?,
                None => self.resolve(info.id, &Start::Earliest).await?,
            };
            let committed = entry.map(|entry| entry.position.offset);
            seen.insert(info.id, info.label.clone());
            let passing = entry.map(|entry| entry.passing.clone()).unwrap_or_default();
            found.push(Found { partition: info.id.into(), label: info.label, start, committed, passing });
        }
        // Only now: what one of them fails at is asked for again with the others.
        self.seen = seen;
        Ok(found)
    }

    /// The same, and what goes wrong there is tried again as a fetch is: once partitions are read, it does not end that.
    async fn discover(&mut self, marker: &Marker, initial: bool) -> Result<Vec<Found>, Error> {
        if self.again.is_some_and(|again| clock::now() < again) {
            return Ok(Vec::new());
        }
        loop {
            let error = match self.discover_now(marker, initial).await {
                Ok(found) => {
                    (self.crashes, self.again) = (0, None);
                    self.standings.source_answers();
                    return Ok(found);
                }
                Err(error) => error,
            };
            let Some(pause) = self.pause(&error) else { return Err(error) };
            self.standings.source_fails(&error, pause);
            tracing::warn!(
                plugin = self.spec.plugin,
                topic = self.spec.topic,
                ?pause,
                error = chain(&error),
                "cannot ask for partitions; retrying"
            );
            if !self.seen.is_empty() {
                self.again = Some(clock::now() + pause);
                return Ok(Vec::new());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// How long to wait after `error` before the source is asked again; `None` if that does not help. Before anything is read, what
    /// passes by itself is left to the pipeline, which starts again.
    fn pause(&mut self, error: &Error) -> Option<Duration> {
        let Error::Stream { source, .. } = error else { return None };
        match &**source {
            spout_plugin::Error::Retriable { retry_after, .. } if !self.seen.is_empty() => {
                self.crashes = 0;
                Some(retry_after.unwrap_or_else(|| self.backoff.delay()))
            }
            crash if crash.is_crash() && self.crashes + 1 < CRASHES => {
                self.crashes += 1;
                Some(self.backoff.delay())
            }
            _ => None,
        }
    }

    /// Where each partition would go on at `goal`.
    async fn sought(&mut self, marker: &Marker, goal: Goal) -> Result<Vec<Found>, Error> {
        if self.spec.consumer_type == ConsumerType::Acked {
            return Err(Error::Unseekable { why: "it forgets messages once they are acknowledged".into() });
        }
        if self.spec.consumer_type == ConsumerType::Highlevel {
            let found = Found::only(marker, "stream");
            return match goal {
                Goal::Earliest => Ok(vec![Found { start: Position::default(), ..found }]),
                Goal::Latest | Goal::Offset(_) => Err(Error::Unseekable {
                    why: "a stream that is read as a whole (consumerType: highlevel) can be moved to earliest only"
                        .into(),
                }),
            };
        }
        let mut all = self.discover_now(marker, false).await?;
        for found in &mut all {
            let number = found.partition.number;
            let start = match goal {
                Goal::Earliest => Start::Earliest,
                Goal::Latest => Start::Latest,
                Goal::Offset(offset) => Start::Offset(BTreeMap::from([(number, offset)])),
            };
            found.start = self.resolve(number, &start).await?;
        }
        Ok(all)
    }

    /// The whole stream as one partition, or its readers, each as one.
    fn whole_stream(&mut self, marker: &Marker) -> Vec<Found> {
        if self.seen.insert(Self::STREAM, "stream".into()).is_some() {
            return Vec::new();
        }
        let reader = |number: u32| {
            let entry = marker.partitions.get(&number.into());
            Found {
                partition: number.into(),
                label: if number == Self::STREAM { "stream".to_owned() } else { format!("stream {number}") },
                start: entry.map(|entry| entry.position.clone()).unwrap_or_default(),
                committed: entry.map(|entry| entry.position.offset),
                passing: Vec::new(),
            }
        };
        (0..self.spec.consumers()).map(reader).collect()
    }

    async fn resolve(&mut self, partition: u32, start: &Start) -> Result<Position, Error> {
        let criteria = match start {
            Start::Earliest => Criteria::Earliest,
            Start::Latest => Criteria::Latest,
            Start::Time(time) => Criteria::AtTimeMs(u64::try_from(time.as_millisecond()).unwrap_or(0)),
            Start::Ago(age) => {
                let now = u64::try_from(clock::wall_ms()).unwrap_or(0);
                Criteria::AtTimeMs(now.saturating_sub(u64::try_from(age.0.as_millis()).unwrap_or(u64::MAX)))
            }
            Start::Offset(offsets) => offsets.get(&partition).map_or(Criteria::Earliest, |&at| Criteria::AtOffset(at)),
        };
        let timeout = self.spec.fetch.timeout.0.max(std::time::Duration::from_secs(1));
        let resolved = self.provider.resolve(partition, criteria, timeout).await;
        resolved.map_err(|source| self.failed("finding the start", Some((partition, 0)), source))?.ok_or_else(|| {
            Error::Start {
                plugin: self.spec.plugin.clone(),
                topic: self.spec.topic.clone(),
                partition,
                start: serde_json::to_string(start).unwrap_or_default(),
            }
        })
    }

    fn ambiguous(&self, partition: u32, first: &str, second: &str) -> Error {
        Error::Ambiguous {
            plugin: self.spec.plugin.clone(),
            topic: self.spec.topic.clone(),
            partition,
            first: first.to_owned(),
            second: second.to_owned(),
        }
    }

    fn failed(&self, doing: &'static str, partition: Option<(u32, u64)>, source: spout_plugin::Error) -> Error {
        Error::Stream {
            plugin: self.spec.plugin.clone(),
            topic: self.spec.topic.clone(),
            partition,
            doing,
            source: Box::new(source),
        }
    }
}

#[async_trait]
impl Producer for StreamProducer {
    fn traits(&self) -> ProducerTraits {
        let discover_every = self.spec.discover_every.0.max(Duration::from_millis(10));
        let readers = (self.spec.consumer_type == ConsumerType::Lowlevel).then(|| self.spec.readers());
        ProducerTraits { discover_every, drains: false, finite: false, heirs: readers.is_some(), readers, beside: true }
    }

    async fn partitions(&mut self, marker: &Marker, initial: bool) -> Result<Vec<Found>, Error> {
        let (lister, mut found) = self.lister().await?;
        found.extend(lister.discover(marker, initial).await?);
        Ok(found)
    }

    fn look(&mut self, marker: &Marker) -> bool {
        match std::mem::replace(&mut self.looking, Looking::Gone) {
            Looking::Rests(mut lister) => {
                let marker = marker.clone();
                self.looking = Looking::Asks(owner::spawn(async move {
                    let found = lister.discover(&marker, false).await;
                    (lister, found)
                }));
                true
            }
            looking => {
                self.looking = looking;
                false
            }
        }
    }

    async fn looked(&mut self) -> Result<Vec<Found>, Error> {
        let Looking::Asks(task) = &mut self.looking else { return pending().await };
        let ended = task.await;
        self.looking = Looking::Gone;
        match ended {
            Ok((lister, found)) => {
                self.looking = Looking::Rests(lister);
                found
            }
            Err(ended) => {
                go_on::<()>(Err(ended));
                pending().await
            }
        }
    }

    async fn seek(&mut self, marker: &Marker, goal: Goal) -> Result<Vec<Found>, Error> {
        let (lister, _) = self.lister().await?;
        lister.sought(marker, goal).await
    }

    fn consumers(&self, _partition: PartitionId) -> Option<u32> {
        (self.spec.consumer_type == ConsumerType::Acked).then(|| self.spec.consumers())
    }

    fn fetcher(&mut self, found: Found) -> Box<dyn Fetcher> {
        let (spec, mut task) = (self.spec.clone(), self.task.clone());
        if spec.consumer_type == ConsumerType::Acked {
            let number = found.partition.number.to_string();
            task.settings.iter_mut().for_each(|(_, setting)| *setting = setting.replace(READER, &number));
        }
        match spec.consumer_type {
            ConsumerType::Lowlevel => Box::new(PartitionFetcher::new(spec, task, self.standings.clone(), found)),
            ConsumerType::Highlevel | ConsumerType::Acked => {
                Box::new(StreamFetcher::new(spec, task, self.standings.clone(), found))
            }
        }
    }
}
