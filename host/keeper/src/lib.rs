//! The pipelines of a store: what is to run, kept as commits of a repo of its own, and what runs.
//!
//! [`Specs`] changes the first: each change of a pipeline is a commit of the repo [`REPO`](spout_repo::SPECS), so that history
//! says who ran what and when. [`Keeper`] follows that repo and makes the second like it: it starts, stops and replaces
//! pipelines, tries again what failed, and goes back to the plugins that worked where new ones do not.
//!
//! **Invariant**: nothing but that repo says what is to run; a keeper that is killed starts again from it.

mod blame;
mod building;
mod committer;
mod error;
mod figures;
mod graph;
mod group;
mod keeper;
mod kept;
mod managed;
mod peers;
mod provisions;
mod ran;
mod running;
mod seeking;
mod shared;
mod shelf;
mod specs;
mod status;
mod wanted;
mod watched;

#[cfg(test)]
mod tests;

pub use self::{
    committer::{Committer, Orders},
    error::Error,
    graph::draw,
    keeper::Keeper,
    kept::Kept,
    managed::{Managed, Sent},
    peers::Servers,
    provisions::{Bounds, Provisions},
    ran::Ran,
    seeking::Seeker,
    shared::Shared,
    shelf::PluginShelf,
    specs::Specs,
    status::Statuses,
    wanted::{Wanted, Wish},
    watched::Watched,
};
