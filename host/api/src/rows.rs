//! Queries, and their rows as they are found.

use std::{collections::BTreeMap, fmt};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_repo::{Reference, Store};
use spout_sql::{Session, Verify, query_planned};

use crate::{Error, Result};

/// A query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The statement, as in `select count(*) from events`.
    pub query: String,
    /// Repos that are read at another commit than the head of master, as in `["events@master~2"]`.
    #[serde(default)]
    pub at: Vec<String>,
    /// Whether every file is read whole and checked against its committed hash.
    #[serde(default)]
    pub verify: bool,
}

/// The rows of an answer.
pub struct Rows {
    schema: SchemaRef,
    rows: BoxStream<'static, Result<RecordBatch>>,
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Rows {
    /// Rows of these columns.
    #[must_use]
    pub fn new(schema: SchemaRef, rows: BoxStream<'static, Result<RecordBatch>>) -> Self {
        Self { schema, rows }
    }

    /// Their columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows, or `None` at the end.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.rows.next().await
    }

    /// All rows.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.rows.try_collect().await
    }
}

impl Query {
    fn points(&self) -> Result<BTreeMap<String, Reference>> {
        let mut at: BTreeMap<String, Reference> = BTreeMap::new();
        for text in &self.at {
            let reference: Reference = text.parse()?;
            let repo = reference.repo.clone();
            if at.insert(repo.clone(), reference).is_some() {
                let what = format!(
                    "--at names the repo {repo} twice; to read it at two commits, name them in the query, `{repo} as of '~1'`"
                );
                return Err(Error::Usage { verb: "sql", what });
            }
        }
        Ok(at)
    }
}

pub(crate) async fn ask(store: &Store, query: &Query) -> Result<Rows> {
    ask_planned(store, query, |session| session).await
}

/// The rows of a query whose plans are made and run as `planned` says.
///
/// # Errors
/// As [`Api::sql`](crate::Api::sql).
pub async fn ask_planned(store: &Store, query: &Query, planned: impl FnOnce(Session) -> Session) -> Result<Rows> {
    let verify = if query.verify { Verify::Whole } else { Verify::Parts };
    let answer = query_planned(store, &query.query, &query.points()?, verify, planned).await?;
    let schema = SchemaRef::clone(answer.schema());
    let rows = stream::unfold(answer, |mut answer| async move {
        let batch = answer.next().await?;
        Some((batch.map_err(Error::from), answer))
    });
    Ok(Rows::new(schema, rows.boxed()))
}
