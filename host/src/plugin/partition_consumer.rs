//! Calls `partition-consumer`: the messages of partitions, each from a position on.

use std::{collections::BTreeMap, time::Duration};

use wasmtime::component::ResourceAny;

use super::{
    Error,
    bindings::{exports::spout::plugin::partition_consumer as wit, spout::plugin::types as wit_types},
    convert::messages::{self, lower_all, raise_position},
    instance::{Instance, said},
    provider::millis,
    task::Task,
};
use crate::data::{Messages, PartitionId, Position};

const FETCH: &str = "partition-consumer.fetch";

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

/// What one partition brought.
#[derive(Debug)]
pub struct FetchedPartition {
    /// The messages; their offsets rise, from the start on and below `next`.
    pub messages: Messages,
    /// Where the next fetch starts.
    pub next: Position,
    /// Offset after the newest message the source has.
    pub high_watermark: Option<u64>,
    /// Whether to come again.
    pub progress: Progress,
}

/// What one partition answered.
pub(super) type Answer = (PartitionId, Result<FetchedPartition, Error>);

/// Reads partitions of a topic. After a crash the next call opens a new instance: positions are the host's.
#[derive(Debug)]
pub struct PartitionConsumer {
    task: Task,
    topic: String,
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

impl FetchedPartition {
    /// What a guest says of `partition`, whose fetch began at `start`.
    fn raise(told: wit::Fetched, partition: PartitionId, start: &Position) -> Result<Self, String> {
        let next = raise_position(told.next);
        let messages = messages::raise(told.messages)?;
        messages::check_partition(&messages, partition, start, &next)?;
        let progress = Progress::raise(told.progress);
        Ok(Self { messages, next, high_watermark: told.high_watermark, progress })
    }
}

impl PartitionConsumer {
    /// Will open the plugin for `topic`, with the first call.
    #[must_use]
    pub fn new(task: Task, topic: &str) -> Self {
        Self { task, topic: topic.to_owned(), live: None }
    }

    /// The messages of each of the `wanted` partitions from its position on; `limits` are for all together. Each is answered
    /// at most once.
    ///
    /// # Errors
    /// What the plugin says of all of them, how it crashed, or which rule its answer breaks.
    pub async fn fetch(
        &mut self,
        wanted: &[(PartitionId, Position)],
        limits: &FetchLimits,
    ) -> Result<Vec<Answer>, Error> {
        let live = self.live().await?;
        let leash = live.instance.begin_waiting(limits.timeout);
        let (guest, store) = (live.guest.consumer(), &mut live.instance.store);
        let places = lower_all(wanted);
        let call = guest.call_fetch(store, live.consumer, &places, limits.lower());
        let answer = leash.hold(call).await;
        let answers = live.instance.settle(FETCH, answer);
        let answers = self.keep(answers)?;
        let contract = |what| Error::Contract { at: self.task.at(FETCH), what };
        let mut asked: BTreeMap<PartitionId, &Position> = wanted.iter().map(|(id, start)| (*id, start)).collect();
        let answer = |(partition, answer)| {
            let Some(start) = asked.remove(&partition) else {
                return Err(contract(format!("partition {partition} was not asked for, or is answered twice")));
            };
            let answer = match answer {
                Ok(fetched) => Ok(FetchedPartition::raise(fetched, partition, start).map_err(contract)?),
                Err(error) => Err(said(&self.task, FETCH, error)),
            };
            Ok((partition, answer))
        };
        answers.into_iter().map(answer).collect()
    }

    /// Tells the source that everything before these positions is durable.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub async fn committed(&mut self, upto: &[(PartitionId, Position)]) -> Result<(), Error> {
        let live = self.live().await?;
        let leash = live.instance.begin();
        let (guest, store) = (live.guest.consumer(), &mut live.instance.store);
        let answer = leash.hold(guest.call_committed(store, live.consumer, &lower_all(upto))).await;
        let told = live.instance.settle("partition-consumer.committed", answer);
        self.keep(told)
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
        let indices = task.plugin.interfaces.partition.clone().ok_or_else(|| task.plugin.lacks("source"))?;
        let mut instance = Instance::open(task).await?;
        let guest = instance.load(|store, linked| indices.load(store, linked))?;
        let leash = instance.begin();
        let settings = task.settings();
        let call = guest.consumer();
        let answer = leash.hold(call.call_open(&mut instance.store, topic, &settings)).await;
        let consumer = instance.settle("partition-consumer.open", answer)?;
        Ok(Self { instance, guest, consumer })
    }
}
