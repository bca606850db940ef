//! The commits of a run: each is cut from what was taken, and announced to those who wait for it.

use std::sync::atomic::Ordering;

use spout_base::{clock, error::chain, owner, panicked::caught};
use spout_node::SourceEvent;
use spout_producer::Durable;
use tokio::task::JoinHandle;

use super::{Run, rows::consumer_failed};
use crate::{
    Error, Update,
    build::Parts,
    commit::{Cut, Done},
    decide::{Event, Reason},
    overdue::GRACE,
    taking::Taken,
};

impl Run<'_> {
    /// Everything taken so far becomes a commit; writing it goes on beside the rows to come.
    pub(super) async fn cut(&mut self, reason: Reason) -> Result<(), Error> {
        self.take_last().await?;
        self.deliver(SourceEvent::Cut).await?;
        for consumer in &mut self.consumers {
            consumer.flush().await.map_err(|source| consumer_failed(&self.parts, source))?;
        }
        let mut states = self.meeting.snapshot().await?;
        let ended = self.end_jobs().await;
        // After what the jobs have said of them.
        states.extend(self.columns.snapshot().await);
        states.extend(self.spread.iter().flat_map(|spread| spread.kept(&ended)));
        let Taken { pending, dead, faults } = self.taking.cut();
        if let Some(spread) = &mut self.spread {
            spread.next_commit(self.taking.repo.id(), pending.started_ms(), !ended.is_empty());
        }
        let cut = Cut {
            pending,
            writer: self.writer.take().ok_or_else(|| Error::Task { pipeline: self.parts.name.clone() })?,
            advance: self.offsets.cut(),
            provenance: std::mem::take(&mut self.provenance),
            tables: self.parts.tables.cut().await,
            dead,
            states,
            reason: reason.word(),
            faults,
            traces: std::mem::take(&mut self.traces),
            ended,
            at: clock::now(),
        };
        self.committing = Some(owner::spawn(commit(cut, self.parts.clone())));
        Ok(())
    }

    pub(super) async fn committed(&mut self, done: Done) -> Result<bool, Error> {
        self.note(done);
        self.step(Event::Committed).await
    }

    /// Waits for the commit on its way, where the run has failed: what was cut before is as good as it was.
    pub(super) async fn last_commit(&mut self) {
        if self.committing.is_none() {
            return;
        }
        match tokio::time::timeout(GRACE, finished(&mut self.committing)).await {
            Ok(Ok(done)) => self.note(done),
            // Why the run failed is what counts.
            Ok(Err(error)) => {
                let pipeline = &self.parts.name;
                tracing::warn!(pipeline, error = chain(&error), "the commit on its way failed too");
            }
            Err(_) => {}
        }
    }

    /// Tells everybody of a commit.
    fn note(&mut self, done: Done) {
        let Done { writer, commit, advance, mut dead, faults, took } = done;
        self.writer = Some(writer);
        self.parts.reset_done.store(true, Ordering::Relaxed);
        dead.sort_unstable();
        let positions = advance.steps.into_iter().map(|(partition, step)| (partition, step.to.position)).collect();
        let durable = Durable { commit: commit.header.id.clone(), sequence: commit.header.sequence, positions, dead };
        self.producer.committed(&durable);
        self.shared.standings.committed(&durable.positions);
        if let Some(spread) = &mut self.spread {
            spread.committed(&commit, durable.positions.iter());
        }
        for (partition, position) in &durable.positions {
            if self.producer.consumers(*partition).is_some() {
                let consumers = self.lanes.iter().filter(|(lane, _)| lane.producer == partition.producer);
                consumers.for_each(|(_, lane)| lane.committed(*partition, position));
            } else if let Some(lane) = self.lanes.get(&self.producer.lane(*partition)) {
                lane.committed(*partition, position);
            }
        }
        self.totals.commit(&commit.counts, faults);
        self.parts.figures.committed(took);
        self.publishing.moved();
        drop(self.updates.send(Update::Committed {
            pipeline: self.parts.name.clone(),
            commit: commit.header.id.clone(),
            sequence: commit.header.sequence,
            counts: commit.counts.clone(),
            reason: commit.reason.clone(),
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }));
        let plugins = self.parts.metrics();
        if plugins != self.reported {
            self.reported.clone_from(&plugins);
            drop(self.updates.send(Update::Metrics { pipeline: self.parts.name.clone(), plugins, last: false }));
        }
    }
}

/// The answer of the commit on its way; never if there is none.
pub(super) async fn finished(committing: &mut Option<JoinHandle<Result<Done, Error>>>) -> Result<Done, Error> {
    let Some(task) = committing else { return std::future::pending().await };
    let answer = task.await;
    *committing = None;
    match answer {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // It goes with the runtime.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Writes a commit; a panic is an error of the pipeline.
async fn commit(cut: Cut, parts: Parts) -> Result<Done, Error> {
    let pipeline = parts.name.clone();
    let done = Box::pin(caught(cut.commit(parts))).await;
    done.unwrap_or_else(|what| Err(Error::Panicked { pipeline, doing: "the task that writes the commit", what }))
}
