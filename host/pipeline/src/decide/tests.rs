//! What is done when, event by event.

use spout_data::PartitionId;

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
    boundary: Boundary::Free,
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
    check(Until::Stopped, &[(1, took(1), &[]), (5, Event::Tick, &[]), (6, Event::Tick, &[Action::Cut(Reason::Time)])]);
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
    let lines: &[(u64, Event, &[Action])] =
        &[(0, Event::Opened(0.into()), &[]), (0, Event::Discovered, &[]), (0, Event::Ended(0.into()), &[Action::Stop])];
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
    // Without a time to wait, those who come while a commit is written share the next, and nobody waits for a clock.
    check(
        Until::Stopped,
        &[
            (0, awaited(0), cut),
            (0, awaited(0), &[]),
            (0, awaited(0), &[]),
            (0, Event::Committed, cut),
            (0, Event::Committed, &[]),
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
            (0, Event::Took(Took { rows: 99, ended: true, ..MOVED }), &[Action::Finish, Action::Cut(Reason::Ended)]),
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
            &[(0, Event::Opened(0.into()), &[]), (0, Event::Discovered, &[]), (0, Event::Ended(0.into()), expected)],
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
        (7, Event::Tick, &[]),
        (8, Event::Tick, &[Action::Abandon, Action::Stop]),
    ]);
    draining(&[
        (0, Event::Opened(0.into()), &[]),
        (0, Event::Discovered, &[]),
        (0, took(2), &[]),
        (0, Event::Shutdown, &[Action::Drain, Action::Cut(Reason::Shutdown)]),
        (3, Event::Tick, &[]),
        (4, Event::Tick, &[Action::Abandon]),
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

#[test]
fn a_commit_of_the_source_is_cut_at_its_end_and_nowhere_else() {
    let of = |rows, boundary| Event::Took(Took { rows, boundary, ..MOVED });
    let (inside, end) = (of(20, Boundary::Inside), of(1, Boundary::End));
    check(
        Until::Stopped,
        &[
            (0, inside, &[]),
            (99, Event::Tick, &[]),
            (99, Event::Forced, &[]),
            (99, end, &[Action::Cut(Reason::Source)]),
            (99, end, &[]),
            (99, Event::Committed, &[Action::Cut(Reason::Source)]),
        ],
    );
    let mut state = State::new(THRESHOLDS, Until::Stopped, false, None);
    let now = Instant::now();
    state.step(end, now);
    state.step(inside, now);
    assert!(!state.full(), "the rest of a commit has to come before it can be cut");
    state.step(end, now);
    assert!(state.full(), "nothing may follow the end of a commit before it is cut");
}

#[test]
fn a_commit_of_the_source_that_is_not_whole_at_the_stop_is_left() {
    let inside = Event::Took(Took { rows: 20, boundary: Boundary::Inside, ..MOVED });
    check(Until::Stopped, &[(0, inside, &[]), (1, Event::Shutdown, &[Action::Drain, Action::Stop])]);
    let drains = State::new(THRESHOLDS, Until::Stopped, true, None);
    let end = Event::Took(Took { rows: 1, boundary: Boundary::End, ..MOVED });
    check_state(
        drains,
        &[
            (0, Event::Opened(0.into()), &[]),
            (0, Event::Discovered, &[]),
            (0, inside, &[]),
            (1, Event::Shutdown, &[Action::Drain]),
            (1, end, &[Action::Cut(Reason::Source)]),
            (1, inside, &[]),
            (2, Event::Committed, &[]),
            (2, Event::Drained(0.into()), &[Action::Stop]),
        ],
    );
}
