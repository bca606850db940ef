//! SQL over commits: each repo that a statement names is a table of the rows of its commit.
//!
//! `events` or, for a repo `events-v2`, `events_v2` or `"events-v2"` is the union of all table files of the commit;
//! `events_dead_letter` is what was set aside; `events_clicks` is the files below `/clicks`. `events as of 'dev~2'` or
//! `"events@dev~2"` is another commit than the head of master. Only queries are run.
//!
//! A query reads in this order: [`statement`] gives every table a plain name, [`names`] and [`functions`] find what the
//! names mean, a [`table`] leaves out files by what [`bounds`] are known of their [`pieces`], and a [`scan`] makes its
//! partitions [`read`] the rest, of large Parquet files only the [`ranges`] that are needed; texts are [`views`] on the way.
//!
//! **Invariant**: a query never writes, and never holds more of a table in memory than a few of its files.

mod bounds;
mod changes;
mod error;
mod functions;
#[cfg(test)]
mod fuzz;
mod names;
mod partitions;
mod pieces;
mod ranges;
mod read;
mod scan;
mod statement;
mod table;
mod text;
mod views;

use std::{collections::BTreeMap, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
pub use datafusion::execution::SessionStateBuilder as Session;
use datafusion::{
    catalog::TableProvider,
    common::TableReference,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, SessionState, context::SQLOptions},
    prelude::{SessionConfig, SessionContext},
};
pub use error::Error;
use futures::{StreamExt, TryStreamExt};
use spout_base::error::Coded as _;
use spout_repo::{Reference, Store};

pub use self::scan::told::{Part, Reading, functions, pieces, shares};
use self::table::RepoTable;

/// What of a file is compared with what was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Files that are read whole are compared with their hash. Of a large Parquet file of which little is needed only that
    /// is read, and only its size and its number of rows are compared.
    #[default]
    Parts,
    /// Every file that is read is read whole.
    Whole,
}

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
    /// [`Error::Repo`] for a damaged file, and [`Error::Sql`] where a value cannot be computed.
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

/// Runs a query. A repo is read where the query says, else where `at` says, by repo name, else at the head of `master`.
///
/// # Errors
/// [`Error::UnknownTable`], [`Error::NoTable`], [`Error::NotAQuery`], [`Error::FunctionArguments`],
/// [`Error::Sql`], and those of reading commits.
pub async fn query(store: &Store, sql: &str, at: &BTreeMap<String, Reference>) -> Result<Answer, Error> {
    query_verified(store, sql, at, Verify::default()).await
}

/// The same, with a choice of what is verified.
///
/// # Errors
/// As [`query`].
pub async fn query_verified(
    store: &Store,
    sql: &str,
    at: &BTreeMap<String, Reference>,
    verify: Verify,
) -> Result<Answer, Error> {
    query_planned(store, sql, at, verify, |session| session).await
}

/// The same, where `planned` says how plans are made and run.
///
/// # Errors
/// As [`query`], and those of whoever runs the plan.
pub async fn query_planned(
    store: &Store,
    sql: &str,
    at: &BTreeMap<String, Reference>,
    verify: Verify,
    planned: impl FnOnce(Session) -> Session,
) -> Result<Answer, Error> {
    let config = SessionConfig::new().with_information_schema(false);
    let session = planned(Session::new().with_config(config).with_default_features());
    // DataFusion's planning is a future of many kilobytes.
    Box::pin(answer(store, sql, at, verify, SessionContext::new_with_state(session.build()))).await
}

async fn answer(
    store: &Store,
    sql: &str,
    at: &BTreeMap<String, Reference>,
    verify: Verify,
    context: SessionContext,
) -> Result<Answer, Error> {
    spout_arithmetic::install(&context);
    context.register_udf(text::text());
    let state = context.state();
    let asked = statement::read(&state, sql)?;
    let tables = Box::pin(tables(store, &state, &asked, at, verify)).await?;
    let viewed = !tables.iter().any(|(_, table)| views::has_views(&table.schema()));
    for (reference, table) in tables {
        context.register_table(reference, table.provider(viewed)).map_err(failed)?;
    }
    let plan = context.state().statement_to_plan(asked.statement).await.map_err(failed)?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(|_| statement::not_a_query(sql))?;
    let frame = context.execute_logical_plan(plan).await.map_err(failed)?;
    let rows = frame.execute_stream().await.map_err(failed)?;
    let rows = if viewed { views::as_stored(rows) } else { rows };
    Ok(Answer { schema: rows.schema(), rows })
}

/// A table that a query asks for.
enum Table {
    OfRepo(RepoTable),
    /// What a function of ours gives.
    Made(Arc<dyn TableProvider>),
}

impl Table {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::OfRepo(table) => table.schema(),
            Self::Made(table) => table.schema(),
        }
    }

    /// What DataFusion reads; with texts as views where `viewed`.
    fn provider(self, viewed: bool) -> Arc<dyn TableProvider> {
        match self {
            Self::OfRepo(table) => Arc::new(if viewed { table.viewed() } else { table }),
            Self::Made(table) => table,
        }
    }
}

/// Every table that is asked for.
async fn tables(
    store: &Store,
    state: &SessionState,
    asked: &statement::Asked,
    at: &BTreeMap<String, Reference>,
    verify: Verify,
) -> Result<Vec<(TableReference, Table)>, Error> {
    let repos = store.names().await?;
    let mut tables: Vec<(TableReference, Table)> = Vec::new();
    for reference in state.resolve_table_references(&asked.statement).map_err(failed)? {
        let name = match &reference {
            TableReference::Bare { table } => table.to_string(),
            other => return Err(names::unknown(&other.to_string(), &repos)),
        };
        if let Some(call) = asked.calls.get(&name) {
            tables.push((reference, Table::Made(Box::pin(functions::call(store, call, verify)).await?)));
        } else if !state.table_functions().contains_key(&name) {
            tables.push((reference, Table::OfRepo(names::find(store, &repos, &name, at, verify).await?)));
        }
    }
    Ok(tables)
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

#[cfg(test)]
mod tests;
