//! Work on a whole store that several processes share: a check of everything, a compaction.
//!
//! The command that was typed leads: it finds out what there is to do, cuts that into [`words`] that say all that a part needs, and has the
//! members of its fleet do them, itself among them ([`Team`]). A part only reads, or writes what no record names, so that one whose member
//! is lost is given to another. What members say is compared with what they were asked, and the leader alone prints, repairs and commits.
//!
//! [`Bulk`] does the parts in a member; what is no part of bulk work it hands on to who does the tasks of pipelines. The plan of a query is
//! the engine's to cut and to share, and [`query`] says what its scans read.
//!
//! **Invariant**: nobody but the leader makes a record, and what a part reads or writes is in the store that the member was started with.

mod compact;
mod error;
mod fsck;
mod part;
mod query;
mod team;
#[cfg(test)]
mod tests;
mod words;
mod works;

pub use self::{
    error::Error,
    query::{codec, may_run},
    team::{Standing, Team},
    works::Bulk,
};
