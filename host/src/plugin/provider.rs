//! Calls `metadata-provider`: which partitions there are, and where to start.

use std::time::Duration;

use wasmtime::component::ResourceAny;

use super::{
    Error,
    bindings::exports::spout::plugin::metadata_provider as wit,
    convert::messages::{lower_position, raise_position},
    instance::Instance,
    log::clean,
    task::Task,
};
use crate::data::{Marker, PartitionId, Position};

/// Partitions a source may have.
const PARTITIONS: usize = 1_000_000;

/// Longest label of a partition.
const LABEL: usize = 1024;

/// A partition, as the source tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub id: PartitionId,
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
pub struct Provider {
    task: Task,
    topic: String,
    live: Option<Live>,
}

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
    /// Opens the plugin for `topic`.
    ///
    /// # Errors
    /// What the plugin says to its settings, or how it crashed.
    pub async fn open(task: Task, topic: &str) -> Result<Self, Error> {
        let live = Live::open(&task, topic).await?;
        Ok(Self { task, topic: topic.to_owned(), live: Some(live) })
    }

    /// The partitions there are now, besides or among those that `known` holds.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub async fn partitions(&mut self, known: &Marker, timeout: Duration) -> Result<Vec<PartitionInfo>, Error> {
        let live = self.live().await?;
        let leash = live.instance.begin_waiting(timeout);
        let (guest, store) = (live.guest.provider(), &mut live.instance.store);
        let known: Vec<_> = known
            .partitions
            .iter()
            .map(|(&id, entry)| {
                let position = lower_position(&entry.position);
                wit::KnownPartitionParam { id, label: &entry.label, position }
            })
            .collect();
        let answer = leash.hold(guest.call_partitions(store, live.provider, &known, millis(timeout))).await;
        let told = live.instance.settle("metadata-provider.partitions", answer);
        let told = self.keep(told)?;
        if told.len() > PARTITIONS {
            let what = format!("{} partitions, more than {PARTITIONS}", told.len());
            return Err(Error::Contract { at: self.task.at("metadata-provider.partitions"), what });
        }
        Ok(told
            .into_iter()
            .map(|info| PartitionInfo { id: info.id, label: clean(&info.label, LABEL), ended: info.ended })
            .collect())
    }

    /// The position that `criteria` stands for; `None` if the source cannot tell.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub async fn resolve(
        &mut self,
        partition: PartitionId,
        criteria: Criteria,
        timeout: Duration,
    ) -> Result<Option<Position>, Error> {
        let live = self.live().await?;
        let leash = live.instance.begin_waiting(timeout);
        let at = match criteria {
            Criteria::Earliest => wit::OffsetCriteria::Earliest,
            Criteria::Latest => wit::OffsetCriteria::Latest,
            Criteria::AtTimeMs(ms) => wit::OffsetCriteria::AtTimeMs(ms),
            Criteria::AtOffset(offset) => wit::OffsetCriteria::AtOffset(offset),
        };
        let (guest, store) = (live.guest.provider(), &mut live.instance.store);
        let call = guest.call_resolve(store, live.provider, partition, at, millis(timeout));
        let answer = leash.hold(call).await;
        let told = live.instance.settle("metadata-provider.resolve", answer);
        Ok(self.keep(told)?.map(raise_position))
    }

    async fn live(&mut self) -> Result<&mut Live, Error> {
        if self.live.as_ref().is_none_or(|live| live.instance.spoilt()) {
            self.live = Some(Live::open(&self.task, &self.topic).await?);
        }
        self.live.as_mut().ok_or(Error::Closed)
    }

    /// Lets go of the instance if it crashed.
    fn keep<T>(&mut self, answer: Result<T, Error>) -> Result<T, Error> {
        if answer.as_ref().is_err_and(Error::is_crash) {
            self.live = None;
        }
        answer
    }
}

impl Live {
    async fn open(task: &Task, topic: &str) -> Result<Self, Error> {
        let indices = task.plugin.interfaces.provider.clone().ok_or_else(|| task.plugin.lacks("source"))?;
        let mut instance = Instance::open(task).await?;
        let guest = instance.load(|store, linked| indices.load(store, linked))?;
        let leash = instance.begin();
        let settings = task.settings();
        let call = guest.provider();
        let answer = leash.hold(call.call_open(&mut instance.store, topic, &settings)).await;
        let provider = instance.settle("metadata-provider.open", answer)?;
        Ok(Self { instance, guest, provider })
    }
}

pub(super) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
