//! Which partitions a topic has, and where those start that no commit has seen.

use std::collections::BTreeMap;

use super::{ConsumerType, Error, Start, StreamSpec};
use crate::{
    clock,
    data::{Marker, PartitionId, Position},
    plugin::{self, Criteria, Provider, Task},
};

/// A partition to read, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The partition.
    pub partition: PartitionId,
    /// The source's name for it.
    pub label: String,
    /// Where to start.
    pub start: Position,
    /// The offset that the last commit ends at; `None` if no commit has seen the partition.
    pub committed: Option<u64>,
}

/// Asks the source which partitions there are.
#[derive(Debug)]
pub struct Discovery {
    spec: StreamSpec,
    task: Task,
    provider: Option<Provider>,
    seen: BTreeMap<PartitionId, String>,
}

impl Discovery {
    /// The partition that the whole stream counts as when it is read at once.
    pub const STREAM: PartitionId = 0;

    /// Asks about the topic of `spec`.
    #[must_use]
    pub fn new(spec: StreamSpec, task: Task) -> Self {
        Self { spec, task, provider: None, seen: BTreeMap::new() }
    }

    /// The partitions not told before. Those that `marker` knows start there; others start as the spec says if
    /// `initial` (nothing was ever committed), and at the earliest message otherwise, so that nothing is left out.
    ///
    /// # Errors
    /// What the source answers; crashes are worth another try later.
    pub async fn partitions(&mut self, marker: &Marker, initial: bool) -> Result<Vec<Found>, Error> {
        if self.spec.consumer_type == ConsumerType::Highlevel {
            return Ok(self.whole_stream(marker));
        }
        let timeout = self.spec.fetch.timeout.0.max(std::time::Duration::from_secs(1));
        let told = match self.provider().await {
            Ok(provider) => provider.partitions(timeout).await,
            Err(error) => Err(error),
        };
        let told = told.map_err(|source| self.failed("listing partitions", None, source))?;
        let mut found = Vec::new();
        for info in told {
            match self.seen.get(&info.id) {
                Some(label) if *label == info.label => continue,
                Some(label) => return Err(self.ambiguous(info.id, label, &info.label)),
                None => {}
            }
            let entry = marker.partitions.get(&info.id);
            if let Some(entry) = entry.filter(|entry| !entry.label.is_empty() && entry.label != info.label) {
                return Err(self.ambiguous(info.id, &entry.label, &info.label));
            }
            let start = match entry {
                Some(entry) => entry.position.clone(),
                None => self.resolve(info.id, initial).await?,
            };
            let committed = entry.map(|entry| entry.position.offset);
            self.seen.insert(info.id, info.label.clone());
            found.push(Found { partition: info.id, label: info.label, start, committed });
        }
        Ok(found)
    }

    fn whole_stream(&mut self, marker: &Marker) -> Vec<Found> {
        if self.seen.insert(Self::STREAM, "stream".into()).is_some() {
            return Vec::new();
        }
        let entry = marker.partitions.get(&Self::STREAM);
        vec![Found {
            partition: Self::STREAM,
            label: "stream".into(),
            start: entry.map(|entry| entry.position.clone()).unwrap_or_default(),
            committed: entry.map(|entry| entry.position.offset),
        }]
    }

    async fn provider(&mut self) -> Result<&mut Provider, plugin::Error> {
        if self.provider.is_none() {
            self.provider = Some(Provider::open(self.task.clone(), &self.spec.topic).await?);
        }
        self.provider.as_mut().ok_or(plugin::Error::Closed)
    }

    async fn resolve(&mut self, partition: PartitionId, initial: bool) -> Result<Position, Error> {
        let start = if initial { self.spec.start.clone() } else { Start::Earliest };
        let criteria = match &start {
            Start::Earliest => Criteria::Earliest,
            Start::Latest => Criteria::Latest,
            Start::Time(time) => Criteria::AtTimeMs(u64::try_from(time.as_millisecond()).unwrap_or(0)),
            Start::Ago(age) => {
                let now = u64::try_from(clock::wall_ms()).unwrap_or(0);
                Criteria::AtTimeMs(now.saturating_sub(u64::try_from(age.0.as_millis()).unwrap_or(u64::MAX)))
            }
            Start::Offset(offsets) => offsets.get(&partition).map_or(Criteria::Earliest, |&at| Criteria::AtOffset(at)),
        };
        let timeout = self.spec.fetch.timeout.0.max(std::time::Duration::from_secs(1));
        let resolved = match self.provider().await {
            Ok(provider) => provider.resolve(partition, criteria, timeout).await,
            Err(error) => Err(error),
        };
        resolved.map_err(|source| self.failed("finding the start", Some((partition, 0)), source))?.ok_or_else(|| {
            Error::Start {
                plugin: self.spec.plugin.clone(),
                topic: self.spec.topic.clone(),
                partition,
                start: serde_json::to_string(&start).unwrap_or_default(),
            }
        })
    }

    fn ambiguous(&self, partition: PartitionId, first: &str, second: &str) -> Error {
        Error::Ambiguous {
            plugin: self.spec.plugin.clone(),
            topic: self.spec.topic.clone(),
            partition,
            first: first.to_owned(),
            second: second.to_owned(),
        }
    }

    fn failed(&self, doing: &'static str, partition: Option<(PartitionId, u64)>, source: plugin::Error) -> Error {
        Error::Stream {
            plugin: self.spec.plugin.clone(),
            topic: self.spec.topic.clone(),
            partition,
            doing,
            source: Box::new(source),
        }
    }
}
