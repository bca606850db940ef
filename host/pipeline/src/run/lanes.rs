//! The lanes of a run: which partitions there are, and what each of them brings.

use std::collections::BTreeMap;

use spout_base::{error::chain, trace};
use spout_data::{Batch, Marker, PartitionId, Position};
use spout_node::{Chain, Source, SourceEvent};
use spout_producer::{Fetcher, Found, Service, Twice};

use super::Run;
use crate::{
    Error, Update,
    build::Parts,
    decide::{Event, Took},
    lane::{About, Lane, LaneEvent, More, Room, Shared, Slice},
    overdue::unless_overdue,
};

/// Why a partition brings nothing.
#[derive(Debug)]
pub(super) enum Pause {
    /// It has nothing for now, and whether something is expected of it.
    Idle(PartitionId, bool),
    /// It has ended, at this position.
    End(PartitionId, Position),
}

impl Pause {
    fn partition(&self) -> PartitionId {
        match self {
            Self::Idle(partition, _) | Self::End(partition, _) => *partition,
        }
    }
}

impl Run<'_> {
    /// What the source is told of where partitions are.
    fn known(&self, marker: &Marker) -> Marker {
        if self.replays { marker.clone() } else { marker.of_sources() }
    }

    /// It is time to look for new partitions. Once some are read, nothing waits for that where it may take long.
    pub(super) async fn look(&mut self) -> Result<bool, Error> {
        if !self.traits.beside || !self.listening {
            return self.discover().await;
        }
        self.look_beside();
        Ok(false)
    }

    fn look_beside(&mut self) {
        if self.config.stop.is_cancelled() {
            // What is not found by now is for the next run.
            return;
        }
        let marker = self.known(&self.offsets.with_ends(&self.ended));
        if self.producer.look(&marker) {
            self.asked = self.ended.len();
        }
    }

    /// What was found by that, and what has waited for it.
    pub(super) async fn looked(&mut self, found: Result<Vec<Found>, spout_producer::Error>) -> Result<bool, Error> {
        let mut over = self.found(found).await?;
        self.told(self.asked);
        for pause in std::mem::take(&mut self.pauses) {
            over = over || self.pause(pause).await?;
        }
        Ok(over)
    }

    /// The source was told of the first of those that have ended.
    fn told(&mut self, many: usize) {
        self.asked = 0;
        self.ended
            .drain(..many.min(self.ended.len()))
            .for_each(|(partition, _)| self.shared.standings.ended(partition));
    }

    /// Looks for new partitions and starts their lanes.
    pub(super) async fn discover(&mut self) -> Result<bool, Error> {
        let initial = Parts::initial(&self.known(self.offsets.marker()));
        let marker = self.known(&self.offsets.with_ends(&self.ended));
        let looking = self.producer.partitions(&marker, initial);
        let found =
            if self.traits.drains { Some(looking.await) } else { self.config.stop.run_until_cancelled(looking).await };
        // What is not found by now is for the next run.
        let Some(found) = found else { return Ok(false) };
        let over = self.found(found).await?;
        self.told(self.ended.len());
        Ok(over)
    }

    /// Starts the lanes of partitions that were found, or of none.
    async fn found(&mut self, found: Result<Vec<Found>, spout_producer::Error>) -> Result<bool, Error> {
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
            let service = self.service.iter().map(Service::address);
            let producer = self.producer.addresses().into_iter().chain(service);
            for address in producer.map(|address| address.to_string()).chain(consumers) {
                drop(self.updates.send(Update::Listening { pipeline: pipeline(), address }));
            }
        }
        if let Some(union) = self.columns.union() {
            for (&number, &index) in &self.indices {
                let own = found.iter().map(|found| found.partition).filter(|partition| partition.producer == number);
                union.declare(index, own).await;
            }
        }
        for found in found {
            self.open_lane(found).await?;
        }
        self.step(Event::Discovered).await
    }

    /// A partition brings nothing for now, or ever again. If it is the last one that had something, partitions are looked for before
    /// that come after those that have ended: nothing is over, and nobody is idle, before they were read. Whether the pipeline is over.
    async fn pause(&mut self, pause: Pause) -> Result<bool, Error> {
        let heirs = !self.ended.is_empty() && self.state.reads_none_but(pause.partition());
        if heirs && self.traits.beside && !self.config.stop.is_cancelled() {
            self.look_beside();
            self.pauses.push(pause);
            return Ok(false);
        }
        // Before the end is taken: what is found may cut a commit, and this must not be cut twice.
        if heirs && self.discover().await? {
            return Ok(true);
        }
        match pause {
            Pause::Idle(partition, expects) => self.step(Event::Idle(partition, expects)).await,
            Pause::End(partition, position) => {
                let (rows, bytes) = self.deliver(SourceEvent::Ended(Source::Partition(partition))).await?;
                self.offsets.move_on(partition, position, true, None);
                // In one step: should these rows fill a commit, it also has what handlers still hold back.
                let took = Took { partition, rows, bytes, moved: true, ended: true, ..Took::default() };
                self.step(Event::Took(took)).await?;
                self.step(Event::Ended(partition)).await
            }
        }
    }

    /// Forgets that it had nothing.
    pub(super) fn is_not_idle(&mut self, partition: PartitionId) {
        self.pauses.retain(|pause| pause.partition() != partition);
    }

    async fn open_lane(&mut self, found: Found) -> Result<(), Error> {
        let partition = found.partition;
        let reader = self.producer.lane(partition).number;
        self.shared.standings.open(&found, self.offsets.producer(partition), reader);
        self.offsets.name(partition, found.label.clone());
        // Where a new partition starts is progress too: `latest` must not mean something later after a crash.
        let starts_late = found.committed.is_none() && found.start != Position::default();
        if starts_late {
            self.offsets.move_on(partition, found.start.clone(), false, None);
        }
        self.deliver(SourceEvent::Opened(Source::Partition(partition))).await?;
        let others = self.join_readers(partition, &found.start);
        let id = self.producer.lane(partition);
        if let Some(spread) = &mut self.spread {
            spread.add(found, others);
        } else if let Some(lane) = self.lanes.get(&id) {
            lane.add(found);
        } else {
            let mut fetcher = self.producer.fetcher(found);
            if let Some(others) = others {
                fetcher.committed(&others).await;
            }
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

    /// Where a partition is a reader of a stream: what it takes is compared with the others from now on. Where those are, also readers that
    /// there were once.
    fn join_readers(&mut self, reader: PartitionId, at: &Position) -> Option<BTreeMap<PartitionId, Position>> {
        self.producer.consumers(reader)?;
        let known = self.offsets.marker().partitions.iter();
        let others = known.filter(|(other, _)| other.producer == reader.producer && **other != reader);
        let others: BTreeMap<_, _> = others.map(|(&other, entry)| (other, entry.position.clone())).collect();
        for (&other, at) in &others {
            self.readers.add(other, at);
        }
        self.readers.add(reader, at);
        Some(others)
    }

    /// Moves a partition on in the open commit, in which a message is once.
    pub(super) fn move_on(&mut self, partition: PartitionId, next: Position, jumped: Option<u64>) -> Result<(), Error> {
        let pipeline = || self.parts.name.clone();
        let moves = self.readers.moves(partition, &next);
        moves.map_err(|Twice { reader, other }| Error::Twice { pipeline: pipeline(), reader, other })?;
        self.offsets.move_on(partition, next, false, jumped);
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

    pub(super) async fn on_lane_event(&mut self, event: LaneEvent) -> Result<bool, Error> {
        match event {
            LaneEvent::Failed(error) => Err(*error),
            LaneEvent::Idle { partition, expects } => self.pause(Pause::Idle(partition, expects)).await,
            LaneEvent::Place(partition, position) => {
                self.offsets.move_on(partition, position, false, None);
                self.step(Event::Placed).await
            }
            LaneEvent::Ended(partition) if self.traits.drains && self.drained => {
                self.step(Event::Drained(partition)).await
            }
            LaneEvent::Ended(partition) => {
                let known = self.offsets.of(partition).cloned();
                if known.as_ref().is_some_and(|known| known.ended) {
                    self.deliver(SourceEvent::Ended(Source::Partition(partition))).await?;
                    return self.step(Event::Ended(partition)).await;
                }
                let position = known.map(|known| known.position).unwrap_or_default();
                if self.traits.heirs {
                    self.ended.push((partition, position.clone()));
                }
                self.pause(Pause::End(partition, position)).await
            }
            LaneEvent::Batches { partition, about: About { edition, .. }, .. } if edition > self.edition => {
                (self.edition, self.unsaid) = (edition, true);
                self.wider = Some(event);
                self.step(Event::Widened(partition)).await
            }
            LaneEvent::Batches { partition, batches, more, about, share } => {
                self.is_not_idle(partition);
                let moved = about.moved;
                let (mut rows, mut bytes) = self.take_run(partition, batches, &about).await?;
                if let Some(mut more) = more {
                    // A run is not cut, so what is left of it comes before anything else; but a stop does not wait long for it.
                    let (pipeline, stop) = (self.parts.name.clone(), self.config.stop.clone());
                    let rest = self.take_slices(partition, &mut more, &about);
                    let rest = unless_overdue(&pipeline, "decoding a large run of messages", &stop, Box::pin(rest));
                    let (more_rows, more_bytes) = rest.await??;
                    (rows, bytes) = (rows + more_rows, bytes + more_bytes);
                }
                // One more than are named says that there are more.
                let left = (trace::LINKS + 1).saturating_sub(self.traces.len());
                self.traces.extend(share.traces().iter().take(left));
                drop(share);
                for from in about.provenance {
                    if !self.provenance.contains(&from) {
                        self.provenance.push(from);
                    }
                }
                let About { awaited, boundary, files, .. } = about;
                if let Some(files) = files {
                    self.taking.join(*files);
                }
                let upstream = self.provenance.len();
                let took = Took { partition, rows, bytes, moved, ended: false, awaited, upstream, boundary };
                self.step(Event::Took(took)).await
            }
        }
    }
}

impl Run<'_> {
    /// Takes batches of a run; rows and bytes of them.
    pub(super) async fn take_run(
        &mut self,
        partition: PartitionId,
        batches: Vec<Batch>,
        about: &About,
    ) -> Result<(u64, u64), Error> {
        let (mut rows, mut bytes) = (0, 0);
        for batch in batches {
            if about.moved {
                self.move_on(partition, batch.span.next.clone(), about.jumped)?;
            }
            for batch in self.meeting.handle(batch, about.trace).await? {
                let (more_rows, more_bytes) = self.take(batch).await?;
                (rows, bytes) = (rows + more_rows, bytes + more_bytes);
            }
        }
        Ok((rows, bytes))
    }

    /// Takes what follows of a run until its end; rows and bytes of it.
    async fn take_slices(
        &mut self,
        partition: PartitionId,
        more: &mut More,
        about: &About,
    ) -> Result<(u64, u64), Error> {
        let (mut rows, mut bytes) = (0, 0);
        loop {
            match more.recv().await {
                Some(Slice::Batches(batches)) => {
                    let (more_rows, more_bytes) = self.take_run(partition, batches, about).await?;
                    (rows, bytes) = (rows + more_rows, bytes + more_bytes);
                }
                Some(Slice::End) => return Ok((rows, bytes)),
                Some(Slice::Failed(error)) => return Err(*error),
                // What was taken of it is no run, and is not committed.
                None => return Err(Error::Task { pipeline: self.parts.name.clone() }),
            }
        }
    }
}

/// The partition moved on, without a row.
fn moved(partition: PartitionId) -> Event {
    Event::Took(Took { partition, moved: true, ..Took::default() })
}
