//! Where those who send put their messages: into a queue of so many bytes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use spout_base::{clock, panicked::Panicked};
use spout_data::{Blobs, ByteSize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    answers::{Answer, Receipt},
    recent::Key,
};
use crate::Error;

/// Nothing is taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) values: Blobs,
    pub(super) first: Vec<u8>,
    pub(super) arrived_ms: i64,
    pub(super) key: Option<Key>,
    pub(super) answer: Option<Answer>,
    _room: Room,
}

/// Where parcels come out of a queue; an error is the last.
pub(super) type Parcels = mpsc::UnboundedReceiver<Result<Parcel, Error>>;

/// Where a client's messages are put.
#[derive(Clone, Debug)]
pub(crate) struct Letterbox {
    queue: mpsc::UnboundedSender<Result<Parcel, Error>>,
    room: Arc<Semaphore>,
    size: usize,
    activity: Arc<Activity>,
}

/// Room in the queue, held for messages that are still arriving.
#[derive(Debug)]
pub(crate) struct Room {
    held: OwnedSemaphorePermit,
    /// What was taken besides, when it was known how many messages there are.
    overhead: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.semaphore().add_permits(self.overhead);
    }
}

/// What a client sent at once.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) values: Blobs,
    /// The first record of the body or stream, where the decoder heeds it; else empty.
    pub(crate) first: Vec<u8>,
    /// Sent by the client so that the same messages, sent again, are stored once.
    pub(crate) key: Option<Key>,
    pub(crate) wants_receipt: bool,
}

impl Letterbox {
    /// A letterbox for a queue of `size` bytes, and where its parcels come out.
    pub(super) fn new(size: ByteSize, activity: Arc<Activity>) -> (Self, Parcels) {
        let (queue, parcels) = mpsc::unbounded_channel();
        let size = usize::try_from(size.0.clamp(1, 1 << 30)).unwrap_or(1);
        (Self { queue, room: Arc::new(Semaphore::new(size)), size, activity }, parcels)
    }

    /// Waits for room for `bytes`, or for all of it if that is less.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, Closed> {
        let size = u32::try_from(bytes.clamp(1, self.size)).unwrap_or(u32::MAX);
        let held = Arc::clone(&self.room).acquire_many_owned(size).await.map_err(|_| Closed)?;
        Ok(Room { held, overhead: 0 })
    }

    /// Puts messages, at least one, into room that was waited for.
    ///
    /// The room was for their bytes; what they take besides is not waited for, which could be forever, but others wait for it.
    pub(crate) fn put(&self, sent: Sent, mut room: Room) -> Result<Option<Receipt>, Closed> {
        let takes = sent.values.room().min(self.size);
        room.overhead += self.room.forget_permits(takes.saturating_sub(room.held.num_permits()));
        let (answer, receipt) = if sent.wants_receipt {
            let (answer, receipt) = oneshot::channel();
            (Some(answer), Some(receipt))
        } else {
            (None, None)
        };
        let Sent { values, first, key, .. } = sent;
        let parcel = Parcel { values, first, arrived_ms: clock::wall_ms(), key, answer, _room: room };
        self.queue.send(Ok(parcel)).map_err(|_| Closed)?;
        Ok(receipt)
    }

    /// Ends when nobody takes anything out any more.
    pub(crate) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Nothing can follow what was put: when that is durable, the pipeline stops with `error`.
    pub(crate) fn fail(&self, error: Error) {
        // Nobody takes it if the pipeline stopped meanwhile.
        drop(self.queue.send(Err(error)));
    }

    /// Watches a task that must not hold the letterbox itself, or the queue would not end before it.
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.queue.downgrade())
    }

    /// Counts a client, or a request, as long as the answer lives.
    pub(crate) fn enter(&self) -> Present {
        self.activity.served.store(true, Ordering::Relaxed);
        self.activity.present.fetch_add(1, Ordering::Relaxed);
        Present(Arc::clone(&self.activity))
    }
}

impl Drop for Letterbox {
    fn drop(&mut self) {
        if thread::panicking() {
            say_panicked(&self.queue);
        }
    }
}

/// Whoever holds it takes care of messages, with no letterbox at hand: should it panic, the pipeline ends with that.
#[derive(Debug)]
pub(crate) struct Watch(mpsc::WeakUnboundedSender<Result<Parcel, Error>>);

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(queue) = self.0.upgrade().filter(|_| thread::panicking()) {
            say_panicked(&queue);
        }
    }
}

/// The end of a queue that is not the end of its source.
fn say_panicked(queue: &mpsc::UnboundedSender<Result<Parcel, Error>>) {
    let what = Panicked::of(&"standard error has more");
    drop(queue.send(Err(Error::Panicked { doing: "a task that receives messages", what })));
}

/// Who is there: a source that listens is idle when somebody was and nobody is any more.
#[derive(Debug, Default)]
pub(super) struct Activity {
    served: AtomicBool,
    present: AtomicUsize,
}

impl Activity {
    /// Whether somebody was there and nobody is any more.
    pub(super) fn is_idle(&self) -> bool {
        self.served.load(Ordering::Relaxed) && self.present.load(Ordering::Relaxed) == 0
    }
}

/// Somebody is there.
#[derive(Debug)]
pub(crate) struct Present(Arc<Activity>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.present.fetch_sub(1, Ordering::Relaxed);
    }
}
