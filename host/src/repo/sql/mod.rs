//! SQL over commits: each repo that a statement names is a table of the rows of its commit.
//!
//! `events` or, for a repo `events-v2`, `events_v2` or `"events-v2"` is the union of all table files of the commit;
//! `events_dead_letter` is what was set aside; `events_clicks` is the files below `/clicks`. Only queries are run.
//!
//! **Invariant**: a query never writes, and never holds more of a table in memory than a few of its files.

mod names;
mod table;

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::TableReference,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, context::SQLOptions},
    prelude::{SessionConfig, SessionContext},
    sql::{parser::Statement, sqlparser::ast},
};
use futures::{StreamExt, TryStreamExt};

use super::{Error, Reference, Store};
use crate::error::Coded as _;

/// The rows of an answer, as they are found.
pub struct Answer {
    schema: SchemaRef,
    rows: SendableRecordBatchStream,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Answer {
    /// The columns of the answer.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows, or `None` at the end.
    ///
    /// # Errors
    /// [`Error::DamagedFile`] and its like, and [`Error::Sql`] where a value cannot be computed.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        Some(self.rows.next().await?.map_err(failed))
    }

    /// All rows.
    ///
    /// # Errors
    /// As [`Answer::next`].
    pub async fn collect(self) -> Result<Vec<RecordBatch>, Error> {
        self.rows.try_collect().await.map_err(failed)
    }
}

/// Runs a query. A repo is read at the head of `master`, or where `at` says, by repo name.
///
/// # Errors
/// [`Error::UnknownTable`], [`Error::NoTable`], [`Error::MixedTypes`], [`Error::NotAQuery`], [`Error::Sql`], and those of
/// reading commits.
pub async fn query(store: &Store, sql: &str, at: &BTreeMap<String, Reference>) -> Result<Answer, Error> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(false));
    let state = context.state();
    let dialect = state.config().options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect).map_err(failed)?;
    only_queries(&statement)?;
    let repos = store.names().await?;
    for reference in state.resolve_table_references(&statement).map_err(failed)? {
        let name = match &reference {
            TableReference::Bare { table } => table.to_string(),
            other => return Err(names::unknown(&other.to_string(), &repos)),
        };
        if state.table_functions().contains_key(&name) {
            continue;
        }
        let table = names::find(store, &repos, &name, at).await?;
        context.register_table(reference, Arc::new(table)).map_err(failed)?;
    }
    let plan = context.state().statement_to_plan(statement).await.map_err(failed)?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(|_| not_a_query(sql))?;
    let frame = context.execute_logical_plan(plan).await.map_err(failed)?;
    let schema = SchemaRef::new(frame.schema().as_arrow().clone());
    let rows = frame.execute_stream().await.map_err(failed)?;
    Ok(Answer { schema, rows })
}

/// Said before tables are looked for, so that `create table` is not answered with the nearest repo.
fn only_queries(statement: &Statement) -> Result<(), Error> {
    match statement {
        Statement::Explain(explain) => only_queries(&explain.statement),
        Statement::Statement(inner) => match inner.as_ref() {
            ast::Statement::Query(_) | ast::Statement::Explain { .. } | ast::Statement::ExplainTable { .. } => Ok(()),
            other => Err(not_a_query(&other.to_string())),
        },
        other => Err(not_a_query(&other.to_string())),
    }
}

fn not_a_query(sql: &str) -> Error {
    Error::NotAQuery { what: sql.split_whitespace().take(3).collect::<Vec<_>>().join(" ") }
}

/// Our own errors come back out of DataFusion as they went in.
fn failed(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::Sql { source: other },
        },
        DataFusionError::Context(_, inner) => failed(*inner),
        other => match within(&other) {
            // An operator has handed the same error to several others, so it cannot be taken out.
            Some(ours) => Error::Query { what: ours.to_string(), kind: ours.kind(), code: ours.code() },
            None => Error::Sql { source: other.into() },
        },
    }
}

/// An error of ours somewhere behind `error`.
fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    error.downcast_ref().or_else(|| error.source().and_then(within))
}
