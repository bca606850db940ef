//! A lane fetches the messages of its partitions, decodes them and passes them through the stateless handlers, in two tasks
//! so that they overlap.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use spout_codec::UnknownField;
use spout_data::{Batch, Counts, PartitionId, Position, Provenance};
use spout_node::Chain;
use spout_plugin::Progress;
use spout_producer::{Decoder, Fetched, Fetcher, Found, Member, Steady};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Error,
    sample::{PATIENCE, Raw, Run, Sample},
};

/// What a lane tells the place where lanes meet.
#[derive(Debug)]
pub(super) enum LaneEvent {
    /// Batches of one run; they are taken together.
    Batches { partition: PartitionId, batches: Vec<Batch>, about: About, room: OwnedSemaphorePermit },
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
    /// The source was entered anew here.
    pub(super) jumped: Option<u64>,
    /// Whether the position is another after it.
    pub(super) moved: bool,
    /// Somebody waits until it is durable, and should not wait longer than this.
    pub(super) awaited: Option<Duration>,
    /// The commits of other repos that it comes from.
    pub(super) provenance: Vec<Provenance>,
    /// How often columns had been added to the schema when it was decoded; never less than of what was told before.
    pub(super) edition: u64,
}

/// What was fetched, kept up to date by each lane for whoever shows progress.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) messages: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Offsets between what was fetched of a partition and what the source has, where it says so.
    behind: Mutex<BTreeMap<PartitionId, Option<u64>>>,
}

impl Meter {
    /// Notes that `partition` was fetched up to `next`, and that the source has it up to `end`.
    fn behind(&self, partition: PartitionId, end: Option<u64>, next: u64) {
        locked(&self.behind).insert(partition, end.map(|end| end.saturating_sub(next)));
    }

