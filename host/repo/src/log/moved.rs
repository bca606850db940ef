//! Which entries of the marker a commit moved, which is all that its record says, and how the whole comes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spout_data::{Advance, Marker, PartitionId, PartitionMarker};

use super::record::{Commit, Record};

/// The entries that differ from the commit before, or from the base of a revert. In JSON it has a name of its own, so that it
/// cannot be read as a whole marker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// By partition.
    pub moved: BTreeMap<PartitionId, PartitionMarker>,
}

/// What the record that has a commit says of its marker.
#[derive(Clone, Debug, PartialEq)]
pub enum Recorded {
    /// The commit's own record: what it moved.
    Moved(Moved),
    /// A branch or a tag that was set to it: the whole.
    Whole(Marker),
}

impl Moved {
    /// What `advance` changes of `before`.
    pub(crate) fn of(advance: &Advance, before: &Marker) -> Self {
        let steps = advance.steps.iter().map(|(&partition, step)| (partition, &step.to));
        let changed = steps.filter(|(partition, to)| before.partitions.get(partition) != Some(to));
        Self { moved: changed.map(|(partition, to)| (partition, to.clone())).collect() }
    }

    /// `start` with these entries in the place of its own.
    pub(crate) fn over(&self, start: &Marker) -> Marker {
        let mut marker = start.clone();
        marker.partitions.extend(self.moved.clone());
        marker
    }
}

impl<M> Commit<M> {
    /// What its marker is made from: that of its base, else that of the commit before it, if it is known.
    pub(crate) fn start<'a>(&'a self, before: Option<&'a Marker>) -> Option<&'a Marker> {
        self.base.as_ref().map(|base| &base.commit.marker).or(before)
    }

    /// The same with another marker.
    pub(crate) fn with<N>(self, marker: N) -> Commit<N> {
        Commit {
            header: self.header,
            parent: self.parent,
            number: self.number,
            started_ms: self.started_ms,
            pipeline: self.pipeline,
            spec_digest: self.spec_digest,
            plugins: self.plugins,
            base: self.base,
            files: self.files,
            removed: self.removed,
            schemas: self.schemas,
            marker,
            advance: self.advance,
            jumped: self.jumped,
            state: self.state,
            counts: self.counts,
            reason: self.reason,
            compaction: self.compaction,
            provenance: self.provenance,
            global: self.global,
            checksum: self.checksum,
        }
    }
}

impl Commit<Moved> {
    /// The commit with its whole marker, where that of the commit before it is `before`.
    pub(crate) fn whole(self, before: &Marker) -> Commit {
        let marker = self.marker.over(self.start(Some(before)).unwrap_or(before));
        self.with(marker)
    }

    /// The same as one that was found.
    pub(crate) fn recorded(mut self) -> Commit<Recorded> {
        let moved = std::mem::take(&mut self.marker);
        self.with(Recorded::Moved(moved))
    }
}

impl Commit {
    /// The same as one that was found.
    pub(crate) fn recorded(mut self) -> Commit<Recorded> {
        let marker = std::mem::take(&mut self.marker);
        self.with(Recorded::Whole(marker))
    }
}

impl Commit<Recorded> {
    /// Its whole marker, if its record determines it, and, where it is known, the marker of the commit before it.
    pub(crate) fn marker_after(&self, before: Option<&Marker>) -> Option<Marker> {
        match &self.marker {
            Recorded::Whole(marker) => Some(marker.clone()),
            Recorded::Moved(moved) => self.start(before).map(|start| moved.over(start)),
        }
    }
}

impl Record {
    /// The record with the whole marker, where that of the commit before it is `before`.
    pub(crate) fn whole(self, before: &Marker) -> Record<Marker> {
        match self {
            Self::Commit(commit) => Record::Commit(Box::new(commit.whole(before))),
            Self::Claim(claim) => Record::Claim(claim),
            Self::Point(point) => Record::Point(point),
            Self::Squash(squash) => Record::Squash(squash),
            Self::Sweep(sweep) => Record::Sweep(sweep),
        }
    }
}
