//! Aggregate expressions such as `max(price)`: compiled for one schema, run over groups, in parts or at once.
//!
//! [`Aggregates`] is what the user wrote, [`Compiled`] what runs. All functions are DataFusion's, with three differences. The order
//! of rows is chance here, so that those over floats are [`steady`], and `first` and `last` go by event time. And whole numbers do
//! not wrap: see [`spout_arithmetic`].
//!
//! ```text
//! rows ──► update ──► Accumulators ── state ──► columns ── merge ──► Accumulators ── evaluate ──► values
//! ```
//!
//! **Invariant**: if [`Compiled::order_free`], no order of rows and no cut into parts changes a bit of the result.

mod exact;
mod group_ids;
mod order_free;
mod plan;

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions},
    compute::prep_null_mask_filter,
    datatypes::{FieldRef, Schema, SchemaRef},
};
use datafusion::{
    common::utils::normalize_float_zero,
    error::DataFusionError,
    logical_expr::{EmitTo, GroupsAccumulator},
    physical_expr::{
        GroupsAccumulatorAdapter, PhysicalExpr,
        aggregate::AggregateFunctionExpr,
        expressions::{Column, Literal},
        utils::collect_columns,
    },
};

use super::{
    Error, RowFault,
    halving::{Halving, each},
    handlers::Columns,
    state::{Marks, ORDER, SOURCE, TIME},
};

pub(crate) use group_ids::GroupIds;

/// Aggregate expressions by the name of the column they make.
#[derive(Clone, Debug)]
pub(crate) struct Aggregates {
    handler: String,
    columns: Columns,
    /// Whether rows have an event time, so that there is a first and a last.
    timed: bool,
}

/// Aggregate expressions for rows of one schema.
#[derive(Debug)]
pub(crate) struct Compiled {
    handler: String,
    calls: Vec<Call>,
    outputs: Vec<Output>,
    keys: SchemaRef,
    marks: Marks,
}

/// One call of an aggregate function.
#[derive(Debug)]
struct Call {
    function: Arc<AggregateFunctionExpr>,
    /// The arguments, then what it is ordered by.
    inputs: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    order_free: bool,
    /// The expression that it is part of.
    sql: String,
}

/// A column made of the results of calls, and of keys.
#[derive(Debug)]
struct Output {
    field: FieldRef,
    sql: String,
    expression: Arc<dyn PhysicalExpr>,
}

/// The running aggregates of groups that are numbered from nought.
pub(crate) struct Accumulators {
    calls: Vec<Box<dyn GroupsAccumulator>>,
}

impl std::fmt::Debug for Accumulators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accumulators").field("calls", &self.calls.len()).finish()
    }
}

impl Accumulators {
    pub(crate) fn bytes(&self) -> usize {
        self.calls.iter().map(|call| call.size()).sum()
    }
}

impl Aggregates {
    /// The expressions `columns` of the handler `handler`; rows that are `timed` have the columns of
    /// [`Held`](super::state::Held).
    pub(crate) fn new(handler: &str, columns: &Columns, timed: bool) -> Self {
        Self { handler: handler.to_owned(), columns: columns.clone(), timed }
    }

    /// Compiles them for rows of `schema`, grouped by `keys`, which they can name outside of functions.
    ///
    /// # Errors
    /// [`Error::Expression`], naming the column and what it could be.
    pub(crate) fn compile(&self, schema: &Schema, keys: &[FieldRef]) -> Result<Compiled, Error> {
        let mut calls = Vec::new();
        let mut outputs = Vec::new();
        let mut names: BTreeSet<&str> = keys.iter().map(|key| key.name().as_str()).collect();
        for (name, sql) in &self.columns.0 {
            if !names.insert(name) {
                return Err(self.refused(sql, format!("there is a column `{name}` already; give it another name")));
            }
            let plan = plan::Plan { aggregates: self, schema, keys, sql };
            outputs.push(plan.output(name, &mut calls)?);
        }
        let keys = Arc::new(Schema::new(keys.to_vec()));
        let marks = calls.iter().map(Call::marks).max().unwrap_or(Marks::None);
        Ok(Compiled { handler: self.handler.clone(), calls, outputs, keys, marks })
    }

