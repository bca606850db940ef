//! The second stage of a job: a task that has some buckets of keys, and passes their rows through the handlers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use spout_base::owner;
use spout_consumer::RepoConsumer;
use spout_data::{Batch, Counts, Marker, Part, PartitionId};
use spout_node::{Buckets, SourceEvent, States, bucket_of};
use tokio::sync::{Mutex, MutexGuard, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Lost,
    sending::{received, size},
    task::Over,
    words::{Files, GatherHead, Order, Sent, TaskHead, Word, frame, unframe},
    worker::Worker,
};
use crate::{
    Error,
    build::{Parts, Reading},
    columns::Columns,
    members::Done,
    run::{RunConfig, size as size_of},
    taking::{Taken, Taking},
};

/// So many bytes are handled at most before it is said.
const DONE: u64 = 2 << 20;

/// What a worker has of the buckets of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Gathers {
    /// The highest epoch that it was given a task of.
    epoch: u64,
    held: Option<Held>,
    /// How many tasks it has had.
    tasks: u64,
}

impl Gathers {
    /// Lets go what gets no other task for a while.
    pub(super) fn close_later(gathers: Arc<Mutex<Self>>, linger: Duration) {
        owner::spawn(async move {
            let tasks = gathers.lock().await.tasks;
            tokio::time::sleep(linger).await;
            let mut gathers = gathers.lock().await;
            if gathers.tasks == tasks {
                gathers.held = None;
            }
        });
    }
}

/// The handlers of some buckets.
#[derive(Debug)]
struct Held {
    parts: Parts,
    columns: Columns,
    /// What is stored of them, by key.
    stored: BTreeMap<String, String>,
    taking: Taking,
    buckets: Buckets,
    /// The commit that their state is that of; unknown while a task goes on.
    at: Option<Option<String>>,
    /// The names of partitions.
    labels: BTreeMap<PartitionId, String>,
    /// What the handlers had done when it was said last.
    done: Done,
    _stop: DropGuard,
}

/// A task that is being done.
pub(super) struct Gathering<'a> {
    pub(super) worker: &'a Worker,
    pub(super) head: GatherHead,
    pub(super) said: mpsc::Sender<Result<Bytes, String>>,
}

/// Orders that have not come about yet.
#[derive(Debug, Default)]
struct Waiting {
    orders: VecDeque<Order>,
    /// Runs that are whole, by partition.
    runs: BTreeMap<PartitionId, u64>,
    /// Tasks that send nothing more.
    cut: usize,
}

impl Waiting {
    /// The next order, if what it is to come after is here.
    fn next(&mut self, readers: usize) -> Option<Order> {
        let here = |after: &[(PartitionId, u64)]| {
            after
                .iter()
                .all(|(partition, runs)| self.runs.get(partition).is_some_and(|here| here >= runs) || *runs == 0)
        };
        let due = match self.orders.front()? {
            Order::Event { after, .. } | Order::Finish { after } => here(after),
            Order::Cut => self.cut >= readers,
            // They are for reading tasks.
            Order::Done { .. } | Order::Durable(_) => true,
        };
        if due { self.orders.pop_front() } else { None }
    }

    /// Whether no more rows than those that come are to be handled: the commit is cut, or the leader waits for all that is held back, and
    /// cuts nothing meanwhile.
    fn cuts(&self) -> bool {
        self.orders.iter().any(|order| matches!(order, Order::Cut | Order::Finish { .. }))
    }
}

/// What was made and is not said yet.
#[derive(Debug, Default)]
struct Made {
    rows: u64,
    bytes: u64,
    counts: Counts,
    done: BTreeMap<usize, u64>,
}

