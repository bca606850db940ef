//! SQL expressions over the columns of a batch, compiled by DataFusion, with arithmetic that does not wrap.

use std::sync::{Arc, OnceLock};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch},
    compute::{concat, prep_null_mask_filter},
    datatypes::{DataType, FieldRef, Schema, SchemaRef},
};
use datafusion::{
    common::{
        DFSchema,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    error::DataFusionError,
    functions_aggregate::{
        first_last::{first_value_udaf, last_value_udaf},
        percentile_cont::percentile_cont_udaf,
    },
    logical_expr::{Expr, Volatility, simplify::SimplifyContext},
    optimizer::simplify_expressions::ExprSimplifier,
    physical_expr::PhysicalExpr,
    prelude::{SessionConfig, SessionContext},
    sql::parser::DFParser,
};
use spout_arithmetic::checked;

use super::{
    Error, RowFault, columns,
    halving::{Halving, each},
    state::{ORDER, SOURCE, TIME},
};

/// A SQL expression, compiled for one schema at a time.
#[derive(Debug)]
pub(super) struct Expression {
    handler: String,
    sql: String,
    compiled: Option<(SchemaRef, Arc<dyn PhysicalExpr>)>,
}

/// What all expressions are read with. Column names are used as they are written, so that `userId` needs no quotes.
fn session() -> &'static SessionContext {
    static SESSION: OnceLock<SessionContext> = OnceLock::new();
    SESSION.get_or_init(|| {
        let mut config = SessionConfig::new();
        config.options_mut().sql_parser.enable_ident_normalization = false;
        let session = SessionContext::new_with_config(config);
        spout_arithmetic::install(&session);
        session.register_udaf(first_value_udaf().as_ref().clone().with_aliases(["first"]));
        session.register_udaf(last_value_udaf().as_ref().clone().with_aliases(["last"]));
        session.register_udaf(percentile_cont_udaf().as_ref().clone().with_aliases(["quantile"]));
        session
    })
}

impl Expression {
    /// The expression `sql` of the handler `handler`; it is compiled when the first rows arrive.
    pub(super) fn new(handler: &str, sql: &str) -> Self {
        Self { handler: handler.to_owned(), sql: sql.to_owned(), compiled: None }
    }

    /// Its value for every row of `batch`.
    ///
    /// # Errors
    /// [`Error::Expression`] if it is not for such rows, [`Error::Value`] if one of them has none.
    pub(super) fn evaluate(&mut self, batch: &RecordBatch) -> Result<ArrayRef, Error> {
        let compiled = self.compiled(batch.schema_ref())?;
        let value = compiled.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        value.map_err(|error| self.no_value(error.strip_backtrace()))
    }

