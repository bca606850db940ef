//! What is wanted of each pipeline while it runs: that it goes on, rests or stops; and that it hears so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::run::Order;

/// What is wanted of a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It runs.
    #[default]
    Running,
    /// It has committed what it had read, and waits to be resumed.
    Paused,
    /// It is over.
    Stopped,
}

/// What is wanted of one pipeline, and what reaches the run of it.
#[derive(Clone, Debug)]
pub(super) struct Steering {
    state: Arc<Mutex<State>>,
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Debug, Default)]
struct State {
    wanted: Wanted,
    /// Cancelled where the run that there is has to end: it is seen also where an order would not be.
    stop: CancellationToken,
    /// The same for its plugins.
    draining: CancellationToken,
}

impl Steering {
    /// Of a pipeline that gets its orders through the receiver.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, heard) = mpsc::unbounded_channel();
        (Self { state: Arc::default(), orders }, heard)
    }

    /// What is wanted now; and if that is to run, the tokens that end the run.
    pub(super) fn begin(&self) -> Result<(CancellationToken, CancellationToken), Wanted> {
        self.with(|state| match state.wanted {
            Wanted::Running => {
                (state.stop, state.draining) = (CancellationToken::new(), CancellationToken::new());
                Ok((state.stop.clone(), state.draining.clone()))
            }
            other => Err(other),
        })
    }

    pub(super) fn wanted(&self) -> Wanted {
        self.with(|state| state.wanted)
    }

    /// Has it commit what it has read.
    pub(super) fn commit(&self) {
        self.order(Order::Commit);
    }

    /// Has it be so from now on. One that is to be over stays so.
    pub(super) fn set(&self, wanted: Wanted) {
        self.with(|state| {
            if state.wanted != Wanted::Stopped {
                state.wanted = wanted;
            }
            if state.wanted == Wanted::Running {
                self.order(Order::Go);
            } else {
                self.end(state);
            }
        });
    }

    /// Has the run that there is commit what it has read and end; if it is to run, another one begins.
    pub(super) fn restart(&self) {
        self.with(|state| {
            if state.wanted == Wanted::Paused {
                state.wanted = Wanted::Running;
            }
            self.end(state);
        });
    }

    fn end(&self, state: &State) {
        self.order(Order::Stop);
        state.stop.cancel();
        // A pipeline whose handler is in a call sees no order before the call is over.
        state.draining.cancel();
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::debug!(?order, "ignoring an order for a pipeline that has ended");
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What steers the pipelines of a [`Host`](super::Host), by name. Clones steer the same ones.
#[derive(Clone, Debug, Default)]
pub struct Orders(pub(super) Arc<BTreeMap<String, Steering>>);

impl Orders {
    /// The pipelines that can be steered.
    pub fn pipelines(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn reach(&self, pipeline: &str) -> bool {
        self.0.contains_key(pipeline)
    }

    /// Has a pipeline commit what it has taken and go on.
    pub fn commit(&self, pipeline: &str) {
        self.one(pipeline, Steering::commit);
    }

    /// Has a pipeline commit what it has taken, and wait until it is resumed.
    pub fn pause(&self, pipeline: &str) {
        self.one(pipeline, |steering| steering.set(Wanted::Paused));
    }

    /// Has a pipeline go on where its branch is, at once also after trouble.
    pub fn resume(&self, pipeline: &str) {
        self.one(pipeline, |steering| steering.set(Wanted::Running));
    }

    /// Has a pipeline commit what it has taken, and start again; one that was paused starts.
    pub fn restart(&self, pipeline: &str) {
        self.one(pipeline, Steering::restart);
    }

    fn one(&self, pipeline: &str, act: impl FnOnce(&Steering)) {
        if let Some(steering) = self.0.get(pipeline) {
            act(steering);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_stays_so_and_what_is_paused_begins_when_it_is_resumed() {
        let (steering, mut heard) = Steering::new();
        let (stop, draining) = steering.begin().unwrap();
        steering.set(Wanted::Paused);
        assert!(stop.is_cancelled() && draining.is_cancelled());
        assert_eq!(steering.begin().unwrap_err(), Wanted::Paused);
        steering.set(Wanted::Running);
        let (stop, _) = steering.begin().unwrap();
        assert!(!stop.is_cancelled(), "another run has tokens of its own");
        steering.restart();
        assert!(stop.is_cancelled() && steering.begin().is_ok());
        steering.set(Wanted::Stopped);
        steering.set(Wanted::Running);
        steering.restart();
        assert_eq!((steering.begin().unwrap_err(), steering.wanted()), (Wanted::Stopped, Wanted::Stopped));
        let orders: Vec<Order> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        assert_eq!(orders, [Order::Stop, Order::Go, Order::Stop, Order::Stop, Order::Stop, Order::Stop]);
    }
}
