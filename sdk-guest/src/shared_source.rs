//! A source whose partitions share a reader, and how sources with a reader each do that too.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Criteria, Fetched, Known, Limits, Partition, Position, Progress, Reader, Result, Source, now, pause};

/// A source read by partition, several of them by one [`SharedReader`]: over one connection, or in one pass.
///
/// Every [`Source`] is one: its partitions are then asked in turn.
pub trait SharedSource: Sized + 'static {
    /// The spec's `settings`.
    type Settings: DeserializeOwned + JsonSchema;
    /// Reads any number of partitions.
    type Reader: SharedReader;

    /// As [`Source::open`].
    ///
    /// # Errors
    /// As there.
    fn open(topic: &str, settings: Self::Settings) -> Result<Self>;

    /// As [`Source::partitions`].
    ///
    /// # Errors
    /// As there.
    fn partitions(&mut self, known: &[Known], timeout: Duration) -> Result<Vec<Partition>>;

    /// As [`Source::resolve`].
    ///
    /// # Errors
    /// As there.
    fn resolve(&mut self, partition: u32, at: Criteria, timeout: Duration) -> Result<Option<Position>>;

    /// Reads from now on.
    ///
    /// # Errors
    /// It cannot be read.
    fn into_reader(self) -> Result<Self::Reader>;
}

/// What one partition answered to a fetch.
pub type Answered = (u32, Result<Fetched>);

/// Reads partitions.
pub trait SharedReader: 'static {
    /// The messages of each wanted partition from its position on. `limits` are for all of them together; wait only where
    /// none has anything. A partition may be left out: it is asked for again. Any position ever returned may be requested
    /// again, and must return the same messages.
    ///
    /// # Errors
    /// An error of one partition is its answer; an error of the whole call concerns them all.
    fn fetch(&mut self, wanted: &[(u32, Position)], limits: Limits) -> Result<Vec<Answered>>;

    /// Everything before these positions is durable in a commit. A hint: it may come late, twice or never.
    ///
    /// # Errors
    /// Errors are only logged.
    fn committed(&mut self, upto: &[(u32, Position)]) -> Result<()> {
        let _ = upto;
        Ok(())
    }
}

/// Time between two looks at partitions that have nothing: it doubles from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));
/// The share of its time that a reader spends looking at partitions that have nothing is one in so many.
const SHARE: u32 = 25;

/// How long to wait before partitions that had nothing are looked at again: longer each time, longer where looking takes
/// long, and short again once something came.
#[derive(Debug, Default)]
pub struct Pauses {
    last: Duration,
}

impl Pauses {
    /// Something came.
    pub fn reset(&mut self) {
        self.last = Duration::ZERO;
    }

    /// Nothing came, and it took `looking` to see that.
    pub fn next(&mut self, looking: Duration) -> Duration {
        self.last = (self.last * 2).clamp(PAUSES.0, PAUSES.1).max(looking * SHARE);
        self.last
    }

    /// Calls `look` until it says that something came, or `timeout` is over.
    ///
    /// # Errors
    /// Those of `look`.
    pub fn wait(&mut self, timeout: Duration, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
        let begun = now();
        loop {
            let looked = now();
            if look()? {
                self.reset();
                return Ok(());
            }
            let wait = self.next(since(looked));
            let left = timeout.saturating_sub(since(begun));
            if left.is_zero() || !pause(wait.min(left)) {
                return Ok(());
            }
        }
    }
}

fn since(begun: Instant) -> Duration {
    now().saturating_duration_since(begun)
}

impl<S: Source> SharedSource for S {
    type Settings = S::Settings;
    type Reader = Each<S>;

    fn open(topic: &str, settings: Self::Settings) -> Result<Self> {
        S::open(topic, settings)
    }

    fn partitions(&mut self, known: &[Known], timeout: Duration) -> Result<Vec<Partition>> {
        Source::partitions(self, known, timeout)
    }

    fn resolve(&mut self, partition: u32, at: Criteria, timeout: Duration) -> Result<Option<Position>> {
        Source::resolve(self, partition, at, timeout)
    }

    fn into_reader(self) -> Result<Each<S>> {
        Ok(Each { source: self, readers: BTreeMap::new(), pauses: Pauses::default() })
    }
}

/// The readers of a [`Source`], asked in turn.
#[derive(Debug)]
pub struct Each<S: Source> {
    source: S,
    readers: BTreeMap<u32, S::Reader>,
    pauses: Pauses,
}

impl<S: Source> Each<S> {
    fn one(&mut self, partition: u32, start: &Position, limits: Limits) -> Result<Fetched> {
        let reader = match self.readers.entry(partition) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(self.source.read(partition)?),
        };
        reader.fetch(start.clone(), limits)
    }

    /// One look at each, without waiting; whether any has something to say.
    fn look(&mut self, wanted: &[(u32, Position)], limits: Limits, answers: &mut Vec<Answered>) -> bool {
        answers.clear();
        let (mut left, mut any) = (Limits { timeout: Duration::ZERO, ..limits }, false);
        for (partition, start) in wanted {
            if left.messages == 0 || left.bytes == 0 {
                break;
            }
            let fetched = self.one(*partition, start, left);
            if let Ok(fetched) = &fetched {
                left.messages = left.messages.saturating_sub(fetched.messages.len());
                left.bytes = left.bytes.saturating_sub(fetched.messages.bytes());
            }
            any |= fetched.as_ref().map_or(true, |one| one.progress != Progress::Idle || one.next != *start);
            answers.push((*partition, fetched));
        }
        any
    }
}

impl<S: Source> SharedReader for Each<S> {
    fn fetch(&mut self, wanted: &[(u32, Position)], limits: Limits) -> Result<Vec<Answered>> {
        // One alone may know better how to wait.
        if let [(partition, start)] = wanted {
            return Ok(vec![(*partition, self.one(*partition, start, limits))]);
        }
        let (mut answers, mut pauses) = (Vec::with_capacity(wanted.len()), std::mem::take(&mut self.pauses));
        let waited = pauses.wait(limits.timeout, || Ok(self.look(wanted, limits, &mut answers)));
        self.pauses = pauses;
        waited.map(|()| answers)
    }

    fn committed(&mut self, upto: &[(u32, Position)]) -> Result<()> {
        let mut first = Ok(());
        for (partition, position) in upto {
            if let Some(reader) = self.readers.get_mut(partition) {
                first = first.and(reader.committed(position.clone()));
            }
        }
        first
    }
}