    fn refused(&self, sql: &str, reason: String) -> Error {
        Error::Expression { handler: self.handler.clone(), expression: sql.to_owned(), reason }
    }
}

impl Compiled {
    /// The columns they make.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &FieldRef> {
        self.outputs.iter().map(|output| &output.field)
    }

    /// Whether any order of rows, and any way of merging parts, gives the same.
    pub(crate) fn order_free(&self) -> bool {
        self.calls.iter().all(|call| call.order_free)
    }

    /// Which columns of [`Held`](super::state::Held) the rows need that it is given.
    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    /// The columns of [`Compiled::state`].
    pub(crate) fn state_fields(&self) -> Result<Vec<FieldRef>, Error> {
        let mut fields = Vec::new();
        for (number, call) in self.calls.iter().enumerate() {
            let own = call.function.state_fields().map_err(|error| self.failed(error, 0))?;
            let name = |(part, field): (usize, &FieldRef)| {
                Arc::new(field.as_ref().clone().with_name(format!("__state_{number}_{part}")).with_nullable(true))
            };
            fields.extend(own.iter().enumerate().map(name));
        }
        Ok(fields)
    }

    /// Aggregates of no row.
    pub(crate) fn start(&self) -> Result<Accumulators, Error> {
        let start = |call: &Call| {
            let function = Arc::clone(&call.function);
            if function.groups_accumulator_supported() {
                function.create_groups_accumulator()
            } else {
                Ok(Box::new(GroupsAccumulatorAdapter::new(move || function.create_accumulator())) as _)
            }
        };
        let calls: Result<_, DataFusionError> = self.calls.iter().map(start).collect();
        Ok(Accumulators { calls: calls.map_err(|error| self.failed(error, 0))? })
    }

    /// The rows for which an argument has no value, as where whole numbers overflow. `batch` need not have the columns of
    /// [`Held`](super::state::Held) yet.
    pub(crate) fn faults(&self, batch: &RecordBatch) -> Result<Vec<RowFault>, Error> {
        if self.calls.iter().all(|call| call.computed().next().is_none()) {
            return Ok(Vec::new());
        }
        let tried = |rows| self.calls.iter().try_for_each(|call| self.valued(call, call.tried(&rows)));
        Ok(each(batch, tried)?.1)
    }

    /// Takes rows, each of the group of that number; there are `total` groups.
    ///
    /// # Errors
    /// [`Error::Value`] if an argument has none: [`Compiled::faults`] says for which rows.
    pub(crate) fn update(
        &self,
        accumulators: &mut Accumulators,
        batch: &RecordBatch,
        groups: &[usize],
        total: usize,
    ) -> Result<(), Error> {
        // What guards a row may not guard it among others, so that rows are taken in as many runs as that needs.
        let mut halving = Halving::of(batch.num_rows());
        while let Some(run) = halving.next() {
            let rows = batch.slice(run.start, run.len());
            let inputs = self.calls.iter().map(|call| self.valued(call, call.inputs(&rows)));
            let inputs = match inputs.collect::<Result<Vec<_>, _>>() {
                Ok(inputs) => inputs,
                Err(error) if run.len() <= 1 => return Err(error),
                Err(error) => {
                    halving.failed(run, error)?;
                    continue;
                }
            };
            for ((values, filter), accumulator) in inputs.iter().zip(&mut accumulators.calls) {
                let updated = accumulator.update_batch(values, &groups[run.clone()], filter.as_ref(), total);
                updated.map_err(|error| self.failed(error, run.len()))?;
            }
        }
        Ok(())
    }

    fn valued<T>(&self, call: &Call, value: Result<T, DataFusionError>) -> Result<T, Error> {
        value.map_err(|error| self.no_value(&call.sql, &error))
    }

    fn no_value(&self, sql: &str, error: &DataFusionError) -> Error {
        Error::Value { handler: self.handler.clone(), expression: sql.to_owned(), reason: error.strip_backtrace() }
    }

    /// Takes what [`Compiled::state`] gave, each row of the group of that number.
    pub(crate) fn merge(
        &self,
        accumulators: &mut Accumulators,
        state: &[ArrayRef],
        groups: &[usize],
        total: usize,
    ) -> Result<(), Error> {
        let mut rest = state;
        for (call, accumulator) in self.calls.iter().zip(&mut accumulators.calls) {
            let width = call.function.state_fields().map_err(|error| self.failed(error, 0))?.len();
            let Some((own, others)) = rest.split_at_checked(width) else {
                return Err(self.failed(DataFusionError::Internal("a state lacks columns".into()), groups.len()));
            };
            accumulator.merge_batch(own, groups, total).map_err(|error| self.failed(error, groups.len()))?;
            rest = others;
        }
        Ok(())
    }

    /// What the accumulators hold, a row for each group; they are empty afterwards.
    pub(crate) fn state(&self, accumulators: &mut Accumulators) -> Result<Vec<ArrayRef>, Error> {
        let mut columns = Vec::new();
        for accumulator in &mut accumulators.calls {
            columns.extend(accumulator.state(EmitTo::All).map_err(|error| self.failed(error, 0))?);
        }
        Ok(columns)
    }

    /// The columns they make, a row for each group with these keys; the accumulators are empty afterwards.
    pub(crate) fn evaluate(
        &self,
        accumulators: &mut Accumulators,
        keys: &[ArrayRef],
        groups: usize,
    ) -> Result<Vec<ArrayRef>, Error> {
        let mut fields: Vec<FieldRef> = self.keys.fields().to_vec();
        let mut columns = keys.to_vec();
        for (number, (call, accumulator)) in self.calls.iter().zip(&mut accumulators.calls).enumerate() {
            fields.push(Arc::new(
                call.function.field().as_ref().clone().with_name(plan::name(number)).with_nullable(true),
            ));
            columns.push(self.valued(call, accumulator.evaluate(EmitTo::All))?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(groups));
        let results = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
            .map_err(|error| self.failed(error.into(), groups))?;
        let value = |output: &Output| {
            let value = output.expression.evaluate(&results).and_then(|value| value.into_array(groups));
            value.map_err(|error| self.no_value(&output.sql, &error))
        };
        self.outputs.iter().map(value).collect()
    }

    pub(crate) fn failed(&self, error: DataFusionError, rows: usize) -> Error {
        failed(&self.handler, error, rows)
    }
}

