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
use serde::de::DeserializeOwned;
use spout_base::owner;
use spout_repo::Store;
use tokio::sync::{Mutex, MutexGuard, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Lost, Says, Works,
    gather::{Gathering, Gathers},
    reader::Reader,
    task::Doing,
    words::{GatherHead, TaskHead, VERSION, unframe},
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
    pub(super) store: Store,
    builds: Arc<dyn Builds>,
    /// Resident bytes above which commits are to be cut early.
    pub(super) memory_high: Option<u64>,
    pipelines: Slots<Slot>,
    gathers: Slots<Gathers>,
    begun: Begun,
}

/// The newest task of each pipeline, by whether it gathers: its epoch, its job, and what ends it as long as it has not cut.
type Begun = Arc<StdMutex<BTreeMap<(String, bool), (u64, u64, CancellationToken)>>>;

/// What a worker has, by pipeline; a task locks it until it has cut.
type Slots<T> = Arc<StdMutex<BTreeMap<String, Arc<Mutex<T>>>>>;

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
        let (pipelines, gathers, begun) = Default::default();
        Self { store: store.clone(), builds, memory_high, pipelines, gathers, begun }
    }

    fn slot<T: Default>(slots: &Slots<T>, pipeline: &str) -> Arc<Mutex<T>> {
        let mut all = slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(pipeline.to_owned()).or_default())
    }

    /// A task has begun. One before it that has not cut is of a job that was lost: nobody takes what it says any more.
    fn begins(&self, task: &TaskHead, gathers: bool, ends: CancellationToken) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, key) = ((task.epoch, task.job), (task.pipeline.clone(), gathers));
        if begun.get(&key).is_some_and(|(epoch, job, _)| (*epoch, *job) > now) {
            return;
        }
        if let Some((.., before)) = begun.insert(key, (now.0, now.1, ends)) {
            before.cancel();
        }
    }

    /// A task has cut, and goes on beside the next one.
    pub(super) fn has_cut(&self, task: &TaskHead, gathers: bool) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (task.pipeline.clone(), gathers);
        if begun.get(&key).is_some_and(|(epoch, job, _)| (*epoch, *job) == (task.epoch, task.job)) {
            begun.remove(&key);
        }
    }

    /// The parts for a task.
    pub(super) async fn built(&self, task: &TaskHead) -> Result<Parts, String> {
        let parts = self.builds.build(&task.spec, &task.base, &task.plugins).await?;
        if parts.digest == task.spec_digest && parts.digests == task.plugins {
            Ok(parts)
        } else {
            Err("what was built is not what the leader runs: other plugins, or another version of spout".into())
        }
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
            (slot.parts, slot.before) = (Some(self.built(task).await?), Done::default());
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
    fn work(&self, task: Bytes, orders: BoxStream<'static, Bytes>) -> BoxStream<'static, Result<Says, String>> {
        let (said, says) = mpsc::channel(AHEAD);
        let task = match head(&task, |head: &TaskHead| head.version) {
            Ok(task) => task,
            Err(error) => return stream::once(std::future::ready(Err(error))).boxed(),
        };
        let ends = CancellationToken::new();
        self.begins(&task, false, ends.clone());
        let (worker, ended, last) = (self.clone(), ends.clone(), said.clone());
        owner::spawn(async move {
            let slot = Self::slot(&worker.pipelines, &task.pipeline);
            let doing = Doing { worker: &worker, task, said };
            match Box::pin(ended.run_until_cancelled(doing.run(&slot, orders))).await {
                Some(()) => drop(last),
                None => drop(owner::spawn(given_up(last))),
            }
            Self::close(slot).await;
        });
        until_dropped(says, ends)
    }

    fn gather(
        &self,
        task: Bytes,
        orders: BoxStream<'static, Bytes>,
        from: BoxStream<'static, Result<Bytes, Lost>>,
    ) -> BoxStream<'static, Result<Bytes, String>> {
        let (said, says) = mpsc::channel(AHEAD);
        let head = match head(&task, |head: &GatherHead| head.task.version) {
            Ok(head) => head,
            Err(error) => return stream::once(std::future::ready(Err(error))).boxed(),
        };
        let ends = CancellationToken::new();
        self.begins(&head.task, true, ends.clone());
        let (worker, ended, last) = (self.clone(), ends.clone(), said.clone());
        owner::spawn(async move {
            let slot = Self::slot(&worker.gathers, &head.task.pipeline);
            let doing = Gathering { worker: &worker, head, said };
            match Box::pin(ended.run_until_cancelled(doing.run(&slot, orders, from))).await {
                Some(()) => drop(last),
                None => drop(owner::spawn(given_up(last))),
            }
            Gathers::close_later(slot, LINGER);
        });
        until_dropped(says, ends)
    }
}

/// What a task is, if it is one of this version.
fn head<T: DeserializeOwned>(task: &Bytes, version: impl Fn(&T) -> u32) -> Result<T, String> {
    let (head, _) = unframe::<T>(task)?;
    match version(&head) {
        VERSION => Ok(head),
        other => Err(format!("it does tasks of version {VERSION}, not of {other}: run one version of spout")),
    }
}

/// A task is given up: nobody listens to it, or another one has its place. Whoever listens all the same must not take its end for one
/// that it came to.
async fn given_up<T: Send>(said: mpsc::Sender<Result<T, String>>) {
    tracing::debug!("a task is given up");
    drop(said.send(Err("another task of the pipeline has begun".to_owned())).await);
}

/// What a task says, which ends with whoever listens.
fn until_dropped<T: Send + 'static>(says: mpsc::Receiver<T>, ends: CancellationToken) -> BoxStream<'static, T> {
    let ends = ends.drop_guard();
    stream::unfold((says, ends), async |(mut says, ends)| Some((says.recv().await?, (says, ends)))).boxed()
}
