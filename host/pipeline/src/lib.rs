//! The only room that sees all parts: builds, flushes, recovers, stops.
//!
//! [`Parts`] is a spec whose plugins are loaded, [`Host`] runs any number of them and tells what happens as [`Update`]s.
//! Inside, `decide` says when, `run` does it: one lane a partition (`lane`), lanes meet in `run`, cut commits go their way
//! in `commit`, `publish` makes them known to other programs, and a restart begins in `recover`. [`Rehearsal`] runs the tests of
//! a spec through the same decoder and handlers, [`DryRun`] is what they make of a few real messages, [`Trial`] checks what a plugin
//! promises.
//!
//! **Invariant**: no threshold is compared outside `decide`, and no error is judged by its text.

mod build;
mod columns;
mod commit;
mod decide;
mod dry_run;
mod error;
mod figures;
mod host;
mod input;
mod keyed;
mod lane;
mod link;
mod meeting;
mod members;
mod memory;
mod offsets;
mod outlook;
mod overdue;
mod partitions;
mod publish;
mod recover;
mod rehearsal;
mod run;
mod sample;
mod seek;
mod settings;
mod spread;
mod steering;
mod tables;
mod taking;
mod taps;
mod totals;
mod trial;
mod update;

pub use self::{
    build::Parts,
    decide::Until,
    dry_run::{Column, DryRun, DryRunOptions, End, Letter, Partitions, Read, Step},
    error::Error,
    figures::{CommitTimes, Figures, HandlerFigures, Queue},
    host::{Host, RunOptions},
    link::Links,
    members::{Done, HandlerDone, MemberFigures},
    outlook::Typed,
    rehearsal::{Problem, Rehearsal, Verdict},
    settings::misfits,
    spread::{Builds, Fleet, Job, Leading, Lost, Member, Said, Says, Task, Worker, Works},
    steering::Orders,
    taps::{Sample, Tap, Taps},
    totals::Reason,
    trial::{Finding, MOST_TRIED, SpoutTrial, Trial, messages_of, settings_for, settings_of, uses},
    update::{PluginMetrics, TookOver, Update},
};
pub use spout_producer::{Pass, StoreAccess};
