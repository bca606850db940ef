//! What a handler that looks at whole units looks at, and the rows it holds until a commit is cut.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::RecordBatch,
    compute::concat_batches,
    datatypes::{Schema, SchemaRef},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::ByteSize;

use super::{
    Error, Shape, Source, Unit,
    state::{level, wider},
};

/// Which rows are processed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// The rows of one batch, whatever batches there are.
    Batch,
    /// All rows of one commit.
    Commit,
    /// All rows of one window; for handlers after a `window`.
    Window,
}

/// What to do about rows of one commit that do not go together.
pub(super) const CHANGED: &str = "the columns changed in the middle of a commit, so its rows do not have the same columns; select them with a `map` before it";

/// How much a handler may hold in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HoldSpec {
    /// Arrow bytes of the rows, as in `256MiB`.
    pub bytes: ByteSize,
}

impl Default for HoldSpec {
    fn default() -> Self {
        Self { bytes: ByteSize(256 << 20) }
    }
}

/// How a handler gets its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Batches come and mean nothing.
    Piece,
    /// Every batch that comes is a whole one.
    Given,
    /// It holds rows until a commit is cut.
    Held,
}

/// How a handler with `per` gets its units from rows of the shape `input`; `needs` says what for, as in `sort`.
///
/// # Errors
/// [`Error::Spec`] if it cannot, with what to do.
pub(super) fn way(handler: &str, per: Option<Per>, input: &Shape) -> Result<Way, Error> {
    match (per, input.unit) {
        (Some(Per::Batch), _) | (None, Unit::Piece) => Ok(Way::Piece),
        (Some(Per::Window), Unit::Window) | (Some(Per::Commit), Unit::Commit) | (None, _) => Ok(Way::Given),
        (Some(Per::Commit), _) => Ok(Way::Held),
        (Some(Per::Window), _) => {
            let reason = "it works on one window at a time (`per: window`), but there is no window before it; put it after a `window`, or set `per: commit`";
            Err(Error::spec(handler, reason))
        }
    }
}

/// Rows held until a commit is cut.
///
/// They are given by source, so that it does not matter how the batches of several sources were interleaved. They are
/// taken before snapshots are, so that no commit has to store them.
#[derive(Debug)]
pub(super) struct CommitRows {
    handler: String,
    limit: ByteSize,
    bytes: u64,
    schema: Option<SchemaRef>,
    rows: BTreeMap<Source, Vec<RecordBatch>>,
}

impl CommitRows {
    /// None yet; at most so many bytes.
    pub(super) fn new(handler: &str, limit: ByteSize) -> Self {
        let handler = handler.to_owned();
        Self { handler, limit, bytes: 0, schema: None, rows: BTreeMap::new() }
    }

    /// Holds `batch`.
    ///
    /// # Errors
    /// More bytes than allowed; other columns than the rows before it have, and not only more.
    pub(super) fn push(&mut self, batch: RecordBatch, from: Source) -> Result<(), Error> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let schema = self.schema.get_or_insert_with(|| batch.schema());
        if let Some(wider) = wider(schema, batch.schema_ref()) {
            *schema = Arc::clone(wider);
        } else {
            return Err(Error::spec(&self.handler, CHANGED));
        }
        self.bytes += batch.get_array_memory_size() as u64;
        if self.bytes > self.limit.0 {
            return Err(Error::Limit {
                handler: self.handler.clone(),
                held: format!("{} of rows of one commit", ByteSize(self.bytes)),
                limit: self.limit.to_string(),
                remedy: "raise `limits.bytes`, or cut commits more often with `commit.flush`".into(),
            });
        }
        self.rows.entry(from).or_default().push(batch);
        Ok(())
    }

    /// All rows held, those of one source after the other; `None` if there is none.
    ///
    /// # Errors
    /// What the kernel says, as when texts of more than 2 GiB come together.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>, Error> {
        self.bytes = 0;
        let batches: Vec<RecordBatch> = std::mem::take(&mut self.rows).into_values().flatten().collect();
        self.schema = None;
        if batches.is_empty() {
            return Ok(None);
        }
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        // Rows that were held back before may be of before columns were added.
        let joined = level(batches).and_then(|batches| {
            let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
            concat_batches(&schema, &batches)
        });
        joined.map(Some).map_err(Error::kernel(&self.handler, rows))
    }
}
