//! A SQL query over one table `input`, planned once and run over many units.
//!
//! The plan reads a slot that the rows of a unit are put into. Operators that keep something of a run (the build side of a
//! join, a table made once) are rebuilt before the next one; those that cannot be are refused or switched off.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    compute::{cast, concat_batches},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    row::{RowConverter, SortField},
};
use datafusion::{
    catalog::streaming::StreamingTable,
    common::{Column, tree_node::TreeNodeRecursion},
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream, TaskContext,
        context::SQLOptions,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder},
    physical_plan::{
        ExecutionPlan, collect, execution_plan::reset_plan_states, stream::RecordBatchStreamAdapter,
        streaming::PartitionStream,
    },
    prelude::{SessionConfig, SessionContext},
};
use futures::FutureExt as _;
use spout_data::ByteSize;

use super::{Error, columns, expression::unstable};

/// The name of the table.
const INPUT: &str = "input";
/// Rows that operators are given at a time.
const CHUNK: usize = 8192;

/// How a query is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Whether each row has to be answered by itself, so that batches do not matter.
    pub(super) row_by_row: bool,
    /// What it may use.
    pub(super) memory: ByteSize,
}

/// A query, planned for rows of one schema.
pub(super) struct Query {
    handler: String,
    sql: String,
    context: SessionContext,
    slot: Arc<Slot>,
    logical: LogicalPlan,
    physical: Option<Arc<dyn ExecutionPlan>>,
    output: SchemaRef,
    memory: ByteSize,
    keeps_rows: bool,
}

impl std::fmt::Debug for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("sql", &self.sql).field("output", &self.output).finish_non_exhaustive()
    }
}

impl Query {
    /// `sql` of the handler `handler`, for rows of `schema`.
    ///
    /// # Errors
    /// What is wrong with the query, or what of it the terms do not allow.
    pub(super) fn plan(handler: &str, sql: &str, schema: &SchemaRef, terms: Terms) -> Result<Self, Error> {
        let words = Words { handler, sql };
        let slot = Arc::new(Slot { schema: Arc::clone(schema), rows: Mutex::default() });
        let context = session(terms.memory).map_err(|error| words.refused(&error))?;
        let table = StreamingTable::try_new(Arc::clone(schema), vec![Arc::clone(&slot) as Arc<dyn PartitionStream>]);
        let table = table.map_err(|error| words.refused(&error))?;
        context.register_table(INPUT, Arc::new(table)).map_err(|error| words.refused(&error))?;
        // Nothing of it waits: the only table is in memory.
        let state = context.state();
        let planned = Box::pin(state.create_logical_plan(sql)).now_or_never();
        let planned = planned.unwrap_or_else(|| Err(DataFusionError::Internal("planning waits".into())));
        let logical = planned.map_err(|error| words.unplanned(&error, schema))?;
        words.check(&logical, terms)?;
        let output = words.output(&logical)?;
        let logical = in_order(logical).map_err(|error| words.refused(&error))?;
        let mut query = Self {
            handler: handler.to_owned(),
            sql: sql.to_owned(),
            keeps_rows: terms.row_by_row && keeps_rows(&logical),
            context,
            slot,
            logical,
            physical: None,
            output,
            memory: terms.memory,
        };
        let state = query.context.state();
        let physical = Box::pin(state.create_physical_plan(&query.logical)).now_or_never();
        // Should planning ever wait, the first rows do.
        query.physical = physical.transpose().map_err(|error| words.refused(&error))?;
        Ok(query)
    }

    /// The columns of its answers.
    pub(super) fn output(&self) -> &SchemaRef {
        &self.output
    }

    /// Whether its answer has a row for every row, in order.
    pub(super) fn keeps_rows(&self) -> bool {
        self.keeps_rows
    }

