//! Runs one pipeline from its head until it stops: performs what `decide` says.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use spout_base::clock;
use spout_base::error::Coded as _;
use spout_consumer::{Consumer, RepoConsumer};
use spout_data::{Batch, Counts, PartitionId, Position, Provenance};
use spout_node::{Chain, Shape, Source, SourceEvent};
use spout_producer::{Durable, Fetcher, Found, Producer, ProducerTraits};
use spout_repo::{BranchWriter, Differences, Store};
use spout_spec::OnError;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Error, PluginMetrics, Update,
    build::{Parts, Reading},
    columns::Columns,
    commit::{Cut, Done},
    decide::{Action, Event, Reason, State, Took, Until},
    host::chain,
    lane::{About, Lane, LaneEvent, Room, Shared, rooms},
    meeting::Meeting,
    offsets::Offsets,
    overdue::unless_overdue,
    publish::Publishing,
    recover::{self, Recovered},
    totals::{Reasons, Totals},
};

/// What comes from outside while a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Cut a commit now.
    Commit,
    /// Stop: commit what was taken, and end.
    Stop,
}

/// How a pipeline is run.
#[derive(Clone, Debug)]
pub(super) struct RunConfig {
    pub(super) until: Until,
    pub(super) json: bool,
    /// Resident bytes above which a commit is cut early.
    pub(super) memory_high: Option<u64>,
    /// Cancelled with the order to stop: it is seen also where an order would not be.
    pub(super) stop: CancellationToken,
}