impl Gathering<'_> {
    pub(super) async fn run(
        self,
        gathers: &Mutex<Gathers>,
        orders: BoxStream<'static, Bytes>,
        from: BoxStream<'static, Result<Bytes, Lost>>,
    ) {
        let over = match Box::pin(self.take_until_cut(gathers, orders, from)).await {
            Ok((taken, states)) => self.finish(taken, states).await,
            Err(over) => Err(over),
        };
        if let Some(last) = over.err().and_then(Over::last) {
            // The leader may be gone.
            drop(self.said.send(last).await);
        }
    }

    async fn say(&self, word: &Word) -> Result<(), Over> {
        let frame = frame(word, &[]).map_err(|error| Over::Broken(error.to_string()))?;
        self.said.send(Ok(frame)).await.map_err(|_| Over::Unheard)
    }

    /// Takes what others send. The next task can begin when this returns.
    async fn take_until_cut(
        &self,
        gathers: &Mutex<Gathers>,
        mut orders: BoxStream<'static, Bytes>,
        mut from: BoxStream<'static, Result<Bytes, Lost>>,
    ) -> Result<(Taken, BTreeMap<String, Part>), Over> {
        let mut gathers = Box::pin(self.worker.hold(gathers, &self.head)).await?;
        let held = gathers.held.as_mut().ok_or_else(|| Over::Broken("a bug: its handlers are gone".into()))?;
        held.taking.repo.after(self.head.task.before_ms);
        let (mut waiting, mut made, mut all, mut ended) = (Waiting::default(), Made::default(), (0, 0), false);
        for event in &self.head.events {
            self.pass(held, (*event).into(), &mut made).await?;
        }
        loop {
            while let Some(order) = waiting.next(self.head.readers) {
                match order {
                    Order::Event { event, .. } => self.pass(held, event.into(), &mut made).await?,
                    Order::Finish { .. } => {
                        let released =
                            held.buckets.finish().await.map_err(|source| failed(held, "finished", source))?;
                        let any = !released.is_empty();
                        take(held, released, &mut made).await?;
                        self.say_made(&mut made, &mut all).await?;
                        self.say(&Word::Finished { any }).await?;
                    }
                    Order::Cut => return self.cut(held, made, all).await,
                    Order::Done { .. } | Order::Durable(_) => {}
                }
            }
            // A commit that is full waits for the one before, unless it is cut.
            let full = all.0 + made.rows >= self.head.task.rows || all.1 + made.bytes >= self.head.task.bytes;
            let takes = !ended && (!full || waiting.cuts());
            if made.done.values().sum::<u64>() >= DONE || !takes {
                self.say_made(&mut made, &mut all).await?;
            }
            let sent = tokio::select! {
                biased;
                order = orders.next() => {
                    let order = order.ok_or(Over::Unheard)?;
                    waiting.orders.push_back(Order::read(&order).map_err(Over::Broken)?);
                    continue;
                }
                error = held.taking.repo.failed() => {
                    let pipeline = self.head.task.pipeline.clone();
                    return Err(Error::Consumer { pipeline, source: Box::new(error) }.into());
                }
                sent = from.next(), if takes => sent,
                // Nothing comes at once: whoever waits for what was done hears of it.
                () = std::future::ready(()), if !made.done.is_empty() => {
                    self.say_made(&mut made, &mut all).await?;
                    continue;
                }
            };
            let Some(sent) = sent else {
                if waiting.cut < self.head.readers {
                    return Err(Over::Unheard);
                }
                ended = true;
                continue;
            };
            let sent = sent.map_err(Over::Apart)?;
            self.take(held, sent, &mut waiting, &mut made).await?;
        }
    }

    /// Takes what a reading task says.
    async fn take(&self, held: &mut Held, sent: Bytes, waiting: &mut Waiting, made: &mut Made) -> Result<(), Over> {
        let bytes = size(&sent);
        let (word, body) = unframe::<Sent>(&sent).map_err(Over::Broken)?;
        match word {
            Sent::Cut => waiting.cut += 1,
            Sent::Run { partition } => *waiting.runs.entry(partition).or_default() += 1,
            Sent::Rows { from, buckets, newest, .. } => {
                let shares = received(buckets, newest, body).map_err(Over::Broken)?;
                let batches = held.buckets.take(&shares).await.map_err(|source| failed(held, "brought on", source))?;
                take(held, batches, made).await?;
                *made.done.entry(from).or_default() += bytes;
            }
        }
        Ok(())
    }

    /// Passes an event to the handlers.
    async fn pass(&self, held: &mut Held, event: SourceEvent, made: &mut Made) -> Result<(), Over> {
        let released = held.buckets.on_event(event).await.map_err(|source| failed(held, "brought on", source))?;
        take(held, released, made).await
    }

    async fn say_made(&self, made: &mut Made, all: &mut (u64, u64)) -> Result<(), Over> {
        let Made { rows, bytes, counts, done } = std::mem::take(made);
        *all = (all.0 + rows, all.1 + bytes);
        if rows == 0 && bytes == 0 && counts == Counts::default() && done.is_empty() {
            return Ok(());
        }
        self.say(&Word::Made { rows, bytes, counts, done: done.into_iter().collect() }).await
    }

    /// Ends the task: what the handlers have made, and their state.
    async fn cut(
        &self,
        held: &mut Held,
        mut made: Made,
        mut all: (u64, u64),
    ) -> Result<(Taken, BTreeMap<String, Part>), Over> {
        self.pass(held, SourceEvent::Cut, &mut made).await?;
        let states = held.buckets.snapshot().await.map_err(|source| failed(held, "saved", source))?;
        self.say_made(&mut made, &mut all).await?;
        let done = held.parts.figures.done_here();
        let before = std::mem::replace(&mut held.done, done.clone());
        self.say(&Word::Handled { done: done.since(&before).left() }).await?;
        let tables = held.parts.tables.cut().await;
        let taken = held.taking.cut();
        held.at = Some(Some(self.head.task.commit.clone()));
        self.worker.has_cut(&self.head.task, true);
        let started_ms = taken.pending.started_ms();
        self.say(&Word::Cut { columns: BTreeMap::new(), tables, started_ms }).await?;
        Ok((taken, states))
    }

    /// Makes files and state durable, and says what they are.
    async fn finish(&self, taken: Taken, states: BTreeMap<String, Part>) -> Result<(), Over> {
        let Taken { pending, dead, faults } = taken;
        let TaskHead { pipeline, commit, ordinal, tasks, .. } = &self.head.task;
        let pending = pending.as_part_of(commit, *ordinal, *tasks);
        let lost = |source| Error::Consumer { pipeline: pipeline.clone(), source: Box::new(source) };
        let mut written = pending.written().await.map_err(lost)?;
        for (key, part) in states {
            let put = written.open.put_state(&key, part).await;
            put.map_err(|source| lost(spout_consumer::Error::Repo(Box::new(source))))?;
        }
        let files = Files {
            prepared: written.open.prepared(),
            counts: written.counts,
            started_ms: written.started_ms,
            dead,
            faults: faults.sorted(),
        };
        self.say(&Word::Files(Box::new(files))).await
    }
}

