//! Calls `metadata-provider`: which partitions there are, and where to start.

use std::time::Duration;

use futures::future::BoxFuture;
use spout_data::{Marker, Position};
use wasmtime::component::ResourceAny;

use super::{
    Error, World,
    apart::{self, Apart},
    bindings::{exports::spout::plugin::metadata_provider as wit, spout::plugin::types::PositionResult},
    convert::messages::{lower_position, raise_position},
    instance::Instance,
    log::clean,
    task::Task,
};

const PARTITIONS: &str = "metadata-provider.partitions";
const RESOLVE: &str = "metadata-provider.resolve";

/// Longest label of a partition.
const LABEL: usize = 1024;

/// A partition, as the source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub id: u32,
    /// Its name, for people.
    pub label: String,
    /// Nothing will ever be added to it.
    pub ended: bool,
}

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criteria {
    /// The oldest message.
    Earliest,
    /// After the newest message.
    Latest,
    /// The first message at or after this time, milliseconds since 1970.
    AtTimeMs(u64),
    /// This offset.
    AtOffset(u64),
}

/// Asks a source about its partitions. After a crash the next call opens a new instance.
#[derive(Debug)]
pub struct Provider(Apart<Live>);

struct Live {
    instance: Instance,
    guest: wit::Guest,
    provider: ResourceAny,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.instance.fmt(f)
    }
}

impl Provider {
    /// Will open the plugin for `topic`, with the first question.
    #[must_use]
    pub fn new(task: Task, topic: &str) -> Self {
        Self(Apart::new(task, topic))
    }

    /// The partitions there are now, besides or among those that `known` holds.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub fn partitions<'a>(
        &'a mut self,
        known: &'a Marker,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Vec<PartitionInfo>, Error>> {
        Box::pin(async move {
            let known = known.clone();
            let call = move |mut live: Live| async move {
                let told = live.partitions(&known, timeout).await;
                (live, told)
            };
            let told = self.0.make(PARTITIONS, timeout, call).await?;
            let limit = self.0.task.limits.partitions;
            if told.len() > limit as usize {
                return Err(Error::Partitions { at: self.0.task.at(PARTITIONS), count: told.len(), limit });
            }
            let masks = self.0.task.quotas.masks();
            Ok(told
                .into_iter()
                .map(|info| PartitionInfo {
                    id: info.id,
                    label: clean(&masks.hide(&info.label), LABEL),
                    ended: info.ended,
                })
                .collect())
        })
    }

    /// The position that `criteria` stands for; `None` if the source cannot tell.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub fn resolve<'a>(
        &'a mut self,
        partition: u32,
        criteria: Criteria,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Option<Position>, Error>> {
        Box::pin(async move {
            let call = move |mut live: Live| async move {
                let told = live.resolve(partition, criteria, timeout).await;
                (live, told)
            };
            Ok(self.0.make(RESOLVE, timeout, call).await?.map(raise_position))
        })
    }
}

impl Live {
    async fn partitions(&mut self, known: &Marker, timeout: Duration) -> Result<Vec<wit::PartitionInfo>, Error> {
        let leash = self.instance.begin_waiting(timeout);
        let (guest, store) = (self.guest.provider(), &mut self.instance.store);
        let known: Vec<_> = known
            .partitions
            .iter()
            .map(|(&id, entry)| {
                let position = lower_position(&entry.position);
                wit::KnownPartition { id: id.number, label: &entry.label, position }
            })
            .collect();
        let answer = leash.hold(guest.call_partitions(store, self.provider, &known, millis(timeout))).await;
        self.instance.settle(PARTITIONS, answer)
    }

    async fn resolve(
        &mut self,
        partition: u32,
        criteria: Criteria,
        timeout: Duration,
    ) -> Result<Option<PositionResult>, Error> {
        let leash = self.instance.begin_waiting(timeout);
        let at = match criteria {
            Criteria::Earliest => wit::OffsetCriteria::Earliest,
            Criteria::Latest => wit::OffsetCriteria::Latest,
            Criteria::AtTimeMs(ms) => wit::OffsetCriteria::AtTimeMs(ms),
            Criteria::AtOffset(offset) => wit::OffsetCriteria::AtOffset(offset),
        };
        let (guest, store) = (self.guest.provider(), &mut self.instance.store);
        let answer = leash.hold(guest.call_resolve(store, self.provider, partition, at, millis(timeout))).await;
        self.instance.settle(RESOLVE, answer)
    }
}

impl apart::Live for Live {
    fn instance(&self) -> &Instance {
        &self.instance
    }

    async fn open(task: &Task, topic: &str) -> Result<Self, Error> {
        let indices = task.plugin.interfaces.provider.clone().ok_or_else(|| task.plugin.lacks(World::Source))?;
        let mut instance = Instance::open_apart(task).await?;
        let guest = instance.load(|store, linked| indices.load(store, linked))?;
        let leash = instance.begin();
        let settings = task.settings();
        let call = guest.provider();
        let answer = leash.hold(call.call_open(&mut instance.store, &task.offer, topic, &settings)).await;
        let provider = instance.settle("metadata-provider.open", answer)?;
        Ok(Self { instance, guest, provider })
    }
}

pub(super) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