/// A running pipeline.
struct Run<'a> {
    parts: Parts,
    config: RunConfig,
    updates: mpsc::UnboundedSender<Update>,
    state: State,
    producer: Box<dyn Producer>,
    traits: ProducerTraits,
    /// The source was told to take no more.
    drained: bool,
    listening: bool,
    columns: Columns,
    /// Which producer of the spec is behind each number.
    indices: BTreeMap<u16, usize>,
    shared: Shared,
    /// What of the room for fetched bytes each producer has.
    rooms: BTreeMap<u16, Room>,
    /// By [`Producer::lane`].
    lanes: BTreeMap<PartitionId, Lane>,
    /// How often columns were added before what was taken last, and the first rows that have more.
    edition: u64,
    wider: Option<LaneEvent>,
    /// Whether columns were added since it was said what readers of the table will not see.
    unsaid: bool,
    meeting: Meeting,
    consumers: Vec<Box<dyn Consumer>>,
    repo: RepoConsumer,
    offsets: Offsets,
    /// Where the rows of the open commit come from, and its messages that were set aside.
    provenance: Vec<Provenance>,
    dead: Vec<(PartitionId, u64)>,
    /// Why some of its messages could not be processed.
    faults: Reasons,
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
    // What is still queued will not be taken; only then can those who wait be told.
    run.shared.stop.cancel();
    run.producer.close().await;
    over?;
    run.end_consumers().await;
    run.publishing.finish().await;
    Ok(())
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
        let Recovered { repo, writer, marker, head, took_over, mut states, columns } =
            recover::recover(parts, store).await?;
        let reason = writer.head().map(|head| head.reason.clone());
        let mut meeting = parts.meeting_chain(&mut states).await?;
        let shape = parts.shape(&columns, &mut meeting).await?;
        recover::fits(parts, (&repo, writer.head()), &columns, shape.schema.as_ref()).await?;
        let differences = parts.differences(&shape)?;
        warn_of(&parts.name, &differences);
        let meeting = Meeting::new(&parts.name, meeting, &config.stop);
        let consumers = parts.consumers(config.json, &config.stop).await;
        let consumers = consumers.map_err(|source| consumer_failed(parts, source))?;
        let (sender, events) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let Reading { producer, names, indices } = parts.producer(store, config, &marker)?;
        let traits = producer.traits();
        let until = match config.until {
            Until::Stopped if traits.finite => Until::Ended,
            until => until,
        };
        let partitions = marker.partitions.len();
        drop(updates.send(Update::Started { pipeline: parts.name.clone(), head, took_over, partitions }));
        let run = Self {
            publishing: Publishing::start(parts, &repo, &differences),
            state: State::new(parts.thresholds(), until, traits.drains, meeting.idle_after()).after(reason.as_deref()),
            producer,
            traits,
            drained: false,
            listening: false,
            repo: RepoConsumer::new(repo, parts.target(), names.clone()),
            parts: parts.clone(),
            config: config.clone(),
            updates: updates.clone(),
            columns,
            shared: Shared::new(&parts.name, sender, totals.counts.messages, parts.thresholds().rows, &stop),
            rooms: rooms(&indices),
            indices,
            lanes: BTreeMap::new(),
            edition: 0,
            wider: None,
            unsaid: false,
            meeting,
            consumers,
            offsets: Offsets::new(marker, names),
            provenance: Vec::new(),
            dead: Vec::new(),
            faults: Reasons::default(),
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
            let stop = tokio::select! {
                Some(event) = events.recv(), if takes => self.on_lane_event(event).await?,
                done = finished(&mut self.committing) => { self.committed(done?).await? }
                Some(order) = orders.recv() => self.obey(order).await?,
                _ = discover.tick() => self.discover().await?,
                () = sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => self.step(Event::Tick).await?,
                _ = show.tick() => self.show().await?,
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
        }
    }

    /// Looks for new partitions and starts their lanes.
    async fn discover(&mut self) -> Result<bool, Error> {
        let initial = Parts::initial(self.offsets.marker());
        let looking = self.producer.partitions(self.offsets.marker(), initial);
        let found =
            if self.traits.drains { Some(looking.await) } else { self.config.stop.run_until_cancelled(looking).await };
        // What is not found by now is for the next run.
        let Some(found) = found else { return Ok(false) };
        let pipeline = || self.parts.name.clone();
        let found = match found {
            // Whatever it is, no partition is needed any more: what was taken is committed all the same.
            Err(error) if self.config.stop.is_cancelled() => {
                tracing::warn!(
                    pipeline = self.parts.name,
                    error = chain(&error),
                    "no partitions were found before the stop"
                );
                return Ok(false);
            }
            found => found.map_err(|error| Error::Producer { pipeline: pipeline(), source: Box::new(error) })?,
        };
        if !std::mem::replace(&mut self.listening, true) {
            let consumers = self.consumers.iter().flat_map(|consumer| consumer.addresses());
            for address in self.producer.addresses().iter().map(ToString::to_string).chain(consumers) {
                drop(self.updates.send(Update::Listening { pipeline: pipeline(), address }));
            }
        }
        if let Some(union) = self.columns.union() {
            for (&number, &index) in &self.indices {
                let own = found.iter().map(|found| found.partition).filter(|partition| partition.producer == number);
                union.told(index, own).await;
            }
        }
        for found in found {
            self.open_lane(found).await?;
        }
        self.step(Event::Discovered).await
    }

    async fn open_lane(&mut self, found: Found) -> Result<(), Error> {
        let partition = found.partition;
        self.offsets.name(partition, found.label.clone());
        // Where a new partition starts is progress too: `latest` must not mean something later after a crash.
        let starts_late = found.committed.is_none() && found.start != Position::default();
        if starts_late {
            self.offsets.move_on(partition, found.start.clone(), false, None);
        }
        self.deliver(SourceEvent::Opened(Source::Partition(partition))).await?;
        let id = self.producer.lane(partition);
        if let Some(lane) = self.lanes.get(&id) {
            lane.add(found);
        } else {
            let fetcher = self.producer.fetcher(found);
            let chain = self.parts.lane_chain();
            let chain = unless_overdue(&self.parts.name, "opening a handler", &self.config.stop, chain).await??;
            let lane = self.lane(partition.producer, fetcher, chain)?;
            self.lanes.insert(id, lane);
        }
        self.step(Event::Opened(partition)).await?;
        if starts_late {
            self.step(moved(partition)).await?;
        }
        Ok(())
    }

    /// A lane of the producer that has this number.
    fn lane(&self, producer: u16, fetcher: Box<dyn Fetcher>, chain: Chain) -> Result<Lane, Error> {
        let lost = || Error::Task { pipeline: self.parts.name.clone() };
        let index = *self.indices.get(&producer).ok_or_else(lost)?;
        let decoder = self.columns.decoders(index).ok_or_else(lost)?.decoder();
        let member = self.columns.union().map(|union| union.member(index));
        let room = Room::clone(self.rooms.get(&producer).ok_or_else(lost)?);
        Ok(Lane::start(fetcher, (decoder, member), chain, &Shared { room, ..self.shared.clone() }))
    }

    async fn on_lane_event(&mut self, event: LaneEvent) -> Result<bool, Error> {
        match event {
            LaneEvent::Failed(error) => Err(*error),
            LaneEvent::Idle { partition, expects } => self.step(Event::Idle(partition, expects)).await,
            LaneEvent::Place(partition, position) => {
                self.offsets.move_on(partition, position, false, None);
                self.step(Event::Placed).await
            }
            LaneEvent::Ended(partition) if self.traits.drains && self.drained => {
                self.step(Event::Drained(partition)).await
            }
            LaneEvent::Ended(partition) => {
                let (rows, bytes) = self.deliver(SourceEvent::Ended(Source::Partition(partition))).await?;
                let known = self.offsets.of(partition).cloned();
                if !known.as_ref().is_some_and(|known| known.ended) {
                    let position = known.map(|known| known.position).unwrap_or_default();
                    self.offsets.move_on(partition, position, true, None);
                    // In one step: should these rows fill a commit, it also has what handlers still hold back.
                    let took = Took { partition, rows, bytes, moved: true, ended: true, ..Took::default() };
                    self.step(Event::Took(took)).await?;
                }
                self.step(Event::Ended(partition)).await
            }
            LaneEvent::Batches { partition, about: About { edition, .. }, .. } if edition > self.edition => {
                (self.edition, self.unsaid) = (edition, true);
                self.wider = Some(event);
                self.step(Event::Widened(partition)).await
            }
            LaneEvent::Batches { partition, batches, about, room } => {
                let (mut rows, mut bytes, moved) = (0, 0, about.moved);
                for batch in batches {
                    if moved {
                        self.offsets.move_on(partition, batch.span.next.clone(), false, about.jumped);
                    }
                    for batch in self.meeting.handle(batch).await? {
                        let (more_rows, more_bytes) = self.take(batch).await?;
                        (rows, bytes) = (rows + more_rows, bytes + more_bytes);
                    }
                }
                drop(room);
                for from in about.provenance {
                    if !self.provenance.contains(&from) {
                        self.provenance.push(from);
                    }
                }
                let (awaited, upstream) = (about.awaited, self.provenance.len());
                self.step(Event::Took(Took { partition, rows, bytes, moved, ended: false, awaited, upstream })).await
            }
        }
    }

    /// Passes `event` to the handlers; rows and Arrow bytes of what they release.
    async fn deliver(&mut self, event: SourceEvent) -> Result<(u64, u64), Error> {
        let released = self.meeting.on_event(event).await?;
        let (mut rows, mut bytes) = (0, 0);
        for batch in released {
            let (more_rows, more_bytes) = self.take(batch).await?;
            (rows, bytes) = (rows + more_rows, bytes + more_bytes);
        }
        Ok((rows, bytes))
    }

    /// Hands a batch to the consumers; rows and Arrow bytes of it.
    async fn take(&mut self, mut batch: Batch) -> Result<(u64, u64), Error> {
        self.repo.fit(&mut batch).map_err(|source| consumer_failed(&self.parts, source))?;
        self.apply_error_policy(&mut batch)?;
        self.count(&batch);
        if self.unsaid && batch.records.num_rows() > 0 {
            self.unsaid = false;
            let shape = Shape { schema: Some(batch.records.schema()), ..Shape::default() };
            warn_of(&self.parts.name, &self.parts.differences(&shape)?);
        }
        for consumer in &mut self.consumers {
            consumer.consume(&batch).await.map_err(|source| consumer_failed(&self.parts, source))?;
        }
        self.repo.consume(&mut batch).await.map_err(|source| consumer_failed(&self.parts, source))?;
        Ok((batch.records.num_rows() as u64, batch.records.get_array_memory_size() as u64))
    }

    /// What the spec says about messages that could not be processed.
    fn apply_error_policy(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let errors = self.parts.errors();
        let policy = |stage: &str| if stage == "decode" { errors.decode } else { errors.node };
        if let Some(letter) = batch.dead.iter().find(|letter| policy(&letter.stage) == OnError::Fail) {
            return Err(Error::Message {
                pipeline: self.parts.name.clone(),
                partition: letter.partition,
                offset: letter.offset,
                stage: letter.stage.clone(),
                code: letter.code.clone(),
                reason: letter.reason.clone(),
            });
        }
        for letter in &batch.dead {
            self.faults.count(letter, &self.offsets.label(letter.partition));
        }
        let before = batch.dead.len();
        batch.dead.retain(|letter| policy(&letter.stage) == OnError::DeadLetter);
        batch.counts.dropped += (before - batch.dead.len()) as u64;
        self.dead.extend(batch.dead.iter().map(|letter| (letter.partition, letter.offset)));
        Ok(())
    }

    fn count(&mut self, batch: &Batch) {
        let counts = batch.counts();
        for key in self.totals.new_keys(&counts.unknown) {
            let pipeline = &self.parts.name;
            tracing::warn!(
                pipeline,
                key,
                "messages have a key without a column; the decoder's `unknown` setting decides what happens to its values"
            );
        }
        self.seen.add(&counts);
    }

    /// Rows that handlers still hold back, now that no message will follow.
    async fn finish(&mut self) -> Result<Event, Error> {
        let batches = self.meeting.finish().await?;
        let (mut rows, mut bytes, any) = (0, 0, !batches.is_empty());
        for batch in batches {
            let (more_rows, more_bytes) = self.take(batch).await?;
            (rows, bytes) = (rows + more_rows, bytes + more_bytes);
        }
        Ok(Event::Released { rows, bytes, any })
    }

    /// Lets consumers end in order. Everything is committed already, so what goes wrong here is told and no more.
    async fn end_consumers(&mut self) {
        for consumer in &mut self.consumers {
            if let Err(error) = consumer.finish().await {
                let (pipeline, code, consumer) = (&self.parts.name, error.code(), consumer.name());
                tracing::warn!(pipeline, code, consumer, error = chain(&error), "cannot close a consumer cleanly");
            }
        }
    }

    /// Everything taken so far becomes a commit; writing it goes on beside the rows to come.
    async fn cut(&mut self, reason: Reason) -> Result<(), Error> {
        self.deliver(SourceEvent::Cut).await?;
        for consumer in &mut self.consumers {
            consumer.flush().await.map_err(|source| consumer_failed(&self.parts, source))?;
        }
        let mut states = self.meeting.snapshot().await?;
        states.extend(self.columns.snapshot().await);
        let cut = Cut {
            pending: self.repo.cut(),
            writer: self.writer.take().ok_or_else(|| Error::Task { pipeline: self.parts.name.clone() })?,
            advance: self.offsets.cut(),
            provenance: std::mem::take(&mut self.provenance),
            tables: self.parts.tables.cut().await,
            dead: std::mem::take(&mut self.dead),
            states,
            reason: reason.word(),
            faults: std::mem::take(&mut self.faults),
            at: clock::now(),
        };
        self.committing = Some(tokio::spawn(cut.commit(self.parts.clone())));
        Ok(())
    }

    async fn committed(&mut self, done: Done) -> Result<bool, Error> {
        let Done { writer, commit, advance, mut dead, faults, took } = done;
        self.writer = Some(writer);
        self.parts.reset_done.store(true, Ordering::Relaxed);
        dead.sort_unstable();
        let positions = advance.steps.into_iter().map(|(partition, step)| (partition, step.to.position)).collect();
        let durable = Durable { commit: commit.id.clone(), sequence: commit.sequence, positions, dead };
        self.producer.committed(&durable);
        for (partition, position) in &durable.positions {
            if let Some(lane) = self.lanes.get(&self.producer.lane(*partition)) {
                lane.committed(*partition, position);
            }
        }
        self.totals.commit(&commit.counts, faults);
        self.publishing.moved();
        drop(self.updates.send(Update::Committed {
            pipeline: self.parts.name.clone(),
            commit: commit.id.clone(),
            sequence: commit.sequence,
            counts: commit.counts.clone(),
            reason: commit.reason.clone(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }));
        let plugins = self.parts.metrics();
        if plugins != self.reported {
            self.reported.clone_from(&plugins);
            drop(self.updates.send(Update::Metrics { pipeline: self.parts.name.clone(), plugins, last: false }));
        }
        self.step(Event::Committed).await
    }

    async fn show(&mut self) -> Result<bool, Error> {
        let bytes = self.shared.meter.bytes.load(Ordering::Relaxed);
        if bytes > 0 {
            let messages = self.shared.meter.messages.load(Ordering::Relaxed);
            let now = Update::Progress {
                pipeline: self.parts.name.clone(),
                counts: Counts { messages, ..self.seen.clone() },
                bytes,
                lag: self.shared.meter.lag(),
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

/// The partition moved on, without a row.
fn moved(partition: PartitionId) -> Event {
    Event::Took(Took { partition, moved: true, ..Took::default() })
}

/// A table without a column is no surprise later.
fn warn_of(pipeline: &str, differences: &Differences) {
    if !differences.left_out.is_empty() {
        let columns = differences.left_out.join(", ");
        tracing::warn!(
            pipeline,
            columns,
            "the Delta table will be published without columns that readers do not support"
        );
    }
}

fn consumer_failed(parts: &Parts, source: spout_consumer::Error) -> Error {
    Error::Consumer { pipeline: parts.name.clone(), source: Box::new(source) }
}

/// The answer of the commit on its way; never if there is none.
async fn finished(committing: &mut Option<JoinHandle<Result<Done, Error>>>) -> Result<Done, Error> {
    let Some(task) = committing else { return std::future::pending().await };
    let answer = task.await;
    *committing = None;
    match answer {
        Ok(done) => done,
        // A panic there is a bug; it goes on here, where the pipeline's task is watched.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
