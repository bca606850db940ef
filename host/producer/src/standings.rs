//! How each partition stands while a pipeline runs, for whoever looks at it: how far it was fetched, what the source has, and what
//! is in the way.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use spout_base::{
    clock,
    error::{Coded, chain},
};
use spout_data::{PartitionId, Position};
use spout_plugin::Progress;

use super::{Fetched, Found};

/// How each partition of a running pipeline stands. Clones share it; nothing is decided by it.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    all: Arc<Mutex<All>>,
    /// The producer whose partitions are meant by a number alone.
    producer: u16,
}

#[derive(Debug, Default)]
struct All {
    partitions: BTreeMap<PartitionId, Standing>,
    /// What is in the way of a source as a whole, by producer.
    sources: BTreeMap<u16, Trouble>,
    /// Partitions about which another process does not know the latest.
    changed: BTreeSet<PartitionId>,
}

/// How one partition stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its producer, where there are several.
    pub producer: String,
    /// The source's name for it.
    pub label: String,
    /// The lane that reads it.
    pub reader: u32,
    /// The offset that the last commit ends at; none before the first.
    pub committed: Option<u64>,
    /// The offset that follows what was fetched.
    pub fetched: u64,
    /// The offset that follows what the source has, where it says so.
    pub end: Option<u64>,
    /// When the newest message that was fetched was made, where it says so, in milliseconds since 1970.
    pub newest_ms: Option<i64>,
    /// What the source said last; nothing before its first answer.
    pub progress: Option<Progress>,
    /// What is in the way of it.
    pub trouble: Option<Trouble>,
}

/// How a partition stands in another process, which reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The partition.
    pub partition: PartitionId,
    /// The offset that follows what was fetched.
    pub fetched: u64,
    /// The offset that follows what the source has, where it says so.
    pub end: Option<u64>,
    /// When the newest message that was fetched was made, where it says so, in milliseconds since 1970.
    pub newest_ms: Option<i64>,
    /// What the source said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What is in the way of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// Something that failed and is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What, with its causes.
    pub error: String,
    /// Its code.
    pub code: Cow<'static, str>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it is tried again.
    pub again_ms: i64,
}

impl Standing {
    /// Offsets between what was fetched and what the source has.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        self.end.map(|end| end.saturating_sub(self.fetched))
    }

    /// How old the newest message is that was fetched, where the source has more; nothing is behind where it has none.
    #[must_use]
    pub fn time_lag_ms(&self, now_ms: i64) -> Option<u64> {
        match (self.lag()?, self.newest_ms) {
            (0, _) => Some(0),
            (_, newest) => Some(u64::try_from(now_ms.saturating_sub(newest?)).unwrap_or(0)),
        }
    }

    /// Whether nothing is to be read of it for now.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.trouble.is_none()
            && matches!(self.progress, Some(Progress::Idle | Progress::Ended))
            && self.lag().is_none_or(|lag| lag == 0)
    }
}

impl Trouble {
    /// What `error` keeps from being done until `pause` is over; `before` is what was in the way until now.
    fn new(error: &dyn Coded, pause: Duration, before: Option<&Self>) -> Self {
        let now = clock::wall_ms();
        let again_ms = now.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        let since_ms = before.map_or(now, |before| before.since_ms);
        Self { error: chain(error), code: error.code().into(), since_ms, again_ms }
    }
}

impl Standings {
    /// The same for the partitions of one producer, by the number that commits know it by.
    #[must_use]
    pub fn of_producer(&self, producer: u16) -> Self {
        Self { all: Arc::clone(&self.all), producer }
    }

    /// All partitions, as of now.
    #[must_use]
    pub fn partitions(&self) -> BTreeMap<PartitionId, Standing> {
        self.with(|all| all.partitions.clone())
    }

    /// What each answers to `look`, without a copy of all.
    pub fn each<T>(&self, look: impl FnMut((&PartitionId, &Standing)) -> T) -> Vec<T> {
        self.with(|all| all.partitions.iter().map(look).collect())
    }

