//! Jobs, on `datafusion-distributed`: a plan of one stage or two, in which each task is one call of a [`Works`](spout_pipeline::Works)
//! in the process that it is for.
//!
//! [`job`] plans and follows a job, [`task`] is the leaf of its plan, [`gather`] the second stage, [`channel`] how the engine reaches a
//! member, [`others`] how members reach each other, with answers that are [`bounded`], and [`serve`] how it is reached.
//!
//! [`query`] is the exception: a plan that somebody else made, which the engine distributes.
//!
//! **Invariant**: a task is started once. Whatever goes wrong with it ends the job.

mod bounded;
mod channel;
mod gather;
mod job;
mod others;
mod query;
mod serve;
mod task;

pub use self::query::{Plans, Shares};
pub(crate) use self::{
    channel::{Address, Peer, Route},
    job::start,
    others::Others,
    query::distributed,
    serve::{serve, worker},
};

/// Bytes of a word, an order or a task at most.
pub(crate) const LARGEST: usize = 64 << 20;
/// Bytes of a message of the engine at most: a word and what is around it.
const MESSAGE: usize = LARGEST + (1 << 20);
/// Bytes of words that wait for the leader, of one task, beside the word that it is about to take.
const AHEAD: usize = 4 << 20;
/// What shows the engine that its caller knows the token.
const PROOF: &str = "x-spout-proof";
