//! Room for messages that have begun to arrive and are not complete. It is bounded apart from the queue: clients that never
//! finish a message would otherwise fill memory without ever being counted there.
//!
//! The first 64 KiB of a message need no room, because connections are bounded: whoever sends small messages never waits here.
//! Of what is larger, all clients of a listener share so many bytes; who finds none left is not read until there are some. So
//! that they cannot all wait for each other, one of them at a time may go on all the same, until its message is complete. And
//! while somebody waits, those who have room must keep sending: who pauses is closed.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use spout_base::clock::{self, Instant};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Bytes of a message that need no room.
const FREE: usize = 64 << 10;
/// Room is taken in steps of so many bytes.
const STEP: usize = 64 << 10;
/// Within this time of reading, a client that has room must bring so many bytes, while others wait for room.
const PACE: Duration = Duration::from_secs(4);
const LEAST: usize = 128 << 10;

/// A client has room, brings too little, and others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

/// The room of a listener.
#[derive(Clone, Debug)]
pub(crate) struct Unfinished(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    size: usize,
    room: Arc<Semaphore>,
    /// Who has it goes on without room.
    turn: Arc<Semaphore>,
    /// Those who have room, or wait for it.
    holders: Mutex<BTreeMap<u64, Arc<Holder>>>,
    next: AtomicU64,
    pace: Duration,
}

/// How fast a client brings a message.
#[derive(Debug)]
struct Holder {
    progress: Mutex<Progress>,
    too_slow: CancellationToken,
}

#[derive(Debug, Default)]
struct Progress {
    bytes: usize,
    /// Bytes that came, and the time that they were waited for, since this was last looked at.
    brought: usize,
    waited: Duration,
    /// Since when the client is waited for now.
    since: Option<Instant>,
}

/// What one client has of the room.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Inner>,
    holder: Option<(u64, Arc<Holder>)>,
    room: Option<OwnedSemaphorePermit>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Unfinished {
    /// Room for `size` bytes.
    pub(crate) fn new(size: u64) -> Self {
        Self::with_pace(size, PACE)
    }

    fn with_pace(size: u64, pace: Duration) -> Self {
        let size = usize::try_from(size.clamp(1, 1 << 30)).unwrap_or(1);
        let (room, turn) = (Arc::new(Semaphore::new(size)), Arc::new(Semaphore::new(1)));
        Self(Arc::new(Inner { size, room, turn, holders: Mutex::default(), next: AtomicU64::new(0), pace }))
    }

    /// What a client that has just come has of it.
    pub(crate) fn share(&self) -> Share {
        Share { of: Arc::clone(&self.0), holder: None, room: None, turn: None }
    }
}

impl Share {
    /// Waits until the client may have `bytes` of its message here. From then on it is waited for, until [`Share::arrived`].
    ///
    /// # Errors
    /// It was too slow, and has to go.
    pub(crate) async fn hold(&mut self, bytes: usize) -> Result<(), TooSlow> {
        if bytes <= FREE {
            self.release();
            return Ok(());
        }
        let holder = self.holder();
        holder.progress().grow(bytes);
        if holder.too_slow.is_cancelled() {
            return Err(TooSlow);
        }
        let has = self.room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needs = (bytes - FREE).next_multiple_of(STEP);
        if self.turn.is_none() && needs > has {
            self.wait_for(needs, needs - has).await;
        }
        holder.progress().since = Some(clock::now());
        Ok(())
    }

    /// Something came, or the end did: what follows is not for the client to hurry with.
    pub(crate) fn arrived(&self) {
        if let Some((_, holder)) = &self.holder {
            let mut progress = holder.progress();
            if let Some(since) = progress.since.take() {
                progress.waited += clock::now().duration_since(since);
            }
        }
    }

    /// Ends when the client is too slow.
    pub(crate) async fn too_slow(&self) -> TooSlow {
        match &self.holder {
            Some((_, holder)) => holder.too_slow.cancelled().await,
            None => pending().await,
        }
        TooSlow
    }

    /// Waits for `missing` bytes of room, which make `needs` together, or for the turn of going on without.
    async fn wait_for(&mut self, needs: usize, missing: usize) {
        let of = Arc::clone(&self.of);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        let room = async {
            // Of more than there is nothing should be set aside meanwhile.
            if needs > of.size { pending().await } else { Arc::clone(&of.room).acquire_many_owned(missing).await }
        };
        let waiting = async {
            tokio::select! {
                biased;
                room = room => (room.ok(), None),
                turn = Arc::clone(&of.turn).acquire_owned() => (None, turn.ok()),
            }
        };
        let mut waiting = std::pin::pin!(waiting);
        let (room, turn) = loop {
            match timeout(of.pace / 2, waiting.as_mut()).await {
                Ok(got) => break got,
                Err(_) => of.hurry(),
            }
        };
        match (&mut self.room, room) {
            (Some(has), Some(more)) => has.merge(more),
            (has, Some(room)) => *has = Some(room),
            (_, None) => self.turn = turn,
        }
    }

