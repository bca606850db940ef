//! One task of a worker: takes what its lanes bring until it is told to cut, then makes the files of it durable.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use spout_base::error::{Coded as _, chain};
use spout_data::Batch;
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    Lost, Says,
    batches::pack,
    reader::Reader,
    sending::Sending,
    words::{Files, Mode, Order, Sent, TaskHead, Took, Word, frame},
    worker::{Slot, Worker},
};
use crate::{
    Error,
    lane::{LaneEvent, Slice},
    memory::resident,
    run::size,
    taking::Taken,
};

/// How often a task says how its partitions stand.
const STAND: Duration = Duration::from_millis(500);

/// A task that is being done.
pub(super) struct Doing<'a> {
    pub(super) worker: &'a Worker,
    pub(super) task: TaskHead,
    pub(super) said: mpsc::Sender<Result<Says, String>>,
}

/// Why a task is over before it was told to cut.
pub(super) enum Over {
    /// The pipeline cannot go on.
    Failed(Box<Error>),
    /// It could not begin: this process cannot do it.
    Unfit(String),
    /// What others have for it does not come.
    Apart(Lost),
    /// It could not be said.
    Broken(String),
    /// Nobody listens any more.
    Unheard,
}

impl Over {
    /// The last word of such a task, if anybody listens.
    pub(super) fn last(self) -> Option<Result<Bytes, String>> {
        let word = match self {
            Self::Unheard => return None,
            Self::Broken(what) => return Some(Err(what)),
            Self::Unfit(text) => Word::Unfit { text },
            Self::Apart(Lost { member, reason }) => Word::Apart { from: member, text: reason },
            Self::Failed(error) => {
                Word::Failed { code: error.code().to_owned(), kind: error.kind().into(), text: chain(error.as_ref()) }
            }
        };
        Some(frame(&word, &[]).map_err(|error| error.to_string()))
    }
}

impl From<Error> for Over {
    fn from(error: Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl Doing<'_> {
    pub(super) async fn run(self, slot: &Mutex<Slot>, orders: BoxStream<'static, Bytes>) {
        let over = match self.take_until_cut(slot, orders).await {
            Ok(taken) => self.finish(taken).await,
            Err(over) => Err(over),
        };
        if let Some(last) = over.err().and_then(Over::last) {
            // The leader may be gone.
            drop(self.said.send(last.map(Says::to_leader)).await);
        }
    }

    async fn say(&self, word: &Word, body: &[u8]) -> Result<(), Over> {
        let frame = frame(word, body).map_err(|error| Over::Broken(error.to_string()))?;
        self.said.send(Ok(Says::to_leader(frame))).await.map_err(|_| Over::Unheard)
    }

    /// Says something to gathers.
    async fn send(&self, all: Result<Vec<Says>, String>) -> Result<(), Over> {
        for says in all.map_err(Over::Broken)? {
            self.said.send(Ok(says)).await.map_err(|_| Over::Unheard)?;
        }
        Ok(())
    }

    /// Takes what lanes bring. The next task can begin when this returns.
    async fn take_until_cut(&self, slot: &Mutex<Slot>, mut orders: BoxStream<'static, Bytes>) -> Result<Taken, Over> {
        let mut slot = self.worker.begin(slot, &self.task).await.map_err(Over::Unfit)?;
        let reader = slot.reader.as_mut().ok_or_else(|| Over::Broken("a bug: its lanes are gone".into()))?;
        reader.begin(&self.task).await?;
        reader.taking.repo.after(self.task.before_ms);
        let mut sending = match (self.task.mode, reader.keys.clone()) {
            (Mode::Keys, Some(keys)) => Some(Sending::new(keys, &self.task)),
            (Mode::Keys, None) => return Err(Over::Broken("its handlers need the rows of all keys".into())),
            _ => None,
        };
        let (mut rows, mut bytes) = (0, 0);
        let mut stand = interval_at(Instant::now() + STAND, STAND);
        stand.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let waits = sending.as_ref().is_some_and(Sending::full);
            let full = waits || rows >= self.task.rows || bytes >= self.task.bytes || self.task.last;
            let event = tokio::select! {
                biased;
                order = orders.next() => match order.map(|order| Order::read(&order)) {
                    Some(Ok(Order::Cut)) => break,
                    Some(Ok(Order::Durable(positions))) => {
                        reader.durable(positions.iter().map(|(partition, position)| (*partition, position)));
                        continue;
                    }
                    Some(Ok(Order::Done { task, bytes })) => {
                        sending.iter_mut().for_each(|sending| sending.done(task, bytes));
                        continue;
                    }
                    // The others are for gathers.
                    Some(Ok(Order::Event { .. } | Order::Finish { .. })) => continue,
                    Some(Err(why)) => return Err(Over::Broken(why)),
                    None => return Err(Over::Unheard),
                },
                _ = stand.tick() => {
                    self.say(&reader.stand(), &[]).await?;
                    if self.worker.memory_high.is_some_and(|high| resident().is_some_and(|now| now > high)) {
                        self.say(&Word::Full, &[]).await?;
                    }
                    continue;
                }
                event = reader.next(full) => event?,
            };
            let (more_rows, more_bytes) = self.take(reader, event, &mut sending).await?;
            (rows, bytes) = (rows + more_rows, bytes + more_bytes);
        }
        self.say(&reader.stand(), &[]).await?;
        if let Some(sending) = &sending {
            self.send(sending.all(&Sent::Cut)).await?;
        }
        let columns = reader.columns.stored().await;
        let tables = reader.parts.tables.cut().await;
        let taken = reader.taking.cut();
        reader.end();
        self.worker.has_cut(&self.task, false);
        if self.task.last
            && let Some(reader) = slot.reader.take()
        {
            reader.close().await;
        }
        drop(slot);
        self.say(&Word::Cut { columns, tables, started_ms: taken.pending.started_ms() }, &[]).await?;
        Ok(taken)
    }

