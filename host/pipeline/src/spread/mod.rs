//! A pipeline whose partitions are read by several processes: the one that claimed the branch leads, gives out tasks, and alone
//! commits.
//!
//! A commit is one job, or several if members came or went meanwhile: each member takes what its partitions bring from the places that
//! it is told, until the leader, which decides as it does alone, orders the cut. Rows go into files of the member, under names that
//! nobody knows, or to the leader where handlers or consumers have to see all of them. Then the leader creates one record. Whatever is
//! lost before, is forgotten: the run goes on from the head, as after any trouble.
//!
//! Read in this order: `fleet` is what is asked of those who bring the words across, `words` what is said, `assign` who reads what,
//! `leader` gives out the tasks of a `job`, `worker` and `task` do them with the lanes of a `reader`.

mod assign;
mod batches;
mod exchange;
mod fleet;
mod gather;
mod job;
mod leader;
mod reader;
mod sending;
mod suits;
mod task;
#[cfg(test)]
mod tests;
mod unfit;
mod words;
mod worker;

pub use self::{
    fleet::{Fleet, Job, Lost, Member, Said, Says, Task, Works},
    suits::Leading,
    worker::{Builds, Worker},
};
pub(super) use self::{
    job::{Ended, files_of},
    leader::{Heard, Spread, Written},
    suits::over,
};
