//! Versioned file trees: commits, heads, readers. The only room that knows the object store.
//!
//! Read in this order: a [`Store`] holds [`Repo`]s; a [`Repo`] resolves a [`Reference`] to a [`Commit`] and shows its
//! [`Tree`]; an [`OpenCommit`] takes files while rows arrive, a `TableWriter` of `spout-format` makes them; the
//! [`BranchWriter`] publishes an open commit with one conditional creation and says how it [`Finished`]. A [`Follower`]
//! tells what each commit added, a [`Publisher`] shows them to other programs as Delta tables, and [`fsck`] re-reads
//! everything and names what is wrong.
//!
//! Each folder has one way in and imports only those before it: `object` is where bytes are, `log` the records of a branch
//! and what they add up to, `tree` the files of a commit, `repo` what readers see of both, `edit` how commits are made,
//! `delta` shows them to others, `upkeep` keeps the store small and sound.
//!
//! **Invariant**: whatever is visible became so by one creation; nothing that a commit names is changed, and only a
//! collection deletes, what no branch, tag or started commit leads to.
//!
//! ```no_run
//! # use spout_repo::{CommitMeta, Finished, PutMode, Store};
//! # async fn example() -> Result<(), spout_repo::Error> {
//! let repo = Store::open("./store").await?.repo_or_create("events", "pushes by hour").await?;
//! let mut writer = repo.writer("master", "events").await?;
//! let mut open = repo.open_commit();
//! open.put_file("/hello.txt", PutMode::Append, "hello\n".into()).await?;
//! match writer.finish(open, CommitMeta { pipeline: "events".into(), ..CommitMeta::default() }).await? {
//!     Finished::Committed(commit) => println!("{}", commit.header.id),
//!     Finished::Lost(winner) => println!("{} was first", winner.header.id),
//!     Finished::Unknown(why) => println!("{why}"),
//! }
//! # Ok(())
//! # }
//! ```

mod collected;
mod delta;
mod edit;
mod error;
pub mod fault;
mod layout;
mod log;
mod object;
pub mod path;
mod repo;
mod tree;
mod upkeep;

pub use collected::{Collect, Collected};
pub use delta::{Differences, Publication, PublishedTable, Publisher, TreeTable, differences, published};
pub use edit::{
    BranchWriter, CommitMeta, Edit, Editor, Finished, OpenCommit, Prepared, Savepoint, Seek, Started, Upload, Uploaded,
    Writer,
};
pub use error::Error;
pub use log::{
    Base, Blob, Commit, FileAdded, Header, Holder, Leader, Moved, Piece, Place, Process, PutMode, RecordKind, Recorded,
    Slot, TableInfo, Upstream,
};
pub use object::TriedOut;
pub use path::{PLUGINS, SPECS};
pub use repo::{
    Added, AddedFile, Beat, BranchInfo, CommitFiles, Follower, MASTER, Presence, Reference, Repo, RepoInfo, Rewritten,
    Store, TagInfo,
};
pub use tree::{Change, Changed, FileEntry, Tree, diff};
pub use upkeep::{
    Compacted, Depth, Finding, MergePart, MergesParts, ReadDone, ReadPart, ReadsParts, Report, Retention, Severity,
    TARGET, UpgradeStep, Upgraded, fsck, fsck_by, repair, repair_by, upgrade,
};

/// The names of all fail points of this room, for `SPOUT_FAULT`.
#[doc(hidden)]
pub fn fail_points() -> impl Iterator<Item = &'static str> {
    object::Step::ALL.iter().flat_map(|step| <[_; 2]>::from(step.points()))
}

#[cfg(test)]
extern crate self as spout_repo;
#[cfg(test)]
mod tests;
