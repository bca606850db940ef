//! Runs one pipeline from its head until it stops: performs what `decide` says.

mod commits;
mod elsewhere;
mod lanes;
mod rows;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use spout_base::{clock, trace::Context};
use spout_consumer::{Consumer, RepoConsumer};
use spout_data::{Counts, PartitionId, Position, Provenance};
use spout_node::{Source, SourceEvent};
use spout_producer::{Producer, ProducerTraits, Readers, Service, StoreAccess};
use spout_repo::{BranchWriter, Store};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    commits::finished,
    elsewhere::turn,
    lanes::Pause,
    rows::{consumer_failed, warn_of},
};
use super::{
    Error, PluginMetrics, Update,
    build::{Parts, Reading},
    columns::Columns,
    commit::Done,
    decide::{Action, Event, State, Until},
    keyed::Handlers,
    lane::{Lane, LaneEvent, Room, Shared, rooms},
    meeting::Meeting,
    offsets::Offsets,
    overdue::unless_overdue,
    publish::Publishing,
    recover::{self, Recovered},
    spread::{self, Leading, Spread},
    taking::Taking,
    totals::Totals,
};

/// What comes from outside while a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Cut a commit now.
    Commit,
    /// Stop: commit what was taken, and end.
    Stop,
    /// Go on; for one that waits.
    Go,
}

/// How a pipeline is run.
#[derive(Clone, Debug)]
pub(crate) struct RunConfig {
    pub(super) until: Until,
    pub(super) json: bool,
    /// Resident bytes above which a commit is cut early.
    pub(super) memory_high: Option<u64>,
    /// Cancelled with the order to stop: it is seen also where an order would not be.
    pub(super) stop: CancellationToken,
    /// What lets programs of this machine into the API of the store, if anything does.
    pub(super) access: Option<Arc<dyn StoreAccess>>,
    /// The processes that share its work, if any do.
    pub(super) leads: Option<Leading>,
}

impl RunConfig {
    /// How a worker runs what it has of a pipeline.
    pub(super) fn of_worker(stop: &CancellationToken) -> Self {
        Self { until: Until::Stopped, json: true, memory_high: None, stop: stop.clone(), access: None, leads: None }
    }
}

/// A running pipeline.
struct Run<'a> {
    parts: Parts,
    config: RunConfig,
    updates: mpsc::UnboundedSender<Update>,
    state: State,
    producer: Box<dyn Producer>,
    traits: ProducerTraits,
    /// Partitions that have ended since partitions were last looked for, where others may come after them.
    ended: Vec<(PartitionId, Position)>,
    /// How many of them the source was told of that looks for partitions now.
    asked: usize,
    /// Pauses of partitions that are not taken before those after them were looked for.
    pauses: Vec<Pause>,
    /// Whether it replays dead letters into their own table.
    replays: bool,
    /// The source takes no more.
    drained: bool,
    listening: bool,
    /// What leads connections to the plugin, if it is a service.
    service: Option<Service>,
    columns: Columns,
    /// Which producer of the spec is behind each number.
    indices: BTreeMap<u16, usize>,
    shared: Shared,
    /// What of the room for fetched bytes each producer has.
    rooms: BTreeMap<u16, Room>,
    /// By [`Producer::lane`]; none where other processes have them.
    lanes: BTreeMap<PartitionId, Lane>,
    spread: Option<Spread>,
    /// How often columns were added before what was taken last, and the first rows that have more.
    edition: u64,
    wider: Option<LaneEvent>,
    /// Whether columns were added since it was said what readers of the table will not see.
    unsaid: bool,
    meeting: Meeting,
    consumers: Vec<Box<dyn Consumer>>,
    taking: Taking,
    offsets: Offsets,
    /// What the readers of a stream have taken, where it has some.
    readers: Readers,
    /// Where the rows of the open commit come from.
    provenance: Vec<Provenance>,
    /// The spans of the fetches that brought its messages, as many as it names, and one more.
    traces: Vec<Context>,
    committing: Option<JoinHandle<Result<Done, Error>>>,
    writer: Option<BranchWriter>,
    publishing: Publishing,
    totals: &'a mut Totals,
    /// What became of everything that was taken, committed or not.
    seen: Counts,
    shown: Option<Update>,
    /// What was last said of the plugins' own metrics.
    reported: PluginMetrics,
    _stop_lanes: DropGuard,
}

