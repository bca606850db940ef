//! Rows of several producers in one stream: the columns of all of them, and `__producer`, which says whose a row is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{
    array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use spout_data::{Batch, PartitionId, within_an_array};
use tokio::sync::{Mutex, watch};

use super::{DecoderFactory, SchemaGuard, SchemaPin, evolve::with_added};
use crate::Error;

/// The column that names the producer of a row.
pub const PRODUCER: &str = "__producer";

/// The columns of all producers of a pipeline, and who is waited for before the first row passes.
///
/// **Invariant**: no row passes before every producer has said what its columns are or that it has nothing for now, so that the
/// order of columns, and what handlers may ask for, is not a matter of who was first.
#[derive(Clone, Debug)]
pub struct Union {
    pin: SchemaPin,
    members: Arc<Vec<(String, DecoderFactory)>>,
    /// The producers that have said neither, with their partitions that may still say it.
    unsettled: Arc<Mutex<BTreeMap<usize, Option<BTreeSet<PartitionId>>>>>,
    /// Whether nobody is waited for.
    settled: watch::Sender<bool>,
}

impl Union {
    /// The union of `members`, by name; `pin` holds the columns that earlier commits had, if there are any.
    pub async fn new(members: Vec<(String, DecoderFactory)>, pin: SchemaPin) -> Self {
        let mut unsettled = BTreeMap::new();
        for (index, (_, factory)) in members.iter().enumerate() {
            if factory.schema().await.is_none() {
                unsettled.insert(index, None);
            }
        }
        let union = Self {
            pin,
            members: Arc::new(members),
            settled: watch::Sender::new(false),
            unsettled: Arc::new(Mutex::new(unsettled)),
        };
        union.settle_if(|unsettled| unsettled.is_empty()).await;
        union
    }

    /// The columns of all producers, once every producer has said what its columns are.
    ///
    /// # Errors
    /// [`Error::Differ`] if two producers have a column of one name and different types.
    pub async fn schema(&self) -> Result<Option<SchemaRef>, Error> {
        let mut all = self.pin.get().await.unwrap_or_else(first_column);
        for (name, factory) in self.members.iter() {
            let Some(schema) = factory.schema().await else { return Ok(None) };
            if let Some(added) = self.lacks(&all, &schema, name)? {
                all = with_added(all, Some(&added));
            }
        }
        Ok(Some(all))
    }

    /// What the rows of its producer number `index` pass through.
    #[must_use]
    pub fn member(&self, index: usize) -> Member {
        Member { union: self.clone(), index, names: Arc::new(StringArray::from(Vec::<&str>::new())) }
    }

    /// Its partitions are these, besides those declared before: when all of them have nothing, nobody waits for it.
    pub async fn declare(&self, index: usize, partitions: impl IntoIterator<Item = PartitionId>) {
        self.settle_if(|unsettled| {
            if let Some(waited) = unsettled.get_mut(&index) {
                let waited = waited.get_or_insert_default();
                waited.extend(partitions);
                if waited.is_empty() {
                    unsettled.remove(&index);
                }
            }
            unsettled.is_empty()
        })
        .await;
    }

    /// Lets everybody pass if, after `change`, nobody is waited for.
    async fn settle_if(&self, change: impl FnOnce(&mut BTreeMap<usize, Option<BTreeSet<PartitionId>>>) -> bool) {
        let mut unsettled = self.unsettled.lock().await;
        if !change(&mut unsettled) || *self.settled.borrow() {
            return;
        }
        let mut pinned = self.pin.hold().await;
        let mut all = pinned.take().unwrap_or_else(first_column);
        for (name, factory) in self.members.iter() {
            // Two types of one column are an error where the first row of the second comes.
            if let Some(schema) = factory.schema().await
                && let Ok(Some(added)) = self.lacks(&all, &schema, name)
            {
                all = with_added(all, Some(&added));
            }
        }
        *pinned = Some(all);
        drop(pinned);
        self.settled.send_replace(true);
    }

    /// The columns of `schema`, which are those of the producer `name`, that `all` has not.
    fn lacks(&self, all: &SchemaRef, schema: &SchemaRef, name: &str) -> Result<Option<SchemaRef>, Error> {
        let mut lacks = Vec::new();
        for field in schema.fields() {
            match all.field_with_name(field.name()) {
                Err(_) => lacks.push(Arc::clone(field)),
                Ok(known) if known.data_type() == field.data_type() && field.name() != PRODUCER => {}
                Ok(known) => {
                    return Err(Error::Differ {
                        producer: name.to_owned(),
                        column: field.name().clone(),
                        here: field.data_type().clone(),
                        there: known.data_type().clone(),
                    });
                }
            }
        }
        Ok((!lacks.is_empty()).then(|| Arc::new(Schema::new(lacks))))
    }
}

