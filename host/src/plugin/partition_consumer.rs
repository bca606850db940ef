//! Calls `partition-consumer`: the messages of one partition from a position on.

use std::time::Duration;

use wasmtime::component::ResourceAny;

use super::{
    Error,
    bindings::{exports::spout::plugin::partition_consumer as wit, spout::plugin::types as wit_types},
    convert::messages::{self, lower_position, raise_position},
    instance::Instance,
    provider::millis,
    task::Task,
};
use crate::data::{Messages, PartitionId, Position};

/// Size and patience of one fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchLimits {
    /// Most messages.
    pub messages: u32,
    /// Most payload bytes.
    pub bytes: u32,
    /// Longest wait where there is nothing.
    pub timeout: Duration,
}

/// Whether to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more.
    More,
    /// Nothing for now.
    Idle,
    /// Nothing ever again.
    Ended,
}

/// What one fetch brought.
#[derive(Debug)]
pub struct Fetched {
    /// The messages; their offsets rise, from the start on and below `next`.
    pub messages: Messages,
    /// Where the next fetch starts.
    pub next: Position,
    /// Offset after the newest message the source has.
    pub high_watermark: Option<u64>,
    /// Whether to come again.
    pub progress: Progress,
}

/// Reads one partition. After a crash the next call opens a new instance: positions are the host's.
#[derive(Debug)]
pub struct PartitionConsumer {
    task: Task,
    topic: String,
    partition: PartitionId,
    live: Option<Live>,
}

struct Live {
    instance: Instance,
    guest: wit::Guest,
    consumer: ResourceAny,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.instance.fmt(f)
    }
}

impl FetchLimits {
    pub(super) fn lower(&self) -> wit_types::FetchLimits {
        wit_types::FetchLimits { max_messages: self.messages, max_bytes: self.bytes, timeout_ms: millis(self.timeout) }
    }
}

impl Progress {
    pub(super) fn raise(progress: wit_types::Progress) -> Self {
        match progress {
            wit_types::Progress::More => Self::More,
            wit_types::Progress::Idle => Self::Idle,
            wit_types::Progress::Ended => Self::Ended,
        }
    }
}

impl PartitionConsumer {
    /// Opens the plugin for one partition of `topic`.
    ///
    /// # Errors
    /// What the plugin says to its settings, or how it crashed.
    pub async fn open(task: Task, topic: &str, partition: PartitionId) -> Result<Self, Error> {
        let live = Live::open(&task, topic, partition).await?;
        Ok(Self { task, topic: topic.to_owned(), partition, live: Some(live) })
    }

    /// The messages from `start` on.
    ///
    /// # Errors
    /// What the plugin says, how it crashed, or which rule its answer breaks.
    pub async fn fetch(&mut self, start: &Position, limits: &FetchLimits) -> Result<Fetched, Error> {
        let partition = self.partition;
        let live = self.live().await?;
        let leash = live.instance.begin_waiting(limits.timeout);
        let (guest, store) = (live.guest.consumer(), &mut live.instance.store);
        let call = guest.call_fetch(store, live.consumer, lower_position(start), limits.lower());
        let answer = leash.hold(call).await;
        let fetched = live.instance.settle("partition-consumer.fetch", answer);
        let fetched = self.keep(fetched)?;
        let next = raise_position(fetched.next);
        let checked = messages::raise(fetched.messages)
            .and_then(|messages| messages::check_partition(&messages, partition, start, &next).map(|()| messages));
        let messages =
            checked.map_err(|what| Error::Contract { at: self.task.at("partition-consumer.fetch"), what })?;
        let progress = Progress::raise(fetched.progress);
        Ok(Fetched { messages, next, high_watermark: fetched.high_watermark, progress })
    }

    /// Tells the source that everything before `upto` is durable.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub async fn committed(&mut self, upto: &Position) -> Result<(), Error> {
        let live = self.live().await?;
        let leash = live.instance.begin();
        let (guest, store) = (live.guest.consumer(), &mut live.instance.store);
        let answer = leash.hold(guest.call_committed(store, live.consumer, lower_position(upto))).await;
        let told = live.instance.settle("partition-consumer.committed", answer);
        self.keep(told)
    }

    async fn live(&mut self) -> Result<&mut Live, Error> {
        if self.live.as_ref().is_none_or(|live| live.instance.spoilt()) {
            self.live = Some(Live::open(&self.task, &self.topic, self.partition).await?);
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
    async fn open(task: &Task, topic: &str, partition: PartitionId) -> Result<Self, Error> {
        let indices = task.plugin.interfaces.partition.clone().ok_or_else(|| task.plugin.lacks("source"))?;
        let mut instance = Instance::open(task).await?;
        let guest = instance.load(|store, linked| indices.load(store, linked))?;
        let leash = instance.begin();
        let settings = task.settings();
        let call = guest.consumer();
        let answer = leash.hold(call.call_open(&mut instance.store, topic, partition, &settings)).await;
        let consumer = instance.settle("partition-consumer.open", answer)?;
        Ok(Self { instance, guest, consumer })
    }
}
