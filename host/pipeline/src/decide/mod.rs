//! Everything about *when*: a pure function from state and event to actions.

mod events;
#[cfg(test)]
mod tests;

use std::time::Duration;

use spout_base::clock::Instant;
use spout_data::PartitionId;
use spout_producer::Boundary;

use super::{
    overdue::GRACE,
    partitions::{Partitions, Standing},
};
pub use events::Until;
pub(super) use events::{Action, Event, Reason, Thresholds, Took};

/// Why commits are cut before the end.
const CUTS: [Reason; 11] = [
    Reason::Rows,
    Reason::Bytes,
    Reason::Time,
    Reason::Awaited,
    Reason::Upstream,
    Reason::Source,
    Reason::Schema,
    Reason::Idle,
    Reason::Forced,
    Reason::Memory,
    Reason::Shutdown,
];

/// Commits of other repos that one commit can come from: their names stand in its record.
const UPSTREAM: usize = 64;

/// How long a source may have nothing before it is said that its end is waited for.
const HINT: Duration = Duration::from_secs(1);

/// What is open, what is on its way, and who still has something.
#[derive(Debug)]
pub(super) struct State {
    thresholds: Thresholds,
    until: Until,
    /// How long handlers wait for a partition that has nothing.
    idle_after: Option<Duration>,
    partitions: Partitions,
    discovered: bool,
    rows: u64,
    bytes: u64,
    since: Option<Instant>,
    /// When whoever waits should have an answer.
    awaited: Option<Instant>,
    upstream: usize,
    committing: bool,
    /// A source's own place moved on since the last commit.
    placed: bool,
    /// Where what was taken last stands in a commit of the source's own.
    boundary: Boundary,
    /// What was taken of such a commit is not all of it, and no more will come.
    torn: bool,
    /// What is taken next belongs into another commit.
    widened: bool,
    forced: bool,
    memory_high: bool,
    /// Lanes go on after the order to stop until each is drained.
    drains: bool,
    /// When the order to stop came, or the last rows after it.
    draining: Option<Instant>,
    abandoned: bool,
    /// Since when no partition has anything, where their end is waited for.
    waiting: Option<Instant>,
    hinted: bool,
    finished: bool,
    /// Something moved, and handlers have not given what they hold back since.
    unfinished: bool,
    stopped: bool,
}

impl State {
    /// `drains` if the lanes go on after the order to stop until each is drained; handlers are notified of a partition that has
    /// had nothing for `idle_after`.
    pub(super) fn new(thresholds: Thresholds, until: Until, drains: bool, idle_after: Option<Duration>) -> Self {
        Self {
            thresholds,
            until,
            idle_after,
            partitions: Partitions::default(),
            discovered: false,
            rows: 0,
            bytes: 0,
            since: None,
            awaited: None,
            upstream: 0,
            committing: false,
            placed: false,
            boundary: Boundary::Free,
            torn: false,
            widened: false,
            forced: false,
            memory_high: false,
            drains,
            draining: None,
            abandoned: false,
            waiting: None,
            hinted: false,
            finished: false,
            unfinished: false,
            stopped: false,
        }
    }

    /// Goes on after a commit that was cut by `reason`: was that not the end, handlers may still hold rows back.
    pub(super) fn after(mut self, reason: Option<&str>) -> Self {
        self.unfinished = reason.is_some_and(|reason| CUTS.iter().any(|cut| cut.word() == reason));
        self
    }

