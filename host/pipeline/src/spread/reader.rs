//! The lanes of a pipeline in a worker. They stay when a task is over, and are used by the next that goes on where they are.

use std::collections::{BTreeMap, BTreeSet};

use spout_consumer::RepoConsumer;
use spout_data::{Marker, PartitionId, Position};
use spout_node::{Keys, States};
use spout_producer::{Found, Producer};
use spout_repo::Store;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::words::{Assigned, Mode, TaskHead, Word};
use crate::{
    Error,
    build::{Parts, Reading},
    columns::Columns,
    lane::{Lane, LaneEvent, Room, Shared, rooms},
    members::Done,
    run::RunConfig,
    taking::Taking,
};

/// The lanes of a pipeline.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) parts: Parts,
    pub(super) columns: Columns,
    pub(super) taking: Taking,
    epoch: u64,
    /// What the parts had done before the first task of its leader.
    before: Done,
    producer: Box<dyn Producer>,
    lanes: BTreeMap<PartitionId, Lane>,
    events: mpsc::UnboundedReceiver<LaneEvent>,
    shared: Shared,
    room: Room,
    labels: BTreeMap<PartitionId, String>,
    /// How rows are split, where other members have the handlers for their keys.
    pub(super) keys: Option<Keys>,
    /// Where each partition goes on with the next event.
    at: BTreeMap<PartitionId, Position>,
    ended: BTreeSet<PartitionId>,
    /// Whether everything that was taken from it was also cut.
    whole: bool,
    stop: DropGuard,
}

