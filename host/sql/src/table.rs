//! The table files of a commit as one DataFusion table.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::DFSchema,
    error::Result as DataFusionResult,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType, utils::conjunction},
    physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder},
    physical_plan::ExecutionPlan,
};
use spout_repo::{FileEntry, Repo, Tree};

use super::{Error, Verify, bounds::FileStatistics, partitions::Partitions, pieces::Pieces, scan::Scan, views::viewed};

/// Rows of some files of a commit.
#[derive(Debug)]
pub(super) struct RepoTable {
    schema: SchemaRef,
    pieces: Arc<Pieces>,
}

impl RepoTable {
    /// The union of `files`; `None` if there are none.
    pub(super) fn new(repo: Repo, tree: Tree, files: Vec<FileEntry>, verify: Verify) -> Result<Option<Self>, Error> {
        if files.is_empty() {
            return Ok(None);
        }
        let schema = tree.columns(&files)?;
        let partitions = Partitions::of(files.iter().map(|file| file.path.as_str()), &schema);
        let schema = with_partitions(&schema, &partitions);
        let pieces = Pieces::of(repo, tree, files, partitions, verify);
        Ok(Some(Self::of(schema, pieces)))
    }

    /// The union of `pieces`, with columns that hold them all.
    pub(super) fn of(schema: SchemaRef, pieces: Pieces) -> Self {
        Self { schema, pieces: Arc::new(pieces) }
    }

    /// The same with its texts as views.
    pub(super) fn viewed(self) -> Self {
        match Arc::try_unwrap(self.pieces) {
            Ok(pieces) => {
                let schema = viewed(&self.schema, pieces.partitions.fields());
                Self::of(schema, pieces.viewed())
            }
            Err(pieces) => Self { pieces, ..self },
        }
    }

    /// What can be proven never to be true of a piece of which nothing more than its statistics is known.
    fn predicate(&self, state: &dyn Session, filters: &[Expr]) -> Option<Arc<PruningPredicate>> {
        let schema = DFSchema::try_from(Schema::clone(&self.schema)).ok()?;
        let filter = conjunction(filters.iter().cloned())?;
        let filter = state.create_physical_expr(filter, &schema).ok()?;
        PruningPredicateBuilder::new().with_file_schema(SchemaRef::clone(&self.schema)).build(filter)
    }

    /// The pieces in which `predicate` may hold. What cannot be said is not a reason to leave one out.
    fn kept(&self, predicate: Option<&Arc<PruningPredicate>>) -> Vec<usize> {
        let known = FileStatistics { pieces: &self.pieces, schema: &self.schema };
        let kept = predicate.and_then(|predicate| predicate.prune(&known).ok());
        let filled = (0..self.pieces.len()).filter(|&index| self.pieces.rows(index) > 0);
        filled.filter(|&index| kept.as_ref().is_none_or(|kept| kept.get(index) != Some(&false))).collect()
    }
}

/// File columns, then partition columns.
pub(super) fn with_partitions(schema: &SchemaRef, partitions: &Partitions) -> SchemaRef {
    let partitions = partitions.fields().iter().cloned().map(Arc::new);
    Schema::new(schema.fields().iter().cloned().chain(partitions).collect::<Vec<_>>()).into()
}

#[async_trait]
impl TableProvider for RepoTable {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let projected = match projection {
            Some(projection) => SchemaRef::new(self.schema.project(projection)?),
            None => SchemaRef::clone(&self.schema),
        };
        let predicate = self.predicate(state, filters);
        let kept = self.kept(predicate.as_ref());
        let limit = limit.filter(|_| filters.is_empty());
        // As many partitions as there are threads, not as there are files: each holds a file in memory.
        let parts = state.config().target_partitions();
        Ok(Arc::new(Scan::new(&self.pieces, SchemaRef::clone(&self.schema), projected, kept, predicate, limit, parts)))
    }
}
