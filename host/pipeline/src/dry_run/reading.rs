//! Reads a few messages as a run does, and passes them through all handlers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use spout_base::clock::{self, Instant};
use spout_data::{Batch, Counts, DeadLetter, Letters, Marker, PartitionId, Wrong};
use spout_format::misfits;
use spout_node::{Chain, Shape, Source, SourceEvent, States};
use spout_producer::{Found, Producer};
use spout_repo::Store;
use spout_spec::OnError;
use tokio::{
    sync::mpsc,
    time::{sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Before, DryRun, DryRunOptions, End, Letter, Read, Step,
    seen::{Passed, Seen, columns},
};
use crate::{
    Error,
    build::{Parts, Reading as Sources},
    columns::Columns,
    decide::Until,
    lane::{Lane, LaneEvent, More, Room, Shared, Slice, rooms},
    run::RunConfig,
    taps::steps,
};

/// Dead letters that are shown.
const LETTERS: usize = 100;
/// Characters that are shown of one.
const VALUE: usize = 500;

/// A pipeline that is tried out.
pub(super) struct Reading {
    parts: Parts,
    options: DryRunOptions,
    until: Instant,
    stop: CancellationToken,
    producer: Box<dyn Producer>,
    /// Name of each producer by number, and its place in the spec.
    names: BTreeMap<u16, String>,
    indices: BTreeMap<u16, usize>,
    marker: Marker,
    columns: Columns,
    shared: Shared,
    rooms: BTreeMap<u16, Room>,
    events: mpsc::UnboundedReceiver<LaneEvent>,
    lanes: BTreeMap<PartitionId, Lane>,
    chain: Chain,
    /// What is known of the columns before any row.
    shapes: Vec<Shape>,
    seen: Arc<Seen>,
    partitions: BTreeMap<PartitionId, Read>,
    /// Those that have nothing for now, and those that have nothing ever again.
    idle: BTreeSet<PartitionId>,
    ended: BTreeSet<PartitionId>,
    counts: Counts,
    letters: Vec<Letter>,
}

impl Reading {
    /// Opens everything that a run would open before it reads, but for the branch and consumers.
    pub(super) async fn start(
        parts: &Parts,
        store: &Store,
        options: &DryRunOptions,
        before: Option<&Before>,
        columns: Columns,
        mut states: States,
    ) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let config = RunConfig {
            until: Until::Idle,
            json: false,
            memory_high: None,
            stop: stop.clone(),
            access: None,
            leads: None,
        };
        let parts = parts.running(store, &config);
        parts.standings.begin();
        let marker = before.map(|before| before.head.marker.of_sources()).unwrap_or_default();
        let seen = Arc::new(Seen::new(steps(&parts.spec).len(), options.shown));
        // What is kept by key is not put together for a look.
        if parts.are_split(&states) {
            states.clear();
        }
        let mut chain = parts.chain(&parts.spec.node, &mut states).await?.watched(Arc::clone(&seen) as _, 0, true);
        let shapes = parts.shapes(&columns, &mut chain).await?;
        let Sources { producer, names, indices } = parts.producer(store, &config, &marker)?;
        let (sender, events) = mpsc::unbounded_channel();
        let shared = Shared {
            standings: parts.standings.clone(),
            ..Shared::new(&parts.name, sender, 0, options.messages, &stop)
        };
        Ok(Self {
            until: clock::now() + options.time,
            options: *options,
            stop,
            producer,
            names,
            rooms: rooms(&indices),
            indices,
            marker,
            columns,
            shared,
            events,
            lanes: BTreeMap::new(),
            chain,
            shapes,
            seen,
            partitions: BTreeMap::new(),
            idle: BTreeSet::new(),
            ended: BTreeSet::new(),
            counts: Counts::default(),
            letters: Vec::new(),
            parts,
        })
    }

    /// Reads until that is enough; why it was over.
    pub(super) async fn read(&mut self) -> Result<End, Error> {
        let looking = self.producer.partitions(&self.marker, Parts::initial(&self.marker));
        let found = match timeout_at(self.until, looking).await {
            Ok(found) => found.map_err(|source| self.failed(source))?,
            Err(_) => return Ok(End::Time),
        };
        if let Some(union) = self.columns.union() {
            for (&number, &index) in &self.indices {
                let own = found.iter().map(|found| found.partition).filter(|partition| partition.producer == number);
                union.declare(index, own).await;
            }
        }
        let none = found.is_empty();
        for found in found {
            self.open(found).await?;
        }
        let end = if none && self.producer.traits().finite { End::Ended } else { self.take_all().await? };
        // What a commit would hold that is made of these messages.
        self.release(SourceEvent::Cut).await?;
        if end == End::Ended {
            let held = self.chain.finish().await.map_err(|source| self.refused(source))?;
            held.into_iter().for_each(|batch| self.passed(&batch));
        }
        Ok(end)
    }

    /// Reads a partition.
    async fn open(&mut self, found: Found) -> Result<(), Error> {
        let partition = found.partition;
        let lane = self.producer.lane(partition);
        let producer = self.names.get(&partition.producer).cloned().unwrap_or_default();
        self.shared.standings.open(&found, &producer, lane.number);
        let (number, label, from) = (partition.number, found.label.clone(), found.start.offset);
        self.partitions.insert(partition, Read { partition: number, producer, label, from, next: from });
        self.release(SourceEvent::Opened(Source::Partition(partition))).await?;
        if let Some(lane) = self.lanes.get(&lane) {
            lane.add(found);
            return Ok(());
        }
        let lost = || Error::Task { pipeline: self.parts.name.clone() };
        let index = *self.indices.get(&partition.producer).ok_or_else(lost)?;
        let decoder = self.columns.decoders(index).ok_or_else(lost)?.decoder();
        let member = self.columns.union().map(|union| union.member(index));
        let room = Room::clone(self.rooms.get(&partition.producer).ok_or_else(lost)?);
        let fetcher = self.producer.fetcher(found);
        // All handlers are behind the lanes, so that what is shown of each step comes from the same messages.
        let shared = Shared { room, ..self.shared.clone() };
        self.lanes.insert(lane, Lane::start(fetcher, (decoder, member), Chain::default(), &shared));
        Ok(())
    }

    async fn take_all(&mut self) -> Result<End, Error> {
        while self.counts.messages < self.options.messages {
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event,
                () = sleep_until(self.until) => return Ok(End::Time),
            };
            match event {
                Some(LaneEvent::Failed(error)) => return Err(*error),
                Some(LaneEvent::Place(..)) => {}
                Some(LaneEvent::Idle { partition, .. }) => drop(self.idle.insert(partition)),
                Some(LaneEvent::Ended(partition)) => {
                    self.ended.insert(partition);
                    self.release(SourceEvent::Ended(Source::Partition(partition))).await?;
                }
                Some(LaneEvent::Batches { partition, batches, more, .. }) => {
                    self.idle.remove(&partition);
                    self.take(partition, batches).await?;
                    if let Some(more) = more {
                        self.take_rest(partition, more).await?;
                    }
                }
                None => return Err(Error::Task { pipeline: self.parts.name.clone() }),
            }
            let at_rest = self.partitions.keys().all(|one| self.idle.contains(one) || self.ended.contains(one));
            match (at_rest, self.ended.len() == self.partitions.len()) {
                (_, true) => return Ok(End::Ended),
                // Where nothing was there, something may still come.
                (true, false) if self.counts.messages > 0 => return Ok(End::Idle),
                _ => {}
            }
        }
        Ok(End::Enough)
    }

    /// What follows of a run that is too large for one batch.
    async fn take_rest(&mut self, partition: PartitionId, mut more: More) -> Result<(), Error> {
        while self.counts.messages < self.options.messages {
            match more.recv().await {
                Some(Slice::Batches(batches)) => self.take(partition, batches).await?,
                Some(Slice::End) => break,
                Some(Slice::Failed(error)) => return Err(*error),
                None => return Err(Error::Task { pipeline: self.parts.name.clone() }),
            }
        }
        Ok(())
    }

    async fn take(&mut self, partition: PartitionId, batches: Vec<Batch>) -> Result<(), Error> {
        for batch in batches {
            let (start, next) = (batch.span.start, batch.span.next.offset);
            if let Some(read) = self.partitions.get_mut(&partition) {
                read.next = next.max(read.next);
            }
            let pipeline = self.parts.name.clone();
            let handled = self.chain.handle(batch).await;
            let handled =
                handled.map_err(|source| Error::Node { pipeline, partition, start, next, source: Box::new(source) });
            handled?.into_iter().for_each(|batch| self.passed(&batch));
        }
        Ok(())
    }

    /// Passes an event to the handlers, and takes what they release.
    async fn release(&mut self, event: SourceEvent) -> Result<(), Error> {
        let released = self.chain.on_event(event).await.map_err(|source| self.refused(source))?;
        released.into_iter().for_each(|batch| self.passed(&batch));
        Ok(())
    }

    /// What has passed all handlers.
    fn passed(&mut self, batch: &Batch) {
        self.counts.add(&batch.counts());
        batch.dead.iter().for_each(|letter| self.set_aside(letter));
        let unfit = misfits(self.parts.spec.commit.format, &batch.records);
        let mut letters = Letters::new(&batch.span, &batch.messages);
        for misfit in unfit {
            let (code, reason) = (misfit.code.to_owned(), misfit.reason.clone());
            let wrong = Wrong { stage: "commit".into(), code, reason };
            let letter = letters.letter(batch.origins.message(misfit.row), wrong, Vec::new);
            self.counts.dead_letters += 1;
            self.set_aside(&letter);
        }
    }

    fn set_aside(&mut self, letter: &DeadLetter) {
        if self.letters.len() < LETTERS {
            let errors = self.parts.errors();
            let then: OnError = if letter.stage == "decode" { errors.decode } else { errors.node };
            self.letters.push(Letter {
                partition: letter.partition.number,
                offset: letter.offset,
                stage: letter.stage.clone(),
                code: letter.code.clone(),
                reason: letter.reason.clone(),
                value: String::from_utf8_lossy(&letter.value).chars().take(VALUE).collect(),
                then,
            });
        }
    }

    /// Ends what reads. Nothing was committed, so that nobody is told of anything.
    pub(super) async fn end(&mut self) {
        self.stop.cancel();
        Lane::end(std::mem::take(&mut self.lanes).into_values()).await;
        self.producer.close().await;
    }

    /// What is to be said of it.
    pub(super) fn told(self, end: End, after: Option<String>, mut notes: Vec<String>) -> DryRun {
        if let Some(trouble) = self.shared.standings.trouble() {
            notes.push(format!("the source cannot be read: [{}] {}", trouble.code, trouble.error));
        }
        let step = |(at, (after, passed)): (usize, (String, Passed))| Step {
            rows: passed.rows(),
            columns: match passed.schema.as_ref().or_else(|| self.shapes.get(at)?.schema.as_ref()) {
                Some(schema) => columns(schema),
                None => Vec::new(),
            },
            of: passed.of,
            filtered: self.counts.filtered.get(&after).copied().unwrap_or_default(),
            late: self.counts.late.get(&after).copied().unwrap_or_default(),
            after,
        };
        let passed = self.seen.take();
        let all = steps(&self.parts.spec).into_iter().zip(passed).enumerate();
        DryRun {
            steps: all.map(step).collect(),
            pipeline: self.parts.name.clone(),
            after,
            messages: self.counts.messages,
            end,
            partitions: self.partitions.into_values().collect(),
            dead_letters: self.letters,
            dead_letters_of: self.counts.dead_letters,
            empty: self.counts.empty,
            notes,
        }
    }

    fn failed(&self, source: spout_producer::Error) -> Error {
        Error::Producer { pipeline: self.parts.name.clone(), source: Box::new(source) }
    }

    fn refused(&self, source: spout_node::Error) -> Error {
        Error::State { pipeline: self.parts.name.clone(), doing: "brought on", source: Box::new(source) }
    }
}

impl Parts {
    /// What enters the handlers and leaves each of them, as far as it is known before any row.
    async fn shapes(&self, columns: &Columns, chain: &mut Chain) -> Result<Vec<Shape>, Error> {
        let refused = |source| Error::Chain { pipeline: self.name.clone(), source: Box::new(source) };
        let input = self.input(columns).await?;
        chain.prepare(&input).await.map_err(refused)?;
        let shapes = chain.shapes_of(input.clone()).map_err(refused)?;
        self.tables.load().await.map_err(|source| self.no_table(source))?;
        Ok(std::iter::once(input).chain(shapes.into_iter().map(|(_, shape)| shape)).collect())
    }
}
