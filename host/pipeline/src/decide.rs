//! Everything about *when*: a pure function from state and event to actions.

use std::time::Duration;

use spout_base::clock::Instant;
use spout_data::PartitionId;

use super::{
    overdue::GRACE,
    partitions::{Partitions, Standing},
};

/// Flush thresholds; the first one reached cuts the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thresholds {
    /// Rows of one commit.
    pub(super) rows: u64,
    /// Arrow bytes of one commit.
    pub(super) bytes: u64,
    /// Time since the commit's first row or first move.
    pub(super) time: Duration,
}

/// When a pipeline stops by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// Never.
    #[default]
    Stopped,
    /// When every partition has ended.
    Ended,
    /// When every partition has nothing for now.
    Idle,
}

/// What was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Took {
    pub(super) partition: PartitionId,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) moved: bool,
    /// It was the last of the partition.
    pub(super) ended: bool,
    /// Somebody waits for the commit of it, and should not wait longer than this.
    pub(super) awaited: Option<Duration>,
    /// Commits of other repos that the open commit comes from, this included.
    pub(super) upstream: usize,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A partition was found, or is read again.
    Opened(PartitionId),
    /// Rows were taken, or a position moved on without any.
    Took(Took),
    /// A source's own place moved on, without a message: the next commit says so, and before a stop there is one.
    Placed,
    /// The partition has nothing for now; and whether somebody is there who may send.
    Idle(PartitionId, bool),
    /// The partition has nothing ever again.
    Ended(PartitionId),
    /// The partition has given all that its producer had taken when it was told to stop.
    Drained(PartitionId),
    /// Columns were added, and what this partition has next is the first that has them: it belongs into another commit than
    /// what was taken before.
    Widened(PartitionId),
    /// What handlers held back came after the last commit was cut: so many rows and bytes, in any batch or none.
    Released { rows: u64, bytes: u64, any: bool },
    /// All partitions that the source has were told.
    Discovered,
    /// The commit that was cut is finished.
    Committed,
    /// Somebody asked for a commit now.
    Forced,
    /// The process holds too much memory.
    MemoryHigh,
    /// Somebody asked the pipeline to stop.
    Shutdown,
    /// Time passed.
    Tick,
}

/// Why a commit was cut. Stands in the commit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Rows,
    Bytes,
    Time,
    Awaited,
    Upstream,
    Schema,
    Ended,
    Idle,
    Forced,
    Memory,
    Shutdown,
}

impl Reason {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Time => "time",
            Self::Awaited => "awaited",
            Self::Upstream => "upstream",
            Self::Schema => "schema",
            Self::Ended => "ended",
            Self::Idle => "idle",
            Self::Forced => "forced",
            Self::Memory => "memory",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Tell the handlers that a partition has had nothing for so long.
    Quiet(PartitionId, Duration),
    /// Let handlers give the rows they hold back; no message will follow.
    Finish,
    /// The same where no commit is open; [`Event::Released`] says what came of it.
    Release,
    /// Cut a commit.
    Cut(Reason),
    /// Fetch no more.
    Drain,
    /// Leave what lanes still have: after the order to stop nothing came of it any more.
    Abandon,
    /// Say that the end of the source is waited for, which has nothing.
    Hint,
    /// Everything taken is committed and nothing is wanted any more.
    Stop,
}