    /// The answer over `rows`.
    ///
    /// # Errors
    /// What the query reports about rows it cannot process; more memory than allowed.
    pub(super) async fn run(&mut self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let count = rows.num_rows();
        let answer = self.answer(rows).await;
        self.slot.fill(Vec::new());
        let words = Words { handler: &self.handler, sql: &self.sql };
        let batches = answer.map_err(|error| match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Error::Limit {
                handler: self.handler.clone(),
                held: format!("what a query over {count} rows needs"),
                limit: self.memory.to_string(),
                remedy: "raise `limits.bytes`, or process fewer rows at a time".into(),
            },
            _ => words.no_value(&error),
        })?;
        let joined = self.joined(&batches);
        joined.map_err(Error::kernel(&self.handler, count))
    }

    async fn answer(&mut self, rows: &RecordBatch) -> Result<Vec<RecordBatch>, DataFusionError> {
        let plan = match self.physical.take() {
            Some(plan) => plan,
            None => {
                let state = self.context.state();
                Box::pin(state.create_physical_plan(&self.logical)).await?
            }
        };
        self.slot.fill(chunks(rows));
        let answer = collect(Arc::clone(&plan), self.context.task_ctx()).await;
        self.physical = Some(reset_plan_states(plan)?);
        answer
    }

    /// One batch with the columns that were said at start.
    fn joined(&self, batches: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
        let settled = |batch: &RecordBatch| {
            let columns = batch.columns().iter().zip(self.output.fields());
            let columns: Vec<ArrayRef> =
                columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options)
        };
        let batches: Vec<RecordBatch> = batches.iter().map(settled).collect::<Result<_, _>>()?;
        match batches.as_slice() {
            [one] => Ok(one.clone()),
            all => concat_batches(&self.output, all),
        }
    }
}

fn chunks(rows: &RecordBatch) -> Vec<RecordBatch> {
    let starts = (0..rows.num_rows()).step_by(CHUNK);
    starts.map(|from| rows.slice(from, CHUNK.min(rows.num_rows() - from))).collect()
}

/// The rows of the unit that a plan is run over.
#[derive(Debug)]
struct Slot {
    schema: SchemaRef,
    rows: Mutex<Vec<RecordBatch>>,
}

impl Slot {
    fn fill(&self, rows: Vec<RecordBatch>) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A query may read its table twice, so the rows stay.
    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let rows = futures::stream::iter(rows.into_iter().map(Ok));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

fn session(memory: ByteSize) -> Result<SessionContext, DataFusionError> {
    // One thread, so that rows keep their order; no filter that an operator changes while it runs, since plans run again.
    let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let bytes = usize::try_from(memory.0).unwrap_or(usize::MAX);
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(bytes, 1.0).with_disk_manager_builder(disk).build_arc()?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    spout_arithmetic::install(&context);
    Ok(context)
}

/// What errors are said with.
struct Words<'a> {
    handler: &'a str,
    sql: &'a str,
}

