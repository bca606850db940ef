//! A part of bulk work as its leader has it, whatever it is.

use futures::future::BoxFuture;
use spout_repo::{Error, Store};

use super::words::{Part, Told};

/// Something that one member does.
pub(super) trait Share: Sync {
    /// What comes of it.
    type Done: Send;

    /// How it is said to a member.
    fn said(&self) -> Part<'_>;

    /// Bytes that it is about.
    fn size(&self) -> u64;

    /// What a member told of it, if it can be that.
    ///
    /// # Errors
    /// Why it cannot.
    fn done<'a>(&'a self, told: Told, store: &'a Store) -> BoxFuture<'a, Result<Self::Done, String>>;

    /// Does it in this process.
    fn here<'a>(&'a self, store: &'a Store) -> BoxFuture<'a, Result<Self::Done, Error>>;
}
