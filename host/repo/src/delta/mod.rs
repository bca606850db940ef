//! Delta tables: every directory of Parquet files of a branch, for readers that know nothing of us.
//!
//! Read in this order: [`home`] says which table a file belongs to; [`live`] holds the files of a table and gives them
//! their names in it; [`schema`], [`columns`] and [`stats`] put columns and values into Delta's words; [`actions`],
//! [`version`], [`log`] and [`checkpoint`] write them; a [`table`] goes on with its branch, a [`Publisher`] with all
//! tables of one, and [`commits`] is where they read the branch. [`collect`] removes versions and copies of a history that
//! is gone, which [`history`] finds in a log.
//!
//! A table is the directory `tables/<branch>/<directory>` of its repo. Files that lie there already are named in its log
//! as they are; all others, which are in records or elsewhere, are put there as copies, and on a disk these are links.
//!
//! **Invariant**: publishing follows commits and decides nothing. All that it knows is in the logs, and their bytes are a
//! function of the commits: no matter who publishes, and how often, the tables are the same.

mod actions;
mod checkpoint;
mod collect;
mod columns;
mod commits;
mod differences;
mod history;
mod home;
mod live;
mod log;
mod publisher;
mod schema;
mod stats;
mod table;
mod tables;
mod version;

pub(super) use collect::Collection;
pub use differences::{Differences, differences};
pub use publisher::{Publication, Publisher, published};
pub use table::PublishedTable;
pub use tables::TreeTable;

/// Whether an object in `tables/` is the publisher's: a part of a log, or a copy.
pub(super) fn is_published(name: &str) -> bool {
    name.contains("/_delta_log/") || name.rsplit('/').next().is_some_and(|name| name.starts_with(live::COPY))
}

#[cfg(test)]
mod tests;