impl Worker {
    /// The handlers for a task, with the state that it says.
    async fn hold<'a>(&self, gathers: &'a Mutex<Gathers>, head: &GatherHead) -> Result<MutexGuard<'a, Gathers>, Over> {
        let mut gathers = gathers.lock().await;
        let task = &head.task;
        if gathers.epoch > task.epoch {
            let (new, old) = (gathers.epoch, task.epoch);
            let why = format!("its leader was replaced: a task of epoch {old} follows one of {new}");
            return Err(Over::Unfit(why));
        }
        gathers.epoch = task.epoch;
        gathers.tasks += 1;
        let wanted: BTreeSet<u16> = head.buckets.iter().copied().collect();
        let held = gathers.held.take().filter(|held| {
            held.parts.digest == task.spec_digest
                && held.parts.digests == task.plugins
                && held.at.as_ref() == Some(&head.state)
        });
        let mut held = match held {
            Some(mut held) => {
                if held.stored != task.columns {
                    held.columns = columns(&held.parts, task).await?;
                    held.stored.clone_from(&task.columns);
                }
                held
            }
            None => self.open(task).await?,
        };
        held.buckets.keep(&wanted);
        let missing: Vec<u16> = wanted.difference(&held.buckets.here()).copied().collect();
        if !missing.is_empty() {
            let mut states = self.states(&held.parts, head.state.as_deref(), &missing).await?;
            let mut more = held.parts.buckets(missing, &mut states).await?;
            let between = held.parts.between(&held.columns).await?;
            more.shape(&between).await.map_err(|source| failed(&held, "restored", source))?;
            held.buckets.join(more);
        }
        held.at = None;
        held.labels = head.labels.iter().cloned().collect();
        gathers.held = Some(held);
        Ok(gathers)
    }

    /// What a task needs besides handlers.
    async fn open(&self, task: &TaskHead) -> Result<Held, Over> {
        let parts = self.built(task).await.map_err(Over::Unfit)?;
        let stop = CancellationToken::new();
        let config = RunConfig::of_worker(&stop);
        let parts = parts.running(&self.store, &config);
        let repo = self.store.repo(&parts.name).await.map_err(|source| unread(&parts, source))?;
        let columns = columns(&parts, task).await?;
        let Reading { names, .. } = parts.producer(&self.store, &config, &Marker::default())?;
        let taking = Taking::new(&parts, RepoConsumer::new(repo, parts.target(), names, task.before_ms));
        let (buckets, labels, _stop) = (Buckets::default(), BTreeMap::new(), stop.drop_guard());
        let stored = task.columns.clone();
        Ok(Held { parts, columns, stored, taking, buckets, at: None, labels, done: Done::default(), _stop })
    }

    /// The state of some buckets at a commit.
    async fn states(&self, parts: &Parts, commit: Option<&str>, buckets: &[u16]) -> Result<States, Over> {
        let mut states = States::new();
        let Some(commit) = commit else { return Ok(states) };
        let unread = |source| unread(parts, source);
        let reference = format!("{}@{commit}", parts.name);
        let reference = reference.parse().map_err(|_| Over::Broken(format!("{reference} is no commit")))?;
        // It may not be there yet: then this job is lost, and the next one finds it.
        let resolved = self.store.resolve(&reference).await;
        let (repo, at) = resolved.map_err(|error| Over::Broken(spout_base::error::chain(&error)))?;
        for key in at.state.keys().filter(|key| bucket_of(key).is_some_and(|bucket| buckets.contains(&bucket))) {
            let part = repo.state_part(&at, key).await.map_err(unread)?;
            states.extend(part.map(|bytes| (key.clone(), bytes)));
        }
        Ok(states)
    }
}