    fn holder(&mut self) -> Arc<Holder> {
        let of = &self.of;
        let (_, holder) = self.holder.get_or_insert_with(|| {
            let id = of.next.fetch_add(1, Ordering::Relaxed);
            let holder = Arc::new(Holder { progress: Mutex::default(), too_slow: CancellationToken::new() });
            of.holders().insert(id, Arc::clone(&holder));
            (id, holder)
        });
        Arc::clone(holder)
    }

    fn release(&mut self) {
        if let Some((id, _)) = self.holder.take() {
            self.of.holders().remove(&id);
        }
        (self.room, self.turn) = (None, None);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}

impl Inner {
    fn holders(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Holder>>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody waits for room: those who have it and bring too little have to go.
    fn hurry(&self) {
        let now = clock::now();
        for holder in self.holders().values() {
            if !holder.progress().keeps_up(now, self.pace) {
                holder.too_slow.cancel();
            }
        }
    }
}

impl Holder {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn grow(&mut self, bytes: usize) {
        self.brought += bytes.saturating_sub(self.bytes);
        self.bytes = bytes;
    }

    /// Whether enough came in the time that it was waited for; where that is long enough to tell, time begins anew.
    fn keeps_up(&mut self, now: Instant, pace: Duration) -> bool {
        let waited = self.waited + self.since.map_or(Duration::ZERO, |since| now.duration_since(since));
        if waited < pace {
            return true;
        }
        let enough = self.brought >= LEAST;
        (self.brought, self.waited, self.since) = (0, Duration::ZERO, self.since.map(|_| now));
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const SOON: Duration = Duration::from_millis(20);

    /// Whether `share` gets room for `bytes` at once.
    async fn gets(share: &mut Share, bytes: usize) -> bool {
        timeout(SOON, share.hold(bytes)).await.is_ok_and(|held| held.is_ok())
    }

    #[tokio::test]
    async fn small_messages_never_wait() {
        let room = Unfinished::new(1 << 20);
        let (mut large, mut more, mut small) = (room.share(), room.share(), room.share());
        assert!(gets(&mut large, 1 << 20).await && gets(&mut more, 16 << 20).await, "one may go on without room");
        assert!(!gets(&mut room.share(), 1 << 20).await);
        assert!(gets(&mut small, FREE).await);
        large.hold(10).await.unwrap();
        assert!(gets(&mut small, 1 << 20).await, "what is done leaves its room");
    }

    #[tokio::test]
    async fn those_who_wait_for_each_other_end_all_the_same() {
        let room = Unfinished::new(1 << 20);
        let clients = (0..20).map(|_| {
            let mut share = room.share();
            tokio::spawn(async move {
                for kib in (0..2048).step_by(64) {
                    share.hold(kib << 10).await.unwrap();
                    share.arrived();
                    tokio::task::yield_now().await;
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            timeout(PATIENCE, client).await.unwrap().unwrap();
        }
        assert_eq!((room.0.room.available_permits(), room.0.holders().len()), (1 << 20, 0));
    }

    #[tokio::test]
    async fn who_pauses_while_others_wait_has_to_go() {
        let room = Unfinished::with_pace(1 << 20, Duration::from_millis(40));
        let (mut slow, mut turn, mut queued) = (room.share(), room.share(), room.share());
        slow.hold((1 << 20) + FREE).await.unwrap();
        turn.hold(1 << 20).await.unwrap();
        turn.arrived();
        let gone = async { slow.too_slow().await };
        let (gone, held) =
            timeout(PATIENCE, async { tokio::join!(gone, timeout(SOON * 20, queued.hold(FREE + 1))) }).await.unwrap();
        assert_eq!(gone, TooSlow);
        assert!(held.is_err(), "nobody has left yet");
        assert_eq!(slow.hold(1 << 20).await, Err(TooSlow));
        drop(slow);
        timeout(PATIENCE, queued.hold(FREE + 1)).await.unwrap().unwrap();
        assert_eq!(turn.hold(2 << 20).await, Ok(()), "who is not waited for is not slow");
    }

    #[test]
    fn who_sends_on_keeps_up() {
        let now = clock::now();
        let mut progress = Progress { since: Some(now), ..Progress::default() };
        progress.grow(LEAST);
        assert!(progress.keeps_up(now + PACE / 2, PACE) && progress.keeps_up(now + PACE, PACE));
        progress.grow(LEAST + 1);
        assert!(progress.keeps_up(now + PACE + PACE / 2, PACE), "too early to tell");
        assert!(!progress.keeps_up(now + PACE * 2, PACE));
    }
}
