//! A run whose partitions are read by other processes.

use std::sync::atomic::Ordering;

use spout_base::error::chain;
use tokio::time::timeout;

use super::Run;
use crate::{
    Error,
    decide::{Event, Took},
    lane::LaneEvent,
    overdue::GRACE,
    spread::{Ended, Heard, Spread, Written},
};

impl Run<'_> {
    /// Something came, or another job is to follow the one that runs; whether the pipeline is over.
    pub(super) async fn on_turn(&mut self, heard: Option<Heard>) -> Result<bool, Error> {
        if let Some(heard) = heard {
            return self.on_heard(heard).await;
        }
        if self.spread.as_ref().is_some_and(Spread::exchanges) {
            return self.step(Event::Forced).await;
        }
        while let Some(heard) = last(&mut self.spread).await? {
            // It may cut a commit, which then has the rest.
            if self.on_heard(heard).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the job that fills the commit to be cut, and takes what it still brings.
    pub(super) async fn take_last(&mut self) -> Result<(), Error> {
        while let Some(heard) = last(&mut self.spread).await? {
            match heard {
                Heard::Lane(LaneEvent::Batches { partition, batches, about, .. }) => {
                    self.take_run(partition, batches, &about).await?;
                }
                Heard::Lane(LaneEvent::Place(partition, position)) => {
                    self.offsets.move_on(partition, position, false, None);
                }
                Heard::Lane(LaneEvent::Failed(error)) => return Err(*error),
                Heard::Written(written) => drop(self.take_written(*written)?),
                Heard::Made { counts, .. } => self.count(&counts),
                // It is being cut.
                Heard::Full => {}
                // What these lead to may cut a commit itself.
                Heard::Lane(LaneEvent::Idle { .. } | LaneEvent::Ended(_)) => {
                    if let Some(spread) = &mut self.spread {
                        spread.defer(heard);
                    }
                }
            }
        }
        Ok(())
    }

    async fn on_heard(&mut self, heard: Heard) -> Result<bool, Error> {
        match heard {
            Heard::Lane(event) => self.on_lane_event(event).await,
            Heard::Written(written) => {
                self.is_not_idle(written.partition);
                let took = self.take_written(*written)?;
                self.step(Event::Took(took)).await
            }
            Heard::Full => self.step(Event::MemoryHigh).await,
            Heard::Made { rows, bytes, counts } => {
                self.count(&counts);
                self.step(Event::Released { rows, bytes, any: false }).await
            }
        }
    }

    /// Takes note of a run that is in files of another process.
    pub(super) fn take_written(&mut self, written: Written) -> Result<Took, Error> {
        let Written { partition, next, jumped, awaited, rows, bytes, given, counts } = written;
        let moved = next.is_some();
        if let Some(next) = next {
            self.move_on(partition, next, jumped)?;
        }
        self.shared.meter.messages.fetch_add(counts.messages, Ordering::Relaxed);
        self.shared.meter.bytes.fetch_add(bytes + given, Ordering::Relaxed);
        self.count(&counts);
        Ok(Took { partition, rows, bytes, moved, awaited, ..Took::default() })
    }

    /// Has sources that others read told of the last commit, once it is durable and no other one will be cut.
    pub(super) async fn tell_elsewhere(&mut self) {
        let Some(spread) = &mut self.spread else { return };
        let pipeline = &self.parts.name;
        match timeout(GRACE, spread.tell()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(pipeline, error = chain(&error), "sources were not told of the last commit");
            }
            Err(_) => tracing::debug!(pipeline, "sources were not told of the last commit in time"),
        }
    }

    /// What the jobs leave that fill the commit to be cut.
    pub(super) async fn end_jobs(&mut self) -> Vec<Ended> {
        let Some(spread) = &mut self.spread else { return Vec::new() };
        self.columns.settle(spread.columns()).await;
        self.taking.repo.after(spread.before_ms());
        spread.take_ended()
    }
}

/// What comes next of other processes, or that another job is to follow; never, where there are none.
pub(super) async fn turn(spread: &mut Option<Spread>) -> Result<Option<Heard>, Error> {
    match spread {
        Some(spread) => spread.next().await,
        None => std::future::pending().await,
    }
}

async fn last(spread: &mut Option<Spread>) -> Result<Option<Heard>, Error> {
    match spread {
        Some(spread) => spread.last().await,
        None => Ok(None),
    }
}
