//! How commits are made: files go into an [`OpenCommit`]; a [`BranchWriter`], an [`Editor`] or a [`Started`] commit
//! publishes it as one record, which [`draft`] puts together and [`invariants`] checks.

mod draft;
mod editor;
mod invariants;
mod open_commit;
mod prepared;
mod savepoint;
mod seek;
mod started;
mod upload;
mod writer;

pub use editor::{Edit, Editor};
pub use open_commit::OpenCommit;
pub use prepared::Prepared;
pub use savepoint::Savepoint;
pub use seek::{Seek, Writer};
pub use started::Started;
pub use upload::{Upload, Uploaded};
pub use writer::{BranchWriter, CommitMeta, Finished};