/// The columns before any producer has said its own.
fn first_column() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(PRODUCER, DataType::Utf8, false)]))
}

/// What the rows of one producer pass through in one lane.
#[derive(Debug)]
pub struct Member {
    union: Union,
    index: usize,
    /// Its name, as often as a batch had rows so far.
    names: ArrayRef,
}

impl Member {
    /// `partition` has nothing for now: nobody waits for it.
    pub async fn quiet(&self, partition: PartitionId) {
        if *self.union.settled.borrow() {
            return;
        }
        let settle = |unsettled: &mut BTreeMap<usize, Option<BTreeSet<PartitionId>>>| {
            if let Some(Some(waited)) = unsettled.get_mut(&self.index) {
                waited.remove(&partition);
                if waited.is_empty() {
                    unsettled.remove(&self.index);
                }
            }
            unsettled.is_empty()
        };
        self.union.settle_if(settle).await;
    }

    /// The rows of `batch` with the columns of all producers. As long as what comes with them is held, no column is added.
    ///
    /// # Errors
    /// [`Error::Differ`] if another producer has a column of one name and another type.
    pub async fn join(&mut self, batch: &mut Batch) -> Result<SchemaGuard, Error> {
        self.wait_for_all().await;
        loop {
            let guard = self.union.pin.hold_schema().await;
            let all = self.union.pin.get().await.unwrap_or_else(first_column);
            let name = &self.union.members[self.index].0;
            match self.union.lacks(&all, batch.records.schema_ref(), name)? {
                None => {
                    batch.records = self.fitted(&batch.records, all)?;
                    return Ok(guard);
                }
                Some(added) => {
                    let edition = guard.edition();
                    drop(guard);
                    self.union.pin.widen(edition, &added).await;
                }
            }
        }
    }

    /// As [`Member::join`] for more of a run whose first rows are under `guard`; another one is held after it where columns had to
    /// be added for these.
    ///
    /// # Errors
    /// As for [`Member::join`].
    pub async fn join_again(&mut self, batch: &mut Batch, guard: &mut SchemaGuard) -> Result<(), Error> {
        let all = self.union.pin.get().await.unwrap_or_else(first_column);
        let name = &self.union.members[self.index].0;
        if self.union.lacks(&all, batch.records.schema_ref(), name)?.is_none() {
            batch.records = self.fitted(&batch.records, all)?;
            return Ok(());
        }
        guard.let_go();
        *guard = self.join(batch).await?;
        Ok(())
    }

    /// Waits until everybody has said what the columns are. Its own are known: it has rows.
    async fn wait_for_all(&self) {
        if *self.union.settled.borrow() {
            return;
        }
        let settle = |unsettled: &mut BTreeMap<usize, _>| {
            unsettled.remove(&self.index);
            unsettled.is_empty()
        };
        self.union.settle_if(settle).await;
        let mut settled = self.union.settled.subscribe();
        let patience = std::time::Duration::from_secs(5);
        let late = tokio::time::timeout(patience, settled.wait_for(|settled| *settled)).await.is_err();
        if late {
            let unsettled = self.union.unsettled.lock().await;
            let names: Vec<&str> = unsettled.keys().map(|index| self.union.members[*index].0.as_str()).collect();
            let (producer, waits_for) = (&self.union.members[self.index].0, names.join(", "));
            drop(unsettled);
            tracing::warn!(
                producer,
                waits_for,
                "rows wait until the columns of all producers are known; declare a `schema` for those that send late"
            );
            drop(settled.wait_for(|settled| *settled).await);
        }
    }

    fn fitted(&mut self, records: &RecordBatch, all: SchemaRef) -> Result<RecordBatch, Error> {
        let rows = records.num_rows();
        let decoder = self.union.members[self.index].0.clone();
        let failed = |source: ArrowError| Error::Schema { decoder: decoder.clone(), reason: source.to_string() };
        if self.names.len() < rows {
            let name = self.union.members[self.index].0.as_str();
            within_an_array([name.len().saturating_mul(rows)]).map_err(failed)?;
            self.names = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(name, rows)));
        }
        let column = |field: &Arc<Field>| match field.name().as_str() {
            PRODUCER => self.names.slice(0, rows),
            name => records.column_by_name(name).cloned().unwrap_or_else(|| new_null_array(field.data_type(), rows)),
        };
        let columns = all.fields().iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(all, columns, &options).map_err(failed)
    }
}
