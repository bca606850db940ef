//! The tables that a test gives, in the place of those in repos.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use spout_data::{PartitionId, Position, Span, Upstream};
use spout_format::adapt;
use spout_node::{TableError, TableFuture, TableName, TableReader, TableStore, TableVersion};
use spout_producer::{DecoderFactory, SchemaPin};
use spout_spec::{TestSpec, TestTable};

use super::{Error, Problem, rows};

/// The tables of one test, by repo.
#[derive(Clone, Debug, Default)]
pub(super) struct TestTables(BTreeMap<String, RecordBatch>);

impl TestTables {
    /// Those of `test`, and what is wrong with their rows.
    pub(super) async fn of(test: &TestSpec, pipeline: &str, base: &Path) -> Result<(Self, Vec<Problem>), Error> {
        let (mut tables, mut wrong) = (BTreeMap::new(), Vec::new());
        for (name, table) in &test.tables {
            let read = read(table, base, &mut wrong).await;
            let read =
                read.map_err(|source| Error::Producer { pipeline: pipeline.to_owned(), source: Box::new(source) })?;
            tables.insert(name.clone(), read);
        }
        Ok((Self(tables), wrong))
    }
}

/// The rows of a table, decoded as those of a test are.
async fn read(table: &TestTable, base: &Path, wrong: &mut Vec<Problem>) -> Result<RecordBatch, spout_producer::Error> {
    let (schema, given) = table.parts();
    let declared = schema.and_then(|schema| schema.parse().ok()).map(Arc::new);
    let factory = DecoderFactory {
        spec: rows::of_objects(),
        task: None,
        decodes: true,
        topic: String::new(),
        metadata: Vec::new(),
        pin: SchemaPin::new(declared.clone()),
        base: base.to_owned(),
        schemas: Default::default(),
    };
    let mut messages = rows::objects(given);
    let next = messages.len() as u64;
    messages.offsets = (0..next).collect();
    let span = Span { partition: PartitionId::default(), start: 0, next: Position::at(next) };
    let batch = factory.decoder().decode(messages, span).await?;
    wrong.extend(batch.dead.iter().map(rows::misfit));
    Ok(match declared {
        Some(schema) if batch.records.num_columns() == 0 => RecordBatch::new_empty(schema),
        _ => batch.records,
    })
}

impl TableStore for TestTables {
    fn table(&self, name: &TableName) -> Box<dyn TableReader> {
        Box::new(Once { name: name.clone(), rows: self.0.get(&name.repo).cloned(), given: false, read: false })
    }
}

/// A table that is always as the test gives it.
struct Once {
    name: TableName,
    rows: Option<RecordBatch>,
    given: bool,
    read: bool,
}

impl TableReader for Once {
    fn newer(&mut self, _: bool) -> TableFuture<'_, Option<TableVersion>> {
        let TableName { repo, point, .. } = self.name.clone();
        let Some(rows) = &self.rows else {
            let advice = format!("the test gives no such table; add it, as in `tables: {{{repo}: [{{…}}]}}`");
            return Box::pin(async move { Err(TableError::Missing(advice)) });
        };
        let first = !std::mem::replace(&mut self.given, true);
        let commit = Upstream::looked_up(repo, point, "test".into());
        let version = TableVersion { commit, schema: rows.schema(), whole: true, rows: rows.num_rows() as u64 };
        Box::pin(async move { Ok(first.then_some(version)) })
    }

    fn next<'a>(&'a mut self, columns: &'a SchemaRef) -> TableFuture<'a, Option<RecordBatch>> {
        Box::pin(async move {
            let rows = self.rows.as_ref().filter(|_| !std::mem::replace(&mut self.read, true));
            let adapted = rows.map(|rows| adapt(rows, columns)).transpose();
            adapted.map_err(|error| TableError::Missing(error.to_string()))
        })
    }

    fn forget(&mut self) {
        (self.given, self.read) = (false, false);
    }
}
