//! `pfs`, `marker` and `datum`: what a self-driven spout does with its output repo, and what a transformer reads and writes of
//! one file. Whoever runs it is the repo's keeper, [`Pfs`] or [`PfsInput`]; this room knows none. Any other plugin links too, and
//! is refused.

pub(super) mod datum;
pub(super) mod imports;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use spout_base::error::Coded;

pub use self::datum::PfsInput;
pub(super) use self::imports::Drive;

/// Why something was refused, for the guest.
pub type Refused = Box<dyn Coded>;

/// An answer that is waited for.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Refused>>;

/// Whether bytes take the place of those that a file has; `None` leaves it to the spec.
pub type Overwrite = Option<bool>;

/// A file of the newest commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PfsFile {
    /// Path in the repo.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of its bytes, or of the hashes of its pieces.
    pub sha256: String,
    /// For a table.
    pub rows: Option<u64>,
}

/// The output repo of a self-driven spout.
pub trait Pfs: std::fmt::Debug + Send + Sync {
    /// The marker that the newest finished commit left.
    fn marker(&self) -> Option<Bytes>;

    /// Begins a commit; dropping it aborts it.
    ///
    /// # Errors
    /// Too many are open.
    fn begin(&self) -> Result<Box<dyn PfsCommit>, Refused>;

    /// At most `limit` files below a directory, those after `after`.
    fn list<'a>(&'a self, below: &'a str, after: Option<&'a str>, limit: usize) -> Answer<'a, Vec<PfsFile>>;

    /// The file at `path`, if there is one.
    fn inspect<'a>(&'a self, path: &'a str) -> Answer<'a, Option<PfsFile>>;

    /// At most `length` bytes of the file at `path`, from `start` on.
    fn read<'a>(&'a self, path: &'a str, start: u64, length: usize) -> Answer<'a, Bytes>;
}

/// A commit that is being filled.
pub trait PfsCommit: std::fmt::Debug + Send + Sync {
    /// Puts a file whose bytes are there.
    fn put_file<'a>(&'a mut self, path: &'a str, how: Overwrite, bytes: Bytes) -> Answer<'a, ()>;

    /// Begins to put a file whose bytes are to come.
    ///
    /// # Errors
    /// The path is none, or too many are being put.
    fn open_file(&mut self, path: &str, how: Overwrite) -> Result<Box<dyn PfsWriter>, Refused>;

    /// Puts rows: of the pipeline, or as the file at `path`.
    fn put_batch<'a>(&'a mut self, path: Option<&'a str>, how: Overwrite, rows: RecordBatch) -> Answer<'a, ()>;

    /// Deletes a file.
    fn delete_file<'a>(&'a mut self, path: &'a str) -> Answer<'a, ()>;

    /// Sets the marker.
    ///
    /// # Errors
    /// It is too large.
    fn set_marker(&mut self, marker: Vec<u8>) -> Result<(), Refused>;

    /// Makes the commit; its id, once it is durable.
    fn finish(self: Box<Self>) -> Answer<'static, String>;
}

/// A file on its way into a commit; dropping it abandons it.
pub trait PfsWriter: std::fmt::Debug + Send + Sync {
    /// Adds bytes.
    fn write(&mut self, bytes: Bytes) -> Answer<'_, ()>;

    /// Ends the file, which the commit has then; its size.
    fn close(self: Box<Self>) -> Answer<'static, u64>;
}
