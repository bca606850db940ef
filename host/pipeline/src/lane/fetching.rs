//! The first task of a lane: fetches while there is room for what comes.

use std::{collections::BTreeMap, time::Duration};

use spout_base::{
    error::Coded as _,
    trace::{self, Context, Doing},
};
use spout_plugin::Progress;
use spout_producer::{Fetched, Fetcher, Found};
use tokio::sync::mpsc;

use super::{Hints, LaneEvent, Share, Shared, locked};
use crate::{Error, sample::Raw};

/// What a fetch has left at a stop, where it is not cut off.
const LAST_FETCH: Duration = Duration::from_millis(1500);

/// Fetches the messages of a lane's partitions.
pub(super) struct Fetching {
    pub(super) fetcher: Box<dyn Fetcher>,
    pub(super) found: mpsc::UnboundedReceiver<Found>,
    pub(super) hints: Hints,
    pub(super) raw: mpsc::Sender<Raw>,
    pub(super) shared: Shared,
}

impl Fetching {
    pub(super) async fn run(mut self) {
        let (stop, gently) = (self.shared.stop.clone(), self.fetcher.acknowledges());
        let cut_off = async {
            stop.cancelled().await;
            if gently {
                tokio::time::sleep(LAST_FETCH).await;
            }
        };
        let fetched = tokio::select! {
            biased;
            fetched = self.fetch_all() => fetched,
            () = cut_off => {
                if gently {
                    // It was the end of what it is told through.
                    return;
                }
                // Dropping a fetch half way is fine: its store goes with it, and nothing of it was taken.
                Ok(())
            }
        };
        if let Err(error) = fetched {
            return self.fail(error);
        }
        if !self.fetcher.passes_on() {
            return;
        }
        // Nobody is left to add one when the last commit was made.
        while self.found.recv().await.is_some() {}
        self.tell().await;
    }

    /// Tells the source of what was committed. Where that is cut off, it is still to be told.
    async fn tell(&mut self) {
        let upto = locked(&self.hints).clone();
        if !upto.is_empty() {
            self.fetcher.committed(&upto).await;
            locked(&self.hints).retain(|partition, position| upto.get(partition) != Some(position));
        }
    }

    fn fail(&self, error: spout_producer::Error) {
        let pipeline = self.shared.pipeline.clone();
        let failed = Error::Producer { pipeline, source: Box::new(error) };
        drop(self.shared.events.send(LaneEvent::Failed(Box::new(failed))));
    }

    async fn fetch_all(&mut self) -> Result<(), spout_producer::Error> {
        // Partitions that have nothing for now, with what was reported about that.
        let mut idle = BTreeMap::new();
        let mut reading = 1_usize;
        // Messages until as many have come as make a commit: where there is one lane, and one row a message, it is cut there.
        let mut left = self.shared.most;
        while !(self.fetcher.acknowledges() && self.shared.stop.is_cancelled()) {
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
            self.tell().await;
            let mut fetch = Span(Some(trace::begin("fetch")));
            let fetched = self.fetcher.fetch(left).await;
            let fetched = fetched.inspect_err(|error| fetch.failed(error.code()))?;
            let came = u32::try_from(fetched.count()).unwrap_or(u32::MAX);
            left = left.checked_sub(came).filter(|left| *left > 0).unwrap_or(self.shared.most);
            let (progress, expects, partition) = (fetched.progress, fetched.expects, fetched.span.partition);
            self.shared.standings.fetched(&fetched);
            let moved = fetched.moves();
            if fetched.replaced && !moved && !self.pass(Raw::Place(partition, fetched.span.next.clone())).await {
                return Ok(());
            }
            // Waiting clients are reported even if nothing new arrived.
            if moved || fetched.awaited.is_some() {
                let of = fetch.over(&fetched);
                if !self.pass_on(fetched, of).await {
                    return Ok(());
                }
            }
            drop(fetch);
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
        Ok(())
    }

    /// Whether the decoding task took it.
    async fn pass(&mut self, raw: Raw) -> bool {
        self.raw.send(raw).await.is_ok()
    }

    /// Whether the decoding task took it.
    async fn pass_on(&mut self, fetched: Fetched, of: Option<Context>) -> bool {
        let size = self.shared.meter.count(&fetched);
        match self.shared.room.take(size).await {
            Some(room) => self.pass(Raw::Run(Box::new(fetched), Share::new(room, of))).await,
            None => false,
        }
    }
}

/// The span of a fetch. Of one that brought nothing, or was cut off, there is none.
struct Span(Option<Doing>);

impl Span {
    /// It brought this.
    fn over(&mut self, fetched: &Fetched) -> Option<Context> {
        let mut fetch = self.0.take()?;
        let context = fetch.context()?;
        fetch.note("spout.partition", u64::from(fetched.span.partition.number));
        fetch.note("spout.start", fetched.span.start);
        fetch.note("spout.next", fetched.span.next.offset);
        fetch.note("spout.messages", fetched.count() as u64);
        Some(context)
    }

    fn failed(&mut self, code: &'static str) {
        if let Some(mut fetch) = self.0.take() {
            fetch.fail(code);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(fetch) = self.0.take() {
            fetch.forget();
        }
    }
}
