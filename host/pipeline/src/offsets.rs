//! How far each partition is: what is committed, and what the open commit adds to it.

use std::{borrow::Cow, collections::BTreeMap};

use spout_data::{Advance, Marker, PartitionId, PartitionMarker, Position, Step};

/// How far each partition is.
#[derive(Debug)]
pub(super) struct Offsets {
    /// After everything that was cut.
    cut: Marker,
    /// What the open commit adds.
    open: Advance,
    labels: BTreeMap<PartitionId, String>,
    /// Names of the producers, by number; none where there is one only.
    producers: BTreeMap<u16, String>,
}

impl Offsets {
    /// Where a restart begins.
    pub(super) fn new(marker: Marker, producers: BTreeMap<u16, String>) -> Self {
        Self { cut: marker, open: Advance::default(), labels: BTreeMap::new(), producers }
    }

    /// The marker after everything that was cut.
    pub(super) fn marker(&self) -> &Marker {
        &self.cut
    }

    /// The same, and where partitions have ended since.
    pub(super) fn with_ends(&self, ended: &[(PartitionId, Position)]) -> Cow<'_, Marker> {
        let mut marker = Cow::Borrowed(&self.cut);
        for (partition, position) in ended {
            let to = self.marked(*partition, position.clone(), true);
            marker.to_mut().partitions.insert(*partition, to);
        }
        marker
    }

    fn marked(&self, partition: PartitionId, position: Position, ended: bool) -> PartitionMarker {
        let label = self.labels.get(&partition).cloned().unwrap_or_default();
        let producer = self.producers.get(&partition.producer).cloned().unwrap_or_default();
        let passing = self.of(partition).map(|known| known.passing_from(position.offset)).unwrap_or_default();
        PartitionMarker { producer, label, position, ended, passing }
    }

    /// Learns the source's name for `partition`.
    pub(super) fn name(&mut self, partition: PartitionId, label: String) {
        self.labels.insert(partition, label);
    }

    /// The name of the producer of `partition`; empty where there is one only.
    pub(super) fn producer(&self, partition: PartitionId) -> &str {
        self.producers.get(&partition.producer).map_or("", String::as_str)
    }

    /// The source's name for `partition`, behind that of its producer where there are several; empty if it has none.
    pub(super) fn label(&self, partition: PartitionId) -> String {
        let label = self.labels.get(&partition).map_or("", String::as_str);
        match self.producers.get(&partition.producer).map(String::as_str) {
            None | Some("") => label.to_owned(),
            Some(producer) => format!("{producer}: {label}"),
        }
    }

    /// Where `partition` is, the open commit included.
    pub(super) fn of(&self, partition: PartitionId) -> Option<&PartitionMarker> {
        let open = self.open.steps.get(&partition).map(|step| &step.to);
        open.or_else(|| self.cut.partitions.get(&partition))
    }

    /// Moves `partition` on in the open commit; `jumped` where the source was entered anew.
    pub(super) fn move_on(&mut self, partition: PartitionId, next: Position, ended: bool, jumped: Option<u64>) {
        let to = self.marked(partition, next, ended);
        let from = self.cut.partitions.get(&partition).map(|known| known.position.offset);
        let step = self.open.steps.entry(partition).or_insert(Step { from, to: to.clone(), jumped: None });
        step.to = to;
        step.jumped = jumped.or(step.jumped);
    }

    /// Ends the open commit; what it adds.
    pub(super) fn cut(&mut self) -> Advance {
        let advance = std::mem::take(&mut self.open);
        self.cut.partitions.extend(advance.steps.iter().map(|(&partition, step)| (partition, step.to.clone())));
        advance
    }
}

#[cfg(test)]
mod tests {
    use spout_data::Passing;

    use super::*;

    #[test]
    fn steps_of_two_commits_meet() {
        let mut offsets = Offsets::new(Marker::default(), BTreeMap::new());
        offsets.name(7.into(), "seven".into());
        offsets.move_on(7.into(), Position::at(3), false, None);
        offsets.move_on(7.into(), Position::at(5), false, None);
        let first = offsets.cut();
        assert_eq!((first.steps[&7.into()].from, first.steps[&7.into()].to.position.offset), (None, 5));
        assert!(offsets.cut().steps.is_empty());
        offsets.move_on(7.into(), Position::at(9), true, None);
        let second = offsets.cut();
        assert_eq!((second.steps[&7.into()].from, second.steps[&7.into()].to.ended), (Some(5), true));
        let known = offsets.with_ends(&[(8.into(), Position::at(2))]);
        let ended = |id: u32| known.partitions.get(&id.into()).map(|one| (one.ended, one.position.offset));
        assert_eq!((ended(7), ended(8)), (Some((true, 9)), Some((true, 2))));
        assert_eq!(offsets.with_ends(&[]).as_ref(), offsets.marker());
        assert!(second.gap(&first.apply(&Marker::default())).is_none());
    }

    #[test]
    fn what_is_to_be_passed_over_is_kept_until_it_was() {
        let passing = |from: u64| Passing { from, to: Position::at(from + 1) };
        let entry = PartitionMarker { passing: vec![passing(3), passing(8)], ..PartitionMarker::default() };
        let mut offsets =
            Offsets::new(Marker { partitions: [(0.into(), entry)].into_iter().collect() }, BTreeMap::new());
        for (next, left) in [(3, vec![passing(3), passing(8)]), (4, vec![passing(8)]), (9, Vec::new())] {
            offsets.move_on(0.into(), Position::at(next), false, None);
            assert_eq!(offsets.cut().steps[&0.into()].to.passing, left, "{next}");
        }
    }

    #[test]
    fn a_jump_stays_in_the_commit_it_happened_in() {
        let mut offsets = Offsets::new(Marker::default(), BTreeMap::new());
        offsets.move_on(0.into(), Position::at(2), false, Some(2));
        offsets.move_on(0.into(), Position::at(4), false, None);
        assert_eq!(offsets.cut().steps[&0.into()].jumped, Some(2));
        offsets.move_on(0.into(), Position::at(6), false, None);
        assert_eq!(offsets.cut().steps[&0.into()].jumped, None);
    }
}
