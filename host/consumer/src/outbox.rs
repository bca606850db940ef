//! What a consumer has taken and not yet delivered: a queue bounded by bytes, and a task that delivers in order.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{
    clock::{self, Instant},
    owner,
    panicked::caught,
};
use spout_data::{ByteSize, Period};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::Error;

/// Rows queued for delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct QueueSpec {
    /// Maximum bytes in the queue, as in `64MiB`.
    pub bytes: ByteSize,
    /// What happens when the queue is full.
    pub when_full: WhenFull,
    /// How long a commit waits until everything before it is delivered, as in `30s`. After that the pipeline restarts from
    /// its last commit. Once it is to stop, it waits for no receiver that takes nothing for 2.5 seconds, and for none that takes
    /// longer than 3.5 seconds for everything.
    pub timeout: Period,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self { bytes: ByteSize(64 << 20), when_full: WhenFull::Block, timeout: Period(Duration::from_secs(30)) }
    }
}

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// The pipeline waits too: nothing is lost.
    #[default]
    Block,
    /// New rows are counted and dropped, and no commit waits: the pipeline is never held up.
    Drop,
}

/// A place in the queue; whoever holds it counts as waiting.
#[derive(Debug)]
pub(super) struct Room {
    _places: OwnedSemaphorePermit,
    delivered: Arc<AtomicU64>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }
}

/// At a stop, a receiver that takes nothing for so long is waited for no longer, nor one that takes a little now and then for so
/// many times as long; with the end itself it has so much time.
const STALLED: Duration = Duration::from_millis(2500);
const TRICKLING: f64 = 1.4;
const END: Duration = Duration::from_secs(1);

/// Delivers one thing after the other.
#[async_trait]
pub(super) trait Deliver: Send + 'static {
    /// What is delivered.
    type Parcel: Send + 'static;

    /// What has to happen before anything can be delivered.
    async fn begin(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// Delivers `parcel` and lets go of `room` when that is done, which may be after the answer. Passing trouble is waited
    /// out here.
    async fn deliver(&mut self, parcel: Self::Parcel, room: Room) -> Result<(), Error>;

    /// Why nothing can be delivered any more although nothing is to be; never, as long as it can. The future may be dropped.
    async fn broken(&mut self) -> Error {
        pending().await
    }

    /// Whether it delivers to a part of this process. That stops in its own time, so nobody is impatient with it.
    fn is_ours(&self) -> bool {
        false
    }

    /// Ends in order: nothing more will be delivered.
    async fn close(self, patience: Duration) -> Result<(), Error>;
}

/// The queue of one consumer.
#[derive(Debug)]
pub(super) struct Outbox<P> {
    consumer: &'static str,
    spec: QueueSpec,
    queue: Option<mpsc::UnboundedSender<(P, Room)>>,
    room: Arc<Semaphore>,
    places: u32,
    task: Option<JoinHandle<Result<(), Error>>>,
    stop: CancellationToken,
    /// Where nobody is impatient at a stop.
    ours: bool,
    patience: Duration,
    /// When it was to stop.
    stopped: Arc<OnceLock<Instant>>,
    delivered: Arc<AtomicU64>,
    dropped: u64,
}

/// A parcel takes at least one of these, so that many small ones are bounded too.
const PLACES: u32 = 50_000;