/// The columns that a task says.
async fn columns(parts: &Parts, task: &TaskHead) -> Result<Columns, Error> {
    let texts = task.columns.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes().into()));
    let mut states: States = texts.collect();
    Columns::restore(&parts.name, &parts.inputs, &mut states).await
}

fn unread(parts: &Parts, source: spout_repo::Error) -> Error {
    let (pipeline, branch) = (parts.name.clone(), parts.target().branch);
    Error::Repo { pipeline, branch, doing: "read the state of", source: Box::new(source) }
}

fn failed(held: &Held, doing: &'static str, source: spout_node::Error) -> Error {
    Error::State { pipeline: held.parts.name.clone(), doing, source: Box::new(source) }
}

/// Passes what handlers made on to the files.
async fn take(held: &mut Held, batches: Vec<Batch>, made: &mut Made) -> Result<(), Over> {
    for mut batch in batches {
        let label = |partition| held.labels.get(&partition).cloned().unwrap_or_default();
        held.taking.prepare(&mut batch, label)?;
        let (rows, bytes) = size_of(&batch);
        (made.rows, made.bytes) = (made.rows + rows, made.bytes + bytes);
        made.counts.add(&batch.counts());
        held.taking.take(&mut batch).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leader waits for what it ordered, and cuts nothing until it has that.
    #[test]
    fn one_that_is_full_takes_what_comes_before_it_is_to_give_all() {
        let mut waiting = Waiting::default();
        assert!(!waiting.cuts());
        waiting.orders.push_back(Order::Finish { after: vec![(PartitionId::numbered(0), 3)] });
        assert!(waiting.next(1).is_none() && waiting.cuts(), "its rows are not here yet");
    }
}