    fn lost(&self, source: spout_consumer::Error) -> Over {
        Error::Consumer { pipeline: self.task.pipeline.clone(), source: Box::new(source) }.into()
    }

    async fn take(
        &self,
        reader: &mut Reader,
        event: LaneEvent,
        sending: &mut Option<Sending>,
    ) -> Result<(u64, u64), Over> {
        match event {
            LaneEvent::Failed(error) => Err(Over::Failed(error)),
            LaneEvent::Idle { partition, expects } => {
                self.say(&Word::Idle { partition, expects }, &[]).await?;
                Ok((0, 0))
            }
            LaneEvent::Place(partition, position) => {
                reader.moves(partition, position.clone());
                self.say(&Word::Place { partition, position }, &[]).await?;
                Ok((0, 0))
            }
            LaneEvent::Ended(partition) => {
                reader.ends(partition);
                self.say(&Word::Ended { partition }, &[]).await?;
                Ok((0, 0))
            }
            LaneEvent::Batches { partition, batches, more, about, share } => {
                let mut took = Took { partition, jumped: about.jumped, awaited: about.awaited, ..Took::default() };
                let mut body = self.take_batches(reader, batches, &mut took, sending).await?;
                if let Some(mut more) = more {
                    loop {
                        match more.recv().await {
                            Some(Slice::Batches(batches)) => {
                                if self.task.mode == Mode::Rows {
                                    self.say(&Word::Took(Took { partial: true, ..took.clone() }), &body).await?;
                                }
                                body = self.take_batches(reader, batches, &mut took, sending).await?;
                            }
                            Some(Slice::End) => break,
                            Some(Slice::Failed(error)) => return Err(Over::Failed(error)),
                            None => return Err(Error::Task { pipeline: self.task.pipeline.clone() }.into()),
                        }
                    }
                }
                drop(share);
                took.next = took.next.filter(|_| about.moved);
                if let Some(next) = &took.next {
                    reader.moves(partition, next.clone());
                }
                let size = (took.rows, took.bytes);
                if let Some(sending) = sending {
                    self.send(sending.all(&Sent::Run { partition })).await?;
                }
                self.say(&Word::Took(took), &body).await?;
                Ok(size)
            }
        }
    }

    /// Takes some batches of a run, and adds them to what is said of it. What the leader gets of them.
    async fn take_batches(
        &self,
        reader: &mut Reader,
        batches: Vec<Batch>,
        took: &mut Took,
        sending: &mut Option<Sending>,
    ) -> Result<Bytes, Over> {
        if let Some(last) = batches.last() {
            took.next = Some(last.span.next.clone());
        }
        if self.task.mode == Mode::Rows {
            for batch in &batches {
                let (rows, bytes) = size(batch);
                (took.rows, took.bytes) = (took.rows + rows, took.bytes + bytes);
            }
            return pack(&batches).map_err(Over::Broken);
        }
        let (labels, taking) = reader.labelled();
        for mut batch in batches {
            if let Some(sending) = sending {
                let (rows, bytes) = size(&batch);
                took.given = (took.given.0 + rows, took.given.1 + bytes);
                let (rest, said) = sending.split(batch).map_err(Over::Broken)?;
                self.send(Ok(said)).await?;
                batch = rest;
            }
            taking.prepare(&mut batch, |partition| Reader::label(labels, partition))?;
            let (rows, bytes) = size(&batch);
            (took.rows, took.bytes) = (took.rows + rows, took.bytes + bytes);
            took.counts.add(&batch.counts());
            taking.take(&mut batch).await?;
        }
        Ok(Bytes::new())
    }

    /// Makes the files durable, and says what they are.
    async fn finish(&self, taken: Taken) -> Result<(), Over> {
        let Taken { pending, dead, faults } = taken;
        let pending = pending.as_part_of(&self.task.commit, self.task.ordinal, self.task.tasks);
        let written = pending.written().await.map_err(|source| self.lost(source))?;
        let files = Files {
            prepared: written.open.prepared(),
            counts: written.counts,
            started_ms: written.started_ms,
            dead,
            faults: faults.sorted(),
        };
        self.say(&Word::Files(Box::new(files)), &[]).await
    }
}
