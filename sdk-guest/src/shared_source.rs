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
    /// The messages of each wanted partition from its position on. `limits` are for all of them together; wait only if
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

/// Time between two looks at partitions that have nothing; it doubles from the first value to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(250));
/// A reader spends at most this fraction of its time, one in `SHARE`, looking at partitions that have nothing.
const SHARE: u32 = 25;

/// How long to wait before looking again at partitions that had nothing: longer each time, longer if looking takes long, and
/// short again once something came.
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
    fn reader(&mut self, partition: u32) -> Result<&mut S::Reader> {
        match self.readers.entry(partition) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(self.source.read(partition)?)),
        }
    }

    fn one(&mut self, partition: u32, start: &Position, limits: Limits) -> Result<Fetched> {
        self.reader(partition)?.fetch(start.clone(), limits)
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
            // Of the last commit before a stop an instance may be told that has read nothing yet.
            let told = self.reader(*partition).and_then(|reader| reader.committed(position.clone()));
            first = first.and(told);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Messages};

    /// Partitions of ten messages; 3 is bad, those from 8 on are empty. Counts how often each was opened.
    struct Ten(BTreeMap<u32, usize>);
    struct Reading(u32);

    impl Source for Ten {
        type Settings = ();
        type Reader = Reading;

        fn open(_: &str, (): ()) -> Result<Self> {
            Ok(Self(BTreeMap::new()))
        }

        fn partitions(&mut self, _: &[Known], _: Duration) -> Result<Vec<Partition>> {
            Ok(Vec::new())
        }

        fn read(&mut self, partition: u32) -> Result<Reading> {
            *self.0.entry(partition).or_default() += 1;
            Ok(Reading(partition))
        }
    }

    impl Reader for Reading {
        fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
            if self.0 == 3 {
                return Err(Error::fatal("bad", "never"));
            }
            let end = if self.0 < 8 { (start.offset + limits.messages as u64).min(10) } else { 0 };
            let mut messages = Messages::default();
            (start.offset..end).for_each(|offset| messages.push(offset, b"x"));
            let progress = if messages.is_empty() { Progress::Idle } else { Progress::More };
            Ok(Fetched { next: Position::at(start.offset.max(end)), messages, high_watermark: None, progress })
        }
    }

    fn wanted(partitions: std::ops::Range<u32>) -> Vec<(u32, Position)> {
        partitions.map(|partition| (partition, Position::at(0))).collect()
    }

    #[test]
    fn partitions_share_the_limits_and_each_has_its_own_answer() {
        let mut each = <Ten as SharedSource>::open("", ()).unwrap().into_reader().unwrap();
        let limits = Limits { messages: 25, bytes: 1 << 20, timeout: Duration::ZERO };
        let answers = each.fetch(&wanted(0..8), limits).unwrap();
        let counts: Vec<_> =
            answers.iter().map(|(id, one)| (*id, one.as_ref().map(|one| one.messages.len()).ok())).collect();
        assert_eq!(counts, [(0, Some(10)), (1, Some(10)), (2, Some(5))]);
        let answers = each.fetch(&wanted(2..5), limits).unwrap();
        assert_eq!(
            answers.iter().map(|(id, one)| (*id, one.is_ok())).collect::<Vec<_>>(),
            [(2, true), (3, false), (4, true)]
        );
        assert!(each.source.0.values().all(|&opened| opened == 1), "{:?}", each.source.0);
    }

    #[test]
    fn partitions_without_messages_are_waited_for_together() {
        let mut each = <Ten as SharedSource>::open("", ()).unwrap().into_reader().unwrap();
        let limits = Limits { messages: 5, bytes: 1 << 20, timeout: Duration::from_millis(30) };
        let begun = now();
        let answers = each.fetch(&wanted(8..12), limits).unwrap();
        assert!(begun.elapsed() >= limits.timeout);
        assert!(answers.iter().all(|(_, one)| one.as_ref().unwrap().progress == Progress::Idle) && answers.len() == 4);
        // One that has something is not kept waiting by the others.
        let answers = each.fetch(&wanted(7..12), Limits { timeout: Duration::from_secs(3600), ..limits }).unwrap();
        assert_eq!(answers[0].1.as_ref().unwrap().messages.len(), 5);
    }

    #[test]
    fn pauses_grow_and_are_short_again() {
        let mut pauses = Pauses::default();
        let short = Duration::from_micros(10);
        let grown: Vec<_> = (0..7).map(|_| pauses.next(short).as_millis()).collect();
        assert_eq!(grown, [2, 4, 8, 16, 32, 64, 128]);
        assert_eq!(pauses.next(Duration::from_millis(100)), Duration::from_millis(2500));
        pauses.reset();
        assert_eq!(pauses.next(short), PAUSES.0);
    }
}
