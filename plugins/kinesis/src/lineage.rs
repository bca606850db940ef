//! Which shards are read: those whose parents were read to their end.
//!
//! When a shard is split, or two are merged, records of a key go on in another shard. Only after the last record of the parents do
//! those of a child come, or a key's messages were out of order. Whether the parents' were read is in the commits: their position says
//! so.

use std::collections::BTreeMap;

use spout_guest::{Known, Partition, Result};

use crate::{api::Shard, place::Place};

/// The shards of a stream, and where those were left that commits have seen.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    shards: BTreeMap<String, Shard>,
    places: BTreeMap<String, Place>,
}

/// The number in `shardId-000000000012`, or one that is made of the name.
pub(crate) fn partition(shard: &str, ended: bool) -> Partition {
    let number = shard.strip_prefix("shardId-").and_then(|number| number.parse().ok());
    let named = Partition::named(shard);
    Partition { id: number.unwrap_or(named.id), ended, ..named }
}

impl Lineage {
    pub(crate) fn new(shards: Vec<Shard>, known: &[Known]) -> Result<Self> {
        let mut places = BTreeMap::new();
        for one in known {
            places.insert(
                one.label.clone(),
                Place::parse(&one.position)?.unwrap_or_else(|| Place::oldest(one.position.offset)),
            );
        }
        Ok(Self { shards: shards.into_iter().map(|shard| (shard.shard_id.clone(), shard)).collect(), places })
    }

    fn ended(&self, shard: &str) -> bool {
        self.places.get(shard).is_some_and(|place| place.ended)
    }

    /// The shards to read now.
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        // A parent that is not there any more and was never seen had its time.
        let waits_for = |parent: &str| {
            (self.shards.contains_key(parent) || self.places.contains_key(parent)) && !self.ended(parent)
        };
        let ready = |shard: &&Shard| !shard.parents().any(waits_for);
        let there = self.shards.values().filter(ready).map(|shard| partition(&shard.shard_id, shard.is_closed()));
        // One that is gone before it was read to its end: its reader has to say so.
        let gone = |shard: &&String| !self.shards.contains_key(*shard) && !self.ended(shard);
        there.chain(self.places.keys().filter(gone).map(|shard| partition(shard, true))).collect()
    }

    /// Where a shard begins that nobody has read: at its oldest record, or at the time at which reading of its parents began, since what
    /// is older was not wanted.
    pub(crate) fn beginning(&self, partition_id: u32) -> Place {
        let shard = self.shards.values().find(|shard| partition(&shard.shard_id, false).id == partition_id);
        let parents = shard.into_iter().flat_map(Shard::parents).filter_map(|parent| self.places.get(parent));
        let from = parents.map(|parent| parent.from).min().flatten();
        from.map_or_else(Place::default, |ms| Place::since(0, ms))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn shard(id: u32, parents: &[u32], closed: bool) -> serde_json::Value {
        let name = |id: &u32| format!("shardId-{id:012}");
        serde_json::json!({
            "ShardId": name(&id),
            "ParentShardId": parents.first().map(name),
            "AdjacentParentShardId": parents.get(1).map(name),
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string()},
            "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": closed.then_some("9")},
        })
    }

    fn lineage(shards: &[(u32, &[u32])], known: &[(u32, Place)]) -> Lineage {
        let shards = shards.iter().map(|(id, parents)| serde_json::from_value(shard(*id, parents, false)).unwrap());
        let known = known.iter().map(|(id, place)| Known {
            id: *id,
            label: format!("shardId-{id:012}"),
            position: place.position(),
        });
        Lineage::new(shards.collect(), &known.collect::<Vec<_>>()).unwrap()
    }

    fn read(shards: &[(u32, &[u32])], known: &[(u32, Place)]) -> Vec<u32> {
        let mut ids: Vec<u32> = lineage(shards, known).partitions().into_iter().map(|one| one.id).collect();
        ids.sort_unstable();
        ids
    }

    fn ended(from: Option<u64>) -> Place {
        Place { offset: 1, from, ended: true, ..Place::default() }
    }

    #[test]
    fn children_come_after_their_parents() {
        // 0 was split into 2 and 3; 3 and 1 were merged into 4.
        let all: &[(u32, &[u32])] = &[(0, &[]), (1, &[]), (2, &[0]), (3, &[0]), (4, &[3, 1])];
        let open = || Place::oldest(5);
        let end = || ended(None);
        assert_eq!(read(all, &[]), [0, 1]);
        assert_eq!(read(all, &[(0, open()), (1, end())]), [0, 1]);
        assert_eq!(read(all, &[(0, end()), (1, open())]), [0, 1, 2, 3]);
        assert_eq!(read(all, &[(0, end()), (1, open()), (3, end())]), [0, 1, 2, 3]);
        assert_eq!(read(all, &[(0, end()), (1, end()), (3, end())]), [0, 1, 2, 3, 4]);
        // The service forgets shards a day after they were closed.
        let later: &[(u32, &[u32])] = &[(2, &[0]), (4, &[3, 1])];
        assert_eq!(read(later, &[]), [2, 4]);
        assert_eq!(read(later, &[(0, end()), (1, end()), (3, end())]), [2, 4]);
        // One that was not read to its end is lost, which is to be said, and its children wait for that.
        assert_eq!(read(later, &[(0, end()), (1, open()), (3, end())]), [1, 2]);
    }

    #[test]
    fn children_begin_where_reading_of_their_parents_began() {
        let all: &[(u32, &[u32])] = &[(0, &[]), (1, &[]), (2, &[0, 1])];
        let begins = |known: &[(u32, Place)]| lineage(all, known).beginning(2).from;
        assert_eq!(begins(&[]), None);
        assert_eq!(begins(&[(0, ended(Some(7))), (1, ended(Some(5)))]), Some(5));
        assert_eq!(begins(&[(0, ended(Some(7))), (1, ended(None))]), None);
        assert_eq!(begins(&[(0, ended(Some(7)))]), Some(7));
    }

    #[test]
    fn shards_keep_their_numbers() {
        assert_eq!(
            partition("shardId-000000000012", true),
            Partition { id: 12, label: "shardId-000000000012".into(), ended: true }
        );
        assert_eq!(partition("shardId-99999999999", false).id, Partition::named("shardId-99999999999").id);
        assert_eq!(partition("other", false), Partition::named("other"));
    }
}
