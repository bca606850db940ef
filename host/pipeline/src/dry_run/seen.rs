//! The rows that pass between the handlers of a dry run: the first of each step, and how many there were.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use serde_json::Value;
use spout_data::SchemaText;
use spout_node::Watcher;

use super::Column;
use crate::rehearsal::as_values;

/// What was seen of each step.
#[derive(Debug)]
pub(super) struct Seen {
    most: usize,
    steps: Mutex<Vec<Passed>>,
}

/// What was seen of one step.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) of: u64,
    first: Vec<RecordBatch>,
    /// The columns that its rows had last.
    pub(super) schema: Option<SchemaRef>,
}

impl Seen {
    /// Keeps at most so many rows of each of so many steps.
    pub(super) fn new(steps: usize, most: usize) -> Self {
        Self { most, steps: Mutex::new((0..steps).map(|_| Passed::default()).collect()) }
    }

    /// What was seen, in the order of the steps.
    pub(super) fn take(&self) -> Vec<Passed> {
        std::mem::take(&mut *self.steps())
    }

    fn steps(&self) -> MutexGuard<'_, Vec<Passed>> {
        // What is under the lock is sound at every moment.
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Seen {
    fn watches(&self) -> bool {
        true
    }

    fn saw(&self, step: usize, records: &RecordBatch) {
        let mut steps = self.steps();
        let Some(passed) = steps.get_mut(step) else { return };
        passed.of += records.num_rows() as u64;
        passed.schema = Some(records.schema());
        let kept: usize = passed.first.iter().map(RecordBatch::num_rows).sum();
        let wanted = self.most.saturating_sub(kept).min(records.num_rows());
        if wanted > 0 {
            passed.first.push(records.slice(0, wanted));
        }
    }
}

impl Passed {
    /// The first rows, with a value for each of the columns that the last of them have.
    pub(super) fn rows(&self) -> Vec<Vec<Value>> {
        let Some(schema) = &self.schema else { return Vec::new() };
        let same = |batch: &RecordBatch| batch.schema_ref() == schema;
        let rows = |batch: &RecordBatch| {
            if same(batch) {
                return as_values(batch);
            }
            let at: Vec<Option<usize>> =
                schema.fields().iter().map(|field| batch.schema_ref().index_of(field.name()).ok()).collect();
            let row = |row: Vec<Value>| {
                at.iter().map(|at| at.and_then(|at| row.get(at).cloned()).unwrap_or_default()).collect()
            };
            as_values(batch).into_iter().map(row).collect()
        };
        self.first.iter().flat_map(rows).collect()
    }
}

/// Columns, with their types as a spec writes them.
pub(super) fn columns(schema: &Schema) -> Vec<Column> {
    let column = |field: &Arc<Field>| {
        let word = SchemaText::print(&Schema::new(vec![Arc::clone(field)])).ok().and_then(|text| {
            let word = serde_json::to_value(text).ok()?.get(field.name())?.clone();
            Some(word.as_str().map_or_else(|| word.to_string().replace('"', ""), str::to_owned))
        });
        Column { name: field.name().clone(), kind: word.unwrap_or_else(|| field.data_type().to_string()) }
    };
    schema.fields().iter().map(column).collect()
}
