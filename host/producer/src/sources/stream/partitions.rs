//! Brings the messages of many partitions through one instance of a plugin, each from its own position.
//!
//! Partitions that have something are asked in turn. One that has nothing is asked again after a pause that grows; where
//! nobody has anything and one call can ask all, the plugin waits for them together and answers at once when something came.
//! A crash is pinned down by asking the partitions of the call apart.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use async_trait::async_trait;
use spout_base::{
    clock::{self, Instant},
    error::chain,
};
use spout_data::{Messages, PartitionId, Passing, Position, Span};
use spout_plugin::{Backoff, FetchLimits, FetchedPartition, PartitionConsumer, Progress, Task};

use super::{
    StreamSpec,
    out_of_range::{self, Lost},
};
use crate::{Error, Fetched, Fetcher, Found, Standings};

/// Crashes in a row after which a partition is given up.
const CRASHES: u32 = 3;
/// Most partitions of one call.
const MOST: usize = 256;
/// Into how many calls the partitions of one that crashed are split.
const SPLIT: usize = 16;

/// Pause before a partition that had nothing is asked again: doubled from the first to the last, or to what keeps the share
/// of time spent asking small.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(250);
/// And where asking takes long, at most this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// All readers together ask partitions that have nothing for one in so many parts of a core's time.
const SHARE: u32 = 40;

/// Fetches the partitions of one reader.
#[derive(Debug)]
pub(super) struct PartitionFetcher {
    spec: StreamSpec,
    consumer: PartitionConsumer,
    /// Where it says what is in the way.
    standings: Standings,
    partitions: BTreeMap<u32, Partition>,
    /// To be asked next.
    queue: VecDeque<u32>,
    /// To be asked again then.
    later: BTreeSet<(Instant, u32)>,
    /// Partitions of calls that crashed, to be asked apart from others.
    suspects: Vec<Vec<u32>>,
    ready: VecDeque<Fetched>,
    /// What asking one partition that has nothing takes.
    look: Duration,
    /// How many readers there are, this one included.
    readers: u32,
}

#[derive(Debug)]
struct Partition {
    label: String,
    position: Position,
    /// What is passed over where it is reached.
    passing: Vec<Passing>,
    /// The last pause because it had nothing.
    pause: Duration,
    /// It had nothing, and yet there is more: it does not know yet where that is.
    undecided: bool,
    backoff: Backoff,
    crashes: u32,
}

impl Partition {
    /// How many messages there can be before the next ones that are passed over.
    fn before_what_passes(&self) -> Option<u32> {
        let next = self.passing.iter().map(|one| one.from).filter(|from| *from > self.position.offset).min()?;
        Some(u32::try_from(next - self.position.offset).unwrap_or(u32::MAX))
    }

    /// Where it goes on if not at `next`, because what is there is passed over.
    fn behind_what_passes(&mut self, next: Position) -> Position {
        let mut next = next;
        while let Some(one) = self.passing.iter().find(|one| one.has(next.offset)) {
            tracing::info!(
                label = self.label,
                from = next.offset,
                to = one.to.offset,
                "passing over offsets, as was asked for"
            );
            next = one.to.clone();
        }
        self.passing.retain(|one| one.to.offset > next.offset);
        next
    }
}

#[async_trait]
impl Fetcher for PartitionFetcher {
    fn add(&mut self, found: Found) {
        let Found { partition, label, start, passing, .. } = found;
        let (pause, backoff) = (Duration::ZERO, Backoff::default());
        let new = Partition { label, position: start, passing, pause, undecided: false, backoff, crashes: 0 };
        self.partitions.insert(partition.number, new);
        self.queue.push_back(partition.number);
    }

