//! Batches in, batches out: the chain of handlers.
//!
//! [`Handler`] is what every handler does, [`Chain`] runs several in order and keeps offsets attached to rows, [`Builder`]
//! makes one from what users wrote. [`Shape`] is what flows between two handlers, known before any row does.
//! A handler gets the rows alone:
//!
//! ```text
//! Chain::handle(Batch) ── records ──► Handler::handle ── Handled ──► next handler … ──► Vec<Batch>
//! ```
//!
//! **Invariant**: a handler never sees an offset, a file or a socket, so it cannot forge progress.

mod aggregates;
mod arrival;
mod buckets;
mod build;
mod chain;
mod columns;
mod digest;
mod error;
mod expression;
mod flow;
mod groups;
mod halving;
mod handlers;
mod keys;
mod order;
mod plugin;
mod query;
mod sequence;
mod sorting;
mod spec;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod time;
mod units;
mod watermarks;
mod written;

use std::{collections::BTreeMap, time::Duration};

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
};
use async_trait::async_trait;
use bytes::Bytes;

pub use self::{
    buckets::{BUCKETS, Beside, Buckets, Keys, Shares, are_of_buckets, bucket_of, split_by_key},
    build::{Builder, States},
    chain::{Chain, Watcher},
    error::Error,
    flow::{Shape, Source, SourceEvent, Unit},
    handlers::{
        NodeSpec,
        lookup::{TableError, TableFuture, TableName, TableReader, TableStore, TableVersion, Tables},
    },
    plugin::{PluginHandler, PluginSpec},
    spec::Gap,
    state::LimitsSpec,
    tally::Tally,
    time::{EventTime, Late, TimeSettings, TimeSpec},
    watermarks::Watermarks,
    written::problems,
};
use handlers::filter::set_rows;
use spout_data::Part;

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

/// An input row that a handler could not process.
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
    /// Input rows set aside because they are wrong.
    pub faults: Vec<RowFault>,
    /// Rows that were held back and turned out to be wrong when their turn came, each as a batch of its own.
    pub refused: Vec<(RecordBatch, RowFault)>,
    /// How many input rows came too late. They are in no output.
    pub late_rows: u64,
    /// Those of them that the spec wants kept beside the others.
    pub late: Vec<RecordBatch>,
    /// Rows left out because that is what the handler is for. It says so itself where its outputs do not: where these
    /// consist of input rows, those that are in none of them are counted by the chain.
    pub filtered: u64,
}

impl Handled {
    /// One output batch and no fault.
    #[must_use]
    pub fn one(records: RecordBatch, kept: Kept) -> Self {
        Self { outputs: vec![(records, kept)], ..Self::default() }
    }

    /// The rows of `batch` that `mask` selects.
    ///
    /// # Errors
    /// [`Error::Kernel`]; never for a mask of as many rows.
    fn masked(handler: &str, batch: RecordBatch, mask: &BooleanArray) -> Result<Self, Error> {
        if mask.true_count() == batch.num_rows() {
            return Ok(Self::one(batch, Kept::All));
        }
        let kept = filter_record_batch(&batch, mask).map_err(Error::kernel(handler, batch.num_rows()))?;
        Ok(Self::one(kept, Kept::Rows(set_rows(mask))))
    }

    /// Rows made of many, in this order.
    #[must_use]
    pub fn fresh(batches: impl IntoIterator<Item = RecordBatch>) -> Self {
        Self { outputs: batches.into_iter().map(|records| (records, Kept::Fresh)).collect(), ..Self::default() }
    }
}

/// A batch function, possibly with state.
///
/// A handler with state has to give the same rows in the same order however its input is cut into batches and commits, and
/// however the sources' batches are interleaved: see [`Source`] and [`Watermarks`].
#[async_trait]
pub trait Handler: Send {
    /// Its name within the chain.
    fn id(&self) -> &str;

    /// What it makes of `input`; `schema` stays `None` where only rows will tell. Called before the first row, again
    /// when the columns become known, and when they change.
    ///
    /// # Errors
    /// [`Error::Spec`] or [`Error::Expression`], naming the column, if such rows are not for it.
    fn shape(&mut self, input: &Shape) -> Result<Shape, Error>;

    /// Asks a plugin for what [`Handler::shape`] will say of `input`; called before it.
    ///
    /// # Errors
    /// The plugin cannot be asked, or refuses such rows.
    async fn prepare(&mut self, input: &Shape) -> Result<(), Error> {
        let _ = input;
        Ok(())
    }

    /// Takes rows, gives rows.
    ///
    /// # Errors
    /// Whatever stops the pipeline; rows that are merely bad come back as faults.
    async fn handle(&mut self, batch: RecordBatch, from: Source) -> Result<Handled, Error>;

    /// Whether its output is one stream of its own order, in which sources can no longer be distinguished.
    fn merges(&self) -> bool {
        false
    }

    /// Takes events of its sources; it may release rows.
    ///
    /// # Errors
    /// As for [`Handler::handle`].
    async fn on_event(&mut self, event: SourceEvent) -> Result<Handled, Error> {
        let _ = event;
        Ok(Handled::default())
    }

    /// The rows it still holds back, asked for once when every partition has ended.
    ///
    /// # Errors
    /// As for [`Handler::handle`].
    async fn finish(&mut self) -> Result<Handled, Error> {
        Ok(Handled::default())
    }

    /// By what its rows may be split, so that several of it, each with the rows of some keys, together give what one gives that has
    /// all; none if it has to have all. Known once [`Handler::shape`] is.
    fn keys(&self) -> Option<Keys> {
        None
    }

    /// The rows of the next call are those of some keys, and this is what it has to know of the others.
    fn expect(&mut self, beside: Beside) {
        let _ = beside;
    }

    /// How long a source may have nothing before this handler no longer waits for it.
    fn idle_after(&self) -> Option<Duration> {
        None
    }

    /// Its state after every call so far, for the commit that holds their output: all parts of it, those that did not
    /// change since the last call as [`Part::Kept`]. Nothing if it has none.
    ///
    /// # Errors
    /// As for [`Handler::handle`].
    async fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        Ok(BTreeMap::new())
    }

    /// Takes the parts of its last snapshot, before anything else.
    ///
    /// # Errors
    /// [`Error::State`] if they are not what it gave.
    async fn restore(&mut self, parts: BTreeMap<String, Bytes>) -> Result<(), Error> {
        let _ = parts;
        Ok(())
    }

    /// What of its spec the state depends on; `None` if any spec can go on with any state.
    fn config(&self) -> Option<serde_json::Value> {
        None
    }

    /// Whether state made under `before` can be gone on with.
    fn compatible(&self, before: &serde_json::Value) -> bool {
        self.config().as_ref() == Some(before)
    }
}