    /// The same for rows that all have a value by themselves: what guards a row may not guard it among others, so that they are
    /// taken in as many runs as that needs.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub(super) fn evaluate_each(&mut self, rows: &RecordBatch) -> Result<ArrayRef, Error> {
        let mut halving = Halving::of(rows.num_rows());
        let mut values = Vec::new();
        while let Some(run) = halving.next() {
            match self.evaluate(&rows.slice(run.start, run.len())) {
                Ok(value) => values.push(value),
                Err(error) if run.len() <= 1 => return Err(error),
                Err(error) => halving.failed(run, error)?,
            }
        }
        if let [one] = values.as_slice() {
            return Ok(Arc::clone(one));
        }
        let values: Vec<&dyn Array> = values.iter().map(|value| value.as_ref()).collect();
        concat(&values).map_err(|error| self.refused(&error.to_string()))
    }

    /// The rows that have no value.
    ///
    /// # Errors
    /// [`Error::Expression`] if it is not for such rows.
    pub(super) fn faults(&mut self, rows: &RecordBatch) -> Result<Vec<RowFault>, Error> {
        Ok(each(rows, |rows| self.evaluate(&rows).map(drop))?.1)
    }

    /// Refuses rows of `schema` unless it is true or false of them, which `user` needs, as in `a filter`.
    ///
    /// # Errors
    /// [`Error::Expression`].
    pub(super) fn condition(&mut self, schema: &SchemaRef, user: &str) -> Result<(), Error> {
        let kind = self.data_type(schema)?;
        if kind == DataType::Boolean { Ok(()) } else { Err(self.no_condition(&kind, user)) }
    }

    /// The rows of which `value` is true; null counts as not true.
    ///
    /// # Errors
    /// As [`Expression::condition`].
    pub(super) fn mask(&self, value: &ArrayRef, user: &str) -> Result<BooleanArray, Error> {
        match value.as_boolean_opt() {
            Some(mask) if mask.null_count() > 0 => Ok(prep_null_mask_filter(mask)),
            Some(mask) => Ok(mask.clone()),
            None => Err(self.no_condition(value.data_type(), user)),
        }
    }

    fn no_condition(&self, kind: &DataType, user: &str) -> Error {
        self.refused(&format!("it returns {kind}, but {user} needs true or false; compare it with something"))
    }

    /// Says that a row has no value.
    pub(super) fn no_value(&self, reason: String) -> Error {
        Error::Value { handler: self.handler.clone(), expression: self.sql.clone(), reason }
    }

    /// The type of its value for rows of `schema`.
    pub(super) fn data_type(&mut self, schema: &SchemaRef) -> Result<DataType, Error> {
        let field = self.compiled(schema)?.return_field(schema);
        field.map(|field| field.data_type().clone()).map_err(|error| self.refused(&error.strip_backtrace()))
    }

    fn compiled(&mut self, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>, Error> {
        let current = self.compiled.as_ref().filter(|(known, _)| Arc::ptr_eq(known, schema) || known == schema);
        if let Some((_, compiled)) = current {
            return Ok(Arc::clone(compiled));
        }
        let compiled = self.compile(schema)?;
        self.compiled = Some((Arc::clone(schema), Arc::clone(&compiled)));
        Ok(compiled)
    }

    fn compile(&self, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>, Error> {
        let refused = |error: DataFusionError| self.refused(&over(&error, schema));
        let table = DFSchema::try_from(schema.clone()).map_err(refused)?;
        let logical = logical(&self.sql, schema, &table).map_err(|reason| self.refused(&reason))?;
        session().create_physical_expr(logical, &table).map_err(refused)
    }

    fn refused(&self, reason: &str) -> Error {
        Error::Expression { handler: self.handler.clone(), expression: self.sql.clone(), reason: reason.to_owned() }
    }
}

/// Whether `sql` can be an expression, whatever the columns are.
///
/// # Errors
/// [`Error::Expression`] with what the parser says.
pub(super) fn read(handler: &str, sql: &str) -> Result<(), Error> {
    let state = session().state();
    let read = state.sql_to_expr(sql, &state.config().options().sql_parser.dialect);
    read.map(drop).map_err(|error| Expression::new(handler, sql).refused(&error.strip_backtrace()))
}

/// The same for one whole query.
///
/// # Errors
/// As [`read`].
pub(super) fn read_query(handler: &str, sql: &str) -> Result<(), Error> {
    let refused = |reason: &str| Err(Expression::new(handler, sql).refused(reason));
    match DFParser::parse_sql(sql) {
        Err(error) => refused(&error.strip_backtrace()),
        Ok(statements) if statements.len() == 1 => Ok(()),
        Ok(_) => refused("it has to be one query"),
    }
}

/// `sql` as it is evaluated over rows of `schema`, which is `table`; or why it cannot be.
pub(super) fn logical(sql: &str, schema: &Schema, table: &DFSchema) -> Result<Expr, String> {
    let failed = |error: DataFusionError| over(&error, schema);
    let parsed = session().parse_sql_expr(sql, table).map_err(failed)?;
    match unstable(&parsed) {
        Some(reason) => Err(reason),
        None => lowered(parsed, table).map_err(failed),
    }
}

/// `expression`, compiled for rows of `table`.
pub(super) fn physical(expression: Expr, table: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    session().create_physical_expr(lowered(expression, table)?, table)
}

/// With types that fit each other, checked arithmetic, and simplified: some functions, `coalesce` for one, are there only until
/// then.
fn lowered(expression: Expr, table: &DFSchema) -> Result<Expr, DataFusionError> {
    let context = SimplifyContext::builder().with_schema(Arc::new(table.clone())).build();
    let simplifier = ExprSimplifier::new(context);
    simplifier.simplify(checked(simplifier.coerce(expression, table)?, table)?)
}

/// What `error` says of an expression over rows of `schema`; columns of ours are not shown.
pub(super) fn over(error: &DataFusionError, schema: &Schema) -> String {
    let own = |field: &FieldRef| ![TIME, SOURCE, ORDER].contains(&field.name().as_str());
    let shown = Schema::new(schema.fields().iter().filter(|field| own(field)).cloned().collect::<Vec<_>>());
    format!("{} (columns: {})", error.strip_backtrace(), columns::names(&shown))
}

/// Says so if the answer of a function in `expression` depends on more than its arguments.
pub(super) fn unstable(expression: &Expr) -> Option<String> {
    let mut found = None;
    let walked = expression.apply(|part| {
        if let Expr::ScalarFunction(call) = part
            && call.func.signature().volatility != Volatility::Immutable
        {
            let name = call.func.name();
            found = Some(format!(
                "`{name}()` returns something else when the same messages are read again; use a column of the message instead"
            ));
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.ok().and(found)
}
