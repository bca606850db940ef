//! From an aggregate expression as written to calls that run.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::{
    common::{
        DFSchema,
        tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    },
    error::DataFusionError,
    execution::context::ExecutionProps,
    logical_expr::{
        Expr, ExprSchemable as _, cast, col,
        expr::{AggregateFunction, Sort},
        ident,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::aggregate::LoweredAggregateBuilder,
};

use super::{Aggregates, Call, Output, order_free};
use crate::{
    Error,
    expression::{logical, over, physical},
    state::{ORDER, SOURCE, TIME},
};

/// Those that give the same for any order of rows and any way of merging; over floats only as [`steady`].
const ORDER_FREE: [&str; 14] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
    "approx_distinct",
    "median",
    "percentile_cont",
    "var",
];
/// Those that only differ in what DISTINCT leaves, not in the order it leaves it.
const DISTINCT: [&str; 8] = ["count", "sum", "avg", "min", "max", "bit_xor", "median", "percentile_cont"];

/// One expression on its way.
pub(super) struct Plan<'a> {
    pub(super) aggregates: &'a Aggregates,
    pub(super) schema: &'a Schema,
    pub(super) keys: &'a [FieldRef],
    pub(super) sql: &'a str,
}

/// Column of the result of a call.
pub(super) fn name(number: usize) -> String {
    format!("__call_{number}")
}

impl Plan<'_> {
    /// The column `name`; the calls it needs are added to `calls`.
    pub(super) fn output(&self, name: &str, calls: &mut Vec<Call>) -> Result<Output, Error> {
        let table = DFSchema::try_from(self.schema.clone()).map_err(|error| self.failed(&error, self.schema))?;
        let coerced = logical(self.sql, self.schema, &table).map_err(|reason| self.refused(reason))?;
        let before = calls.len();
        let outer = self.take_calls(coerced, &table, calls)?;
        if calls.len() == before {
            return Err(self.refused(
                "it has no aggregate function, so it has no single value for many rows; write it like `max(price)`"
                    .into(),
            ));
        }
        let results = calls.iter().enumerate().map(|(number, call)| {
            Arc::new(call.function.field().as_ref().clone().with_name(self::name(number)).with_nullable(true))
        });
        let fields: Vec<FieldRef> = self.keys.iter().cloned().chain(results).collect();
        let schema = Schema::new(fields);
        let table = DFSchema::try_from(schema.clone()).map_err(|error| self.failed(&error, self.schema))?;
        let expression = physical(outer, &table);
        let expression = expression.map_err(|error| self.outside(&error))?;
        let kind = expression.data_type(&schema).map_err(|error| self.failed(&error, self.schema))?;
        Ok(Output { field: Arc::new(Field::new(name, kind, true)), sql: self.sql.to_owned(), expression })
    }

    /// Moves calls of aggregate functions into `calls` and names their results in their place.
    fn take_calls(&self, expression: Expr, table: &DFSchema, calls: &mut Vec<Call>) -> Result<Expr, Error> {
        let mut failed = None;
        let taken = expression.transform_down(|part| {
            let Expr::AggregateFunction(call) = part else { return Ok(Transformed::no(part)) };
            match self.call(call, table) {
                Ok((call, result)) => {
                    calls.push(call);
                    let place = ident(name(calls.len() - 1));
                    let place = result.map_or_else(|| place.clone(), |kind| cast(place.clone(), kind));
                    Ok(Transformed::new(place, true, TreeNodeRecursion::Jump))
                }
                Err(error) => {
                    failed = Some(error);
                    Ok(Transformed::new(datafusion::prelude::lit(0), true, TreeNodeRecursion::Stop))
                }
            }
        });
        match failed {
            Some(error) => Err(error),
            None => taken.map(|taken| taken.data).map_err(|error| self.failed(&error, self.schema)),
        }
    }

    /// A call that runs, and the type to cast its result to.
    fn call(&self, mut call: AggregateFunction, table: &DFSchema) -> Result<(Call, Option<DataType>), Error> {
        let name = call.func.name().to_owned();
        let kind = call.params.args.first().map(|argument| argument.get_type(table)).transpose();
        let kind = kind.map_err(|error| self.failed(&error, self.schema))?.unwrap_or(DataType::Null);
        let mut result = None;
        let mut order_free = ORDER_FREE.contains(&name.as_str());
        let extreme = name == "min" || name == "max";
        if call.params.distinct
            && (!DISTINCT.contains(&name.as_str()) || (kind.is_floating() && name != "count" && !extreme))
        {
            return Err(self.refused(format!(
                "{name}(distinct …) over {kind} gives its values in no fixed order; drop DISTINCT, or cast to a decimal"
            )));
        }
        match order_free::Kind::named(&name).filter(|_| kind.is_floating() && call.params.args.len() == 1) {
            Some(steady) => {
                call.func = order_free::function(steady);
                call.params.distinct = false;
                if kind != DataType::Float64 {
                    call.params.args =
                        call.params.args.into_iter().map(|value| cast(value, DataType::Float64)).collect();
                    result = extreme.then_some(kind);
                }
                order_free = true;
            }
            None if name == "first_value" || name == "last_value" => {
                order_free = self.order_by_time(&mut call)?;
            }
            None => {}
        }
        Ok((self.lower(call, table, order_free)?, result))
    }

    /// The first and the last go by event time unless the call says otherwise; whether each row has a place of its own.
    fn order_by_time(&self, call: &mut AggregateFunction) -> Result<bool, Error> {
        if self.schema.field_with_name(TIME).is_err() {
            return if call.params.order_by.is_empty() && !self.aggregates.timed {
                Err(self.refused(
                    "`first` and `last` go by event time, but rows have none; set `time`, or add `order by` to the call"
                        .into(),
                ))
            } else {
                Ok(false)
            };
        }
        let by = |name: &str| Sort::new(col(name), true, false);
        call.params.order_by.extend([by(TIME), by(SOURCE), by(ORDER)]);
        Ok(true)
    }

    fn lower(&self, call: AggregateFunction, table: &DFSchema, order_free: bool) -> Result<Call, Error> {
        let call = Expr::AggregateFunction(call);
        let (properties, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let builder = LoweredAggregateBuilder::new(&call, table, self.schema, &properties, &context);
        let lowered = builder.with_name(self.sql).build().map_err(|error| self.failed(&error, self.schema))?;
        let function = lowered.aggregate;
        let order = function.order_bys().iter().map(|sort| Arc::clone(&sort.expr));
        let inputs = function.expressions().into_iter().chain(order).collect();
        let call = Call { inputs, filter: lowered.filter, order_free, function, sql: self.sql.to_owned() };
        // What it cannot do is said now, not when the first rows arrive.
        let supported = call.function.groups_accumulator_supported();
        let tried = if supported {
            call.function.create_groups_accumulator().map(drop)
        } else {
            call.function.create_accumulator().map(drop)
        };
        tried.map_err(|error| self.failed(&error, self.schema))?;
        Ok(call)
    }

    fn failed(&self, error: &DataFusionError, schema: &Schema) -> Error {
        self.refused(over(error, schema))
    }

    fn outside(&self, error: &DataFusionError) -> Error {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name().as_str()).collect();
        self.refused(format!(
            "outside aggregate functions it can only use the columns that rows are grouped by ({}): {}",
            keys.join(", "),
            error.strip_backtrace()
        ))
    }

    fn refused(&self, reason: String) -> Error {
        self.aggregates.refused(self.sql, reason)
    }
}