    /// Offsets between what was fetched and what the source has, over all partitions; `None` if one does not say so.
    pub(super) fn lag(&self) -> Option<u64> {
        let behind = locked(&self.behind);
        if behind.is_empty() { None } else { behind.values().copied().sum() }
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
            meter: Arc::new(Meter {
                messages: AtomicU64::new(messages),
                bytes: AtomicU64::new(0),
                behind: Mutex::default(),
            }),
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
}

/// Positions before which everything is durable, until the source is told.
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
        tokio::spawn(fetching.run());
        tokio::spawn(Decoding { decoder, member, chain, fetched, shared: shared.clone() }.run());
        Self { found, committed }
    }

    /// Reads this partition too.
    pub(super) fn add(&self, found: Found) {
        // Nobody hears it where the pipeline is over.
        drop(self.found.send(found));
    }

    /// Tells the source, between two fetches, that everything before `upto` is durable.
    pub(super) fn committed(&self, partition: PartitionId, upto: &Position) {
        locked(&self.committed).insert(partition, upto.clone());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Fetching {
    fetcher: Box<dyn Fetcher>,
    found: mpsc::UnboundedReceiver<Found>,
    hints: Hints,
    raw: mpsc::Sender<Raw>,
    shared: Shared,
}

impl Fetching {
    async fn run(mut self) {
        let stop = self.shared.stop.clone();
        // Dropping a fetch half way is fine: its store goes with it, and nothing of it was taken.
        if let Some(Err(error)) = stop.run_until_cancelled(self.fetch_all()).await {
            let pipeline = self.shared.pipeline.clone();
            drop(
                self.shared
                    .events
                    .send(LaneEvent::Failed(Box::new(Error::Producer { pipeline, source: Box::new(error) }))),
            );
        }
    }

    async fn fetch_all(&mut self) -> Result<(), spout_producer::Error> {
        // Partitions that have nothing for now, with what was told of that.
        let mut idle = BTreeMap::new();
        let mut reading = 1_usize;
        // Messages until as many have come as make a commit: where there is one lane, and one row a message, it is cut there.
        let mut left = self.shared.most;
        loop {
            tokio::select! {
                biased;
                found = self.found.recv() => {
                    let Some(found) = found else { return Ok(()) };
                    self.fetcher.add(found);
                    reading += 1;
                    continue;
                }
                () = self.fetcher.ready(), if reading > 0 => {}
            }
            let upto = std::mem::take(&mut *locked(&self.hints));
            if !upto.is_empty() {
                self.fetcher.committed(&upto).await;
            }
            let fetched = self.fetcher.fetch(left).await?;
            let came = u32::try_from(fetched.count()).unwrap_or(u32::MAX);
            left = left.checked_sub(came).filter(|left| *left > 0).unwrap_or(self.shared.most);
            let (progress, expects, partition) = (fetched.progress, fetched.expects, fetched.span.partition);
            self.shared.meter.behind(partition, fetched.high_watermark, fetched.span.next.offset);
            let moved = fetched.moves();
            if fetched.replaced && !moved && !self.pass(Raw::Place(partition, fetched.span.next.clone())).await {
                return Ok(());
            }
            // Who waits is heard of also where nothing new came.
            if (moved || fetched.awaited.is_some()) && !self.pass_on(fetched).await {
                return Ok(());
            }
            let event = match progress {
                Progress::Ended => Some(Raw::Ended(partition)),
                Progress::Idle if idle.insert(partition, expects) != Some(expects) || moved => {
                    Some(Raw::Idle(partition, expects))
                }
                Progress::More | Progress::Idle => None,
            };
            if progress != Progress::Idle {
                idle.remove(&partition);
            }
            if let Some(event) = event
                && !self.pass(event).await
            {
                return Ok(());
            }
            reading -= usize::from(progress == Progress::Ended);
            if !moved && progress == Progress::More {
                // A source that has more and gives nothing must not keep the others from running.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether the decoding task took it.
    async fn pass(&mut self, raw: Raw) -> bool {
        self.raw.send(raw).await.is_ok()
    }

    /// Whether the decoding task took it.
    async fn pass_on(&mut self, fetched: Fetched) -> bool {
        let rows = fetched.rows.as_ref();
        let bytes = fetched.messages.bytes() + rows.map_or(0, RecordBatch::get_array_memory_size);
        let messages = fetched.count();
        self.shared.meter.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.shared.meter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let Room { free, whole } = &self.shared.room;
        let size = u32::try_from(bytes.clamp(1, *whole)).unwrap_or(u32::MAX);
        match Arc::clone(free).acquire_many_owned(size).await {
            Ok(room) => self.pass(Raw::Run(Box::new(fetched), room)).await,
            Err(_) => false,
        }
    }
}

struct Decoding {
    decoder: Decoder,
    /// Where the rows of several producers come together.
    member: Option<Member>,
    chain: Chain,
    fetched: mpsc::Receiver<Raw>,
    shared: Shared,
}

impl Decoding {
    async fn run(mut self) {
        let stop = self.shared.stop.clone();
        stop.run_until_cancelled(self.decode_all()).await;
    }

    async fn decode_all(&mut self) {
        let mut waiting = VecDeque::new();
        loop {
            let raw = match waiting.pop_front() {
                Some(raw) => Ok(raw),
                None => match self.fetched.recv().await {
                    Some(Raw::Run(first, room)) if first.rows.is_none() && self.decoder.infers() => {
                        match self.settle((first, room), &mut waiting).await {
                            Ok(()) => continue,
                            Err(error) => Err(error),
                        }
                    }
                    Some(raw) => Ok(raw),
                    None => return,
                },
            };
            if let (Some(member), Ok(Raw::Idle(partition, _) | Raw::Ended(partition))) = (&self.member, &raw) {
                member.quiet(*partition).await;
            }
            let event = match raw {
                Ok(Raw::Idle(partition, expects)) => Ok((LaneEvent::Idle { partition, expects }, None)),
                Ok(Raw::Place(partition, position)) => Ok((LaneEvent::Place(partition, position), None)),
                Ok(Raw::Ended(partition)) => Ok((LaneEvent::Ended(partition), None)),
                Ok(Raw::Run(fetched, room)) => match self.take((fetched, room), &mut waiting).await {
                    Ok(None) => continue,
                    Ok(Some((event, steady))) => Ok((event, Some(steady))),
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            // The columns stay as they are until it is told: what is told later has no fewer.
            let (event, _steady) = event.unwrap_or_else(|error| (LaneEvent::Failed(Box::new(error)), None));
            let over = matches!(event, LaneEvent::Failed(_));
            // Nobody hears it where the pipeline is over.
            if self.shared.events.send(event).is_err() || over {
                return;
            }
        }
    }

    /// Waits a little for more messages to infer a schema from: a slow source would otherwise settle it with its first one.
    /// They are decoded together, unless that were more than a commit may hold: then it is settled with what the decoder makes
    /// of them all, and they are decoded one by one.
    async fn settle(&mut self, first: Run, waiting: &mut VecDeque<Raw>) -> Result<(), Error> {
        let sample = Sample::gather(first, waiting, &mut self.fetched, PATIENCE).await;
        if let Some(first) = sample.first().filter(|_| sample.is_more() && !sample.fits(self.shared.most)) {
            let decoded = self.decoder.decode(sample.messages(), first.span.clone()).await;
            decoded.map_err(|error| self.failed(error))?;
        }
        sample.put_back(self.shared.most, waiting);
        Ok(())
    }

    /// Decodes a run and passes it through the handlers. If it has fields that become columns, these are added, and it is put
    /// back to be decoded with them.
    async fn take(
        &mut self,
        (mut fetched, room): Run,
        waiting: &mut VecDeque<Raw>,
    ) -> Result<Option<(LaneEvent, Steady)>, Error> {
        let steady = self.decoder.steady().await;
        let (jumped, awaited, moved) = (fetched.jump, fetched.awaited, fetched.moves());
        let span = fetched.span.clone();
        let (partition, start, next) = (span.partition, span.start, span.next.offset);
        let mut batch = match fetched.rows.take() {
            Some(records) => {
                let counts = Counts { messages: records.num_rows() as u64, ..Counts::default() };
                Batch { span, counts, ..Batch::held(records) }
            }
            None => {
                let decoded = self.decoder.decode(std::mem::take(&mut fetched.messages), span).await;
                decoded.map_err(|error| self.failed(error))?
            }
        };
        if let Some(added) = self.decoder.added(&batch).map_err(|error| self.failed(error))? {
            let Batch { messages, unknown, .. } = batch;
            fetched.messages = Arc::unwrap_or_clone(messages);
            drop(steady);
            self.widen((fetched, room), added, &unknown, waiting).await?;
            return Ok(None);
        }
        let steady = match &mut self.member {
            // Its own columns need not stay: what is told is as the union has it.
            Some(member) => {
                drop(steady);
                member.join(&mut batch).await.map_err(|error| self.failed(error))?
            }
            None => steady,
        };
        let provenance = std::mem::take(&mut fetched.provenance);
        let about = About { jumped, moved, awaited, provenance, edition: steady.edition() };
        let batches = self.chain.handle(batch).await.map_err(|error| Error::Node {
            pipeline: self.shared.pipeline.clone(),
            partition,
            start,
            next,
            source: Box::new(error),
        })?;
        Ok(Some((LaneEvent::Batches { partition, batches, about, room }, steady)))
    }

    /// Adds columns for the fields of `first` that have none, `added`, and of the messages that follow it soon: these are typed
    /// together, as first messages are.
    async fn widen(
        &mut self,
        first: Run,
        added: SchemaRef,
        unknown: &[UnknownField],
        waiting: &mut VecDeque<Raw>,
    ) -> Result<(), Error> {
        let patience = first.0.awaited.unwrap_or(PATIENCE).min(PATIENCE);
        let sample = Sample::gather(first, waiting, &mut self.fetched, patience).await;
        let all = if sample.is_more() {
            self.decoder.added_for(&sample.messages(), unknown).map_err(|error| self.failed(error))?
        } else {
            None
        };
        self.decoder.widen(&all.unwrap_or(added)).await;
        sample.put_back(self.shared.most, waiting);
        Ok(())
    }

    fn failed(&self, source: spout_producer::Error) -> Error {
        Error::Producer { pipeline: self.shared.pipeline.clone(), source: Box::new(source) }
    }
}