/// Why commits are cut before the end.
const CUTS: [Reason; 10] = [
    Reason::Rows,
    Reason::Bytes,
    Reason::Time,
    Reason::Awaited,
    Reason::Upstream,
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
    /// `drains` if the lanes go on after the order to stop until each is drained; handlers are told of a partition that has
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
        let commit = self.since.filter(|_| !self.committing).map(|since| {
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

    /// Partitions that have had nothing for as long as handlers wait, and were not told of.
    fn quiet(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if let Some((after, until)) = self.idle_after.and_then(|after| Some((after, now.checked_sub(after)?))) {
            actions.extend(self.partitions.quiet(until).into_iter().map(|partition| Action::Quiet(partition, after)));
        }
    }

    /// Whether the next commit is full while the one before is still being written: no row is taken until it is.
    pub(super) fn full(&self) -> bool {
        let Thresholds { rows, bytes, .. } = self.thresholds;
        self.committing && (self.rows >= rows || self.bytes >= bytes || self.upstream >= UPSTREAM)
    }

    /// Whether rows with columns that were added wait until those before them are cut.
    pub(super) fn parting(&self) -> bool {
        self.widened
    }

    /// Takes `event` at `now`.
    pub(super) fn step(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.take(event, now, &mut actions);
        self.quiet(now, &mut actions);
        self.lose_patience(now, &mut actions);
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
            Event::Took(Took { partition, rows, bytes, moved, ended, awaited, upstream }) => {
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
                self.widened = self.since.is_some();
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
        let reasons = [
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

    fn wants_to_stop(&self, over: bool) -> bool {
        self.draining.is_some() && (!self.drains || self.abandoned || self.is_drained())
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

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { rows: 10, bytes: 1000, time: Duration::from_secs(5) };

    const MOVED: Took = Took {
        partition: PartitionId::numbered(0),
        rows: 0,
        bytes: 0,
        moved: true,
        ended: false,
        awaited: None,
        upstream: 0,
    };

    fn took(rows: u64) -> Event {
        Event::Took(Took { rows, bytes: rows * 10, ..MOVED })
    }

    /// Each line: seconds since the start, event, expected actions.
    fn check(until: Until, lines: &[(u64, Event, &[Action])]) {
        check_state(State::new(THRESHOLDS, until, false, Some(Duration::from_secs(3))), lines);
    }

    fn check_state(mut state: State, lines: &[(u64, Event, &[Action])]) {
        let start = Instant::now();
        for (index, (at, event, expected)) in lines.iter().enumerate() {
            let actions = state.step(*event, start + Duration::from_secs(*at));
            assert_eq!(&actions, expected, "line {index}: {event:?}");
        }
    }

    #[test]
    fn the_first_threshold_cuts() {
        check(Until::Stopped, &[(0, took(9), &[]), (0, took(1), &[Action::Cut(Reason::Rows)])]);
        let large = Event::Took(Took { rows: 1, bytes: 1000, ..MOVED });
        check(Until::Stopped, &[(0, large, &[Action::Cut(Reason::Bytes)])]);
        check(
            Until::Stopped,
            &[(1, took(1), &[]), (5, Event::Tick, &[]), (6, Event::Tick, &[Action::Cut(Reason::Time)])],
        );
        check(Until::Stopped, &[(0, took(1), &[]), (0, Event::Forced, &[Action::Cut(Reason::Forced)])]);
        check(Until::Stopped, &[(0, took(1), &[]), (0, Event::MemoryHigh, &[Action::Cut(Reason::Memory)])]);
    }

    #[test]
    fn a_place_that_moved_is_committed_before_a_stop_and_not_before() {
        let idle = Event::Idle(0.into(), false);
        check(Until::Stopped, &[(0, Event::Placed, &[]), (99, Event::Tick, &[])]);
        check(
            Until::Stopped,
            &[(0, Event::Placed, &[]), (1, Event::Shutdown, &[Action::Drain, Action::Cut(Reason::Shutdown)])],
        );
        check(
            Until::Idle,
            &[
                (0, Event::Opened(0.into()), &[]),
                (0, Event::Discovered, &[]),
                (0, Event::Placed, &[]),
                (1, idle, &[Action::Cut(Reason::Idle)]),
                (2, Event::Committed, &[Action::Stop]),
            ],
        );
    }

    #[test]
    fn nothing_moved_means_no_commit() {
        let still = Event::Took(Took { moved: false, ..MOVED });
        check(Until::Stopped, &[(0, still, &[]), (99, Event::Tick, &[]), (99, Event::Forced, &[])]);
    }

    #[test]
    fn offsets_alone_are_worth_a_commit() {
        let filtered = Event::Took(MOVED);
        check(Until::Stopped, &[(0, filtered, &[]), (5, Event::Tick, &[Action::Cut(Reason::Time)])]);
    }

    #[test]
    fn one_commit_at_a_time_and_reading_goes_on() {
        check(
            Until::Stopped,
            &[
                (0, took(10), &[Action::Cut(Reason::Rows)]),
                (0, took(10), &[]),
                (0, Event::Committed, &[Action::Cut(Reason::Rows)]),
                (0, Event::Committed, &[]),
            ],
        );
    }

    #[test]
    fn the_end_is_committed_before_stopping() {
        check(
            Until::Ended,
            &[
                (0, Event::Opened(0.into()), &[]),
                (0, Event::Opened(1.into()), &[]),
                (0, Event::Discovered, &[]),
                (0, took(3), &[]),
                (0, Event::Ended(0.into()), &[]),
                (0, Event::Ended(1.into()), &[Action::Finish, Action::Cut(Reason::Ended)]),
                (0, Event::Committed, &[Action::Stop]),
            ],
        );
    }

    #[test]
    fn a_run_that_had_ended_before_does_not_finish_twice() {
        let lines: &[(u64, Event, &[Action])] = &[
            (0, Event::Opened(0.into()), &[]),
            (0, Event::Discovered, &[]),
            (0, Event::Ended(0.into()), &[Action::Stop]),
        ];
        check(Until::Ended, lines);
    }

    #[test]
    fn idle_means_every_partition_is() {
        check(
            Until::Idle,
            &[
                (0, Event::Opened(0.into()), &[]),
                (0, Event::Opened(1.into()), &[]),
                (0, Event::Discovered, &[]),
                (0, took(3), &[]),
                (0, Event::Idle(0.into(), false), &[]),
                (0, Event::Idle(1.into(), false), &[Action::Cut(Reason::Idle)]),
                (0, Event::Committed, &[Action::Stop]),
            ],
        );
        check(Until::Idle, &[(0, Event::Discovered, &[Action::Stop])]);
    }

    #[test]
    fn a_partition_that_has_nothing_is_told_of_once() {
        check(
            Until::Stopped,
            &[
                (0, Event::Opened(0.into()), &[]),
                (1, Event::Idle(0.into(), false), &[]),
                (2, Event::Idle(0.into(), false), &[]),
                (3, Event::Tick, &[]),
                (4, Event::Tick, &[Action::Quiet(0.into(), Duration::from_secs(3))]),
                (9, Event::Tick, &[]),
                (9, took(1), &[]),
                (10, Event::Idle(0.into(), false), &[]),
                (13, Event::Tick, &[Action::Quiet(0.into(), Duration::from_secs(3))]),
            ],
        );
    }

    #[test]
    fn somebody_who_may_send_is_waited_for() {
        check(
            Until::Idle,
            &[
                (0, Event::Opened(0.into()), &[]),
                (0, Event::Discovered, &[]),
                (0, Event::Idle(0.into(), true), &[]),
                (0, took(3), &[]),
                (0, Event::Idle(0.into(), true), &[]),
                (0, Event::Idle(0.into(), false), &[Action::Cut(Reason::Idle)]),
                (0, Event::Committed, &[Action::Stop]),
            ],
        );
    }

    #[test]
    fn shutdown_drains_then_commits_then_stops() {
        check(
            Until::Stopped,
            &[
                (0, took(3), &[]),
                (0, Event::Shutdown, &[Action::Drain, Action::Cut(Reason::Shutdown)]),
                (0, Event::Shutdown, &[]),
                (0, took(2), &[]),
                (0, Event::Committed, &[Action::Cut(Reason::Shutdown)]),
                (0, Event::Committed, &[Action::Stop]),
            ],
        );
    }

    #[test]
    fn who_waits_gets_a_commit_soon() {
        let awaited = |seconds| Event::Took(Took { rows: 1, awaited: Some(Duration::from_secs(seconds)), ..MOVED });
        let cut: &[Action] = &[Action::Cut(Reason::Awaited)];
        check(Until::Stopped, &[(0, awaited(1), &[]), (1, Event::Tick, cut)]);
        check(Until::Stopped, &[(0, awaited(0), cut)]);
        check(Until::Stopped, &[(0, took(1), &[]), (1, awaited(0), cut)]);
        // Who waits longest is counted with, and who came while a commit was written waits for the next one.
        check(
            Until::Stopped,
            &[
                (0, awaited(2), &[]),
                (1, awaited(2), &[]),
                (2, Event::Tick, cut),
                (2, awaited(1), &[]),
                (4, Event::Tick, &[]),
                (4, Event::Committed, cut),
                (4, Event::Committed, &[]),
            ],
        );
    }

    #[test]
    fn the_sooner_of_two_times_is_due() {
        let start = Instant::now();
        let mut state = State::new(THRESHOLDS, Until::Stopped, false, None);
        state.step(took(1), start);
        assert_eq!(state.due_at(), Some(start + Duration::from_secs(5)));
        state.step(Event::Took(Took { awaited: Some(Duration::from_secs(1)), ..MOVED }), start);
        assert_eq!(state.due_at(), Some(start + Duration::from_secs(1)));
        state.step(Event::Forced, start);
        assert_eq!(state.due_at(), None, "a commit is being written");
    }

    #[test]
    fn what_an_end_releases_may_fill_a_commit_and_the_rest_is_in_it() {
        check(
            Until::Ended,
            &[
                (0, Event::Opened(0.into()), &[]),
                (0, Event::Discovered, &[]),
                (
                    0,
                    Event::Took(Took { rows: 99, ended: true, ..MOVED }),
                    &[Action::Finish, Action::Cut(Reason::Ended)],
                ),
                (0, Event::Ended(0.into()), &[]),
                (0, Event::Committed, &[Action::Stop]),
            ],
        );
    }

    #[test]
    fn what_is_held_back_comes_also_where_the_last_end_moves_nothing() {
        let last: &[Action] = &[Action::Release];
        let released = |any| Event::Released { rows: u64::from(any), bytes: 0, any };
        for any in [false, true] {
            check(
                Until::Ended,
                &[
                    (0, Event::Opened(0.into()), &[]),
                    (0, Event::Opened(1.into()), &[]),
                    (0, Event::Discovered, &[]),
                    (0, Event::Took(Took { rows: 99, ended: true, ..MOVED }), &[Action::Cut(Reason::Rows)]),
                    (0, Event::Ended(0.into()), &[]),
                    (0, Event::Ended(1.into()), last),
                    (0, released(any), &[]),
                    (0, Event::Committed, if any { &[Action::Cut(Reason::Ended)] } else { &[Action::Stop] }),
                ],
            );
        }
        let ends = |reason: Option<&str>, expected: &[Action]| {
            let state = State::new(THRESHOLDS, Until::Ended, false, None).after(reason);
            check_state(
                state,
                &[
                    (0, Event::Opened(0.into()), &[]),
                    (0, Event::Discovered, &[]),
                    (0, Event::Ended(0.into()), expected),
                ],
            );
        };
        ends(Some("rows"), last);
        ends(Some("ended"), &[Action::Stop]);
        ends(Some("a commit of somebody else"), &[Action::Stop]);
        ends(None, &[Action::Stop]);
    }

    #[test]
    fn rows_with_more_columns_wait_for_a_commit_of_those_before() {
        let cut: &[Action] = &[Action::Cut(Reason::Schema)];
        check(
            Until::Stopped,
            &[
                (0, Event::Widened(0.into()), &[]),
                (0, took(1), &[]),
                (0, Event::Widened(0.into()), cut),
                (0, took(1), &[]),
                (0, Event::Widened(1.into()), &[]),
                (1, Event::Committed, cut),
            ],
        );
        let mut state = State::new(THRESHOLDS, Until::Stopped, false, None);
        let now = Instant::now();
        state.step(Event::Widened(0.into()), now);
        assert!(!state.parting(), "nothing was taken before");
        state.step(took(1), now);
        state.step(Event::Forced, now);
        state.step(took(1), now);
        state.step(Event::Widened(0.into()), now);
        assert!(state.parting(), "another commit is on its way");
        state.step(Event::Committed, now);
        assert!(!state.parting());
    }

    #[test]
    fn many_upstream_commits_cut_one_of_ours() {
        let of = |upstream| Event::Took(Took { upstream, ..MOVED });
        let cut: &[Action] = &[Action::Cut(Reason::Upstream)];
        check(Until::Stopped, &[(0, of(UPSTREAM - 1), &[]), (0, of(UPSTREAM), cut), (0, of(1), &[])]);
    }

    #[test]
    fn what_hangs_is_not_drained_for_ever() {
        let draining = |lines: &[(u64, Event, &[Action])]| {
            check_state(State::new(THRESHOLDS, Until::Stopped, true, None), lines);
        };
        let cut: &[Action] = &[Action::Cut(Reason::Shutdown)];
        draining(&[
            (0, Event::Opened(0.into()), &[]),
            (0, Event::Discovered, &[]),
            (0, Event::Shutdown, &[Action::Drain]),
            (4, took(2), cut),
            (5, Event::Committed, &[]),
            (8, Event::Tick, &[]),
            (9, Event::Tick, &[Action::Abandon, Action::Stop]),
        ]);
        draining(&[
            (0, Event::Opened(0.into()), &[]),
            (0, Event::Discovered, &[]),
            (0, took(2), &[]),
            (0, Event::Shutdown, &[Action::Drain, Action::Cut(Reason::Shutdown)]),
            (5, Event::Tick, &[Action::Abandon]),
            (6, Event::Tick, &[]),
            (7, Event::Committed, &[Action::Stop]),
        ]);
    }

    #[test]
    fn who_waits_for_an_end_that_nobody_announced_is_told_once() {
        check(
            Until::Ended,
            &[
                (0, Event::Opened(0.into()), &[]),
                (0, Event::Opened(1.into()), &[]),
                (0, Event::Discovered, &[]),
                (0, Event::Idle(0.into(), false), &[]),
                (2, Event::Tick, &[]),
                (2, Event::Ended(1.into()), &[]),
                (3, Event::Tick, &[Action::Quiet(0.into(), Duration::from_secs(3)), Action::Hint]),
                (9, Event::Tick, &[]),
            ],
        );
        check(
            Until::Ended,
            &[
                (0, Event::Opened(0.into()), &[]),
                (0, Event::Discovered, &[]),
                (0, Event::Idle(0.into(), false), &[]),
                (0, took(1), &[]),
                (2, Event::Tick, &[]),
            ],
        );
    }

    #[test]
    fn what_was_taken_is_drained_before_stopping() {
        check_state(
            State::new(THRESHOLDS, Until::Stopped, true, None),
            &[
                (0, Event::Opened(0.into()), &[]),
                (0, Event::Discovered, &[]),
                (0, took(3), &[]),
                (0, Event::Shutdown, &[Action::Drain, Action::Cut(Reason::Shutdown)]),
                (0, Event::Committed, &[]),
                (0, took(2), &[Action::Cut(Reason::Shutdown)]),
                (0, Event::Drained(0.into()), &[]),
                (0, Event::Committed, &[Action::Stop]),
            ],
        );
    }
}
