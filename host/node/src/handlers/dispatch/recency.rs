//! Which groups are idle: by event time where there is one, by use otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use spout_data::Period;

use crate::{Source, Watermarks, time::nanoseconds};

/// A group, by the order of its values.
pub(super) type Key = Box<[u8]>;

/// When each group was last seen, and which have to go.
///
/// A group's rank is the newest event time of its rows in nanoseconds, or a count of all rows where there is no event time.
/// What goes is decided before each row from the rows before it, so that batches do not matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Recency {
    /// Nanoseconds after which a group is idle.
    after: Option<i64>,
    /// How many groups are kept.
    keep: Option<usize>,
    ranks: BTreeMap<Key, i64>,
    order: BTreeSet<(i64, Key)>,
    progress: Progress,
}

/// How far the rows of all groups have come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Of each source, in event time.
    pub(super) marks: Watermarks,
    /// The newest time or count so far.
    latest: i64,
}

impl Recency {
    pub(super) fn new(after: Option<Period>, keep: Option<usize>) -> Self {
        Self { after: after.map(nanoseconds), keep, ..Self::default() }
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(super) fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    /// Rows may be out of order by `lateness`; said before the first one.
    pub(super) fn allow(&mut self, lateness: Period) {
        if self.progress == Progress::default() {
            self.progress.marks = Watermarks::new(lateness);
        }
    }

    /// Goes on with what a snapshot says.
    pub(super) fn resume(&mut self, progress: Progress) {
        self.progress = progress;
    }

    /// The rank of a group; what its snapshot says of it.
    pub(super) fn rank(&self, key: &[u8]) -> i64 {
        self.ranks.get(key).copied().unwrap_or(self.progress.latest)
    }

    /// The group was last seen at `rank`.
    pub(super) fn set(&mut self, key: &[u8], rank: i64) {
        if let Some(before) = self.ranks.insert(key.into(), rank) {
            self.order.remove(&(before, key.into()));
        }
        self.order.insert((rank, key.into()));
    }

    /// The groups that go before a row of the group `key` with the event time `time` is taken, in the order of their ranks.
    pub(super) fn gone_before(&mut self, key: &[u8], time: Option<i64>) -> Vec<Key> {
        let mut gone = Vec::new();
        if let Some(after) = self.after {
            let reached = self.progress.marks.advance();
            while let Some((rank, idle)) = self.order.first()
                && reached.is_some_and(|reached| rank.saturating_add(after) < reached)
            {
                let idle = idle.clone();
                self.forget(&idle);
                gone.push(idle);
            }
            // The group itself, if nothing of it came for so long.
            if let (Some(&rank), Some(time)) = (self.ranks.get(key), time)
                && rank.saturating_add(after) < time
            {
                self.forget(key);
                gone.push(key.into());
            }
        }
        if let Some(keep) = self.keep
            && !self.ranks.contains_key(key)
        {
            while self.ranks.len() >= keep.max(1)
                && let Some((_, oldest)) = self.order.first().cloned()
            {
                self.forget(&oldest);
                gone.push(oldest);
            }
        }
        gone
    }

    /// Takes a row of the group `key`.
    pub(super) fn took(&mut self, key: &[u8], from: Source, time: Option<i64>) {
        if let Some(time) = time {
            self.progress.marks.passed(from, &[time]);
            self.progress.latest = self.progress.latest.max(time);
        }
        self.seen(key, time);
    }

    /// The same where there is no event time at all.
    pub(super) fn counted(&mut self, key: &[u8]) {
        self.progress.latest += 1;
        self.seen(key, Some(self.progress.latest));
    }

    /// Whether no group ever goes.
    pub(super) fn stays(&self) -> bool {
        self.after.is_none() && self.keep.is_none()
    }

    /// A row of the group `key` is the one of that number, from one, of those that [`Recency::count`] will count.
    pub(super) fn counted_as(&mut self, key: &[u8], number: i64) {
        self.seen(key, Some(self.progress.latest + number));
    }

    /// So many rows were taken.
    pub(super) fn count(&mut self, rows: usize) {
        self.progress.latest += rows as i64;
    }

    fn seen(&mut self, key: &[u8], rank: Option<i64>) {
        let rank = match (self.ranks.get(key), rank) {
            (Some(&before), Some(rank)) => rank.max(before),
            (Some(_), None) => return,
            (None, rank) => rank.unwrap_or(self.progress.latest),
        };
        self.set(key, rank);
    }

    fn forget(&mut self, key: &[u8]) {
        if let Some(rank) = self.ranks.remove(key) {
            self.order.remove(&(rank, key.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use spout_data::PartitionId;

    const A: Source = Source::Partition(PartitionId::numbered(0));

    #[test]
    fn groups_go_when_time_has_passed_them() {
        let mut recency = Recency::new(Some(Period(Duration::from_nanos(50))), None);
        let mut take = |key: &[u8], time: i64| {
            let gone: Vec<u8> = recency.gone_before(key, Some(time)).iter().map(|key| key[0]).collect();
            recency.took(key, A, Some(time));
            String::from_utf8(gone).unwrap()
        };
        assert_eq!(take(b"a", 0), "");
        assert_eq!(take(b"b", 40), "");
        assert_eq!(take(b"b", 60), "");
        assert_eq!(take(b"c", 61), "a", "60 has passed 0 + 50");
        assert_eq!(take(b"c", 300), "c", "nothing of it came for longer than 50");
        assert_eq!(take(b"a", 300), "b");
    }

    #[test]
    fn the_one_used_longest_ago_makes_room() {
        let mut recency = Recency::new(None, Some(2));
        let mut take = |key: &[u8]| {
            let gone: Vec<u8> = recency.gone_before(key, None).iter().map(|key| key[0]).collect();
            recency.counted(key);
            String::from_utf8(gone).unwrap()
        };
        let gone: Vec<String> = [b"a", b"b", b"a", b"c", b"a", b"b"].map(|key| take(key)).into();
        assert_eq!(gone, ["", "", "", "b", "", "c"]);
    }
}
