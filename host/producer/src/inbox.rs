//! A bounded queue between those who send to us and the lane that fetches, with an answer for each who waits.
//!
//! ```text
//! connection ─► Letterbox::put ─► queue ─► InboxFetcher::fetch ─► lane ─► commit
//!      ▲                                                                    │
//!      └──────────────── Receipt ◄──── Answers ◄──── Inbox::committed ◄─────┘
//! ```
//!
//! **Invariant**: a receipt says that messages are stored only after the commit that holds them is durable; one that will
//! not be given is closed, so that nobody waits in vain.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use spout_base::clock;
use spout_codec::Attribute;
use spout_data::{Blobs, ByteSize, Messages, PartitionId, Position, Span};
use spout_plugin::Progress;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Durable, Error, Fetched, Fetcher, Found,
    recent::{Key, Recent},
};

/// Longest wait of one fetch.
const WAIT: Duration = Duration::from_millis(250);
/// How soon to look again whether everything is durable before an error is told.
const SOON: Duration = Duration::from_millis(20);
/// Messages and bytes of one fetch.
const MESSAGES: usize = 8192;
const BYTES: usize = 4 << 20;
/// What those who wait get at a stop to be told how it ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where messages stand that a client sent: what a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// The commit; `None` if an earlier run stored them, so that its name is not known any more.
    pub(super) commit: Option<String>,
    /// Its place on the branch.
    pub(super) sequence: Option<u64>,
    /// Offset of the first message.
    pub(super) first: u64,
    /// How many messages there are.
    pub(super) messages: u64,
    /// How many of them were set aside.
    pub(super) dead: u64,
    /// They had been sent before, with the same key, and are stored once.
    pub(super) repeated: bool,
}

/// Comes when the messages are durable; closed if they will not be.
pub(super) type Receipt = oneshot::Receiver<Stored>;

/// Nothing is taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

#[derive(Debug)]
struct Parcel {
    values: Blobs,
    first: Vec<u8>,
    arrived_ms: i64,
    key: Option<Key>,
    answer: Option<oneshot::Sender<Stored>>,
    _room: OwnedSemaphorePermit,
}

/// Where a client's messages are put.
#[derive(Clone, Debug)]
pub(super) struct Letterbox {
    queue: mpsc::UnboundedSender<Result<Parcel, Error>>,
    room: Arc<Semaphore>,
    size: usize,
    activity: Arc<Activity>,
}

/// Room in the queue, held for messages that are still arriving.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

/// What a client sent at once.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) values: Blobs,
    /// The first record of the body or stream, where the decoder heeds it; else empty.
    pub(super) first: Vec<u8>,
    /// Told by the client so that the same messages, sent again, are stored once.
    pub(super) key: Option<Key>,
    pub(super) wants_receipt: bool,
}

