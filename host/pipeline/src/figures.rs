//! What the parts of a pipeline have done since it was built, and do now, for whoever looks; nothing is decided by it.
//!
//! Each is counted where it happens: handlers in their chains, plugins around their calls, what was fetched in its room.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use spout_node::{NodeSpec, Tally};
use spout_plugin::Quotas;

use super::{
    lane::Room,
    members::{Done, HandlerDone, MemberFigures, Members},
};

/// Commits whose times are told apart.
const LATEST: usize = 1000;

/// What is known of the parts of a pipeline. Clones are of the same ones.
#[derive(Clone, Debug, Default)]
pub struct Figures(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    handlers: Vec<HandlerFigures>,
    /// With the memory that all instances of each may have.
    plugins: BTreeMap<String, (Quotas, u64)>,
    rooms: Mutex<Vec<Room>>,
    commits: Mutex<Commits>,
    members: Members,
}

/// A handler of the chain.
#[derive(Debug)]
pub struct HandlerFigures {
    /// Its word in a spec.
    pub word: &'static str,
    /// Its id.
    pub id: String,
    /// Whether it runs in each lane, or where they meet.
    pub lane: bool,
    /// What passes through it.
    pub tally: Arc<Tally>,
}

/// What was fetched and not yet taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Bytes of it.
    pub bytes: u64,
    /// Bytes that there is room for.
    pub capacity: u64,
}

/// How long commits took, from the cut until they were durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitTimes {
    /// Commits.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
    /// The newest.
    pub last: Duration,
    /// Half of the latest 1,000 took no longer.
    pub p50: Duration,
    /// 99 of 100 of these took no longer.
    pub p99: Duration,
}

#[derive(Debug, Default)]
struct Commits {
    count: u64,
    sum: Duration,
    latest: VecDeque<Duration>,
}

impl Figures {
    /// Of `nodes`, of which the first `in_lanes` run in each lane, and of plugins by name.
    pub(super) fn new(nodes: &[NodeSpec], in_lanes: usize, plugins: BTreeMap<String, (Quotas, u64)>) -> Self {
        let handler = |(number, node): (usize, &NodeSpec)| HandlerFigures {
            word: node.word(),
            id: node.id().to_owned(),
            lane: number < in_lanes,
            tally: Arc::default(),
        };
        let handlers = nodes.iter().enumerate().map(handler).collect();
        Self(Arc::new(Kept { handlers, plugins, ..Kept::default() }))
    }

    /// The handlers, in the order of the chain.
    #[must_use]
    pub fn handlers(&self) -> &[HandlerFigures] {
        &self.0.handlers
    }

    /// What counts those that run in each lane, or where lanes meet.
    pub(super) fn tallies(&self, lane: bool) -> impl Iterator<Item = &Arc<Tally>> {
        self.0.handlers.iter().filter(move |handler| handler.lane == lane).map(|handler| &handler.tally)
    }

    /// The memory that all instances of each plugin may have in one process, by name.
    pub fn plugin_memory(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.plugins.iter().map(|(name, (_, memory))| (name.as_str(), *memory))
    }

    /// What was done here, and by all other processes that share the work.
    #[must_use]
    pub fn done(&self) -> Done {
        self.done_here().plus(&self.0.members.done())
    }

    /// The processes that share the work, by id; none where this one does all of it, or does not lead.
    #[must_use]
    pub fn members(&self) -> Vec<MemberFigures> {
        self.0.members.there()
    }

    /// Where it is noted what members do.
    pub(super) fn shared(&self) -> &Members {
        &self.0.members
    }

    /// What was done in this process.
    pub(super) fn done_here(&self) -> Done {
        let handler = |HandlerFigures { tally, .. }: &HandlerFigures| HandlerDone {
            rows_in: tally.rows_in(),
            rows_out: tally.rows_out(),
            busy: tally.busy(),
        };
        Done {
            handlers: self.0.handlers.iter().map(handler).collect(),
            plugins: self.0.plugins.iter().map(|(name, (quotas, _))| (name.clone(), quotas.usage())).collect(),
            queue: self.queue(),
        }
    }

    fn queue(&self) -> Option<Queue> {
        let rooms = locked(&self.0.rooms);
        let capacity = rooms.iter().map(|room| room.whole() as u64).sum();
        let bytes = rooms.iter().map(|room| room.taken() as u64).sum();
        (!rooms.is_empty()).then_some(Queue { bytes, capacity })
    }

    /// Takes the room of a run for what it fetches.
    pub(super) fn fetches_into<'a>(&self, rooms: impl Iterator<Item = &'a Room>) {
        *locked(&self.0.rooms) = rooms.cloned().collect();
    }

    /// How long commits took; none before the first.
    #[must_use]
    pub fn commits(&self) -> Option<CommitTimes> {
        locked(&self.0.commits).times()
    }

    /// A commit took so long.
    pub(super) fn committed(&self, took: Duration) {
        locked(&self.0.commits).add(took);
    }
}

impl Commits {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
        self.latest.push_back(took);
        if self.latest.len() > LATEST {
            self.latest.pop_front();
        }
    }

    fn times(&self) -> Option<CommitTimes> {
        let last = *self.latest.back()?;
        let mut sorted: Vec<Duration> = self.latest.iter().copied().collect();
        sorted.sort_unstable();
        // The least of which so many are no longer.
        let of = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(CommitTimes { count: self.count, sum: self.sum, last, p50: of(50)?, p99: of(99)? })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_thousand_commits_say_how_long_one_takes() {
        let ms = Duration::from_millis;
        let figures = Figures::default();
        assert_eq!(figures.commits(), None);
        figures.committed(ms(7));
        let one = CommitTimes { count: 1, sum: ms(7), last: ms(7), p50: ms(7), p99: ms(7) };
        assert_eq!(figures.commits(), Some(one));
        // In an order that is not theirs; the 7 goes.
        (1..=500).for_each(|at| [at, 1001 - at].map(ms).iter().for_each(|took| figures.committed(*took)));
        let (count, sum) = (1001, ms(7 + 1000 * 1001 / 2));
        assert_eq!(figures.commits(), Some(CommitTimes { count, sum, last: ms(501), p50: ms(500), p99: ms(990) }));
    }
}