    /// When something is due by time: the open commit, or word of a partition that has nothing.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let commit = self.since.filter(|_| !self.committing && self.boundary != Boundary::Inside).map(|since| {
            let since = since + self.thresholds.time;
            self.awaited.map_or(since, |awaited| awaited.min(since))
        });
        let quiet = self.idle_after.and_then(|after| Some(self.partitions.first_idle()? + after));
        let stalled = self.stalled().map(|since| since + GRACE);
        let hint = self.waiting.filter(|_| !self.hinted).map(|since| since + HINT);
        [commit, quiet, stalled, hint].into_iter().flatten().min()
    }

    /// Since when nothing more came of what lanes still have, where that is waited for before the stop.
    fn stalled(&self) -> Option<Instant> {
        self.draining.filter(|_| self.drains && !self.abandoned && !self.is_drained())
    }

    /// Ends what was waited for too long.
    fn lose_patience(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.stalled().is_some_and(|since| now.duration_since(since) >= GRACE) {
            self.abandoned = true;
            actions.push(Action::Abandon);
        }
        let waits = self.until == Until::Ended && !self.partitions.is_empty() && self.is_idle() && !self.is_over();
        self.waiting = waits.then(|| self.waiting.unwrap_or(now));
        if !self.hinted && self.waiting.is_some_and(|since| now.duration_since(since) >= HINT) {
            self.hinted = true;
            actions.push(Action::Hint);
        }
    }

    /// Partitions that have had nothing for as long as handlers wait, and were not reported.
    fn quiet(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Some((after, until)) = self.idle_after.and_then(|after| Some((after, now.checked_sub(after)?))) {
            actions.extend(self.partitions.quiet(until).into_iter().map(|partition| Action::Quiet(partition, after)));
        }
    }

    /// Whether the next commit is full while the one before is still being written: no row is taken until it is.
    pub(super) fn full(&self) -> bool {
        let Thresholds { rows, bytes, .. } = self.thresholds;
        let full = self.rows >= rows || self.bytes >= bytes || self.upstream >= UPSTREAM;
        self.committing
            && match self.boundary {
                Boundary::Free => full,
                // Nothing can be cut before the rest has come.
                Boundary::Inside => false,
                Boundary::End => true,
            }
    }

    /// Whether rows with columns that were added wait until those before them are cut.
    pub(super) fn parting(&self) -> bool {
        self.widened
    }

    /// Whether no other partition than this one has something, as far as they have said.
    pub(super) fn reads_none_but(&self, partition: PartitionId) -> bool {
        self.partitions.reads_none_but(partition)
    }

    /// Takes `event` at `now`.
    pub(super) fn step(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.take(event, now, &mut actions);
        self.quiet(now, &mut actions);
        self.lose_patience(now, &mut actions);
        self.tear();
        if self.stopped {
            return actions;
        }
        let over = self.is_over();
        if over && self.since.is_some() && !self.finished {
            // Rows held back go into the commit that also says that the partitions have ended.
            (self.finished, self.unfinished) = (true, false);
            actions.push(Action::Finish);
        } else if over && self.unfinished {
            // The end of the last one moved nothing, and what was before it is cut already.
            (self.finished, self.unfinished) = (true, false);
            actions.push(Action::Release);
            return actions;
        }
        if self.committing {
            return actions;
        }
        if let Some(reason) = self.due(now, over) {
            self.committing = true;
            (self.rows, self.bytes, self.since) = (0, 0, None);
            (self.awaited, self.upstream, self.placed) = (None, 0, false);
            self.boundary = Boundary::Free;
            (self.widened, self.forced, self.memory_high) = (false, false, false);
            actions.push(Action::Cut(reason));
        } else if self.since.is_none() && self.wants_to_stop(over) {
            self.stopped = true;
            actions.push(Action::Stop);
        }
        actions
    }

    fn take(&mut self, event: Event, now: Instant, actions: &mut Vec<Action>) {
        match event {
            Event::Opened(partition) => self.partitions.set(partition, Standing::Reading),
            Event::Took(Took { partition, rows, bytes, moved, ended, awaited, upstream, boundary }) => {
                self.boundary = boundary;
                self.partitions.set(partition, if ended { Standing::Ended } else { Standing::Reading });
                self.draining = self.draining.map(|_| now);
                self.rows += rows;
                self.bytes += bytes;
                self.upstream = self.upstream.max(upstream);
                let awaited = awaited.map(|within| now + within);
                self.awaited = self.awaited.into_iter().chain(awaited).min();
                if moved {
                    self.since.get_or_insert(now);
                    (self.finished, self.unfinished) = (false, true);
                }
            }
            Event::Idle(partition, expects) => self.partitions.idle(partition, expects, now),
            Event::Ended(partition) => self.partitions.end(partition),
            Event::Drained(partition) => self.partitions.set(partition, Standing::Drained),
            Event::Widened(partition) => {
                // It has something, whatever it said last.
                self.partitions.set(partition, Standing::Reading);
                self.widened = self.since.is_some() && self.boundary != Boundary::Inside;
            }
            Event::Released { rows, bytes, any } => {
                self.rows += rows;
                self.bytes += bytes;
                if any {
                    self.since.get_or_insert(now);
                }
            }
            Event::Placed => self.placed = true,
            Event::Discovered => self.discovered = true,
            Event::Committed => self.committing = false,
            Event::Forced => self.forced = true,
            Event::MemoryHigh => self.memory_high = true,
            Event::Shutdown => {
                if self.draining.is_none() {
                    self.draining = Some(now);
                    actions.push(Action::Drain);
                }
            }
            Event::Tick => {}
        }
    }

    fn due(&self, now: Instant, over: bool) -> Option<Reason> {
        // What only the source's own place says is not worth a commit of its own until nothing else can follow.
        let since = self.since.or_else(|| (self.placed && self.wants_to_stop(over)).then_some(now))?;
        if self.torn || self.boundary == Boundary::Inside {
            return None;
        }
        let reasons = [
            (self.boundary == Boundary::End, Reason::Source),
            (over, Reason::Ended),
            (self.rows >= self.thresholds.rows, Reason::Rows),
            (self.bytes >= self.thresholds.bytes, Reason::Bytes),
            (self.upstream >= UPSTREAM, Reason::Upstream),
            (self.widened, Reason::Schema),
            (self.draining.is_some(), Reason::Shutdown),
            (self.forced, Reason::Forced),
            (self.memory_high, Reason::Memory),
            (self.until == Until::Idle && self.is_idle(), Reason::Idle),
            (self.awaited.is_some_and(|at| at <= now), Reason::Awaited),
            (now.duration_since(since) >= self.thresholds.time, Reason::Time),
        ];
        reasons.iter().find(|(due, _)| *due).map(|(_, reason)| *reason)
    }

    /// A commit of the source's own that has not come to its end before the stop is left to the next run, whole.
    fn tear(&mut self) {
        if self.boundary == Boundary::Inside && self.draining.is_some() && self.gives_no_more() {
            self.torn = true;
            (self.since, self.placed) = (None, false);
        }
    }

    /// After the order to stop: whether lanes have nothing more to hand over.
    fn gives_no_more(&self) -> bool {
        !self.drains || self.abandoned || self.is_drained()
    }

    fn wants_to_stop(&self, over: bool) -> bool {
        self.draining.is_some() && self.gives_no_more()
            || match self.until {
                Until::Stopped => false,
                Until::Ended => over,
                Until::Idle => self.is_idle(),
            }
    }

    fn is_over(&self) -> bool {
        self.discovered && self.partitions.are_over()
    }

    fn is_drained(&self) -> bool {
        self.discovered && self.partitions.are_drained()
    }

    fn is_idle(&self) -> bool {
        self.discovered && self.partitions.are_idle()
    }
}
