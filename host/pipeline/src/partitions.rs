//! What each partition last said of itself, counted, so that a step costs the same however many there are.

use std::collections::{BTreeMap, BTreeSet};

use spout_base::clock::Instant;
use spout_data::PartitionId;

/// What a partition last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has something, or has not said yet.
    Reading,
    /// Since when it has nothing, while we were waiting for it, unless the handlers were told.
    Idle(Option<Instant>),
    /// It has nothing ever again.
    Ended,
    /// It has given all that its producer had taken when that was told to stop.
    Drained,
}

/// All partitions.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    all: BTreeMap<PartitionId, Standing>,
    reading: usize,
    ended: usize,
    drained: usize,
    /// Those that are idle, and the handlers do not know.
    waiting: BTreeSet<(Instant, PartitionId)>,
    /// Those that are idle, and yet somebody is there who may send.
    expecting: BTreeSet<PartitionId>,
}

impl Partitions {
    /// What `partition` says now.
    pub(super) fn set(&mut self, partition: PartitionId, standing: Standing) {
        if let Some(before) = self.all.insert(partition, standing) {
            match before {
                Standing::Reading => self.reading -= 1,
                Standing::Ended => self.ended -= 1,
                Standing::Drained => self.drained -= 1,
                Standing::Idle(Some(since)) => drop(self.waiting.remove(&(since, partition))),
                Standing::Idle(None) => {}
            }
        }
        match standing {
            Standing::Reading => self.reading += 1,
            Standing::Ended => self.ended += 1,
            Standing::Drained => self.drained += 1,
            Standing::Idle(Some(since)) => drop(self.waiting.insert((since, partition))),
            Standing::Idle(None) => {}
        }
    }

    /// `partition` has nothing at `now`; and whether somebody is there who may send.
    pub(super) fn idle(&mut self, partition: PartitionId, expects: bool, now: Instant) {
        self.expect(partition, expects);
        if !matches!(self.all.get(&partition), Some(Standing::Idle(_))) {
            self.set(partition, Standing::Idle(Some(now)));
        }
    }

    /// Nothing ever comes of `partition` again.
    pub(super) fn end(&mut self, partition: PartitionId) {
        self.expect(partition, false);
        self.set(partition, Standing::Ended);
    }

    fn expect(&mut self, partition: PartitionId, expects: bool) {
        if expects {
            self.expecting.insert(partition);
        } else {
            self.expecting.remove(&partition);
        }
    }

    /// Since when the first of those is idle that the handlers do not know of.
    pub(super) fn first_idle(&self) -> Option<Instant> {
        self.waiting.first().map(|(since, _)| *since)
    }

    /// The partitions that are idle since `until` or longer, by number; from now on the handlers know.
    pub(super) fn quiet(&mut self, until: Instant) -> Vec<PartitionId> {
        let mut quiet = Vec::new();
        while let Some((_, partition)) = self.waiting.first().copied().filter(|(since, _)| *since <= until) {
            self.set(partition, Standing::Idle(None));
            quiet.push(partition);
        }
        quiet.sort_unstable();
        quiet
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether no other partition than this one has something, or has not said yet.
    pub(super) fn reads_none_but(&self, partition: PartitionId) -> bool {
        self.reading == usize::from(self.all.get(&partition) == Some(&Standing::Reading))
    }

    /// Whether nothing comes of any, ever.
    pub(super) fn are_over(&self) -> bool {
        self.ended == self.all.len()
    }

    /// Whether all have given what their producer had taken.
    pub(super) fn are_drained(&self) -> bool {
        self.ended + self.drained == self.all.len()
    }

    /// Whether none has anything for now, and nobody is there who may send.
    pub(super) fn are_idle(&self) -> bool {
        self.reading == 0 && self.expecting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;
    use spout_base::clock;

    #[test]
    fn what_is_counted_is_what_there_is() {
        let (start, mut dice) = (clock::now(), StdRng::seed_from_u64(9));
        let mut partitions = Partitions::default();
        for step in 0..10_000 {
            let (partition, now) = (dice.random_range(0..8), start + Duration::from_millis(step));
            match dice.random_range(0..12) {
                0..4 => partitions.set(partition.into(), Standing::Reading),
                4..8 => partitions.idle(partition.into(), dice.random(), now),
                8 => partitions.set(partition.into(), Standing::Drained),
                9..11 => partitions.end(partition.into()),
                _ => {
                    let until = start + Duration::from_millis(step.saturating_sub(5));
                    let since = |id: &PartitionId| match partitions.all[id] {
                        Standing::Idle(since) => since.filter(|since| *since <= until),
                        _ => None,
                    };
                    let expected: Vec<_> = partitions.all.keys().copied().filter(|id| since(id).is_some()).collect();
                    assert_eq!(partitions.quiet(until), expected);
                }
            }
            let all = |wanted: fn(&Standing) -> bool| partitions.all.values().all(wanted);
            assert_eq!(partitions.are_over(), all(|one| *one == Standing::Ended));
            assert_eq!(partitions.are_drained(), all(|one| matches!(one, Standing::Ended | Standing::Drained)));
            let idle = all(|one| *one != Standing::Reading) && partitions.expecting.is_empty();
            assert_eq!(partitions.are_idle(), idle);
            let reads = |id: &PartitionId| partitions.all.get(id) == Some(&Standing::Reading);
            let others = partitions.all.keys().any(|id| *id != partition.into() && reads(id));
            assert_eq!(partitions.reads_none_but(partition.into()), !others);
            let since = |one: &Standing| if let Standing::Idle(since) = one { *since } else { None };
            assert_eq!(partitions.first_idle(), partitions.all.values().filter_map(since).min());
        }
    }
}
