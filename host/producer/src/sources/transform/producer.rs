//! Reads a spout while a pipeline runs: its one partition, and the commits that it finishes.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use spout_base::owner;
use spout_data::{Marker, PartitionId, Position};
use spout_repo::Store;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    OnExit, Spout,
    commits::{Commits, Committed, SpoutEvent},
    fetcher::{OnItsWay, SpoutFetcher},
    supervise::supervise,
};
use crate::{Durable, Error, Fetcher, Found, Goal, Producer, ProducerTraits, several::Nobody, source::Output};

/// Makes the spout whose commits are these.
pub(super) type Make = dyn Fn(&Commits) -> Box<dyn Spout> + Send;

/// Reads a spout that drives itself.
pub(super) struct SpoutProducer {
    pipeline: String,
    store: Store,
    output: Output,
    make: Box<Make>,
    /// The branch that it follows, if it reads one.
    follows: Option<String>,
    running: Option<Running>,
    /// Cancelled when the pipeline wants to stop.
    drained: CancellationToken,
    on_its_way: OnItsWay,
}

/// A spout whose commits are open.
struct Running {
    commits: Commits,
    /// Until it is fetched, which starts it.
    finished: Option<mpsc::UnboundedReceiver<SpoutEvent>>,
    task: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl SpoutProducer {
    /// Reads what `make` makes, for `pipeline` of `store`.
    pub(super) fn new(pipeline: &str, store: &Store, output: &Output, make: Box<Make>) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            store: store.clone(),
            output: output.clone(),
            make,
            follows: None,
            running: None,
            drained: CancellationToken::new(),
            on_its_way: OnItsWay::default(),
        }
    }

    /// The same for one that reads a branch: it can be stopped anywhere, and begins what was not finished again.
    pub(super) fn following(self, branch: String) -> Self {
        Self { follows: Some(branch), ..self }
    }
}

#[async_trait]
impl Producer for SpoutProducer {
    fn traits(&self) -> ProducerTraits {
        let drives = self.follows.is_none();
        let finite = drives && self.output.on_exit == OnExit::End;
        ProducerTraits {
            discover_every: Duration::from_secs(3600),
            drains: drives,
            finite,
            readers: None,
            heirs: false,
            beside: false,
        }
    }

    async fn partitions(&mut self, marker: &Marker, _: bool) -> Result<Vec<Found>, Error> {
        if self.running.is_some() {
            return Ok(Vec::new());
        }
        let found = Found::only(marker, self.follows.as_deref().unwrap_or("spout"));
        let token = found.start.token.clone().map(Into::into);
        let (commits, finished) = Commits::open(&self.pipeline, &self.store, &self.output, token).await?;
        self.running = Some(Running { commits, finished: Some(finished), task: None });
        Ok(vec![found])
    }

    async fn seek(&mut self, marker: &Marker, goal: Goal) -> Result<Vec<Found>, Error> {
        let found = Found::only(marker, "spout");
        match goal {
            // Its offset counts the commits that there are, whatever it has forgotten of them.
            Goal::Earliest => Ok(vec![Found { start: Position::at(found.start.offset), ..found }]),
            Goal::Latest | Goal::Offset(_) => {
                let why = "a spout decides itself where it goes on; give it another marker, or none by `--to earliest`";
                Err(Error::Unseekable { why: why.into() })
            }
        }
    }

    fn fetcher(&mut self, found: Found) -> Box<dyn Fetcher> {
        // A second fetcher of the one partition would find nothing.
        let Some(running) = &mut self.running else { return Box::new(Nobody) };
        let Some(finished) = running.finished.take() else { return Box::new(Nobody) };
        let spout: Arc<dyn Spout> = Arc::from((self.make)(&running.commits));
        let (commits, on_exit, drained) = (running.commits.clone(), self.output.on_exit, self.drained.clone());
        running.task = Some(owner::spawn(supervise(Arc::clone(&spout), commits, on_exit, drained)));
        let (position, on_its_way) = (found.start.clone(), Arc::clone(&self.on_its_way));
        Box::new(SpoutFetcher { found, position, finished, current: None, on_its_way, spout })
    }

    fn committed(&mut self, durable: &Durable) {
        let Some(position) = durable.positions.get(&PartitionId::default()) else { return };
        let mut on_its_way = self.on_its_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, waiting)) = on_its_way.take_if(|(after, _)| *after <= position.offset)
            && let Some(running) = &self.running
        {
            let committed = Committed { id: durable.commit.clone(), sequence: durable.sequence };
            running.commits.committed(waiting, committed);
        }
    }

    fn drain(&mut self) {
        self.drained.cancel();
    }

    async fn close(&mut self) {
        self.running = None;
        drop(self.on_its_way.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl fmt::Debug for SpoutProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoutProducer").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}
