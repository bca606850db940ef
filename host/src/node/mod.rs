//! Batches in, batches out: the chain of handlers.
//!
//! [`Handler`] is what every handler does, [`Chain`] runs several in order and keeps offsets attached to rows.
//! A handler gets the rows alone:
//!
//! ```text
//! Chain::handle(Batch) ── records ──► Handler::handle ── Handled ──► next handler … ──► Vec<Batch>
//! ```
//!
//! **Invariant**: a handler never sees an offset, a file or a socket, so it cannot forge progress.

mod chain;
mod error;
mod expression;
pub mod handlers;
mod plugin;
mod spec;

use arrow::array::RecordBatch;
use async_trait::async_trait;

pub use self::{
    chain::Chain,
    error::Error,
    plugin::{PluginHandler, PluginSpec},
    spec::NodeSpec,
};

/// Which input rows an output consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All, in order.
    All,
    /// These, in this order.
    Rows(Vec<u32>),
    /// New rows, with no single input row behind each.
    Fresh,
}

/// An input row that a handler could not bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// Index of the input row.
    pub row: u32,
    /// Stable and dotted, such as `plugin.trap`.
    pub code: String,
    /// What was wrong, for people.
    pub reason: String,
}

/// What a handler made of one input batch.
#[derive(Clone, Debug, Default)]
pub struct Handled {
    /// Output batches in order, each with the input rows it consists of.
    pub outputs: Vec<(RecordBatch, Kept)>,
    /// Input rows set aside.
    pub faults: Vec<RowFault>,
}

impl Handled {
    /// One output batch and no fault.
    #[must_use]
    pub fn one(records: RecordBatch, kept: Kept) -> Self {
        Self { outputs: vec![(records, kept)], faults: Vec::new() }
    }
}

/// A batch function, possibly with state.
#[async_trait]
pub trait Handler: Send {
    /// Its name within the chain.
    fn id(&self) -> &str;

    /// Whether its output depends on earlier batches. Such a handler runs where the partitions' lanes meet.
    fn stateful(&self) -> bool {
        false
    }

    /// Takes rows, gives rows.
    ///
    /// # Errors
    /// Whatever stops the pipeline; rows that are merely bad come back as faults.
    async fn handle(&mut self, batch: RecordBatch) -> Result<Handled, Error>;

    /// The rows it still holds back, asked for once when every partition has ended.
    ///
    /// # Errors
    /// As for [`Handler::handle`].
    async fn finish(&mut self) -> Result<Handled, Error> {
        Ok(Handled::default())
    }

    /// Its state after every call so far, for the commit that holds their output; `None` if it has none.
    ///
    /// # Errors
    /// As for [`Handler::handle`].
    async fn snapshot(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }
}