impl Letterbox {
    /// Waits for room for `bytes`, or for all of it if that is less.
    pub(super) async fn room(&self, bytes: usize) -> Result<Room, Closed> {
        let size = u32::try_from(bytes.clamp(1, self.size)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(size).await.map(Room).map_err(|_| Closed)
    }

    /// Puts messages, at least one, into room that was waited for.
    pub(super) fn put(&self, sent: Sent, Room(room): Room) -> Result<Option<Receipt>, Closed> {
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
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }

    /// Nothing can follow what was put: when that is durable, the pipeline stops with `error`.
    pub(super) fn fail(&self, error: Error) {
        // Nobody takes it if the pipeline stopped meanwhile.
        drop(self.queue.send(Err(error)));
    }

    /// Counts a client, or a request, as long as the answer lives.
    pub(super) fn enter(&self) -> Present {
        self.activity.served.store(true, Ordering::Relaxed);
        self.activity.present.fetch_add(1, Ordering::Relaxed);
        Present(Arc::clone(&self.activity))
    }
}

/// Who is there: a source that listens is idle when somebody was and nobody is any more.
#[derive(Debug, Default)]
struct Activity {
    served: AtomicBool,
    present: AtomicUsize,
}

/// Somebody is there.
#[derive(Debug)]
pub(super) struct Present(Arc<Activity>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.present.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What all producers have in common to which somebody sends: a queue, a task that fills it, and those who wait.
#[derive(Debug)]
pub(super) struct Inbox {
    letterbox: Option<Letterbox>,
    parcels: Option<mpsc::UnboundedReceiver<Result<Parcel, Error>>>,
    answers: Arc<Answers>,
    activity: Arc<Activity>,
    answer_within: Duration,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    _guard: DropGuard,
}

impl Inbox {
    /// An inbox that holds `queue` bytes; who waits should have an answer within `answer_within`.
    pub(super) fn new(queue: ByteSize, answer_within: Duration) -> Self {
        let (sender, parcels) = mpsc::unbounded_channel();
        let size = usize::try_from(queue.0.clamp(1, 1 << 30)).unwrap_or(1);
        let activity = Arc::new(Activity::default());
        let letterbox =
            Letterbox { queue: sender, room: Arc::new(Semaphore::new(size)), size, activity: Arc::clone(&activity) };
        let stop = CancellationToken::new();
        Self {
            letterbox: Some(letterbox),
            parcels: Some(parcels),
            answers: Arc::default(),
            activity,
            answer_within,
            _guard: stop.clone().drop_guard(),
            stop,
            task: None,
        }
    }

    /// Runs what fills the queue until the token is cancelled. Messages end when it has dropped its letterbox.
    pub(super) fn fill<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        task: impl FnOnce(Letterbox, CancellationToken) -> F,
    ) {
        if let Some(letterbox) = self.letterbox.take() {
            self.task = Some(tokio::spawn(task(letterbox, self.stop.clone())));
        }
    }

    /// Cancelled when nothing more is taken from outside.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// What takes messages out; `keys` of clients are remembered.
    pub(super) fn fetcher(&mut self, found: Found, keys: usize) -> Box<dyn Fetcher> {
        // A second fetcher of the one partition would find nothing.
        let parcels = self.parcels.take().unwrap_or_else(|| mpsc::unbounded_channel().1);
        self.answers.begin(found.start.offset);
        Box::new(InboxFetcher {
            position: found.start.offset,
            recent: Recent::read(keys, &found.start),
            found,
            parcels,
            failing: None,
            answers: Arc::clone(&self.answers),
            activity: Arc::clone(&self.activity),
            answer_within: self.answer_within,
        })
    }

    /// Answers whoever waited for this commit.
    pub(super) fn committed(&self, durable: &Durable) {
        self.answers.committed(durable);
    }

    /// Nothing more is taken from outside.
    pub(super) fn drain(&self) {
        self.stop.cancel();
    }

    /// Those who still wait are told that it came to nothing.
    pub(super) async fn close(&mut self) {
        self.stop.cancel();
        let messages = self.answers.close();
        if messages > 0 {
            tracing::warn!(
                messages,
                "the last messages received were not committed; clients without a reply must send them again"
            );
        }
        if let Some(mut task) = self.task.take()
            && timeout(PATIENCE, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

/// Those who wait, by the offset after their messages.
#[derive(Debug, Default)]
struct Answers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    by_end: BTreeMap<u64, Vec<Waiter>>,
    committed: u64,
    /// What was handed to the lane.
    taken: u64,
    closed: bool,
}

#[derive(Debug)]
struct Waiter {
    run: Range<u64>,
    repeated: bool,
    answer: oneshot::Sender<Stored>,
}

impl Answers {
    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        // What is under the lock is sound at every moment.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, committed: u64) {
        self.with(|waiting| (waiting.committed, waiting.taken) = (committed, committed));
    }

    fn durable(&self) -> u64 {
        self.with(|waiting| waiting.committed)
    }

    fn wait(&self, waiter: Waiter) {
        self.with(|waiting| match (waiting.closed, waiter.run.end <= waiting.committed) {
            (true, _) => drop(waiter),
            (false, true) => waiter.notify(None),
            (false, false) => waiting.by_end.entry(waiter.run.end).or_default().push(waiter),
        });
    }

    fn committed(&self, durable: &Durable) {
        let Some(upto) = durable.positions.get(&PartitionId::default()).map(|position| position.offset) else { return };
        let done = self.with(|waiting| {
            waiting.committed = upto;
            let later = waiting.by_end.split_off(&upto.saturating_add(1));
            std::mem::replace(&mut waiting.by_end, later)
        });
        done.into_values().flatten().for_each(|waiter| waiter.notify(Some(durable)));
    }

    fn took(&self, upto: u64) {
        self.with(|waiting| waiting.taken = upto);
    }

    /// Nobody is answered any more; how many messages were taken that no commit holds.
    fn close(&self) -> u64 {
        self.with(|waiting| {
            waiting.closed = true;
            waiting.by_end.clear();
            waiting.taken.saturating_sub(waiting.committed)
        })
    }
}

impl Waiter {
    fn notify(self, durable: Option<&Durable>) {
        let dead = durable.map_or(0, |durable| {
            let before = |end: u64| durable.dead.partition_point(|&letter| letter < (PartitionId::default(), end));
            before(self.run.end).saturating_sub(before(self.run.start))
        });
        let stored = Stored {
            commit: durable.map(|durable| durable.commit.clone()),
            sequence: durable.map(|durable| durable.sequence),
            first: self.run.start,
            messages: self.run.end - self.run.start,
            dead: dead as u64,
            repeated: self.repeated,
        };
        // Who has gone away does not need to know.
        drop(self.answer.send(stored));
    }
}

/// Takes messages out of the queue and gives them their offsets.
#[derive(Debug)]
struct InboxFetcher {
    found: Found,
    position: u64,
    recent: Recent,
    parcels: mpsc::UnboundedReceiver<Result<Parcel, Error>>,
    /// What stops the pipeline when everything before it is durable.
    failing: Option<Error>,
    answers: Arc<Answers>,
    activity: Arc<Activity>,
    answer_within: Duration,
}

#[async_trait]
impl Fetcher for InboxFetcher {
    async fn fetch(&mut self, most: u32) -> Result<Fetched, Error> {
        if let Some(error) = self.failing.take_if(|_| self.answers.durable() >= self.position) {
            return Err(error);
        }
        let start = self.position;
        let most = MESSAGES.min(most as usize);
        let mut messages = Messages::default();
        let mut awaited = false;
        let first = match self.failing {
            Some(_) => timeout(SOON, std::future::pending()).await,
            None => timeout(WAIT, self.parcels.recv()).await,
        };
        let progress = match first {
            Ok(Some(parcel)) => {
                awaited |= self.take(parcel, &mut messages);
                while self.failing.is_none() && messages.len() < most && messages.bytes() < BYTES {
                    let Ok(parcel) = self.parcels.try_recv() else { break };
                    awaited |= self.take(parcel, &mut messages);
                }
                Progress::More
            }
            Ok(None) => Progress::Ended,
            Err(_) => Progress::Idle,
        };
        let next = Position { offset: self.position, token: self.recent.token() };
        let span = Span { partition: self.found.partition, start, next };
        let awaited = awaited.then_some(if self.failing.is_some() { Duration::ZERO } else { self.answer_within });
        self.answers.took(self.position);
        let expects = !self.is_idle();
        Ok(Fetched { awaited, expects, ..Fetched::new(messages, span, progress) })
    }
}

impl InboxFetcher {
    fn is_idle(&self) -> bool {
        self.activity.served.load(Ordering::Relaxed) && self.activity.present.load(Ordering::Relaxed) == 0
    }

    /// Adds a parcel to `messages`; whether somebody waits for it.
    fn take(&mut self, parcel: Result<Parcel, Error>, messages: &mut Messages) -> bool {
        let Parcel { values, first, arrived_ms, key, answer, .. } = match parcel {
            Ok(parcel) => parcel,
            Err(error) => {
                self.failing = Some(error);
                return true;
            }
        };
        let repeated = key.and_then(|key| self.recent.find(key));
        let run = repeated.clone().unwrap_or(self.position..self.position + values.len() as u64);
        if repeated.is_none() {
            messages.offsets.extend(run.clone());
            messages.timestamps_ms.extend(std::iter::repeat_n(arrived_ms, values.len()));
            // Bodies that begin alike share it: a sender may send thousands between two fetches.
            let before = messages.attributes.last().map(|attribute| attribute.value.as_slice());
            if before.unwrap_or_default() != first.as_slice() {
                let begin = u32::try_from(messages.values.len()).unwrap_or(u32::MAX);
                messages.attributes.push(Attribute { first: begin, name: "first".into(), value: first });
            }
            if messages.values.is_empty() {
                messages.values = values
            } else {
                messages.values.append(&values)
            }
            self.position = run.end;
            if let Some(key) = key {
                self.recent.remember(key, run.clone());
            }
        }
        let awaited = answer.is_some();
        if let Some(answer) = answer {
            self.answers.wait(Waiter { run, repeated: repeated.is_some(), answer });
        }
        awaited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(texts: &[&str]) -> Blobs {
        let mut blobs = Blobs::default();
        texts.iter().for_each(|text| blobs.push(text.as_bytes()));
        blobs
    }

    fn inbox(queue: u64) -> (Inbox, Letterbox) {
        let mut inbox = Inbox::new(ByteSize(queue), Duration::from_millis(10));
        let letterbox = inbox.letterbox.take().unwrap();
        (inbox, letterbox)
    }

    fn found(offset: u64) -> Found {
        Found { partition: 0.into(), label: "x".into(), start: Position::at(offset), committed: Some(offset) }
    }

    async fn put(letterbox: &Letterbox, texts: &[&str], key: Option<&str>) -> Receipt {
        let values = blobs(texts);
        let room = letterbox.room(values.bytes.len()).await.unwrap();
        let key = key.map(|key| super::super::recent::key(key.as_bytes()));
        letterbox.put(Sent { values, first: Vec::new(), key, wants_receipt: true }, room).unwrap().unwrap()
    }

    fn durable(upto: u64, dead: &[u64]) -> Durable {
        Durable {
            commit: "c".into(),
            sequence: 3,
            positions: BTreeMap::from([(PartitionId::default(), Position::at(upto))]),
            dead: dead.iter().map(|&offset| (PartitionId::default(), offset)).collect(),
        }
    }

    #[tokio::test]
    async fn a_receipt_comes_with_the_commit_and_not_before() {
        let (mut inbox, letterbox) = inbox(100);
        let mut fetcher = inbox.fetcher(found(7), 0);
        let mut first = put(&letterbox, &["a", "b"], None).await;
        let second = put(&letterbox, &["c"], None).await;
        let fetched = fetcher.fetch(u32::MAX).await.unwrap();
        assert_eq!((fetched.span.start, fetched.span.next.offset, fetched.messages.len()), (7, 10, 3));
        assert_eq!(fetched.messages.offsets, [7, 8, 9]);
        assert_eq!(fetched.awaited, Some(Duration::from_millis(10)));
        inbox.committed(&durable(8, &[]));
        assert!(first.try_recv().is_err(), "half of it is not all of it");
        inbox.committed(&durable(10, &[8, 9]));
        let stored = first.await.unwrap();
        assert_eq!((stored.first, stored.messages, stored.dead, stored.repeated), (7, 2, 1, false));
        assert_eq!(second.await.unwrap().dead, 1);
    }

    #[tokio::test]
    async fn who_waits_for_nothing_is_told_so() {
        let (mut inbox, letterbox) = inbox(100);
        let mut fetcher = inbox.fetcher(found(0), 0);
        let taken = put(&letterbox, &["a"], None).await;
        fetcher.fetch(u32::MAX).await.unwrap();
        let queued = put(&letterbox, &["b"], None).await;
        inbox.close().await;
        drop(fetcher);
        assert!(taken.await.is_err() && queued.await.is_err());
        let room = letterbox.room(1).await.unwrap();
        let sent = Sent { values: blobs(&["c"]), first: Vec::new(), key: None, wants_receipt: true };
        assert!(letterbox.put(sent, room).is_err());
    }

    #[tokio::test]
    async fn a_full_queue_makes_senders_wait() {
        let (mut inbox, letterbox) = inbox(4);
        let mut fetcher = inbox.fetcher(found(0), 0);
        drop(put(&letterbox, &["abc"], None).await);
        let waiting = tokio::spawn({
            let letterbox = letterbox.clone();
            async move { drop(put(&letterbox, &["much more than there is room for"], None).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        fetcher.fetch(u32::MAX).await.unwrap();
        waiting.await.unwrap();
        assert_eq!(fetcher.fetch(u32::MAX).await.unwrap().messages.len(), 1);
    }

    #[tokio::test]
    async fn the_first_record_of_a_body_goes_with_its_messages() {
        let (mut inbox, letterbox) = inbox(100);
        let mut fetcher = inbox.fetcher(found(0), 0);
        for (texts, first) in [(["a,b", "1,x"], "a,b"), (["b,a", "y,2"], "b,a"), (["3", "4"], "")] {
            let room = letterbox.room(1).await.unwrap();
            let sent = Sent { values: blobs(&texts), first: first.into(), key: None, wants_receipt: false };
            letterbox.put(sent, room).unwrap();
        }
        let messages = fetcher.fetch(u32::MAX).await.unwrap().messages;
        let firsts: Vec<_> = (0..6).map(|index| messages.attribute(index, "first").unwrap_or_default()).collect();
        assert_eq!(firsts, [&b"a,b"[..], b"a,b", b"b,a", b"b,a", b"", b""]);
    }

    #[tokio::test]
    async fn a_key_that_is_repeated_stores_nothing_again() {
        let (mut inbox, letterbox) = inbox(100);
        let mut fetcher = inbox.fetcher(found(0), 8);
        let first = put(&letterbox, &["a", "b"], Some("k")).await;
        let again = put(&letterbox, &["a", "b"], Some("k")).await;
        let fetched = fetcher.fetch(u32::MAX).await.unwrap();
        assert_eq!(fetched.messages.len(), 2);
        inbox.committed(&durable(2, &[]));
        assert!(!first.await.unwrap().repeated);
        let again = again.await.unwrap();
        assert_eq!((again.first, again.messages, again.repeated), (0, 2, true));

        // After a restart the key comes back with the position.
        let (mut later, letterbox) = self::inbox(100);
        let mut fetcher = later.fetcher(Found { start: fetched.span.next, ..found(2) }, 8);
        let again = put(&letterbox, &["a", "b"], Some("k")).await;
        let fetched = fetcher.fetch(u32::MAX).await.unwrap();
        assert_eq!((fetched.messages.len(), fetched.span.next.offset), (0, 2));
        assert_eq!(again.await.unwrap().commit, None, "the commit of an earlier run has no name any more");
    }

    #[tokio::test]
    async fn the_queue_ends_with_the_last_letterbox() {
        let (mut inbox, letterbox) = inbox(100);
        let mut fetcher = inbox.fetcher(found(0), 0);
        drop(put(&letterbox, &["a"], None).await);
        drop(letterbox);
        let progress = |fetched: Fetched| (fetched.messages.len(), fetched.progress);
        assert_eq!(progress(fetcher.fetch(u32::MAX).await.unwrap()), (1, Progress::More));
        assert_eq!(progress(fetcher.fetch(u32::MAX).await.unwrap()), (0, Progress::Ended));
    }

    #[tokio::test]
    async fn what_came_before_an_error_is_durable_first() {
        let (mut inbox, letterbox) = inbox(100);
        let mut fetcher = inbox.fetcher(found(0), 0);
        drop(put(&letterbox, &["a"], None).await);
        letterbox.fail(Error::StdinTaken);
        let fetched = fetcher.fetch(u32::MAX).await.unwrap();
        assert_eq!((fetched.messages.len(), fetched.awaited), (1, Some(Duration::ZERO)));
        assert_eq!(fetcher.fetch(u32::MAX).await.unwrap().messages.len(), 0);
        inbox.committed(&durable(1, &[]));
        assert!(matches!(fetcher.fetch(u32::MAX).await, Err(Error::StdinTaken)));
    }

    #[tokio::test]
    async fn somebody_is_expected_until_somebody_was_there_and_nobody_is() {
        let (mut inbox, letterbox) = inbox(100);
        let mut fetcher = inbox.fetcher(found(0), 0);
        let told = |fetched: Fetched| (fetched.progress, fetched.expects);
        assert_eq!(told(fetcher.fetch(u32::MAX).await.unwrap()), (Progress::Idle, true));
        let present = letterbox.enter();
        assert_eq!(told(fetcher.fetch(u32::MAX).await.unwrap()), (Progress::Idle, true));
        drop(present);
        assert_eq!(told(fetcher.fetch(u32::MAX).await.unwrap()), (Progress::Idle, false));
    }
}
