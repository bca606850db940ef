//! Runs that are decoded beside each other, where a lane has more than one waiting; they are handed over in the order they came in.
//!
//! **Invariant**: only decoding is done ahead. Handlers, dead letters and positions see the runs of a lane one after the other.

use std::{
    collections::VecDeque,
    num::NonZero,
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};

use spout_base::{
    error::Coded as _,
    owner,
    trace::{self, Context, Doing},
};
use spout_data::{Batch, Span};
use spout_producer::Decoder;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinHandle},
};

use crate::sample::FetchedRun;

/// Most runs of one lane that are decoded at the same time.
const MOST: usize = 4;

/// What may be decoded ahead at the same time in the whole process: who has more to do has not more of the machine than others.
static TURNS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZero::get))));

/// Runs that are being decoded, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    runs: VecDeque<Run>,
    /// Decoders that have nothing to do now.
    spare: Vec<Decoder>,
}

#[derive(Debug)]
struct Run {
    fetched: FetchedRun,
    moved: bool,
    task: JoinHandle<(Decoder, Result<Batch, spout_producer::Error>)>,
}

/// A run that was decoded.
#[derive(Debug)]
pub(super) struct Decoded {
    /// What is known of it besides its messages, and its share of the room.
    pub(super) run: FetchedRun,
    /// Whether the position is another after it.
    pub(super) moved: bool,
    /// Its rows.
    pub(super) batch: Result<Batch, spout_producer::Error>,
}

impl Ahead {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.runs.len() >= MOST
    }

    /// Starts to decode a run as `decoder` would; gives it back where that one has to do it itself, or nobody else is free.
    pub(super) fn start(&mut self, (mut fetched, room): FetchedRun, decoder: &Decoder) -> Result<(), FetchedRun> {
        let Ok(turn) = Arc::clone(&TURNS).try_acquire_owned() else { return Err((fetched, room)) };
        let Some(other) = self.spare.pop().or_else(|| decoder.another()) else { return Err((fetched, room)) };
        let moved = fetched.moves();
        let messages = std::mem::take(&mut fetched.messages);
        let task = owner::spawn(decoded(other, messages, fetched.span.clone(), room.trace(), turn));
        self.runs.push_back(Run { fetched: (fetched, room), moved, task });
        Ok(())
    }

    /// The oldest run, once it is decoded; never if there is none.
    pub(super) async fn next(&mut self) -> Decoded {
        let Some(Run { task, .. }) = self.runs.front_mut() else { return std::future::pending().await };
        let done = task.await;
        // Nothing is awaited any more: whoever drops this future has lost no run.
        let Some(Run { fetched: run, moved, .. }) = self.runs.pop_front() else { return std::future::pending().await };
        match done {
            Ok((decoder, batch)) => {
                self.spare.push(decoder);
                Decoded { run, moved, batch }
            }
            Err(error) => gone(error).await,
        }
    }
}

async fn decoded(
    mut decoder: Decoder,
    messages: spout_data::Messages,
    span: Span,
    trace: Option<Context>,
    _turn: OwnedSemaphorePermit,
) -> (Decoder, Result<Batch, spout_producer::Error>) {
    let batch = decoded_as(trace, decoder.decode(messages, span)).await;
    (decoder, batch)
}

/// What decoding comes to, as part of the fetch that brought the messages.
pub(super) async fn decoded_as(
    fetch: Option<Context>,
    decoding: impl Future<Output = Result<Batch, spout_producer::Error>>,
) -> Result<Batch, spout_producer::Error> {
    let mut doing = trace::within("decode", fetch);
    let batch = decoding.await;
    match &batch {
        Ok(batch) => told(&mut doing, batch),
        Err(error) => doing.fail(error.code()),
    }
    batch
}

/// What is known of a batch.
pub(super) fn told(doing: &mut Doing, batch: &Batch) {
    if doing.context().is_none() {
        return;
    }
    let Span { partition, start, next } = &batch.span;
    doing.note("spout.partition", u64::from(partition.number));
    doing.note("spout.start", *start);
    doing.note("spout.next", next.offset);
    doing.note("spout.rows", batch.records.num_rows() as u64);
    doing.note("spout.dead_letters", batch.dead.len() as u64);
}

/// A panic is the lane's own; what was cut off goes with the runtime.
async fn gone<T>(error: JoinError) -> T {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => std::future::pending().await,
    }
}
