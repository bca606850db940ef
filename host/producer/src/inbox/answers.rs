//! Those who wait for an answer until their messages are durable.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use spout_data::PartitionId;
use tokio::sync::oneshot;

use crate::Durable;

/// Where messages stand that a client sent: what a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The commit; `None` if an earlier run stored them, so that its name is not known any more.
    pub(crate) commit: Option<String>,
    /// Its place on the branch.
    pub(crate) sequence: Option<u64>,
    /// Offset of the first message.
    pub(crate) first: u64,
    /// How many messages there are.
    pub(crate) messages: u64,
    /// How many of them were set aside.
    pub(crate) dead: u64,
    /// They had been sent before, with the same key, and are stored once.
    pub(crate) repeated: bool,
}

/// The key of messages came before with others; nothing of them is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyTaken;

/// Comes when the messages are durable; closed if they will not be.
pub(crate) type Receipt = oneshot::Receiver<Result<Stored, KeyTaken>>;
pub(super) type Answer = oneshot::Sender<Result<Stored, KeyTaken>>;

/// Those who wait, by the offset after their messages.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    by_end: BTreeMap<u64, Vec<Waiter>>,
    committed: u64,
    /// What was handed to the lane.
    taken: u64,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) run: Range<u64>,
    pub(super) repeated: bool,
    pub(super) answer: Answer,
}

impl Answers {
    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        // What is under the lock is sound at every moment.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn begin(&self, committed: u64) {
        self.with(|waiting| (waiting.committed, waiting.taken) = (committed, committed));
    }

    pub(super) fn durable(&self) -> u64 {
        self.with(|waiting| waiting.committed)
    }

    pub(super) fn wait(&self, waiter: Waiter) {
        self.with(|waiting| match (waiting.closed, waiter.run.end <= waiting.committed) {
            (true, _) => drop(waiter),
            (false, true) => waiter.notify(None),
            (false, false) => waiting.by_end.entry(waiter.run.end).or_default().push(waiter),
        });
    }

    pub(super) fn committed(&self, durable: &Durable) {
        let Some(upto) = durable.positions.get(&PartitionId::default()).map(|position| position.offset) else { return };
        let done = self.with(|waiting| {
            waiting.committed = upto;
            let later = waiting.by_end.split_off(&upto.saturating_add(1));
            std::mem::replace(&mut waiting.by_end, later)
        });
        done.into_values().flatten().for_each(|waiter| waiter.notify(Some(durable)));
    }

    pub(super) fn took(&self, upto: u64) {
        self.with(|waiting| waiting.taken = upto);
    }

    /// Nobody is answered any more; how many messages were taken that no commit holds.
    pub(super) fn close(&self) -> u64 {
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
        drop(self.answer.send(Ok(stored)));
    }
}
