//! The log of a branch: records in numbered slots, which alone are the truth, and what they add up to.
//!
//! [`record`] says what records say, [`seal`] how they are stored, [`slot`] how the next one is taken. [`state`] is a branch
//! as its records add up; [`checkpoint`] and [`index`] keep that cheap, [`pack`] keeps small files of records that went.
//!
//! **Invariant**: nothing here knows a tree, a repo or a writer.

mod attempts;
mod base;
pub(crate) mod checkpoint;
mod head;
mod holder;
mod index;
mod moved;
pub(crate) mod pack;
mod record;
pub(crate) mod seal;
pub(crate) mod slot;
mod state;

pub(crate) use attempts::Attempts;
pub use base::Base;
pub(crate) use base::{Entry, Located};
pub(crate) use checkpoint::Checkpoint;
pub(crate) use head::Head;
pub(crate) use holder::LEFT_BY_SEEK;
pub use holder::{Holder, Leader, Process};
pub(crate) use index::Segment;
pub use moved::{Moved, Recorded};
pub(crate) use pack::Pack;
pub use record::{Blob, Commit, FileAdded, Header, Piece, Place, PutMode, RecordKind, Slot, TableInfo, Upstream};
pub(crate) use record::{Claim, Point, Record, Squash, Sweep, VERSION};
pub(crate) use slot::Taken;
pub(crate) use state::{State, by_number, follows, placed};
