//! Brings what a spout has finished to the pipeline, one commit after the other.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use spout_data::{Messages, Position, Span};
use spout_plugin::Progress;
use tokio::{sync::mpsc, time::timeout};

use super::{
    Spout,
    commits::{Finishing, SpoutEvent, Waiting},
};
use crate::{Boundary, Error, Fetched, Fetcher, Found};

/// Longest wait of one fetch.
const WAIT: Duration = Duration::from_millis(250);

/// Who waits for the commit on its way, and where the partition is after it.
pub(super) type OnItsWay = Arc<Mutex<Option<(u64, Waiting)>>>;

/// Brings what a spout has finished.
#[derive(Debug)]
pub(super) struct SpoutFetcher {
    pub(super) found: Found,
    pub(super) position: Position,
    pub(super) finished: mpsc::UnboundedReceiver<SpoutEvent>,
    /// The commit whose rows are being brought.
    pub(super) current: Option<Box<Finishing>>,
    pub(super) on_its_way: OnItsWay,
    pub(super) spout: Arc<dyn Spout>,
}

#[async_trait]
impl Fetcher for SpoutFetcher {
    async fn fetch(&mut self, _: u32) -> Result<Fetched, Error> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => match timeout(WAIT, self.finished.recv()).await {
                Ok(Some(SpoutEvent::Finished(finishing))) => finishing,
                Ok(Some(SpoutEvent::Failed(why))) => return Err(why),
                Ok(Some(SpoutEvent::Ended) | None) => return Ok(self.fetched(Progress::Ended)),
                Err(_) => {
                    return Ok(Fetched { expects: !self.spout.resting(), ..self.fetched(Progress::Idle) });
                }
            },
        };
        if let Some((rows, _room)) = current.rows.pop_front() {
            self.current = Some(current);
            return Ok(Fetched { rows: Some(rows), boundary: Boundary::Inside, ..self.fetched(Progress::More) });
        }
        let Finishing { files, marker, provenance, counts, waiting, .. } = *current;
        let mut fetched = self.fetched(Progress::More);
        self.position.offset += 1;
        if let Some(marker) = marker {
            self.position.token = Some(marker.into());
        }
        fetched.span.next = self.position.clone();
        (fetched.boundary, fetched.files) = (Boundary::End, Some(Box::new(files)));
        (fetched.provenance, fetched.counts) = (provenance, counts);
        // The one before was answered before this one could be finished.
        *self.on_its_way.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.position.offset, waiting));
        Ok(fetched)
    }
}

impl SpoutFetcher {
    /// Nothing, where the partition is.
    fn fetched(&self, progress: Progress) -> Fetched {
        let (partition, next) = (self.found.partition, self.position.clone());
        Fetched::new(Messages::default(), Span { partition, start: next.offset, next }, progress)
    }
}
