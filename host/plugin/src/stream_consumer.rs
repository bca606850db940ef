//! Calls `stream-consumer`: a whole stream, with checkpoints only when the host asks.

use futures::future::BoxFuture;
use spout_data::{Messages, Position};
use wasmtime::component::ResourceAny;

use super::{
    Error, FetchLimits, Progress, World,
    bindings::exports::spout::plugin::stream_consumer as wit,
    convert::messages::{self, lower_all, raise_position},
    instance::Instance,
    task::Task,
};

/// Where a stream goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The next message of each partition.
    pub positions: Vec<(u32, Position)>,
    /// Whatever else the plugin needs.
    pub extra: Option<Vec<u8>>,
}

/// Where to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// At the oldest message.
    Earliest,
    /// After the newest message.
    Latest,
    /// Where a checkpoint says.
    Checkpoint(Checkpoint),
}

/// Reads a whole stream. It has a place of its own, so after a crash its owner opens another one at a checkpoint.
pub struct StreamConsumer {
    task: Task,
    instance: Instance,
    guest: wit::Guest,
    consumer: ResourceAny,
}

impl std::fmt::Debug for StreamConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.instance.fmt(f)
    }
}

impl StreamConsumer {
    /// Opens the plugin for `topic` on behalf of `group`.
    ///
    /// # Errors
    /// What the plugin says to its settings or the checkpoint, or how it crashed.
    pub fn open<'a>(
        task: Task,
        topic: &'a str,
        group: &'a str,
        start: StreamStart,
    ) -> BoxFuture<'a, Result<Self, Error>> {
        Box::pin(async move {
            let indices =
                task.plugin.interfaces.stream.clone().ok_or_else(|| task.plugin.lacks(World::StreamSource))?;
            let mut instance = Instance::open(&task).await?;
            let guest = instance.load(|store, linked| indices.load(store, linked))?;
            let leash = instance.begin();
            let settings = task.settings();
            let positions;
            let at = match &start {
                StreamStart::Earliest => wit::StartAt::Earliest,
                StreamStart::Latest => wit::StartAt::Latest,
                StreamStart::Checkpoint(checkpoint) => {
                    positions = lower_all(&checkpoint.positions);
                    wit::StartAt::Checkpoint(wit::CheckpointParam {
                        positions: &positions,
                        extra: checkpoint.extra.as_deref(),
                    })
                }
            };
            let call = guest.consumer();
            let answer =
                leash.hold(call.call_open(&mut instance.store, &task.offer, topic, group, at, &settings)).await;
            let consumer = instance.settle("stream-consumer.open", answer)?;
            Ok(Self { task, instance, guest, consumer })
        })
    }

    /// The next messages, each with its partition and offset.
    ///
    /// # Errors
    /// What the plugin says, how it crashed, or which rule its answer breaks.
    pub fn next<'a>(&'a mut self, limits: &'a FetchLimits) -> BoxFuture<'a, Result<(Messages, Progress), Error>> {
        Box::pin(async move {
            let leash = self.instance.begin_waiting(limits.timeout);
            let (guest, store) = (self.guest.consumer(), &mut self.instance.store);
            let answer = leash.hold(guest.call_next(store, self.consumer, limits.lower())).await;
            let (told, progress) = self.instance.settle("stream-consumer.next", answer)?;
            let checked = messages::raise(told, self.task.quotas.masks()).and_then(|messages| {
                messages::bounded(std::iter::once(&messages), limits.messages, &self.task.limits)?;
                messages::check_stream(&messages).map(|()| messages)
            });
            let messages = checked.map_err(|what| self.task.broke("stream-consumer.next", &what))?;
            Ok((messages, Progress::raise(progress)))
        })
    }

    /// How many messages the source has that `next` has not returned, as far as the plugin says so.
    #[must_use]
    pub fn waiting(&self) -> Option<u64> {
        self.instance.store.data().waiting
    }

    /// Where the stream goes on after everything that `next` has returned so far.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub fn checkpoint<'a>(&'a mut self) -> BoxFuture<'a, Result<Checkpoint, Error>> {
        Box::pin(async move {
            let leash = self.instance.begin();
            let (guest, store) = (self.guest.consumer(), &mut self.instance.store);
            let answer = leash.hold(guest.call_checkpoint(store, self.consumer)).await;
            let told = self.instance.settle("stream-consumer.checkpoint", answer)?;
            let position = |(partition, position)| (partition, raise_position(position));
            Ok(Checkpoint { positions: told.positions.into_iter().map(position).collect(), extra: told.extra })
        })
    }

    /// Tells the source that everything up to `upto` is durable.
    ///
    /// # Errors
    /// What the plugin says, or how it crashed.
    pub fn committed<'a>(&'a mut self, upto: &'a Checkpoint) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let leash = self.instance.begin();
            let (guest, store) = (self.guest.consumer(), &mut self.instance.store);
            let positions = lower_all(&upto.positions);
            let upto = wit::CheckpointParam { positions: &positions, extra: upto.extra.as_deref() };
            let answer = leash.hold(guest.call_committed(store, self.consumer, upto)).await;
            self.instance.settle("stream-consumer.committed", answer)
        })
    }
}
