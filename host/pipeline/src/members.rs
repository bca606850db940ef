//! The processes that share the work of a pipeline and what each has done, for whoever looks at the one that leads.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use spout_data::PartitionId;
use spout_plugin::Usage;

use super::{figures::Queue, spread::Member};

/// What the handlers and plugins of a pipeline have done in one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {
    /// The handlers, in the order of the chain.
    pub handlers: Vec<HandlerDone>,
    /// The plugins by name, with what all instances of each use.
    pub plugins: BTreeMap<String, Usage>,
    /// What was fetched and not yet taken.
    pub queue: Option<Queue>,
}

/// What passed through a handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerDone {
    /// Rows that it was given.
    pub rows_in: u64,
    /// Rows that it has passed on.
    pub rows_out: u64,
    /// Time in it, with what it waited for.
    pub busy: Duration,
}

/// A process that shares the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberFigures {
    /// Who it is.
    pub member: Member,
    /// It is the one that commits.
    pub leads: bool,
    /// What it reads.
    pub partitions: Vec<PartitionId>,
    /// Rows that it has taken for commits, as thresholds count them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What it has done since it was given its first task by this leader, beside what it reads.
    pub done: Done,
    /// What handlers have done to which it was given rows by key.
    pub handled: Done,
}

/// Those that there are. Clones share it; nothing is decided by it.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    there: BTreeMap<String, MemberFigures>,
    /// What those have done that are not there any more.
    gone: Done,
}

impl Done {
    /// With what another process has done.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.handlers.resize(self.handlers.len().max(other.handlers.len()), HandlerDone::default());
        for (own, more) in self.handlers.iter_mut().zip(&other.handlers) {
            own.rows_in += more.rows_in;
            own.rows_out += more.rows_out;
            own.busy += more.busy;
        }
        for (name, more) in &other.plugins {
            let own = self.plugins.entry(name.clone()).or_default();
            *own = own.plus(*more);
        }
        self.queue = match (self.queue, other.queue) {
            (Some(own), Some(more)) => {
                Some(Queue { bytes: own.bytes + more.bytes, capacity: own.capacity + more.capacity })
            }
            (own, more) => own.or(more),
        };
        self
    }

    /// Without what was done `before`.
    #[must_use]
    pub(super) fn since(mut self, before: &Self) -> Self {
        for (own, before) in self.handlers.iter_mut().zip(&before.handlers) {
            own.rows_in = own.rows_in.saturating_sub(before.rows_in);
            own.rows_out = own.rows_out.saturating_sub(before.rows_out);
            own.busy = own.busy.saturating_sub(before.busy);
        }
        for (name, own) in &mut self.plugins {
            if let Some(before) = before.plugins.get(name) {
                *own = own.since(*before);
            }
        }
        self
    }

    /// What stays of it when its process is gone.
    #[must_use]
    pub(super) fn left(mut self) -> Self {
        self.queue = None;
        self.plugins.values_mut().for_each(|usage| (usage.instances, usage.memory) = (0, 0));
        self
    }
}

impl Members {
    /// These are there, of which `leader` leads, and each reads what is `placed` with it.
    pub(super) fn are(&self, members: &[Member], leader: &str, placed: &BTreeMap<PartitionId, String>) {
        let mut known = self.known();
        let before = std::mem::take(&mut known.there);
        known.there = members
            .iter()
            .map(|member| {
                let reads = placed.iter().filter(|(_, by)| **by == member.id).map(|(partition, _)| *partition);
                let figures = before.get(&member.id).cloned().unwrap_or_default();
                let leads = member.id == leader;
                let now = MemberFigures { member: member.clone(), leads, partitions: reads.collect(), ..figures };
                (member.id.clone(), now)
            })
            .collect();
        let left = before.into_iter().filter(|(id, _)| !known.there.contains_key(id)).collect::<Vec<_>>();
        for (_, MemberFigures { done, handled, .. }) in left {
            known.gone = std::mem::take(&mut known.gone).plus(&done.left()).plus(&handled);
        }
    }

    /// What one of them has done.
    pub(super) fn have_done(&self, member: &str, done: Done) {
        if let Some(figures) = self.known().there.get_mut(member) {
            figures.done = done;
        }
    }

    /// Handlers of one of them have done more.
    pub(super) fn have_handled(&self, member: &str, more: &Done) {
        if let Some(figures) = self.known().there.get_mut(member) {
            figures.handled = std::mem::take(&mut figures.handled).plus(more);
        }
    }

    /// One of them has taken so much.
    pub(super) fn have_taken(&self, member: &str, rows: u64, bytes: u64) {
        if let Some(figures) = self.known().there.get_mut(member) {
            (figures.rows, figures.bytes) = (figures.rows + rows, figures.bytes + bytes);
        }
    }

    /// Those that are there, by id.
    pub(super) fn there(&self) -> Vec<MemberFigures> {
        self.known().there.values().cloned().collect()
    }

    /// What all have done, those included that are not there any more.
    pub(super) fn done(&self) -> Done {
        let known = self.known();
        known.there.values().fold(known.gone.clone(), |sum, figures| sum.plus(&figures.done).plus(&figures.handled))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is under the lock is sound at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(rows: u64, memory: u64) -> Done {
        let usage = Usage { instances: 1, calls: rows, memory, ..Usage::default() };
        Done {
            handlers: vec![HandlerDone { rows_in: rows, rows_out: rows / 2, busy: Duration::from_millis(rows) }],
            plugins: BTreeMap::from([("p".to_owned(), usage)]),
            queue: Some(Queue { bytes: memory, capacity: 100 }),
        }
    }

    #[test]
    fn what_a_member_has_done_stays_when_it_goes() {
        let (members, both) = (Members::default(), ["a", "b"].map(|id| Member { id: id.into(), ..Member::default() }));
        let placed =
            BTreeMap::from([(1.into(), "a".to_owned()), (2.into(), "b".to_owned()), (3.into(), "b".to_owned())]);
        members.are(&both, "a", &placed);
        members.have_done("a", done(10, 7));
        members.have_done("b", done(20, 9).since(&done(4, 9)));
        members.have_done("nobody", done(1000, 1));
        members.have_taken("b", 5, 50);
        let sum = members.done();
        assert_eq!((sum.handlers[0].rows_in, sum.handlers[0].rows_out), (26, 5 + 8));
        assert_eq!((sum.plugins["p"].instances, sum.plugins["p"].calls, sum.plugins["p"].memory), (2, 26, 16));
        assert_eq!(sum.queue, Some(Queue { bytes: 16, capacity: 200 }));
        let there = members.there();
        assert_eq!(
            there.iter().map(|one| (one.leads, one.partitions.len())).collect::<Vec<_>>(),
            [(true, 1), (false, 2)]
        );
        assert_eq!((there[1].rows, there[1].bytes), (5, 50));

        members.are(&both[..1], "a", &placed);
        let sum = members.done();
        assert_eq!((sum.handlers[0].rows_in, sum.plugins["p"].calls), (26, 26), "what it has done is done");
        assert_eq!((sum.plugins["p"].instances, sum.plugins["p"].memory), (1, 7), "what it used is free");
        assert_eq!(sum.queue, Some(Queue { bytes: 7, capacity: 100 }));
    }
}
