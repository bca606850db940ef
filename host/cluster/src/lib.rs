//! Processes that share the work of a pipeline.
//!
//! A [`Station`] is this process as others see it: one port, at which it does the tasks of leaders, and, for what it leads, takes
//! members in. [`Leading`] is the leader's side, the [`Fleet`](spout_pipeline::Fleet) of a pipeline; [`Station::follow`] the member's.
//! [`attend`] decides which of both a process is, by what the newest claim of a [`Branch`] says.
//!
//! ```text
//! member                                      leader
//!   Station ── join, beat, leave ───────────►  Station ─ Leading    a connection of its own (words.rs)
//!           ◄──────────────── welcome, beat ──
//!           ── ask ──► answer                  how it stands, for whoever looks (ask.rs)
//!   Works   ◄─────────── tasks and orders ───  Fleet::start        datafusion-distributed over gRPC (engine/)
//!           ── words, and that it is over ──►  Job::said
//! ```
//!
//! **The engine** is `datafusion-distributed`: its plan, its stages, its workers, its feeds of work units. It knows no membership, and
//! what was needed around it is little: an error names the member that it is about; a stream ends with the membership of its member,
//! because HTTP/2 notices a cut only in time; a task says that it is over, because the end of a stream may as well be the end of its
//! process; and a job of one task gets an idle one for company, which the engine would otherwise run in the leader.
//!
//! **What a job costs** (two processes on two shared cores, `tests/processes.rs`): from start to end of an empty one 1.2 ms (p99 5.6), one
//! in the leader alone 0.5 ms (p99 5.0); an order there and a word back 0.09 ms (p99 2.5); 33,000 words of 1 kB a second, 460 MB/s in
//! words of 100 kB, 610 MB/s in words of 1 MB. A member that is killed is lost after 15 ms, one that is stopped after 4.7 s;
//! a leader that is killed is replaced after 0.5 s, one that is stopped after 5.7 to 6.9 s.
//!
//! **Time**: beats each second both ways. A member that is silent for 5 s is out, and its jobs are lost at once; a leader that is silent
//! for 3 s and up to 2 s more is replaced. Clocks decide nothing else: who may publish, the store says.
//!
//! **Trust**: with certificates, everybody at either end of a connection shows one that the authority of the fleet vouches for, and
//! knows the token. Without them everything stays on this machine, and the token is all there is.
//!
//! All of it is under the feature `engine`; without it this crate is empty.
//!
//! **Queries** are planned by the engine itself, over whoever is a member when they begin ([`Leading::distributed`]). What a plan may have in
//! it, and how its leaves travel, is in [`Plans`], which the room of SQL fills.
//!
//! **Invariant**: nothing here knows what a task is, or what a plan reads, and no task is started twice.

#![cfg(feature = "engine")]

mod ask;
mod attend;
mod engine;
mod error;
mod follow;
mod link;
mod member;
mod roster;
mod settings;
mod station;
#[cfg(test)]
mod tests;
mod words;

pub use self::{
    ask::Answers,
    attend::{Attended, Branch, Claimed, Ended, attend},
    engine::{Plans, Shares},
    error::Error,
    follow::Followed,
    roster::Leading,
    settings::{Certificates, Pace, Settings, Token},
    station::Station,
};
