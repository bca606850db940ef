//! A lane fetches the messages of its partitions, decodes them and passes them through the stateless handlers, in two tasks
//! so that they overlap.

mod ahead;
mod decoding;
mod fetching;
mod slices;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::array::RecordBatch;
use spout_base::{
    clock,
    error::{Coded as _, chain},
    owner,
    panicked::caught,
    trace::{self, Context},
};
use spout_data::{Batch, PartitionId, Position, Provenance};
use spout_node::Chain;
use spout_producer::{Boundary, Decoder, Fetched, Fetcher, Found, Member, Standings};
use spout_repo::OpenCommit;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::timeout_at,
};
use tokio_util::sync::CancellationToken;

pub(super) use self::slices::{More, Slice};
use self::{decoding::Decoding, fetching::Fetching};
use super::Error;

/// What a lane reports to the place where lanes meet.
#[derive(Debug)]
pub(super) enum LaneEvent {
    /// Batches of one run; they are taken together, and with those that follow, if there are `more`.
    Batches { partition: PartitionId, batches: Vec<Batch>, more: Option<More>, about: About, share: Share },
    /// Nothing for now.
    Idle {
        partition: PartitionId,
        /// And yet somebody is there who may send, or somebody is waited for.
        expects: bool,
    },
    /// The source's own place is another one now, at the same offset: where it goes on after a restart.
    Place(PartitionId, Position),
    /// Nothing ever again.
    Ended(PartitionId),
    /// The lane is over.
    Failed(Box<Error>),
}

/// What is known of a run besides its rows.
#[derive(Debug, Default)]
pub(super) struct About {
    /// The source was re-entered here.
    pub(super) jumped: Option<u64>,
    /// Whether the position is another after it.
    pub(super) moved: bool,
    /// Somebody waits until it is durable, and should not wait longer than this.
    pub(super) awaited: Option<Duration>,
    /// The commits of other repos that it comes from.
    pub(super) provenance: Vec<Provenance>,
    /// Where it stands in a commit of the source's own.
    pub(super) boundary: Boundary,
    /// The files of that commit, where it ends here.
    pub(super) files: Option<Box<OpenCommit>>,
    /// How often columns had been added to the schema when it was decoded; never less than that of an earlier run.
    pub(super) edition: u64,
    /// The span of its fetch.
    pub(super) trace: Option<Context>,
}

/// What was fetched, kept up to date by each lane for whoever shows progress.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Meter {
    /// Counts what was fetched; how much room that takes.
    fn count(&self, fetched: &Fetched) -> usize {
        let rows = fetched.rows.as_ref().map_or(0, RecordBatch::get_array_memory_size);
        let bytes = fetched.messages.bytes() + rows;
        self.messages.fetch_add(fetched.count() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        fetched.messages.room() + rows
    }
}

/// What a run has until it was taken: its share of the room, and the spans of the fetches that brought it.
#[derive(Debug)]
pub(super) struct Share {
    /// None where another process has fetched it.
    room: Option<OwnedSemaphorePermit>,
    traces: Vec<Context>,
}

impl Share {
    /// The share of a run that `fetch` brought.
    pub(super) fn new(room: OwnedSemaphorePermit, fetch: Option<Context>) -> Self {
        Self { room: Some(room), traces: fetch.into_iter().collect() }
    }

    /// That of a run which takes none of the room of this process.
    pub(super) fn none() -> Self {
        Self { room: None, traces: Vec::new() }
    }

    /// The first of its fetches.
    pub(super) fn trace(&self) -> Option<Context> {
        self.traces.first().copied()
    }

    /// All of its fetches, as many as a commit names.
    pub(super) fn traces(&self) -> &[Context] {
        &self.traces
    }

    /// Takes in that of a run that follows.
    pub(super) fn merge(&mut self, other: Self) {
        match (&mut self.room, other.room) {
            (Some(own), Some(other)) => own.merge(other),
            (own, other) => *own = own.take().or(other),
        }
        let left = trace::LINKS.saturating_sub(self.traces.len());
        self.traces.extend(other.traces.into_iter().take(left));
    }
}

/// Bytes fetched and not yet taken by the consumers, over all lanes of a pipeline.
const ROOM: usize = 48 << 20;

/// What of that one producer has: it never waits for bytes of another, whose rows may be waiting for its own.
#[derive(Clone, Debug)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    whole: usize,
}

impl Room {
    /// Bytes of all of it.
    pub(super) fn whole(&self) -> usize {
        self.whole
    }

    /// Bytes of what is in it.
    pub(super) fn taken(&self) -> usize {
        self.whole.saturating_sub(self.free.available_permits())
    }

