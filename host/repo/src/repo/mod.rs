//! A store and its repos as readers see them: references, history, branches and tags, followers of new commits, and who serves a store.
//!
//! **Invariant**: only names of commits are written here, never a commit.

mod commit_files;
pub(crate) mod follow;
mod history;
mod presence;
mod reference;
mod refs;
mod repository;
mod store;
pub(crate) mod version;

pub use commit_files::CommitFiles;
pub use follow::{Added, AddedFile, Follower, Rewritten};
pub(crate) use history::Line;
pub use presence::{Beat, Presence};
pub use reference::{MASTER, Reference};
pub use refs::TagInfo;
pub use repository::{BranchInfo, Repo};
pub use store::{RepoInfo, Store};