    async fn ready(&mut self) {
        if self.ready.is_empty() && self.queue.is_empty() && self.suspects.is_empty() && !self.waits_together() {
            match self.later.first() {
                Some((at, _)) => tokio::time::sleep_until(*at).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn fetch(&mut self, most: u32) -> Result<Fetched, Error> {
        loop {
            if let Some(fetched) = self.ready.pop_front() {
                return Ok(fetched);
            }
            match self.turn() {
                (wanted, _) if wanted.is_empty() => self.ready().await,
                (wanted, timeout) => self.ask(wanted, most, timeout).await?,
            }
        }
    }

    fn passes_on(&self) -> bool {
        true
    }

    /// What goes wrong here is logged, no more.
    async fn committed(&mut self, upto: &BTreeMap<PartitionId, Position>) {
        let upto: Vec<_> = upto.iter().map(|(partition, position)| (partition.number, position.clone())).collect();
        for upto in upto.chunks(MOST) {
            if let Err(error) = self.consumer.committed(upto.to_vec()).await {
                let partitions = upto.len();
                tracing::warn!(
                    plugin = self.spec.plugin,
                    partitions,
                    error = chain(&error),
                    "cannot notify the source of a finished commit"
                );
            }
        }
    }
}

impl PartitionFetcher {
    /// A fetcher of `first`, and of those that are added to it.
    #[must_use]
    pub(super) fn new(spec: StreamSpec, task: Task, standings: Standings, first: Found) -> Self {
        let (consumer, readers) = (PartitionConsumer::new(task, &spec.topic), spec.readers());
        let mut fetcher = Self {
            spec,
            consumer,
            standings,
            partitions: BTreeMap::new(),
            queue: VecDeque::new(),
            later: BTreeSet::new(),
            suspects: Vec::new(),
            ready: VecDeque::new(),
            look: Duration::ZERO,
            readers,
        };
        fetcher.add(first);
        fetcher
    }

    /// Whether the plugin waits for all partitions that have nothing: one call can ask them, and none of them failed.
    fn waits_together(&self) -> bool {
        let idle = |(_, id): &(Instant, u32)| {
            self.partitions.get(id).is_some_and(|one| !one.pause.is_zero() && !one.undecided)
        };
        !self.later.is_empty() && self.later.len() <= MOST && self.later.iter().all(idle)
    }

    /// The partitions to ask now, and how long they may wait together.
    fn turn(&mut self) -> (Vec<u32>, Duration) {
        if let Some(wanted) = self.suspects.pop() {
            let timeout = if wanted.len() == 1 { self.spec.fetch.timeout.0 } else { Duration::ZERO };
            return (wanted, timeout);
        }
        let now = clock::now();
        while let Some((_, partition)) = self.later.first().copied().filter(|(at, _)| *at <= now) {
            self.later.pop_first();
            self.queue.push_back(partition);
        }
        if self.queue.is_empty() && self.waits_together() {
            let wanted = std::mem::take(&mut self.later).into_iter().map(|(_, partition)| partition).collect();
            return (wanted, self.spec.fetch.timeout.0);
        }
        let alone = self.queue.len() <= MOST && self.later.is_empty();
        let wanted = self.queue.drain(..self.queue.len().min(MOST)).collect();
        (wanted, if alone { self.spec.fetch.timeout.0 } else { Duration::ZERO })
    }

    async fn ask(&mut self, wanted: Vec<u32>, most: u32, timeout: Duration) -> Result<(), Error> {
        // What is passed over may be what the source crashes over: nothing is asked for that is behind its first offset.
        let before = wanted.iter().filter_map(|id| self.partitions.get(id)?.before_what_passes()).min();
        let limits = FetchLimits {
            messages: self.spec.fetch.messages.min(most).min(before.unwrap_or(u32::MAX)),
            bytes: u32::try_from(self.spec.fetch.bytes.0).unwrap_or(u32::MAX),
            timeout,
        };
        let place = |id: &u32| Some((*id, self.partitions.get(id)?.position.clone()));
        let places: Vec<_> = wanted.iter().filter_map(place).collect();
        let begun = clock::now();
        let answers = match self.consumer.fetch(places, limits).await {
            Ok(answers) => answers,
            Err(error) => return self.missed(wanted, error).await,
        };
        let mut left_out: BTreeSet<u32> = wanted.iter().copied().collect();
        let mut any = false;
        for (partition, answer) in answers {
            left_out.remove(&partition);
            any |= match answer {
                Ok(fetched) => self.take(partition, fetched),
                Err(spout_plugin::Error::OutOfRange { range, .. }) => {
                    self.reenter(partition, range.map(|range| *range))?
                }
                Err(error) => self.put_off(partition, error)?,
            };
        }
        if any {
            // They were left out because the limits were reached: their turn is next.
            wanted.iter().rev().filter(|id| left_out.contains(id)).for_each(|id| self.queue.push_front(*id));
        } else {
            if timeout.is_zero() {
                self.look =
                    (clock::now().duration_since(begun) / u32::try_from(wanted.len()).unwrap_or(1)).max(self.look / 2);
            }
            left_out.into_iter().for_each(|id| {
                self.standings.answers(id);
                self.idle(id);
            });
        }
        Ok(())
    }

    /// Takes what `partition` answered; whether it had something.
    fn take(&mut self, partition: u32, fetched: FetchedPartition) -> bool {
        let FetchedPartition { messages, next, high_watermark, progress } = fetched;
        let Some(known) = self.partitions.get_mut(&partition) else { return false };
        known.crashes = 0;
        let messages = messages.without(&known.passing);
        let next = known.behind_what_passes(next);
        let start = std::mem::replace(&mut known.position, next.clone());
        let replaced = next.token != start.token;
        let span = Span { partition: partition.into(), start: start.offset, next };
        let fetched = Fetched { high_watermark, replaced, ..Fetched::new(messages, span, progress) };
        let any = fetched.moves() || progress == Progress::Ended;
        known.undecided = !any && progress == Progress::More;
        match progress {
            Progress::Ended => drop(self.partitions.remove(&partition)),
            Progress::More | Progress::Idle if !any => self.idle(partition),
            Progress::More | Progress::Idle => {
                known.pause = Duration::ZERO;
                self.queue.push_back(partition);
            }
        }
        self.ready.push_back(fetched);
        any
    }

    /// `partition` has nothing: it is asked again after a pause.
    fn idle(&mut self, partition: u32) {
        let all = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        let looking = self.look.saturating_mul(all).saturating_mul(SHARE).saturating_mul(self.readers);
        let last = looking.clamp(LAST_PAUSE, LONGEST_PAUSE);
        let Some(known) = self.partitions.get_mut(&partition) else { return };
        known.pause = (known.pause * 2).clamp(FIRST_PAUSE, last);
        self.later.insert((clock::now() + known.pause, partition));
    }

    /// Asks `partition` again later, if its trouble can pass.
    fn put_off(&mut self, partition: u32, error: spout_plugin::Error) -> Result<bool, Error> {
        let spout_plugin::Error::Retriable { retry_after, .. } = &error else {
            return Err(self.failed(Some(partition), error));
        };
        let Some(known) = self.partitions.get_mut(&partition) else { return Ok(false) };
        let pause = retry_after.unwrap_or_else(|| known.backoff.delay());
        known.pause = Duration::ZERO;
        let offset = known.position.offset;
        self.standings.put_off(&[partition], &error, pause);
        tracing::warn!(
            plugin = self.spec.plugin,
            partition,
            offset,
            ?pause,
            error = chain(&error),
            "fetch failed; retrying"
        );
        self.later.insert((clock::now() + pause, partition));
        Ok(false)
    }

    /// A call failed as a whole: trouble that passes is waited out, and a crash is looked for.
    async fn missed(&mut self, wanted: Vec<u32>, error: spout_plugin::Error) -> Result<(), Error> {
        match (&error, wanted.as_slice()) {
            (spout_plugin::Error::OutOfRange { range, .. }, &[partition]) => {
                let range = range.as_deref().cloned();
                self.reenter(partition, range).map(drop)
            }
            (spout_plugin::Error::Retriable { retry_after, .. }, [first, ..]) => {
                let Some(known) = self.partitions.get_mut(first) else { return Ok(()) };
                let pause = retry_after.unwrap_or_else(|| known.backoff.delay());
                let partitions = wanted.len();
                self.standings.put_off(&wanted, &error, pause);
                tracing::warn!(
                    plugin = self.spec.plugin,
                    partitions,
                    ?pause,
                    error = chain(&error),
                    "fetch failed; retrying"
                );
                self.queue.extend(wanted);
                tokio::time::sleep(pause).await;
                Ok(())
            }
            (crash, &[partition]) if crash.is_crash() => {
                let Some(known) = self.partitions.get_mut(&partition) else { return Ok(()) };
                known.crashes += 1;
                if known.crashes >= CRASHES {
                    return Err(self.failed(Some(partition), error));
                }
                let (pause, offset) = (known.backoff.delay(), known.position.offset);
                self.standings.put_off(&wanted, &error, pause);
                tracing::warn!(
                    plugin = self.spec.plugin,
                    partition,
                    offset,
                    ?pause,
                    error = chain(&error),
                    "fetch failed; retrying"
                );
                self.suspects.push(wanted);
                tokio::time::sleep(pause).await;
                Ok(())
            }
            (crash, _) if crash.is_crash() => {
                let partitions = wanted.len();
                tracing::warn!(
                    plugin = self.spec.plugin,
                    partitions,
                    error = chain(&error),
                    "fetch failed; retrying its partitions one by one"
                );
                self.suspects.extend(wanted.chunks(partitions.div_ceil(SPLIT)).map(<[u32]>::to_vec));
                Ok(())
            }
            (_, &[partition]) => Err(self.failed(Some(partition), error)),
            _ => Err(self.failed(None, error)),
        }
    }

    /// The source no longer has the offset of `partition`: stops, or goes on where the spec says.
    fn reenter(&mut self, partition: u32, range: Option<(Position, Position)>) -> Result<bool, Error> {
        let Some(known) = self.partitions.get_mut(&partition) else { return Ok(false) };
        let lost = Lost { partition, label: &known.label, offset: known.position.offset };
        let to = out_of_range::enter(&self.spec, lost, range)?;
        let span = Span { partition: partition.into(), start: to.offset, next: to.clone() };
        let jump = Some(to.offset);
        known.position = to;
        self.queue.push_back(partition);
        self.ready.push_back(Fetched { jump, ..Fetched::new(Messages::default(), span, Progress::More) });
        Ok(true)
    }

    fn failed(&self, partition: Option<u32>, source: spout_plugin::Error) -> Error {
        Error::Stream {
            plugin: self.spec.plugin.clone(),
            topic: self.spec.topic.clone(),
            partition: partition.and_then(|id| Some((id, self.partitions.get(&id)?.position.offset))),
            doing: "fetching",
            source: Box::new(source),
        }
    }
}