impl Reader {
    /// Opens the lanes of `parts` for a task; their partitions are still to be added.
    pub(super) async fn open(parts: &Parts, store: &Store, task: &TaskHead, before: Done) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let config = RunConfig::of_worker(&stop);
        let parts = parts.running(store, &config);
        parts.standings.begin();
        let repo = store.repo(&parts.name).await.map_err(|source| Error::Repo {
            pipeline: parts.name.clone(),
            branch: parts.target().branch,
            doing: "write files of",
            source: Box::new(source),
        })?;
        let mut states: States =
            task.columns.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes().into())).collect();
        let columns = Columns::restore(&parts.name, &parts.inputs, &mut states).await?;
        let Reading { producer, names, indices } = parts.producer(store, &config, &Marker::default())?;
        let (sender, events) = mpsc::unbounded_channel();
        let shared = Shared::new(&parts.name, sender, 0, parts.thresholds().rows, &stop);
        let shared = Shared { standings: parts.standings.clone(), ..shared };
        let lost = || Error::Task { pipeline: parts.name.clone() };
        let room = rooms(&indices).into_values().next().ok_or_else(lost)?;
        parts.figures.fetches_into(std::iter::once(&room));
        let keys = if task.mode == Mode::Keys { parts.keys(&columns).await? } else { None };
        let taking = Taking::new(&parts, RepoConsumer::new(repo, parts.target(), names, task.before_ms));
        Ok(Self {
            columns,
            taking,
            epoch: task.epoch,
            before,
            producer,
            lanes: BTreeMap::new(),
            events,
            shared,
            room,
            labels: BTreeMap::new(),
            keys,
            at: BTreeMap::new(),
            ended: BTreeSet::new(),
            whole: true,
            parts,
            stop: stop.drop_guard(),
        })
    }

    /// Whether the task goes on exactly where these lanes are: what they have fetched ahead is what it wants.
    pub(super) fn goes_on_with(&self, task: &TaskHead) -> bool {
        let wanted: BTreeSet<PartitionId> = task.partitions.iter().map(|one| one.partition).collect();
        let has_no_other = self.at.keys().all(|own| wanted.contains(own) || self.ended.contains(own));
        let stands = |one: &Assigned| self.at.get(&one.partition).is_none_or(|at| *at == one.at);
        self.whole && self.epoch == task.epoch && has_no_other && task.partitions.iter().all(stands)
    }

    /// Begins a task: its new partitions are read too, and the source is told what is durable.
    pub(super) async fn begin(&mut self, task: &TaskHead) -> Result<(), Error> {
        self.whole = false;
        self.durable(task.partitions.iter().filter_map(|one| Some((one.partition, one.durable()?))));
        for assigned in &task.partitions {
            if !self.at.contains_key(&assigned.partition) {
                self.add(assigned.into(), &task.readers).await?;
            }
        }
        Ok(())
    }

    /// Sources are told, between two fetches, that everything before these positions is durable; of partitions that are read here.
    pub(super) fn durable<'a>(&self, positions: impl IntoIterator<Item = (PartitionId, &'a Position)>) {
        for (partition, position) in positions {
            if self.producer.consumers(partition).is_some() {
                self.lanes.values().for_each(|lane| lane.committed(partition, position));
            } else if self.at.contains_key(&partition)
                && let Some(lane) = self.lanes.get(&self.producer.lane(partition))
            {
                lane.committed(partition, position);
            }
        }
    }

    /// Closes the lanes, once their sources were told what is durable.
    pub(super) async fn close(self) {
        let Self { lanes, stop, .. } = self;
        drop(stop);
        Lane::end(lanes.into_values()).await;
    }

    /// Whether a task was given up half way: nobody can go on here.
    pub(super) fn is_abandoned(&self) -> bool {
        !self.whole
    }

    async fn add(&mut self, found: Found, readers: &BTreeMap<PartitionId, Position>) -> Result<(), Error> {
        let partition = found.partition;
        self.shared.standings.open(&found, "", 0);
        self.labels.insert(partition, found.label.clone());
        self.at.insert(partition, found.start.clone());
        let lane = self.producer.lane(partition);
        if let Some(lane) = self.lanes.get(&lane) {
            lane.add(found);
            return Ok(());
        }
        let lost = || Error::Task { pipeline: self.parts.name.clone() };
        let decoder = self.columns.decoders(0).ok_or_else(lost)?.decoder();
        let mut fetcher = self.producer.fetcher(found);
        let mut others = readers.clone();
        others.remove(&partition);
        if !others.is_empty() {
            fetcher.committed(&others).await;
        }
        let chain = self.parts.lane_chain().await?;
        let shared = Shared { room: self.room.clone(), ..self.shared.clone() };
        self.lanes.insert(lane, Lane::start(fetcher, (decoder, None), chain, &shared));
        Ok(())
    }

    /// What comes next; nothing, if the task is `full`. The future may be dropped.
    pub(super) async fn next(&mut self, full: bool) -> Result<LaneEvent, Error> {
        let pipeline = || self.parts.name.clone();
        tokio::select! {
            event = self.events.recv(), if !full => event.ok_or_else(|| Error::Task { pipeline: pipeline() }),
            error = self.taking.repo.failed() => Err(Error::Consumer { pipeline: pipeline(), source: Box::new(error) }),
        }
    }

    /// How its partitions stand, and what was done.
    pub(super) fn stand(&self) -> Word {
        let done = self.parts.figures.done_here().since(&self.before);
        Word::Stand { partitions: self.shared.standings.told(), done }
    }

    /// Notes that a partition goes on at `position`.
    pub(super) fn moves(&mut self, partition: PartitionId, position: Position) {
        self.at.insert(partition, position);
    }

    /// Notes that a partition has ended.
    pub(super) fn ends(&mut self, partition: PartitionId) {
        self.ended.insert(partition);
    }

    /// The source's name for `partition`.
    pub(super) fn label(labels: &BTreeMap<PartitionId, String>, partition: PartitionId) -> String {
        labels.get(&partition).cloned().unwrap_or_default()
    }

    /// The names of all partitions, and what takes their rows.
    pub(super) fn labelled(&mut self) -> (&BTreeMap<PartitionId, String>, &mut Taking) {
        (&self.labels, &mut self.taking)
    }

    /// Ends a task: everything taken belongs to it.
    pub(super) fn end(&mut self) {
        self.whole = true;
    }
}