    /// Waits for room for `bytes`, or for all of it if that is less; `None` at the end.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let size = u32::try_from(bytes.clamp(1, self.whole)).unwrap_or(u32::MAX);
        Arc::clone(&self.free).acquire_many_owned(size).await.ok()
    }
}

/// The room of each producer, by number.
pub(super) fn rooms<T>(producers: &BTreeMap<u16, T>) -> BTreeMap<u16, Room> {
    let whole = ROOM / producers.len().max(1);
    producers.keys().map(|&number| (number, Room { free: Arc::new(Semaphore::new(whole)), whole })).collect()
}

/// What all lanes of a pipeline share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) pipeline: String,
    pub(super) events: mpsc::UnboundedSender<LaneEvent>,
    pub(super) room: Room,
    pub(super) meter: Arc<Meter>,
    pub(super) standings: Standings,
    /// Most messages of one fetch: a commit can be cut only between two.
    pub(super) most: u32,
    pub(super) stop: CancellationToken,
}

impl Shared {
    /// What lanes of `pipeline` share, which has fetched `messages` before and makes a commit of about `rows`.
    pub(super) fn new(
        pipeline: &str,
        events: mpsc::UnboundedSender<LaneEvent>,
        messages: u64,
        rows: u64,
        stop: &CancellationToken,
    ) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            events,
            room: Room { free: Arc::new(Semaphore::new(ROOM)), whole: ROOM },
            meter: Arc::new(Meter { messages: AtomicU64::new(messages), bytes: AtomicU64::new(0) }),
            standings: Standings::default(),
            most: u32::try_from(rows).unwrap_or(u32::MAX).max(1),
            stop: stop.clone(),
        }
    }
}

/// The handle that the meeting place keeps of a lane.
#[derive(Debug)]
pub(super) struct Lane {
    found: mpsc::UnboundedSender<Found>,
    committed: Hints,
    /// The task that tells a source of the last commit.
    last: Option<JoinHandle<()>>,
}

/// How long all sources together may take to be told of the last commit.
const LAST: Duration = Duration::from_secs(3);

/// Positions before which everything is durable, until the source is notified.
type Hints = Arc<Mutex<BTreeMap<PartitionId, Position>>>;

impl Lane {
    /// Starts the tasks of a lane, whose `fetcher` has one partition. They end when `shared.stop` is cancelled, or by failing.
    pub(super) fn start(
        fetcher: Box<dyn Fetcher>,
        (decoder, member): (Decoder, Option<Member>),
        chain: Chain,
        shared: &Shared,
    ) -> Self {
        let (found, more) = mpsc::unbounded_channel();
        let (raw, fetched) = mpsc::channel(2);
        let committed = Hints::default();
        let fetching = Fetching { fetcher, found: more, hints: Arc::clone(&committed), raw, shared: shared.clone() };
        let passes_on = fetching.fetcher.passes_on();
        let fetches = owner::spawn(watched(shared.clone(), "the task that fetches", fetching.run()));
        let decoding = Decoding { decoder, member, chain, fetched, held: None, shared: shared.clone(), trace: None };
        owner::spawn(watched(shared.clone(), "the task that decodes", decoding.run()));
        Self { found, committed, last: passes_on.then_some(fetches) }
    }

    /// Ends `lanes` once those sources were told of the last commit that have to be; whoever does not take it in time is told with
    /// the next run's first one.
    pub(super) async fn end(lanes: impl IntoIterator<Item = Self>) {
        let until = clock::now() + LAST;
        // What is left of each is dropped first, or one would wait for the other.
        let last: Vec<JoinHandle<()>> = lanes.into_iter().filter_map(|lane| lane.last).collect();
        for task in last {
            drop(timeout_at(until, task).await);
        }
    }

    /// Reads this partition too.
    pub(super) fn add(&self, found: Found) {
        // Nobody receives it once the pipeline is over.
        drop(self.found.send(found));
    }

    /// Tells the source, between two fetches, that everything before `upto` is durable.
    pub(super) fn committed(&self, partition: PartitionId, upto: &Position) {
        locked(&self.committed).insert(partition, upto.clone());
    }
}

/// Runs a task of a lane to its end; where lanes meet a panic is known at once.
async fn watched(shared: Shared, doing: &'static str, task: impl Future<Output = ()>) {
    if let Err(what) = Box::pin(caught(task)).await {
        let pipeline = shared.pipeline.clone();
        let error = Box::new(Error::Panicked { pipeline, doing, what });
        if let Err(unheard) = shared.events.send(LaneEvent::Failed(error))
            && let LaneEvent::Failed(error) = unheard.0
        {
            // The run is over: what was not done then is done again by the next one.
            let (pipeline, code, error) = (shared.pipeline, error.code(), chain(error.as_ref()));
            tracing::error!(pipeline, code, error, "after the last commit");
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