/// Runs `parts` from the head of its branch until it stops by itself or by order; adds to `totals` what it commits.
pub(super) async fn run(
    parts: &Parts,
    store: &Store,
    config: &RunConfig,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    totals: &mut Totals,
    updates: &mpsc::UnboundedSender<Update>,
) -> Result<(), Error> {
    let start = Box::pin(Run::start(parts, store, config, totals, updates));
    let (mut run, events) = unless_overdue(&parts.name, "its start", &config.stop, start).await??;
    let over = Box::pin(run.until_stopped(events, orders)).await;
    match &over {
        Ok(()) => run.tell_elsewhere().await,
        Err(_) => run.last_commit().await,
    }
    // What is still queued will not be taken; only then can waiting clients be notified.
    run.shared.stop.cancel();
    Lane::end(std::mem::take(&mut run.lanes).into_values()).await;
    run.producer.close().await;
    over?;
    run.end_consumers().await;
    run.publishing.finish().await
}

type LaneEvents = mpsc::UnboundedReceiver<LaneEvent>;

impl<'a> Run<'a> {
    async fn start(
        parts: &Parts,
        store: &Store,
        config: &RunConfig,
        totals: &'a mut Totals,
        updates: &mpsc::UnboundedSender<Update>,
    ) -> Result<(Self, LaneEvents), Error> {
        let parts = &parts.running(store, config);
        parts.standings.begin();
        let Recovered { repo, writer, marker, head, took_over, mut states, columns } =
            Box::pin(recover::recover(parts, store, config.leads.as_ref())).await?;
        totals.epoch = config.leads.as_ref().map(|_| writer.epoch());
        let reason = writer.head().map(|head| head.reason.clone());
        let before_ms = writer.head().map_or(0, |head| head.started_ms);
        let empty = parts.begin_empty(&states);
        let mut meeting = parts.handlers(&mut states).await?;
        let shape = parts.shape(&columns, &mut meeting).await?;
        let split = meeting.are_split();
        parts.still_split(&columns, split).await?;
        recover::fits(parts, (&repo, writer.head()), &columns, shape.schema.as_ref()).await?;
        let differences = parts.differences(&shape)?;
        warn_of(&parts.name, &differences);
        let consumers = parts.consumers(config.json, &config.stop).await;
        let consumers = consumers.map_err(|source| consumer_failed(parts, source))?;
        let (sender, events) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let Reading { producer, names, indices } = parts.producer(store, config, &marker)?;
        let service = parts.service(&config.stop).await?;
        let (traits, shared_by) = (producer.traits(), producer.consumers(PartitionId::default()));
        let until = match config.until {
            Until::Stopped if traits.finite => Until::Ended,
            until => until,
        };
        let partitions = marker.partitions.len();
        let mut taking = Taking::new(parts, RepoConsumer::new(repo.clone(), parts.target(), names.clone(), before_ms));
        let splits = parts.splits(&columns, split, empty, config).await?;
        let at = (writer.epoch(), writer.head());
        let mut spread = spread::over(parts, config, (&traits, shared_by), &columns, splits, at).await;
        if let Some(spread) = &mut spread {
            spread.next_commit(taking.repo.id(), before_ms, false);
        }
        let idle_after = meeting.idle_after();
        if spread.as_ref().is_some_and(Spread::exchanges) {
            // Other processes have them.
            meeting = Handlers::default();
        }
        let meeting = Meeting::new(&parts.name, meeting, &config.stop);
        let rooms = rooms(&indices);
        parts.figures.fetches_into(rooms.values());
        drop(updates.send(Update::Started { pipeline: parts.name.clone(), head, took_over, partitions }));
        let run = Self {
            publishing: Publishing::start(parts, &repo, &differences),
            state: State::new(parts.thresholds(), until, traits.drains, idle_after).after(reason.as_deref()),
            producer,
            traits,
            ended: Vec::new(),
            asked: 0,
            pauses: Vec::new(),
            replays: parts.inputs.iter().any(|input| input.source.spec.replays()),
            drained: false,
            listening: false,
            service,
            taking,
            parts: parts.clone(),
            config: config.clone(),
            updates: updates.clone(),
            columns,
            shared: Shared {
                standings: parts.standings.clone(),
                ..Shared::new(&parts.name, sender, totals.counts.messages, parts.thresholds().rows, &stop)
            },
            rooms,
            indices,
            lanes: BTreeMap::new(),
            spread,
            edition: 0,
            wider: None,
            unsaid: false,
            meeting,
            consumers,
            offsets: Offsets::new(marker, names),
            readers: Readers::default(),
            provenance: Vec::new(),
            traces: Vec::new(),
            committing: None,
            writer: Some(writer),
            seen: totals.counts.clone(),
            reported: PluginMetrics::new(),
            totals,
            shown: None,
            _stop_lanes: stop.drop_guard(),
        };
        Ok((run, events))
    }