impl Call {
    fn marks(&self) -> Marks {
        let columns = self.inputs.iter().chain(&self.filter).flat_map(collect_columns);
        let mark = |column: Column| match column.name() {
            TIME => Marks::Time,
            SOURCE | ORDER => Marks::Place,
            _ => Marks::None,
        };
        columns.map(mark).max().unwrap_or(Marks::None)
    }

    /// What of it is more than a column or a constant.
    fn computed(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.inputs.iter().chain(&self.filter).filter(|input| !input.is::<Column>() && !input.is::<Literal>())
    }

    /// Whether everything of it that is computed has a value for `rows`.
    fn tried(&self, rows: &RecordBatch) -> Result<(), DataFusionError> {
        self.computed().try_for_each(|expression| expression.evaluate(rows).map(drop))
    }

    /// The arguments for all rows, with -0.0 as 0.0, and which rows count.
    fn inputs(&self, batch: &RecordBatch) -> Result<(Vec<ArrayRef>, Option<BooleanArray>), DataFusionError> {
        let value = |expression: &Arc<dyn PhysicalExpr>| expression.evaluate(batch)?.into_array(batch.num_rows());
        let inputs = self.inputs.iter().map(|input| value(input).map(|array| normalize_float_zero(&array)));
        let inputs: Vec<ArrayRef> = inputs.collect::<Result<_, _>>()?;
        let filter = self.filter.as_ref().map(value).transpose()?;
        let filter = filter.map(|mask| match mask.null_count() {
            0 => mask.as_boolean().clone(),
            _ => prep_null_mask_filter(mask.as_boolean()),
        });
        Ok((inputs, filter))
    }
}

/// What an error of DataFusion's becomes.
pub(crate) fn failed(handler: &str, error: DataFusionError, rows: usize) -> Error {
    Error::Kernel { handler: handler.to_owned(), rows, source: error.into() }
}

#[cfg(test)]
mod tests;
