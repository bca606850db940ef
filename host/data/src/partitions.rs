//! Where every partition goes on, as a sorted map that is cheap to copy: a copy shares all that does not change.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{PartitionId, PartitionMarker};

/// Partitions in one run at most. A change copies one run, and the list of runs.
const MOST: usize = 64;

type Run = Vec<(PartitionId, PartitionMarker)>;

/// A sorted map of partitions whose copies share what they have in common.
#[derive(Clone, Default)]
pub struct Partitions {
    /// Ascending, none empty.
    runs: Arc<Vec<Arc<Run>>>,
}

impl Partitions {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Where `partition` goes on.
    #[must_use]
    pub fn get(&self, partition: &PartitionId) -> Option<&PartitionMarker> {
        let run = self.runs.get(self.run_of(*partition))?;
        let at = run.binary_search_by_key(partition, |(id, _)| *id).ok()?;
        run.get(at).map(|(_, entry)| entry)
    }

    /// Sets where `partition` goes on.
    pub fn insert(&mut self, partition: PartitionId, entry: PartitionMarker) {
        let at = self.run_of(partition);
        let runs = Arc::make_mut(&mut self.runs);
        let Some(run) = runs.get_mut(at).map(Arc::make_mut) else {
            return runs.push(Arc::new(vec![(partition, entry)]));
        };
        match run.binary_search_by_key(&partition, |(id, _)| *id) {
            Ok(there) => run[there].1 = entry,
            Err(place) => run.insert(place, (partition, entry)),
        }
        if run.len() > MOST {
            let rest = run.split_off(MOST / 2);
            runs.insert(at + 1, Arc::new(rest));
        }
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&PartitionId, &PartitionMarker)> {
        self.runs.iter().flat_map(|run| run.iter()).map(|(partition, entry)| (partition, entry))
    }

    /// Where each of them goes on, ascending.
    pub fn values(&self) -> impl Iterator<Item = &PartitionMarker> {
        self.iter().map(|(_, entry)| entry)
    }

    /// The run that has `partition`, or would have it.
    fn run_of(&self, partition: PartitionId) -> usize {
        let behind = self.runs.partition_point(|run| run.first().is_some_and(|(first, _)| *first <= partition));
        behind.saturating_sub(1)
    }
}

impl Extend<(PartitionId, PartitionMarker)> for Partitions {
    fn extend<I: IntoIterator<Item = (PartitionId, PartitionMarker)>>(&mut self, entries: I) {
        entries.into_iter().for_each(|(partition, entry)| self.insert(partition, entry));
    }
}

impl FromIterator<(PartitionId, PartitionMarker)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (PartitionId, PartitionMarker)>>(entries: I) -> Self {
        let mut partitions = Self::default();
        partitions.extend(entries);
        partitions
    }
}

/// Equal where the entries are, however they are divided into runs.
impl PartialEq for Partitions {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.runs, &other.runs) || self.iter().eq(other.iter())
    }
}

impl Eq for Partitions {}

impl fmt::Debug for Partitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Partitions {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Partitions {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<PartitionId, PartitionMarker>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Position, *};

    fn at(offset: u64) -> PartitionMarker {
        PartitionMarker {
            producer: String::new(),
            label: offset.to_string(),
            position: Position::at(offset),
            ended: false,
            passing: Vec::new(),
        }
    }

    fn same(partitions: &Partitions, model: &BTreeMap<PartitionId, PartitionMarker>) {
        assert!(partitions.iter().eq(model.iter()));
        assert_eq!((partitions.len(), partitions.is_empty()), (model.len(), model.is_empty()));
        assert!(partitions.runs.iter().all(|run| (1..=MOST).contains(&run.len())));
        let text = serde_json::to_string(partitions).unwrap();
        assert_eq!(text, serde_json::to_string(model).unwrap());
        assert_eq!(serde_json::from_str::<Partitions>(&text).unwrap(), *partitions);
    }

    proptest! {
        #[test]
        fn it_is_the_map_that_a_plain_one_is(puts in proptest::collection::vec((0..400u32, 0..9u64), 0..900), copied in 0..900usize) {
            let (mut partitions, mut model) = (Partitions::default(), BTreeMap::new());
            let mut copy = None;
            for (at_put, (partition, offset)) in puts.into_iter().enumerate() {
                if at_put == copied {
                    copy = Some((partitions.clone(), model.clone()));
                }
                partitions.insert(partition.into(), at(offset));
                model.insert(partition.into(), at(offset));
            }
            same(&partitions, &model);
            for partition in (0..401).map(PartitionId::from) {
                prop_assert_eq!(partitions.get(&partition), model.get(&partition));
            }
            if let Some((partitions, model)) = copy {
                same(&partitions, &model);
            }
        }
    }

    #[test]
    fn a_copy_shares_what_did_not_change() {
        let before: Partitions = (0..10_000).map(|partition| (PartitionId::from(partition), at(1))).collect();
        let mut after = before.clone();
        after.insert(5_000.into(), at(2));
        let shared = before.runs.iter().zip(after.runs.iter()).filter(|(before, after)| Arc::ptr_eq(before, after));
        assert_eq!(shared.count(), before.runs.len() - 1);
        assert_eq!(before.get(&5_000.into()), Some(&at(1)));
    }
}
