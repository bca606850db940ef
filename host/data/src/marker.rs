//! What a commit stores about progress.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PartitionId, Partitions, Position};

/// Where one partition goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMarker {
    /// Name of the producer; empty where there is one only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub producer: String,
    /// The source's name for the partition: a file, a shard.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Position of the next message.
    #[serde(flatten)]
    pub position: Position,
    /// The source said that no message will ever follow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// What is passed over where it is reached, because somebody said so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passing: Vec<Passing>,
}

/// Offsets that are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passing {
    /// The first of them.
    pub from: u64,
    /// Where the partition goes on behind them.
    #[serde(flatten)]
    pub to: Position,
}

impl Passing {
    /// Whether an offset is one of them.
    #[must_use]
    pub fn has(&self, offset: u64) -> bool {
        (self.from..self.to.offset).contains(&offset)
    }
}

impl PartitionMarker {
    /// What is still to be passed over where the partition goes on at `offset`.
    #[must_use]
    pub fn passing_from(&self, offset: u64) -> Vec<Passing> {
        self.passing.iter().filter(|one| one.to.offset > offset).cloned().collect()
    }
}

/// Where each partition goes on after a commit. Cheap to copy, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Marker {
    /// By partition.
    pub partitions: Partitions,
}

impl Marker {
    /// The same without what was replayed of dead letters, which no source knows of.
    #[must_use]
    pub fn of_sources(&self) -> Self {
        if !self.partitions.iter().any(|(id, _)| id.is_replay()) {
            return self.clone();
        }
        let own = self.partitions.iter().filter(|(id, _)| !id.is_replay());
        Self { partitions: own.map(|(&id, entry)| (id, entry.clone())).collect() }
    }
}

/// How far one partition moves with a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Offset the rows of this commit start at; `None` for a partition that no commit had before.
    pub from: Option<u64>,
    /// Where the partition goes on.
    pub to: PartitionMarker,
    /// The source was entered anew here because it no longer had `from`, as `onOutOfRange` says. Only then may a
    /// partition go back.
    pub jumped: Option<u64>,
}

/// How far each partition moves with a commit. The repo refuses it unless every `from` is the head's offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advance {
    /// By partition; partitions that do not move are absent.
    pub steps: BTreeMap<PartitionId, Step>,
}

impl Advance {
    /// The first partition whose step does not start where `head` ends, with (expected, found).
    #[must_use]
    pub fn gap(&self, head: &Marker) -> Option<(PartitionId, Option<u64>, Option<u64>)> {
        self.steps.iter().find_map(|(&partition, step)| {
            let expected = head.partitions.get(&partition).map(|entry| entry.position.offset);
            (expected != step.from).then_some((partition, expected, step.from))
        })
    }

    /// `head` after this advance.
    #[must_use]
    pub fn apply(&self, head: &Marker) -> Marker {
        let mut next = head.clone();
        next.partitions.extend(self.steps.iter().map(|(&partition, step)| (partition, step.to.clone())));
        next
    }
}