    /// What is in the way: of a source as a whole, or else of a partition.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.with(|all| {
            let partitions = all.partitions.values().filter_map(|standing| standing.trouble.as_ref());
            all.sources.values().chain(partitions).next().cloned()
        })
    }

    /// Offsets between what was fetched and what the sources have, over all partitions; `None` if one does not say so.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        // A source may say what it likes.
        let add = |sum: u64, one: &Standing| Some(sum.saturating_add(one.lag()?));
        self.with(|all| if all.partitions.is_empty() { None } else { all.partitions.values().try_fold(0, add) })
    }

    /// A run begins: nothing is known yet.
    pub fn begin(&self) {
        self.with(|all| *all = All::default());
    }

    /// A partition of `producer`, where there are several, is read from now on, by `reader`.
    pub fn open(&self, found: &Found, producer: &str, reader: u32) {
        let Found { label, start, committed, .. } = found;
        let standing = Standing {
            producer: producer.to_owned(),
            label: label.clone(),
            reader,
            committed: *committed,
            fetched: start.offset,
            ..Standing::default()
        };
        self.with(|all| {
            all.changed.insert(found.partition);
            all.partitions.insert(found.partition, standing);
        });
    }

    /// A partition was asked.
    pub fn fetched(&self, fetched: &Fetched) {
        let newest = fetched.messages.len().checked_sub(1).and_then(|last| fetched.messages.timestamp_ms(last));
        self.change(fetched.span.partition, |standing| {
            standing.fetched = fetched.span.next.offset;
            standing.end = fetched.high_watermark;
            standing.newest_ms = newest.or(standing.newest_ms);
            standing.progress = Some(fetched.progress);
            standing.trouble = None;
        });
    }

    /// How each partition stands that has changed since this was asked last, to be told to another process.
    #[must_use]
    pub fn told(&self) -> Vec<Elsewhere> {
        self.with(|All { partitions, changed, .. }| {
            let told = std::mem::take(changed).into_iter().filter_map(|partition| {
                let standing = partitions.get(&partition)?;
                let Standing { fetched, end, newest_ms, progress, .. } = *standing;
                Some(Elsewhere { partition, fetched, end, newest_ms, progress, trouble: standing.trouble.clone() })
            });
            told.collect()
        })
    }

    /// How partitions stand in another process.
    pub fn heard(&self, told: Vec<Elsewhere>) {
        self.with(|all| {
            for Elsewhere { partition, fetched, end, newest_ms, progress, trouble } in told {
                if let Some(standing) = all.partitions.get_mut(&partition) {
                    (standing.fetched, standing.end, standing.newest_ms) = (fetched, end, newest_ms);
                    (standing.progress, standing.trouble) = (progress, trouble);
                }
            }
        });
    }

    /// A partition has ended, and what comes after it is known: it has nothing more.
    pub fn ended(&self, partition: PartitionId) {
        self.change(partition, |standing| standing.end = Some(standing.fetched));
    }

    /// A commit ends at these positions.
    pub fn committed(&self, upto: &BTreeMap<PartitionId, Position>) {
        self.with(|all| {
            for (partition, position) in upto {
                if let Some(standing) = all.partitions.get_mut(partition) {
                    standing.committed = Some(position.offset);
                }
            }
        });
    }

    /// Partitions of this producer cannot be fetched, and are tried again after `pause`.
    pub(crate) fn put_off(&self, numbers: &[u32], error: &dyn Coded, pause: Duration) {
        for &number in numbers {
            self.change(PartitionId { producer: self.producer, number }, |standing| {
                standing.trouble = Some(Trouble::new(error, pause, standing.trouble.as_ref()));
            });
        }
    }

    /// A partition of this producer answers again, though it has nothing.
    pub(crate) fn answers(&self, number: u32) {
        self.change(PartitionId { producer: self.producer, number }, |standing| standing.trouble = None);
    }

    /// The source of this producer cannot be asked for its partitions, and is tried again after `pause`.
    pub(crate) fn source_fails(&self, error: &dyn Coded, pause: Duration) {
        self.with(|all| {
            let trouble = Trouble::new(error, pause, all.sources.get(&self.producer));
            all.sources.insert(self.producer, trouble);
        });
    }

    /// The source of this producer answers again.
    pub(crate) fn source_answers(&self) {
        self.with(|all| all.sources.remove(&self.producer));
    }

    fn change(&self, partition: PartitionId, change: impl FnOnce(&mut Standing)) {
        self.with(|all| {
            all.changed.insert(partition);
            change(all.partitions.entry(partition).or_default());
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut All) -> T) -> T {
        // What is under the lock is sound at every moment.
        act(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use spout_data::{Blobs, Messages, Span};

    use super::*;

    fn fetched(next: u64, end: Option<u64>, made_ms: &[i64]) -> Fetched {
        let mut messages = Messages { timestamps_ms: made_ms.to_vec(), ..Messages::default() };
        let mut values = Blobs::default();
        made_ms.iter().for_each(|_| values.push(b"x"));
        messages.values = values;
        let span = Span { partition: 3.into(), start: 0, next: Position::at(next) };
        Fetched { high_watermark: end, ..Fetched::new(messages, span, Progress::Idle) }
    }

    fn lags(standings: &Standings, now_ms: i64) -> (Option<u64>, Option<u64>) {
        let standing = &standings.partitions()[&3.into()];
        (standing.lag(), standing.time_lag_ms(now_ms))
    }

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let standings = Standings::default();
        assert_eq!(standings.lag(), None, "no partition");
        let found = Found {
            partition: 3.into(),
            label: "c".into(),
            start: Position::at(7),
            committed: Some(7),
            passing: Vec::new(),
        };
        standings.open(&found, "", 1);
        assert_eq!(standings.lag(), None, "nobody was asked");
        standings.fetched(&fetched(9, None, &[]));
        assert_eq!(lags(&standings, 5000), (None, None));
        standings.fetched(&fetched(9, Some(12), &[]));
        assert_eq!(lags(&standings, 5000), (Some(3), None), "no message said when it was made");
        standings.fetched(&fetched(10, Some(12), &[1000, 4000]));
        assert_eq!((lags(&standings, 5000), standings.lag()), ((Some(2), Some(1000)), Some(2)));
        standings.fetched(&fetched(12, Some(12), &[]));
        assert_eq!(lags(&standings, 9000), (Some(0), Some(0)), "nothing is behind, however old the last one is");
        assert!(standings.partitions()[&3.into()].is_at_rest());
        let huge = |partition: u32| {
            let span = Span { partition: partition.into(), start: 0, next: Position::at(0) };
            Fetched { high_watermark: Some(u64::MAX), ..Fetched::new(Messages::default(), span, Progress::More) }
        };
        [4, 5].iter().for_each(|partition| standings.fetched(&huge(*partition)));
        assert_eq!(standings.lag(), Some(u64::MAX), "more than there is room for");
        standings.committed(&BTreeMap::from([(3.into(), Position::at(12))]));
        assert_eq!(standings.partitions()[&3.into()].committed, Some(12));
        let leader = Standings::default();
        leader.open(&found, "", 1);
        standings.of_producer(0).put_off(&[3], &spout_plugin::Error::Closed, Duration::from_secs(1));
        leader.heard(standings.told());
        let told = leader.partitions();
        assert_eq!((told.len(), lags(&leader, 9000)), (1, (Some(0), Some(0))), "of others it reads none");
        let (here, there) = (&standings.partitions()[&3.into()], &told[&3.into()]);
        assert_eq!((&here.progress, &here.trouble), (&there.progress, &there.trouble));
        assert!(there.progress.is_some() && there.trouble.is_some());
        assert!(standings.told().is_empty(), "what was told is not told again");
        standings.of_producer(0).answers(3);
        let told = standings.told();
        assert!(told.len() == 1 && told[0].trouble.is_none(), "{told:?}");
    }

    #[test]
    fn trouble_stays_since_it_began_until_there_is_an_answer() {
        let (all, error) = (Standings::default(), spout_plugin::Error::Closed);
        let one = all.of_producer(1);
        one.source_fails(&error, Duration::from_secs(1));
        let first = all.trouble().unwrap();
        assert!(first.again_ms >= first.since_ms + 1000, "{first:?}");
        one.source_fails(&error, Duration::from_secs(9));
        let second = all.trouble().unwrap();
        assert!(second.since_ms == first.since_ms && second.again_ms > first.again_ms, "{second:?}");
        one.source_answers();
        one.put_off(&[4], &error, Duration::ZERO);
        assert!(all.partitions()[&PartitionId { producer: 1, number: 4 }].trouble.is_some());
        one.answers(4);
        assert_eq!(all.trouble(), None);
    }
}
