//! Calls `partition-consumer`: the messages of partitions, each from a position on.

use std::{collections::BTreeMap, time::Duration};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use spout_data::{Messages, Position};
use wasmtime::component::ResourceAny;

use super::{
    Error, World,
    apart::{self, Apart},
    bindings::{exports::spout::plugin::partition_consumer as wit, spout::plugin::types as wit_types},
    convert::messages::{self, lower_all, raise_position},
    instance::{Instance, said},
    provider::millis,
    secrets::Masks,
    task::Task,
};

const FETCH: &str = "partition-consumer.fetch";
const COMMITTED: &str = "partition-consumer.committed";

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
pub(super) type Answer = (u32, Result<FetchedPartition, Error>);

/// Reads partitions of a topic. After a crash the next call opens a new instance: positions are the host's.
#[derive(Debug)]
pub struct PartitionConsumer(Apart<Live>);

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
    fn raise(told: wit::Fetched, partition: u32, start: &Position, masks: &Masks) -> Result<Self, String> {
        let next = raise_position(told.next);
        let messages = messages::raise(told.messages, masks)?;
        messages::check_partition(&messages, partition, start, &next)?;
        let progress = Progress::raise(told.progress);
        Ok(Self { messages, next, high_watermark: told.high_watermark, progress })
    }
}

impl PartitionConsumer {
    /// Will open the plugin for `topic`, with the first call.
    #[must_use]
    pub fn new(task: Task, topic: &str) -> Self {
        Self(Apart::new(task, topic))
    }

    /// The messages of each of the `wanted` partitions from its position on; `limits` are for all together. Each is answered
    /// at most once.
    ///
    /// # Errors
    /// What the plugin says of all of them, how it crashed, or which rule its answer breaks.
    pub fn fetch<'a>(
        &'a mut self,
        wanted: Vec<(u32, Position)>,
        limits: FetchLimits,
    ) -> BoxFuture<'a, Result<Vec<Answer>, Error>> {
        Box::pin(async move {
            let task = self.0.task.clone();
            let call = move |mut live: Live| async move {
                let answers = live.fetch(&wanted, &limits).await;
                let answers = answers.and_then(|answers| raise(&task, &wanted, answers));
                let answers = answers.and_then(|answers| {
                    let messages = answers.iter().filter_map(|(_, answer)| Some(&answer.as_ref().ok()?.messages));
                    let within = messages::bounded(messages, limits.messages, &task.limits);
                    within.map(|()| answers).map_err(|what| task.broke(FETCH, &what))
                });
                (live, answers)
            };
            self.0.make(FETCH, limits.timeout, call).await
        })
    }

    /// Tells the source that everything before these positions is durable.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub fn committed<'a>(&'a mut self, upto: Vec<(u32, Position)>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let call = move |mut live: Live| async move {
                let told = live.committed(&upto).await;
                (live, told)
            };
            self.0.make(COMMITTED, Duration::ZERO, call).await
        })
    }
}

/// What a guest answers to a fetch.
type Told = Vec<(u32, Result<wit::Fetched, wit_types::Error>)>;

/// What a guest answered, checked.
fn raise(task: &Task, wanted: &[(u32, Position)], told: Told) -> Result<Vec<Answer>, Error> {
    let contract = |what: String| task.broke(FETCH, &what);
    let mut asked: BTreeMap<u32, &Position> = wanted.iter().map(|(id, start)| (*id, start)).collect();
    let answer = |(partition, answer)| {
        let Some(start) = asked.remove(&partition) else {
            return Err(contract(format!("partition {partition} was not asked for, or is answered twice")));
        };
        let answer = match answer {
            Ok(fetched) => {
                Ok(FetchedPartition::raise(fetched, partition, start, task.quotas.masks()).map_err(contract)?)
            }
            Err(error) => Err(said(task, FETCH, error)),
        };
        Ok((partition, answer))
    };
    told.into_iter().map(answer).collect()
}

impl Live {
    async fn fetch(&mut self, wanted: &[(u32, Position)], limits: &FetchLimits) -> Result<Told, Error> {
        let leash = self.instance.begin_waiting(limits.timeout);
        let (guest, store) = (self.guest.consumer(), &mut self.instance.store);
        let places = lower_all(wanted);
        let answer = leash.hold(guest.call_fetch(store, self.consumer, &places, limits.lower())).await;
        self.instance.settle(FETCH, answer)
    }

    async fn committed(&mut self, upto: &[(u32, Position)]) -> Result<(), Error> {
        let leash = self.instance.begin();
        let (guest, store) = (self.guest.consumer(), &mut self.instance.store);
        let answer = leash.hold(guest.call_committed(store, self.consumer, &lower_all(upto))).await;
        self.instance.settle(COMMITTED, answer)
    }
}

impl apart::Live for Live {
    fn instance(&self) -> &Instance {
        &self.instance
    }

    async fn open(task: &Task, topic: &str) -> Result<Self, Error> {
        let indices = task.plugin.interfaces.partition.clone().ok_or_else(|| task.plugin.lacks(World::Source))?;
        let mut instance = Instance::open_apart(task).await?;
        let guest = instance.load(|store, linked| indices.load(store, linked))?;
        let leash = instance.begin();
        let settings = task.settings();
        let call = guest.consumer();
        let answer = leash.hold(call.call_open(&mut instance.store, &task.offer, topic, &settings)).await;
        let consumer = instance.settle("partition-consumer.open", answer)?;
        Ok(Self { instance, guest, consumer })
    }
}