    async fn until_stopped(
        &mut self,
        mut events: LaneEvents,
        orders: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Result<(), Error> {
        let mut discover = interval(self.traits.discover_every);
        discover.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut show = interval(Duration::from_millis(250));
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(event) = self.wider.take_if(|_| !self.state.parting()) {
                if self.on_lane_event(event).await? { return Ok(()) } else { continue }
            }
            let due = self.state.due_at();
            let takes = !self.state.full() && self.wider.is_none();
            // Where rows go into files elsewhere, those who put them there know when to wait.
            let hears = takes || self.spread.as_ref().is_some_and(|spread| !spread.brings_rows());
            let stop = tokio::select! {
                Some(event) = events.recv(), if takes => self.on_lane_event(event).await?,
                turn = turn(&mut self.spread), if hears => self.on_turn(turn?).await?,
                done = finished(&mut self.committing) => { self.committed(done?).await? }
                Some(order) = orders.recv() => self.obey(order).await?,
                _ = discover.tick() => self.look().await?,
                found = self.producer.looked() => self.looked(found).await?,
                () = sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => self.step(Event::Tick).await?,
                _ = show.tick() => self.show().await?,
                error = self.publishing.failed() => return Err(error),
                error = failed(&mut self.service, &self.parts.name) => return Err(error),
                error = failed_consumer(&mut self.consumers, &mut self.taking.repo) => {
                    return Err(consumer_failed(&self.parts, error));
                }
            };
            if stop {
                return Ok(());
            }
        }
    }

    /// Takes an event and performs the actions; whether the pipeline is over.
    async fn step(&mut self, event: Event) -> Result<bool, Error> {
        let (mut stop, mut released) = (false, None);
        for action in self.state.step(event, clock::now()) {
            match action {
                Action::Finish => drop(self.finish().await?),
                Action::Release => released = Some(self.finish().await?),
                Action::Quiet(partition, after) => {
                    // What it releases counts for the next commit, and cannot be the reason for one.
                    self.deliver(SourceEvent::Idle(Source::Partition(partition), after)).await?;
                }
                Action::Cut(reason) => self.cut(reason).await?,
                Action::Drain => {
                    self.parts.draining.cancel();
                    self.drained = true;
                    self.spread.iter_mut().for_each(Spread::drain);
                    if self.traits.drains { self.producer.drain() } else { self.shared.stop.cancel() }
                }
                Action::Abandon => {
                    let pipeline = &self.parts.name;
                    tracing::warn!(
                        pipeline,
                        "a plugin hangs on the last messages; abandoning it so that the pipeline can stop"
                    );
                    self.shared.stop.cancel();
                }
                Action::Hint => drop(
                    self.updates
                        .send(Update::Waiting { pipeline: self.parts.name.clone(), advice: self.parts.how_to_end() }),
                ),
                Action::Stop => stop = true,
            }
        }
        match released {
            Some(released) => Box::pin(self.step(released)).await,
            None => Ok(stop),
        }
    }

    async fn obey(&mut self, order: Order) -> Result<bool, Error> {
        match order {
            Order::Commit => self.step(Event::Forced).await,
            Order::Stop => self.step(Event::Shutdown).await,
            Order::Go => Ok(false),
        }
    }

    async fn show(&mut self) -> Result<bool, Error> {
        let bytes = self.shared.meter.bytes.load(Ordering::Relaxed);
        if bytes > 0 {
            let messages = self.shared.meter.messages.load(Ordering::Relaxed);
            let now = Update::Progress {
                pipeline: self.parts.name.clone(),
                counts: Counts { messages, ..self.seen.clone() },
                bytes,
                lag: self.shared.standings.lag(),
            };
            if self.shown.as_ref() != Some(&now) {
                drop(self.updates.send(now.clone()));
                self.shown = Some(now);
            }
        }
        match (self.config.memory_high, super::memory::resident()) {
            (Some(high), Some(now)) if now > high => self.step(Event::MemoryHigh).await,
            _ => Ok(false),
        }
    }
}

pub(crate) use self::rows::size;

/// Why one of the consumers can take no more, although it was asked for nothing; never, as long as all can.
async fn failed_consumer(consumers: &mut [Box<dyn Consumer>], repo: &mut RepoConsumer) -> spout_consumer::Error {
    let mut all: Vec<_> = consumers.iter_mut().map(|consumer| consumer.failed()).collect();
    let any = poll_fn(|cx| {
        let failed = all.iter_mut().find_map(|failed| match failed.as_mut().poll(cx) {
            Poll::Ready(error) => Some(error),
            Poll::Pending => None,
        });
        failed.map_or(Poll::Pending, Poll::Ready)
    });
    tokio::select! {
        error = any => error,
        error = repo.failed() => error,
    }
}

/// Why what leads connections to the plugin is over; never, as long as it is not.
async fn failed(service: &mut Option<Service>, pipeline: &str) -> Error {
    match service {
        Some(service) => {
            let source = Box::new(service.failed().await);
            Error::Producer { pipeline: pipeline.to_owned(), source }
        }
        None => std::future::pending().await,
    }
}