impl Words<'_> {
    fn refused(&self, error: &DataFusionError) -> Error {
        self.no(error.strip_backtrace())
    }

    fn no_value(&self, error: &DataFusionError) -> Error {
        let (handler, expression) = (self.handler.to_owned(), self.sql.to_owned());
        Error::Value { handler, expression, reason: error.strip_backtrace() }
    }

    fn no(&self, reason: String) -> Error {
        Error::Expression { handler: self.handler.to_owned(), expression: self.sql.to_owned(), reason }
    }

    fn unplanned(&self, error: &DataFusionError, schema: &Schema) -> Error {
        let (reason, names) = (error.strip_backtrace(), columns::names(schema));
        self.no(format!("{reason} (the only table is `{INPUT}`, its columns: {names})"))
    }

    /// Refuses what is no question, what may not be answered the same again, and what terms do not allow.
    fn check(&self, plan: &LogicalPlan, terms: Terms) -> Result<(), Error> {
        let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(plan).map_err(|error| self.refused(&error))?;
        let mut found: Option<Error> = None;
        let walked = plan.apply_with_subqueries(|node| {
            found = self.check_node(node, terms).err();
            Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        walked.map_err(|error| self.refused(&error))?;
        found.map_or(Ok(()), Err)
    }

    fn check_node(&self, node: &LogicalPlan, terms: Terms) -> Result<(), Error> {
        let operator = operator(node);
        let never = match node {
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_) => true,
            // It runs its own plan again and again, and keeps what it found.
            LogicalPlan::RecursiveQuery(_) => true,
            _ => false,
        };
        if never {
            let operator = operator.unwrap_or_else(|| node.display().to_string());
            return Err(self.no(format!("{operator} cannot be used here; write a SELECT over `{INPUT}`")));
        }
        let mut within = None;
        let walked = node.apply_expressions(|expression| {
            if let Some(reason) = unstable(expression) {
                within = Some(self.no(reason));
            } else if terms.row_by_row && asks(expression) {
                within = Some(self.across("a subquery"));
            }
            Ok(if within.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        walked.map_err(|error| self.refused(&error))?;
        match (within, operator) {
            (Some(error), _) => Err(error),
            (None, Some(operator)) if terms.row_by_row => Err(self.across(&operator)),
            (None, _) => Ok(()),
        }
    }

    fn across(&self, operator: &str) -> Error {
        Error::Across { handler: self.handler.to_owned(), operator: operator.to_owned() }
    }

    /// The columns of the answer; every one can be null, as everywhere.
    fn output(&self, plan: &LogicalPlan) -> Result<SchemaRef, Error> {
        let mut names = BTreeSet::new();
        for field in plan.schema().fields() {
            if !names.insert(field.name().as_str()) {
                let name = field.name();
                return Err(self.no(format!("two columns of its result are called `{name}`; rename one with `as`")));
            }
        }
        let settled = |kind: &DataType| match kind {
            DataType::Utf8View => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            other => other.clone(),
        };
        let fields = plan.schema().fields().iter();
        let fields: Vec<Field> = fields.map(|f| Field::new(f.name(), settled(f.data_type()), true)).collect();
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// The word for an operator that needs more than the row at hand; `None` for those that do not.
fn operator(node: &LogicalPlan) -> Option<String> {
    let word = match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::Unnest(_) => return None,
        LogicalPlan::Aggregate(_) => "an aggregate (GROUP BY)",
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Join(_) => "JOIN",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Distinct(_) => "DISTINCT",
        LogicalPlan::Window(_) => "a window function (OVER)",
        LogicalPlan::Union(_) => "UNION",
        LogicalPlan::Subquery(_) => "a subquery",
        LogicalPlan::EmptyRelation(_) => "a SELECT without FROM",
        LogicalPlan::Values(_) => "VALUES",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => "EXPLAIN",
        LogicalPlan::DescribeTable(_) => "DESCRIBE",
        other => return Some(format!("`{}`", other.display())),
    };
    Some(word.to_owned())
}

/// Whether `expression` asks a query of its own.
fn asks(expression: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode as _;
    let inner = |part: &Expr| {
        Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_)))
    };
    expression.exists(inner).unwrap_or(true)
}

/// Whether a row comes out for every row, in order.
fn keeps_rows(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().first().is_some_and(|input| keeps_rows(input))
        }
        LogicalPlan::TableScan(_) => true,
        _ => false,
    }
}

/// `plan`, with its rows ordered by all columns where it leaves their order open.
fn in_order(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    if says_order(&plan) || !leaves_open(&plan)? {
        return Ok(plan);
    }
    let ordered =
        |kind: &DataType| *kind != DataType::Null && RowConverter::supports_fields(&[SortField::new(kind.clone())]);
    let columns = plan.schema().iter().filter(|(_, field)| ordered(field.data_type()));
    let keys: Vec<_> = columns
        .map(|(table, field)| Expr::Column(Column::new(table.cloned(), field.name())).sort(true, false))
        .collect();
    if keys.is_empty() { Ok(plan) } else { LogicalPlanBuilder::from(plan).sort(keys)?.build() }
}

fn says_order(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Limit(_) => {
            plan.inputs().first().is_some_and(|input| says_order(input))
        }
        _ => false,
    }
}

fn leaves_open(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let mut open = false;
    plan.apply_with_subqueries(|node| {
        let moves = operator(node).is_some() && !matches!(node, LogicalPlan::Sort(_) | LogicalPlan::Limit(_));
        open |= moves;
        Ok(if moves { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(open)
}
