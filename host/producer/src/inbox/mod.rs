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

mod answers;
mod fetcher;
mod letterbox;
mod recent;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use spout_base::owner;
use spout_data::ByteSize;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    answers::Answers,
    fetcher::InboxFetcher,
    letterbox::{Activity, Parcels},
    recent::Recent,
};
pub(crate) use self::{
    answers::{KeyTaken, Receipt, Stored},
    letterbox::{Closed, Letterbox, Room, Sent},
    recent::Key,
};
use super::{Durable, Fetcher, Found};

/// How long waiting clients have at a stop to learn how it ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// What all producers have in common to which somebody sends: a queue, a task that fills it, and those who wait.
#[derive(Debug)]
pub(crate) struct Inbox {
    letterbox: Option<Letterbox>,
    parcels: Option<Parcels>,
    answers: Arc<Answers>,
    activity: Arc<Activity>,
    answer_within: Duration,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
    _guard: DropGuard,
}

impl Inbox {
    /// An inbox that holds `queue` bytes; who waits should have an answer within `answer_within`.
    pub(crate) fn new(queue: ByteSize, answer_within: Duration) -> Self {
        let activity = Arc::new(Activity::default());
        let (letterbox, parcels) = Letterbox::new(queue, Arc::clone(&activity));
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
    pub(crate) fn fill<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        task: impl FnOnce(Letterbox, CancellationToken) -> F,
    ) {
        if let Some(letterbox) = self.letterbox.take() {
            self.task = Some(owner::spawn(task(letterbox, self.stop.clone())));
        }
    }

    /// What takes messages out; `keys` of clients are remembered.
    pub(crate) fn fetcher(&mut self, found: Found, keys: usize) -> Box<dyn Fetcher> {
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
    pub(crate) fn committed(&self, durable: &Durable) {
        self.answers.committed(durable);
    }

    /// Nothing more is taken from outside.
    pub(crate) fn drain(&self) {
        self.stop.cancel();
    }

    /// Tells clients that still wait that nothing was stored.
    pub(crate) async fn close(&mut self) {
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
