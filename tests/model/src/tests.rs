//! The agreed design keeps its promises everywhere; each design with a flaw breaks the one that it should.

use std::{collections::BTreeSet, time::Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    ACKNOWLEDGED, ADRIFT, ALL, ALTERED, BACK, DOUBLE, GAP, MISSING, PROGRESS, REWRITTEN, STATE, UNFENCED,
    design::{Design, Flaw},
};

/// Two processes that keep their readers, with tasks that their leader has given up.
const READERS: Design = Design {
    flaw: None,
    processes: 2,
    commits: None,
    most: 1,
    tasks: 3,
    orphans: 1,
    adrift: 1,
    readers: true,
    kept: 1,
    leads: 2,
    ahead: false,
    fine: false,
    collects: false,
};

/// Three processes, two of which may believe that they lead, while garbage is collected.
const LEADERS: Design = Design { processes: 3, tasks: 2, orphans: 0, readers: false, collects: true, ..READERS };

/// A job that begins while the record of the one before is on its way.
const AHEAD: Design = Design { ahead: true, processes: 2, ..LEADERS };

/// Tasks whose every message is a step of its own.
const FINE: Design = Design { fine: true, most: 2, processes: 1, leads: 1, kept: 2, ..READERS };

/// Whether everything is explored: `just soak` says `SPOUT_MODEL=whole`. Elsewhere smaller bounds have to do.
fn whole() -> bool {
    std::env::var("SPOUT_MODEL").is_ok_and(|how| how == "whole")
}

/// Explores all of a design; prints how much that was, and how long it took.
fn holds(name: &str, design: Design) {
    let begun = Instant::now();
    let failures = HasDiscoveries::AnyFailures;
    let checked = design.checker().finish_when(failures).spawn_bfs().join();
    let (states, steps, depth) = (checked.unique_state_count(), checked.state_count(), checked.max_depth());
    println!("{name}: {states} states, {steps} steps, {depth} deep, {:.1?}", begun.elapsed());
    for property in design.properties() {
        let found = checked.discovery(property.name);
        let expected = [ALL, ADRIFT, BACK].contains(&property.name) && (property.name != BACK || design.leads > 1);
        match (found, expected) {
            (Some(path), false) => panic!("{name}: not \"{}\":\n{path}", property.name),
            (None, true) => panic!("{name}: \"{}\" never comes to be", property.name),
            _ => {}
        }
    }
}

/// Explores a design with a flaw until one of these promises is broken.
fn breaks(flaw: Flaw, design: Design, promises: &[&'static str]) {
    let begun = Instant::now();
    let flawed = Design { flaw: Some(flaw), ..design };
    let first = HasDiscoveries::AnyOf(promises.iter().copied().collect());
    let checked = flawed.checker().finish_when(first).spawn_bfs().join();
    let broken: BTreeSet<&str> =
        checked.discoveries().into_keys().filter(|name| ![ALL, ADRIFT, BACK].contains(name)).collect();
    let states = checked.unique_state_count();
    println!("{flaw:?}: {broken:?} after {states} states, {:.1?}", begun.elapsed());
    assert!(broken.iter().any(|name| promises.contains(name)), "{flaw:?} breaks {broken:?}, none of {promises:?}");
}

#[test]
fn workers_keep_readers() {
    let all = Design { processes: 3, kept: 2, ..READERS };
    holds("workers that keep readers", if whole() { all } else { READERS });
}

#[test]
fn leaders_and_a_collector() {
    holds("two leaders and a collector", LEADERS);
    if whole() {
        holds("three leaders and a collector", Design { leads: 3, ..LEADERS });
        holds("three leaders of larger jobs", Design { leads: 3, most: 2, collects: false, ..LEADERS });
        holds("three leaders, and two records adrift", Design { leads: 3, adrift: 2, collects: false, ..LEADERS });
    }
}

#[test]
fn a_job_ahead() {
    holds("a job ahead", Design { collects: false, ..AHEAD });
    if whole() {
        holds("a job ahead and a collector", AHEAD);
    }
}

#[test]
fn each_message_is_a_step() {
    holds("each message is a step", FINE);
    if whole() {
        holds("each message of two workers is a step", Design { processes: 2, ..FINE });
    }
}

#[test]
fn each_flaw_is_found() {
    breaks(Flaw::NoEpochCheck, LEADERS, &[UNFENCED]);
    breaks(Flaw::NoLook, LEADERS, &[UNFENCED, DOUBLE]);
    breaks(Flaw::Put, LEADERS, &[REWRITTEN]);
    breaks(Flaw::NoPositionCheck, READERS, &[GAP, DOUBLE]);
    breaks(Flaw::SharedReader, FINE, &[GAP]);
    breaks(Flaw::Retried, Design { orphans: 0, ..FINE }, &[STATE]);
    breaks(Flaw::OldWords, Design { most: 1, ..FINE }, &[STATE, DOUBLE, GAP]);
    breaks(Flaw::UnknownIsDone, LEADERS, &[ACKNOWLEDGED]);
    breaks(Flaw::HandledStays, FINE, &[STATE]);
    breaks(Flaw::Partial, FINE, &[STATE]);
    breaks(Flaw::NoSurvival, LEADERS, &[MISSING]);
    breaks(Flaw::ForgottenSweep, AHEAD, &[MISSING]);
    breaks(Flaw::Unannounced, LEADERS, &[MISSING]);
    breaks(Flaw::NoSecondLook, LEADERS, &[MISSING]);
    breaks(Flaw::KeptAhead, AHEAD, &[GAP]);
    breaks(Flaw::SameNames, Design { most: 2, ..READERS }, &[ALTERED]);
    breaks(Flaw::EarlyAck, LEADERS, &[ACKNOWLEDGED]);
    breaks(Flaw::Polite, LEADERS, &[PROGRESS]);
    breaks(Flaw::WaitsForever, LEADERS, &[PROGRESS]);
    breaks(Flaw::NeverLost, LEADERS, &[PROGRESS]);
}

/// What the model shows to be no flaw: slots alone keep records apart, so a leader that does not know what became of its record may go on
/// from the head that it knows; it loses its slot to that record if it came to be there.
#[test]
fn unknown_taken_for_nothing_is_safe_only_because_slots_are() {
    holds("unknown taken for nothing", Design { flaw: Some(Flaw::UnknownIsNothing), collects: false, ..LEADERS });
}