impl<P: Send + 'static> Outbox<P> {
    /// A queue before `deliver`. When `stop` is cancelled the pipeline wants to end, and nothing waits without an end.
    pub(super) fn new<D>(consumer: &'static str, spec: &QueueSpec, stop: CancellationToken, deliver: D) -> Self
    where
        D: Deliver<Parcel = P>,
    {
        let places = u32::try_from(spec.bytes.0.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, PLACES);
        let room = Arc::new(Semaphore::new(places as usize));
        let (queue, parcels) = mpsc::unbounded_channel();
        let (ours, delivered) = (deliver.is_ours(), Arc::default());
        let hurry = if ours { CancellationToken::new() } else { stop.clone() };
        let stopped = Arc::<OnceLock<Instant>>::default();
        let (noted, stopping) = (Arc::clone(&stopped), hurry.clone());
        let delivering = run(consumer, deliver, parcels, Arc::clone(&room), (spec.timeout.0, hurry));
        let task = Some(owner::spawn(async move {
            let mut delivering = pin!(delivering);
            tokio::select! {
                biased;
                done = &mut delivering => return done,
                () = stopping.cancelled() => noted.get_or_init(clock::now),
            };
            delivering.await
        }));
        let (queue, spec) = (Some(queue), spec.clone());
        let patience = STALLED;
        Self { consumer, spec, queue, room, places, task, stop, ours, patience, stopped, delivered, dropped: 0 }
    }

    /// Takes `parcel`, which counts as `bytes` and holds `rows`; waits or drops it when too much waits already.
    ///
    /// # Errors
    /// What stopped the delivery of parcels before it; [`Error::Slow`] if the pipeline is to stop and it cannot be taken.
    pub(super) async fn put(&mut self, parcel: P, bytes: usize, rows: usize) -> Result<(), Error> {
        let wanted = u32::try_from(bytes as u64 * u64::from(self.places) / self.spec.bytes.0.max(1));
        let wanted = wanted.unwrap_or(u32::MAX).clamp(1, self.places);
        let room = match Arc::clone(&self.room).try_acquire_many_owned(wanted) {
            Ok(room) => room,
            Err(_) if self.room.is_closed() => return self.failure().await,
            Err(_) if self.spec.when_full == WhenFull::Drop => {
                self.drop(rows);
                return Ok(());
            }
            Err(_) => match self.wait(wanted, false).await? {
                Some(room) => room,
                None => return self.failure().await,
            },
        };
        match &self.queue {
            Some(queue) if queue.send((parcel, self.place(room))).is_ok() => Ok(()),
            _ => self.failure().await,
        }
    }

    /// Waits until everything taken so far is delivered; not where rows are dropped instead of waiting.
    ///
    /// # Errors
    /// What stopped the delivery; [`Error::Slow`] after the time that the spec allows.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        if self.room.is_closed() {
            return self.failure().await;
        }
        if self.spec.when_full == WhenFull::Drop {
            return Ok(());
        }
        match self.wait(self.places, true).await? {
            Some(_) => Ok(()),
            None => self.failure().await,
        }
    }

    /// Why nothing will be delivered any more; never, as long as something may be. The future may be dropped.
    pub(super) async fn failed(&mut self) -> Error {
        let Some(task) = &mut self.task else { return pending().await };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => Error::Lost { consumer: self.consumer },
        }
    }

    /// Delivers what waits and ends in order.
    ///
    /// # Errors
    /// As for [`Outbox::flush`].
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        self.queue = None;
        let Some(mut task) = self.task.take() else { return Ok(()) };
        if self.dropped > 0 {
            tracing::warn!(consumer = self.consumer, dropped = self.dropped, "rows were dropped in this run");
        }
        // Time for what waits, and time for the end itself.
        let done = tokio::select! {
            done = &mut task => Some(done),
            () = sleep(self.spec.timeout.0 * 2) => None,
            () = self.stalled(self.patience + END) => None,
        };
        match done {
            Some(done) => done.unwrap_or(Err(Error::Lost { consumer: self.consumer })),
            None => {
                task.abort();
                match self.spec.when_full {
                    WhenFull::Block => Err(self.slow(self.spec.timeout)),
                    WhenFull::Drop => Ok(()),
                }
            }
        }
    }

    fn place(&self, places: OwnedSemaphorePermit) -> Room {
        Room { _places: places, delivered: Arc::clone(&self.delivered) }
    }

    /// Room for `wanted` places, or `None` if delivery has stopped.
    async fn wait(&self, wanted: u32, bounded: bool) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let patience = async {
            if !bounded {
                self.stop.cancelled().await;
            }
            sleep(self.spec.timeout.0).await;
        };
        tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(wanted) => Ok(room.ok()),
            () = patience => Err(self.slow(self.spec.timeout)),
            () = self.stalled(self.patience) => Err(self.slow(Period(self.patience))),
        }
    }

    /// Ends when the pipeline is to stop, and nothing was delivered for `patience`, or not everything for hardly longer.
    async fn stalled(&self, patience: Duration) {
        if self.ours {
            return pending().await;
        }
        self.stop.cancelled().await;
        let stalled = async {
            loop {
                let before = self.delivered.load(Ordering::Relaxed);
                sleep(patience).await;
                if self.delivered.load(Ordering::Relaxed) == before {
                    return;
                }
            }
        };
        let since = *self.stopped.get_or_init(clock::now);
        tokio::select! {
            () = stalled => {}
            () = sleep(patience.mul_f64(TRICKLING).saturating_sub(since.elapsed())) => {}
        }
    }

    fn slow(&self, after: Period) -> Error {
        let waiting = self.places as usize - self.room.available_permits();
        let bytes = waiting as u64 * self.spec.bytes.0 / u64::from(self.places);
        Error::Slow { consumer: self.consumer, bytes: ByteSize(bytes), after }
    }

    /// Why the task has stopped.
    async fn failure(&mut self) -> Result<(), Error> {
        match self.task.take() {
            Some(task) => match task.await {
                Ok(Err(error)) => Err(error),
                _ => Err(Error::Lost { consumer: self.consumer }),
            },
            None => Err(Error::Lost { consumer: self.consumer }),
        }
    }

    fn drop(&mut self, rows: usize) {
        // Once for each power of two: a receiver that is gone for days must not fill the log.
        let before = self.dropped;
        self.dropped += rows as u64;
        if before.checked_ilog2() != self.dropped.checked_ilog2() {
            let (consumer, dropped) = (self.consumer, self.dropped);
            tracing::warn!(consumer, dropped, "the receiver is too slow; dropping rows, as `whenFull` says");
        }
    }
}

