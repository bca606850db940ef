//! A process that does tasks: reads the partitions that it is given, and puts what comes of them into files, or hands it on.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use spout_base::owner;
use spout_repo::Store;
use tokio::sync::{Mutex, MutexGuard, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Works,
    reader::Reader,
    task::Doing,
    words::{TaskHead, VERSION, unframe},
};
use crate::{build::Parts, members::Done};

/// How long the lanes of a pipeline stay open that has no task.
const LINGER: Duration = Duration::from_secs(10);
/// Words of a task on their way.
const AHEAD: usize = 4;

/// What makes the parts of a pipeline that another process has sent.
pub trait Builds: fmt::Debug + Send + Sync {
    /// The parts of the spec `text`, whose relative paths start at `base`, with the plugins of these digests and no others.
    fn build<'a>(
        &'a self,
        text: &'a str,
        base: &'a Path,
        plugins: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<Parts, String>>;
}

/// Does tasks of any number of pipelines.
#[derive(Clone, Debug)]
pub struct Worker {
    store: Store,
    builds: Arc<dyn Builds>,
    /// Resident bytes above which commits are to be cut early.
    pub(super) memory_high: Option<u64>,
    pipelines: Arc<StdMutex<BTreeMap<String, Arc<Mutex<Slot>>>>>,
}

/// What a worker has of one pipeline.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The highest epoch that it was given a task of.
    epoch: u64,
    /// What its parts had done before the first task of that.
    before: Done,
    parts: Option<Parts>,
    pub(super) reader: Option<Reader>,
    /// How many tasks it has had.
    tasks: u64,
}

impl Worker {
    /// Does tasks of pipelines that commit to `store`, and asks for an early cut where this process has more resident bytes than
    /// `memory_high`.
    #[must_use]
    pub fn new(store: &Store, builds: Arc<dyn Builds>, memory_high: Option<u64>) -> Self {
        Self { store: store.clone(), builds, memory_high, pipelines: Arc::default() }
    }

    fn slot(&self, pipeline: &str) -> Arc<Mutex<Slot>> {
        let mut all = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(pipeline.to_owned()).or_default())
    }

    /// The lanes for a task, once the task before it has cut; those that are there, if they stand where it goes on.
    pub(super) async fn begin<'a>(
        &self,
        slot: &'a Mutex<Slot>,
        task: &TaskHead,
    ) -> Result<MutexGuard<'a, Slot>, String> {
        let mut slot = slot.lock().await;
        if slot.epoch > task.epoch {
            return Err(format!(
                "its leader was replaced: a task of epoch {} follows one of {}",
                task.epoch, slot.epoch
            ));
        }
        if slot.epoch < task.epoch {
            slot.epoch = task.epoch;
            slot.before = slot.parts.as_ref().map(|parts| parts.figures.done_here()).unwrap_or_default();
        }
        slot.tasks += 1;
        let same = |parts: &Parts| parts.digest == task.spec_digest && parts.digests == task.plugins;
        if !slot.parts.as_ref().is_some_and(same) {
            (slot.parts, slot.reader) = (None, None);
            let parts = self.builds.build(&task.spec, &task.base, &task.plugins).await?;
            if !same(&parts) {
                return Err(
                    "what was built is not what the leader runs: other plugins, or another version of spout".into()
                );
            }
            (slot.parts, slot.before) = (Some(parts), Done::default());
        }
        if !slot.reader.as_ref().is_some_and(|reader| reader.goes_on_with(task)) {
            // What the old lanes have fetched ahead is not what comes next.
            slot.reader = None;
            let Some(parts) = &slot.parts else { return Err("a bug: its parts are gone".into()) };
            let reader = Reader::open(parts, &self.store, task, slot.before.clone()).await;
            slot.reader = Some(reader.map_err(|error| spout_base::error::chain(&error))?);
        }
        Ok(slot)
    }

    /// Closes the lanes of a pipeline that gets no other task for a while; at once, if a task was given up half way: nobody goes on with them,
    /// and what they have of a source others may be waiting for.
    async fn close(slot: Arc<Mutex<Slot>>) {
        let mut now = slot.lock().await;
        if now.reader.as_ref().is_some_and(Reader::is_abandoned) {
            now.reader = None;
            return;
        }
        let tasks = now.tasks;
        drop(now);
        owner::spawn(async move {
            tokio::time::sleep(LINGER).await;
            let mut slot = slot.lock().await;
            if slot.tasks == tasks {
                slot.reader = None;
            }
        });
    }
}

impl Works for Worker {
    fn work(&self, task: Bytes, orders: BoxStream<'static, Bytes>) -> BoxStream<'static, Result<Bytes, String>> {
        let (said, says) = mpsc::channel(AHEAD);
        let worker = self.clone();
        let unheard = CancellationToken::new();
        // It ends with whoever listens to it.
        let ends = unheard.clone().drop_guard();
        owner::spawn(async move {
            let (head, _) = match unframe::<TaskHead>(&task) {
                Ok((head, body)) if head.version == VERSION => (head, body),
                Ok((head, _)) => {
                    let other = head.version;
                    let what = format!("it does tasks of version {VERSION}, not of {other}: run one version of spout");
                    drop(said.send(Err(what)).await);
                    return;
                }
                Err(error) => return drop(said.send(Err(error)).await),
            };
            let slot = worker.slot(&head.pipeline);
            let doing = Doing { worker: &worker, task: head, said };
            if Box::pin(unheard.run_until_cancelled(doing.run(&slot, orders))).await.is_none() {
                tracing::debug!("nobody listens to a task any more, and it is given up");
            }
            Self::close(slot).await;
        });
        let says = stream::unfold((says, ends), async |(mut says, ends)| Some((says.recv().await?, (says, ends))));
        says.boxed()
    }
}
