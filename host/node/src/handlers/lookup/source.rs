//! Where tables come from: what a lookup asks of whoever knows the repos.

use std::{fmt, pin::Pin, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use spout_base::error::Coded;
use spout_data::Upstream;

/// A table in a repo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The repo.
    pub repo: String,
    /// The branch whose newest commit counts; with `pinned`, the commit, tag or branch that counts as it is at the start.
    pub point: String,
    /// Whether it stays as it is at the start.
    pub pinned: bool,
    /// The files that it is made of: a directory or a pattern; without it, all that are not set aside.
    pub path: Option<String>,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.point)?;
        self.path.iter().try_for_each(|path| write!(f, ":{path}"))
    }
}

/// Where tables are.
pub trait TableStore: fmt::Debug + Send + Sync {
    /// Reads the table `name`, which need not exist yet.
    fn table(&self, name: &TableName) -> Box<dyn TableReader>;
}

/// What a table says, to come.
pub type TableFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, TableError>> + Send + 'a>>;

/// Reads one table, version after version.
pub trait TableReader: Send {
    /// The version that the table is at, unless that was given last. Where it has none yet and will get one: waits for it if
    /// told to `wait`, otherwise nothing.
    ///
    /// # Errors
    /// [`TableError::Missing`] where it has none and nobody is known to make one.
    fn newer(&mut self, wait: bool) -> TableFuture<'_, Option<TableVersion>>;

    /// The next rows of the version that was given last, as rows of `columns`; nothing after the last of them.
    ///
    /// # Errors
    /// What reading says.
    fn next<'a>(&'a mut self, columns: &'a SchemaRef) -> TableFuture<'a, Option<RecordBatch>>;

    /// Forgets what it gave: the next version comes whole.
    fn forget(&mut self);
}

/// A version of a table; its rows follow, oldest first.
#[derive(Clone, Debug)]
pub struct TableVersion {
    /// The commit that it is of.
    pub commit: Upstream,
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether the rows are all that it has, or only those that it has more than the version before.
    pub whole: bool,
    /// How many rows follow.
    pub rows: u64,
}

/// Why a table cannot be read.
#[derive(Clone, Debug)]
pub enum TableError {
    /// It is not there, and what to do about that.
    Missing(String),
    /// What reading says.
    Read(Arc<dyn Coded>),
}
