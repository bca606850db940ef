//! Versioned file trees: commits, heads, readers. The only room that knows the object store.
//!
//! Read in this order: a [`Store`] holds [`Repo`]s; a [`Repo`] resolves a [`Reference`] to a [`Commit`] and shows its
//! [`Tree`]; an [`OpenCommit`] takes files while rows arrive, a `TableWriter` of `spout-format` makes them; the [`BranchWriter`] publishes
//! an open commit with one conditional creation and says how it [`Finished`]. A [`Follower`] tells what each
//! commit added, a [`Publisher`] shows them to other programs as Delta tables, and [`fsck`] re-reads everything and names what is wrong.
//!
//! Behind them: `record`s in `slot`s are the truth, `state` is what they add up to, `index` and `checkpoint` keep that cheap,
//! `refs` names commits, `edit` and `started` make them by hand, `collect` and `compact` keep the store small.
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
//!     Finished::Committed(commit) => println!("{}", commit.id),
//!     Finished::Lost(winner) => println!("{} was first", winner.id),
//!     Finished::Unknown(why) => println!("{why}"),
//! }
//! # Ok(())
//! # }
//! ```

mod attempts;
mod checkpoint;
mod collect;
mod collected;
mod compact;
mod delta;
mod diff;
mod draft;
mod edit;
mod error;
pub mod fault;
mod follow;
mod fsck;
mod head;
mod history;
mod holder;
mod index;
mod invariants;
mod layout;
mod leftovers;
mod moved;
mod object;
mod open_commit;
mod pack;
pub mod path;
mod place;
mod probe;
mod reach;
mod record;
mod reference;
mod refs;
mod repository;
mod retention;
mod seal;
mod slot;
mod snapshot;
mod started;
mod state;
mod store;
mod tables;
mod tree;
mod writer;

pub use collected::{Collect, Collected};
pub use compact::{Compacted, TARGET};
pub use delta::{Differences, Publication, PublishedTable, Publisher, differences, published};
pub use diff::{Change, Changed, diff};
pub use edit::{Edit, Editor};
pub use error::Error;
pub use follow::{Added, AddedFile, Follower, Rewritten};
pub use fsck::{Depth, Finding, Report, Severity, fsck, repair};
pub use holder::{Holder, Process};
pub use moved::{Moved, Recorded};
pub use open_commit::OpenCommit;
pub use record::{Blob, Commit, FileAdded, Piece, Place, PutMode, RecordKind, Slot, TableInfo, Upstream};
pub use reference::{MASTER, Reference};
pub use refs::TagInfo;
pub use repository::{BranchInfo, Repo};
pub use retention::Retention;
pub use snapshot::Snapshot;
pub use started::Started;
pub use store::{RepoInfo, Store};
pub use tables::TreeTable;
pub use tree::{FileEntry, Tree};
pub use writer::{BranchWriter, CommitMeta, Finished};

/// The names of all fail points of this room, for `SPOUT_FAULT`.
#[doc(hidden)]
pub fn fail_points() -> impl Iterator<Item = &'static str> {
    object::Step::ALL.iter().flat_map(|step| <[_; 2]>::from(step.points()))
}

#[cfg(test)]
mod tests;
