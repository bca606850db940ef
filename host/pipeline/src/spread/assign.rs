//! Which member reads which partition: evenly, and moved as little as possible.

use std::collections::{BTreeMap, BTreeSet};

use spout_data::PartitionId;

use super::Member;

/// What each partition is read by, from now on, where `before` is who has read it. A member gets no more than one partition more than
/// any other; what has to move is what is too many where it is, the highest numbers first. Empty where there is no member.
pub(super) fn assign(
    partitions: &BTreeSet<PartitionId>,
    before: &BTreeMap<PartitionId, String>,
    members: &[Member],
) -> BTreeMap<PartitionId, String> {
    let mut takes: Vec<&str> =
        members.iter().filter(|member| !member.leaves).map(|member| member.id.as_str()).collect();
    if takes.is_empty() {
        // Rather those that are about to leave than nobody.
        takes = members.iter().map(|member| member.id.as_str()).collect();
    }
    if takes.is_empty() {
        return BTreeMap::new();
    }
    let mut held: BTreeMap<&str, Vec<PartitionId>> = takes.iter().map(|&id| (id, Vec::new())).collect();
    let mut homeless = Vec::new();
    for &partition in partitions {
        match before.get(&partition).and_then(|id| held.get_mut(id.as_str())) {
            Some(own) => own.push(partition),
            None => homeless.push(partition),
        }
    }
    // Those with the most keep one more where it does not come out even.
    takes.sort_by_key(|id| std::cmp::Reverse(held.get(id).map_or(0, Vec::len)));
    let (least, more) = (partitions.len() / takes.len(), partitions.len() % takes.len());
    let quota = |place: usize| least + usize::from(place < more);
    for (place, id) in takes.iter().enumerate() {
        if let Some(own) = held.get_mut(id) {
            homeless.extend(own.drain(quota(place).min(own.len())..));
        }
    }
    homeless.sort_unstable();
    let mut homeless = homeless.into_iter();
    for (place, id) in takes.iter().enumerate() {
        if let Some(own) = held.get_mut(id) {
            own.extend(homeless.by_ref().take(quota(place).saturating_sub(own.len())));
        }
    }
    held.into_iter().flat_map(|(id, own)| own.into_iter().map(move |partition| (partition, id.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ids: impl IntoIterator<Item = usize>) -> Vec<Member> {
        ids.into_iter().map(|id| Member { id: format!("m{id:02}"), ..Member::default() }).collect()
    }

    fn moved(before: &BTreeMap<PartitionId, String>, after: &BTreeMap<PartitionId, String>) -> usize {
        after.iter().filter(|(partition, id)| before.get(partition) != Some(id)).count()
    }

    fn even(after: &BTreeMap<PartitionId, String>, members: &[Member]) -> bool {
        let counts = members.iter().map(|member| after.values().filter(|id| **id == member.id).count());
        counts.clone().max().unwrap() - counts.min().unwrap() <= 1
    }

    #[test]
    fn joining_and_leaving_moves_no_more_than_has_to_move() {
        for count in [1_usize, 2, 7, 64, 100] {
            let partitions: BTreeSet<PartitionId> = (0..count as u32).map(PartitionId::from).collect();
            let mut now = BTreeMap::new();
            for size in 1..=9_usize {
                let there = members(0..size);
                let next = assign(&partitions, &now, &there);
                assert!(next.len() == count && even(&next, &there), "{count} over {size}: {next:?}");
                if size > 1 {
                    let most = count.div_ceil(size);
                    assert!(moved(&now, &next) <= most, "{count} over {size}: {} moved", moved(&now, &next));
                }
                assert_eq!(assign(&partitions, &next, &there), next, "what is even stays");
                now = next;
            }
            // One of nine goes: what it had moves, and nothing else but what evenness asks for.
            let there = members((0..9).filter(|id| *id != 4));
            let had = now.values().filter(|id| **id == "m04").count();
            let next = assign(&partitions, &now, &there);
            assert!(next.len() == count && even(&next, &there));
            assert!(moved(&now, &next) <= had + 1, "{count}: {} moved, it had {had}", moved(&now, &next));
        }
    }

    #[test]
    fn one_that_leaves_gets_nothing_unless_it_is_the_only_one() {
        let partitions: BTreeSet<PartitionId> = (0..4).map(PartitionId::from).collect();
        let mut there = members(0..2);
        let before = assign(&partitions, &BTreeMap::new(), &there);
        there[0].leaves = true;
        let after = assign(&partitions, &before, &there);
        assert!(after.values().all(|id| id == "m01") && after.len() == 4);
        there[1].leaves = true;
        assert!(even(&assign(&partitions, &after, &there), &there));
        assert!(assign(&partitions, &after, &[]).is_empty());
    }
}
