//! The rows of a table by their key.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::filter_record_batch,
    datatypes::SchemaRef,
    error::ArrowError,
};
use spout_data::ByteSize;

use super::{Duplicates, describe_key};
use crate::{Error, digest::Digest, keys, state::RowStore};

/// What a row takes besides its values: its number, and two flags.
const PER_ROW: usize = size_of::<u64>() + 2;
/// What a key takes: its digest, the number of its row, and a byte of the map.
const PER_KEY: usize = size_of::<(Digest, u64)>() + 1;

/// How a table is held.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub(super) handler: String,
    /// The table, for messages.
    pub(super) table: String,
    /// The columns of its key.
    pub(super) keys: Vec<String>,
    pub(super) duplicates: Duplicates,
    pub(super) limit: ByteSize,
}

/// The rows of a table, one for each key.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    holding: Holding,
    /// What the columns that are held are called in the table, and here.
    from: Vec<String>,
    columns: SchemaRef,
    rows: HashMap<Digest, u64>,
    store: RowStore,
}

impl Keyed {
    /// Holds nothing yet.
    pub(super) fn new(holding: Holding, from: &[String], columns: &SchemaRef) -> Self {
        let store = RowStore::new(&holding.handler, "table");
        Self { holding, from: from.to_vec(), columns: Arc::clone(columns), rows: HashMap::new(), store }
    }

    /// Takes rows that are newer than those it has, with all columns of the key and those that are held. A row with a null in its
    /// key is left out: nothing finds it.
    ///
    /// # Errors
    /// [`Error::Duplicate`] if there must be one row of each key; [`Error::Limit`].
    pub(super) fn push(&mut self, rows: &RecordBatch, progress: &Progress) -> Result<(), Error> {
        let failed = Error::kernel(&self.holding.handler, rows.num_rows());
        let keys = keys::digests(&self.holding.handler, rows, &self.holding.keys)?;
        let found: BooleanArray = keys.iter().map(|key| Some(key.is_some())).collect();
        let first = self.store.push(filter_record_batch(&self.given(rows).map_err(failed)?, &found).map_err(failed)?);
        let keys = keys.into_iter().enumerate().filter_map(|(row, key)| Some((row, key?)));
        for ((row, key), id) in keys.zip(first..) {
            let Some(older) = self.rows.insert(key, id) else { continue };
            match self.holding.duplicates {
                Duplicates::Last => self.store.remove(older),
                Duplicates::Error => {
                    let Holding { handler, table, keys, .. } = &self.holding;
                    let key = describe_key(rows, keys, row);
                    return Err(Error::Duplicate { handler: handler.clone(), table: table.clone(), key });
                }
            }
        }
        self.check_limit(progress)
    }

    /// The columns that are held of rows of the table.
    fn given(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let column = |name: &String| Ok(Arc::clone(rows.column(rows.schema_ref().index_of(name)?)));
        let columns = self.from.iter().map(column).collect::<Result<_, ArrowError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.columns), columns, &options)
    }

    fn check_limit(&mut self, progress: &Progress) -> Result<(), Error> {
        if self.bytes() > self.holding.limit.0 {
            self.store.compact()?;
        }
        if self.bytes() <= self.holding.limit.0 {
            return Ok(());
        }
        let Holding { handler, table, limit, .. } = &self.holding;
        let (bytes, rows) = (about(self.bytes()), self.store.rows());
        Err(Error::Limit {
            handler: handler.clone(),
            held: format!(
                "{bytes} for {rows} rows of the table {table} ({} of {} rows read)",
                progress.read, progress.all
            ),
            limit: limit.to_string(),
            remedy: "name only the `columns` that are needed, or raise `limits.bytes`".into(),
        })
    }

    /// Ends a version: what is held is put in order.
    ///
    /// # Errors
    /// What a kernel says.
    pub(super) fn tidy(&mut self) -> Result<(), Error> {
        self.store.tidy()
    }

    /// The row of each key.
    pub(super) fn find(&self, keys: &[Option<Digest>]) -> Vec<Option<u64>> {
        keys.iter().map(|key| self.rows.get(key.as_ref()?).copied()).collect()
    }

    /// The columns that are held of these rows; nulls where there is none.
    ///
    /// # Errors
    /// What a kernel says.
    pub(super) fn values(&self, rows: &[Option<u64>]) -> Result<Vec<ArrayRef>, Error> {
        self.store.aligned(rows, &self.columns)
    }

    /// How many keys it has.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many bytes it takes, about.
    fn bytes(&self) -> u64 {
        (self.store.bytes() + self.store.rows() * PER_ROW + self.rows.capacity() * PER_KEY) as u64
    }
}

/// As many bytes in a unit that people read.
fn about(bytes: u64) -> ByteSize {
    let unit = if bytes < 1 << 20 { 1 << 10 } else { 1 << 20 };
    ByteSize(bytes.next_multiple_of(unit))
}

/// How far a version was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) read: u64,
    pub(super) all: u64,
}