impl<P> Drop for Outbox<P> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn run<D: Deliver>(
    consumer: &'static str,
    mut deliver: D,
    mut parcels: mpsc::UnboundedReceiver<(D::Parcel, Room)>,
    room: Arc<Semaphore>,
    (patience, hurry): (Duration, CancellationToken),
) -> Result<(), Error> {
    let delivered = async {
        let Begun::With(first) = begun(&mut deliver, &mut parcels).await? else { return Ok(()) };
        if let Some((parcel, place)) = first {
            deliver.deliver(parcel, place).await?;
        }
        loop {
            let parcel = tokio::select! {
                biased;
                parcel = parcels.recv() => parcel,
                error = deliver.broken() => return Err(error),
            };
            match parcel {
                Some((parcel, place)) => deliver.deliver(parcel, place).await?,
                None => return Ok(()),
            }
        }
    };
    // After a panic too, what was not delivered is not: whoever waits for room finds out.
    let delivered = Box::pin(caught(delivered)).await;
    if let Err(error) = delivered.unwrap_or_else(|what| {
        tracing::error!(consumer, %what, "delivering rows panicked");
        Err(Error::Lost { consumer })
    }) {
        room.close();
        return Err(error);
    }
    deliver.close(if hurry.is_cancelled() { patience.min(END) } else { patience }).await
}

/// How a delivery begins.
enum Begun<P> {
    /// With the first parcel, if it came meanwhile.
    With(Option<(P, Room)>),
    /// Not: no parcel will ever come.
    Over,
}

/// Waits until delivery can begin.
async fn begun<D: Deliver>(
    deliver: &mut D,
    parcels: &mut mpsc::UnboundedReceiver<(D::Parcel, Room)>,
) -> Result<Begun<D::Parcel>, Error> {
    let mut first = None;
    let mut beginning = deliver.begin();
    loop {
        tokio::select! {
            done = &mut beginning => return done.map(|()| Begun::With(first)),
            parcel = parcels.recv(), if first.is_none() => match parcel {
                Some(parcel) => first = Some(parcel),
                // Whoever is waited for would hear nothing.
                None => return Ok(Begun::Over),
            },
        }
    }
}

#[cfg(test)]
mod tests;
