//! Instances of a plugin that compute for longer than a tick take turns, so many at a time as the plugin may have processors.
//!
//! Whoever computes has a thread, and the system shares processors by threads: a plugin that is open fifty times would have fifty parts
//! of the machine where its neighbour has one. What waits for the host, or is over within a tick, takes no turn.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
};

/// The turns of one instance. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    mine: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
}

impl Turns {
    /// Among `all`.
    pub(super) fn new(all: Arc<Semaphore>) -> Self {
        Self { all, mine: Arc::default() }
    }

    /// Gives way to others, and is over when it is this instance's turn again: in the order in which they asked.
    pub(super) fn next(&self) -> impl Future<Output = ()> + Send + 'static {
        let turns = self.clone();
        async move {
            turns.set(None);
            yield_now().await;
            // Nobody closes it.
            turns.set(Arc::clone(&turns.all).acquire_owned().await.ok());
        }
    }

    /// `call`, which has no turn while it waits for anything.
    pub(super) async fn during<F: Future>(&self, call: F) -> F::Output {
        let mut call = pin!(call);
        poll_fn(|cx| {
            let polled = call.as_mut().poll(cx);
            self.set(None);
            polled
        })
        .await
    }

    fn set(&self, turn: Option<OwnedSemaphorePermit>) {
        *self.mine.lock().unwrap_or_else(PoisonError::into_inner) = turn;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_have_a_turn_at_a_time_and_none_while_they_wait() {
        let all = Arc::new(Semaphore::new(2));
        let turns: Vec<_> = (0..3).map(|_| Turns::new(Arc::clone(&all))).collect();
        turns[0].next().await;
        turns[1].next().await;
        let mut third = pin!(turns[2].next());
        assert!(futures::poll!(third.as_mut()).is_pending() && futures::poll!(third.as_mut()).is_pending());
        // One of them waits for the host.
        let first = turns[0].clone();
        let mut waiting = pin!(first.during(std::future::pending::<()>()));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        third.await;
        assert_eq!(all.available_permits(), 0);
        turns[1..].iter().for_each(|turns| turns.set(None));
        assert_eq!(all.available_permits(), 2);
    }
}
