//! One side of a join: which rows are of it, what of them is held, and where they wait for partners.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch},
    compute::filter_record_batch,
    datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef},
};
use bytes::Bytes;
use spout_data::Part;

use super::SideSettings;
use crate::{
    Error, RowFault, columns,
    digest::Digest,
    expression::Expression,
    halving::each,
    keys,
    state::{RowStore, TIME},
};

/// A row that waits for partners.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) time: i64,
    /// None if the key has a null: nothing is its partner.
    pub(super) key: Option<Digest>,
}

/// What needs a condition, in errors.
const USER: &str = "a side";

/// One side of a running join.
#[derive(Debug)]
pub(super) struct Side {
    handler: String,
    condition: Expression,
    columns: Vec<(String, Expression)>,
    /// Columns of the key, in the order in which the other side has them.
    on: Vec<String>,
    /// Name of the column with the event time, which both sides share.
    time: String,
    /// For how long a row waits.
    wait: i64,
    /// Whether rows whose key has a null are of any use.
    lonely: bool,
    pub(super) store: RowStore,
    rows: HashMap<Digest, VecDeque<Row>>,
    queue: VecDeque<Row>,
}

impl Side {
    pub(super) fn new(
        handler: &str,
        name: &str,
        settings: &SideSettings,
        on: Vec<String>,
        wait: i64,
        lonely: bool,
    ) -> Self {
        let columns = settings.columns.0.iter();
        Self {
            handler: handler.to_owned(),
            condition: Expression::new(handler, &settings.r#where),
            columns: columns.map(|(name, sql)| (name.clone(), Expression::new(handler, sql))).collect(),
            on,
            time: String::new(),
            wait,
            lonely,
            store: RowStore::new(handler, name),
            rows: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    /// The columns of its rows where those of `input` come in.
    pub(super) fn shape(&mut self, input: &SchemaRef, time: &str) -> Result<Schema, Error> {
        time.clone_into(&mut self.time);
        self.condition.condition(input, USER)?;
        let rows = self.records(&RecordBatch::new_empty(Arc::clone(input)))?;
        self.on.iter().try_for_each(|name| columns::at(&self.handler, rows.schema_ref(), name).map(drop))?;
        Ok(rows.schema().as_ref().clone())
    }

    /// Which rows are of this side.
    pub(super) fn mask(&mut self, rows: &RecordBatch) -> Result<BooleanArray, Error> {
        let value = self.condition.evaluate_each(rows)?;
        self.condition.mask(&value, USER)
    }

    /// The rows for which the condition, or a column of this side, has no value.
    pub(super) fn faults(&mut self, rows: &RecordBatch) -> Result<Vec<RowFault>, Error> {
        let tried = each(rows, |rows| {
            let mask = self.mask(&rows)?;
            let own = filter_record_batch(&rows, &mask).map_err(Error::kernel(&self.handler, rows.num_rows()))?;
            self.records(&own).map(drop)
        });
        Ok(tried?.1)
    }

    /// Puts the rows that `mask` selects into the stock, without making them wait; each with its place in the batch.
    pub(super) fn store(
        &mut self,
        rows: &RecordBatch,
        times: &[i64],
        mask: &BooleanArray,
    ) -> Result<Vec<(usize, Row)>, Error> {
        let places: Vec<usize> = mask.values().set_indices().collect();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let own = filter_record_batch(rows, mask).map_err(Error::kernel(&self.handler, rows.num_rows()))?;
        let own = self.records(&own)?;
        let keys = keys::digests(&self.handler, &own, &self.on)?;
        let failed = || Error::kernel(&self.handler, rows.num_rows());
        let useful: BooleanArray = keys.iter().map(|key| Some(self.lonely || key.is_some())).collect();
        let time: ArrayRef = Arc::new(places.iter().map(|&place| Some(times[place])).collect::<Int64Array>());
        let field: FieldRef = Arc::new(Field::new(TIME, DataType::Int64, false));
        let fields: Vec<FieldRef> = own.schema_ref().fields().iter().cloned().chain([field]).collect();
        let columns: Vec<ArrayRef> = own.columns().iter().cloned().chain([time]).collect();
        let own = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(failed())?;
        let first = self.store.push(filter_record_batch(&own, &useful).map_err(failed())?);
        let useful = places.into_iter().zip(keys).filter(|(_, key)| self.lonely || key.is_some());
        let row = |(id, (place, key)): (u64, (usize, Option<Digest>))| (place, Row { id, time: times[place], key });
        Ok((first..).zip(useful).map(row).collect())
    }

    /// Makes a row wait for partners.
    pub(super) fn wait(&mut self, row: Row) {
        self.queue.push_back(row);
        if let Some(key) = row.key {
            self.rows.entry(key).or_default().push_back(row);
        }
    }

    /// The rows that wait with this key, and are at most `reach` before `time`.
    pub(super) fn partners(&self, key: Option<Digest>, time: i64, reach: i64) -> impl Iterator<Item = &Row> {
        let rows = key.and_then(|key| self.rows.get(&key));
        rows.into_iter().flatten().filter(move |row| time.saturating_sub(row.time) <= reach)
    }

    /// When the row that waits longest can no longer find a partner, if that is before `time`.
    pub(super) fn over(&self, time: i64) -> Option<i64> {
        let until = self.queue.front()?.time.saturating_add(self.wait);
        (until < time || time == i64::MAX).then_some(until)
    }

    /// The row that waits longest; it waits no more.
    pub(super) fn leave(&mut self) -> Option<Row> {
        let row = self.queue.pop_front()?;
        if let Some(key) = row.key
            && let Some(rows) = self.rows.get_mut(&key)
        {
            rows.pop_front();
            if rows.is_empty() {
                self.rows.remove(&key);
            }
        }
        Some(row)
    }

    pub(super) fn bytes(&self) -> usize {
        self.store.bytes() + self.queue.len() * 2 * size_of::<Row>()
    }

    pub(super) fn snapshot(&mut self, parts: &mut BTreeMap<String, Part>) -> Result<(), Error> {
        self.store.snapshot(parts)
    }

    pub(super) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>) -> Result<(), Error> {
        self.store.restore(parts)?;
        let damaged = || Error::state(&self.handler, "its rows have no time");
        let mut waiting = Vec::new();
        for (ids, rows) in self.store.all()? {
            let times = rows.column_by_name(TIME).and_then(|times| times.as_primitive_opt::<Int64Type>());
            let times = times.ok_or_else(damaged)?;
            let keys = keys::digests(&self.handler, &rows, &self.on)?.into_iter().zip(times.values());
            waiting.extend(ids.into_iter().zip(keys).map(|(id, (key, &time))| Row { id, time, key }));
        }
        waiting.into_iter().for_each(|row| self.wait(row));
        Ok(())
    }

    /// The columns of this side.
    fn records(&mut self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let mut fields: Vec<FieldRef> = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        if self.columns.is_empty() {
            let all = rows.schema_ref().fields().iter().zip(rows.columns());
            for (field, array) in all.filter(|(field, _)| *field.name() != self.time) {
                fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
                arrays.push(Arc::clone(array));
            }
        }
        for (name, expression) in self.columns.iter_mut().filter(|(name, _)| *name != self.time) {
            let array = expression.evaluate_each(rows)?;
            fields.push(Arc::new(Field::new(name.as_str(), array.data_type().clone(), true)));
            arrays.push(array);
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(Error::kernel(&self.handler, rows.num_rows()))
    }
}
