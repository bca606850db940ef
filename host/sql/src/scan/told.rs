//! What a scan reads, as another process can be told of it, so that nobody looks up pieces a second time.
//!
//! **Invariant**: what a scan reads there is in the store that the process was started with.

use std::{ops::Range, sync::Arc};

use arrow::datatypes::{Field, SchemaRef};
use datafusion::{
    common::{Result, exec_datafusion_err},
    error::DataFusionError,
    execution::{FunctionRegistry, SessionState},
    physical_optimizer::pruning::PruningPredicateBuilder,
    physical_plan::{ExecutionPlan, PhysicalExpr, metrics::ExecutionPlanMetricsSet},
};
use spout_repo::{FileEntry, Piece, Store, TableInfo};

use super::{Scan, properties, weights};
use crate::{
    Error, Verify,
    partitions::Partitions,
    pieces::{Pieces, TablePiece, runs},
    text,
};

/// All that a scan needs to know.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The repo and the commit that are read.
    pub repo: String,
    pub commit: String,
    pub verify: Verify,
    /// Columns of the table, those of them that are wanted, and those that are in paths.
    pub table: SchemaRef,
    pub wanted: SchemaRef,
    pub in_paths: Vec<Field>,
    /// What is read, in this order, and how many of them each partition reads.
    pub parts: Vec<Part>,
    pub runs: Vec<usize>,
    /// What rules out parts of files.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    /// How many rows are enough.
    pub limit: Option<usize>,
}

/// One put of one file of a table.
#[derive(Clone, Debug)]
pub struct Part {
    /// The file.
    pub path: String,
    /// The piece as records have it, without what is known of its values.
    pub piece: Piece,
    /// Its own columns. Parts that have the same share one.
    pub schema: SchemaRef,
}

/// How many processes could read `plan` beside each other, if it is a scan.
#[must_use]
pub fn pieces(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    plan.downcast_ref::<Scan>().map(|scan| scan.kept.len())
}

/// `plan`, if it is a scan, as `count` scans that read each of its pieces once.
#[must_use]
pub fn shares(plan: &Arc<dyn ExecutionPlan>, count: usize) -> Option<Vec<Arc<dyn ExecutionPlan>>> {
    let shares = plan.downcast_ref::<Scan>()?.shares(count);
    Some(shares.into_iter().map(|share| Arc::new(share) as Arc<dyn ExecutionPlan>).collect())
}

/// Makes the functions of our queries known where plans of them run.
///
/// # Errors
/// DataFusion's, of a function that cannot be registered.
pub fn functions(state: &mut SessionState) -> Result<()> {
    spout_arithmetic::register(state)?;
    state.register_udf(Arc::new(text::text()))?;
    Ok(())
}

impl Reading {
    /// What `plan` reads, if it is a scan.
    #[must_use]
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let scan = plan.downcast_ref::<Scan>()?;
        let pieces = &scan.pieces;
        let part = |piece: &TablePiece| {
            let info = TableInfo { columns: Vec::new(), ..piece.info.clone() };
            let told = Piece { table: Some(info), ..piece.piece.clone() };
            Part { path: piece.file.path.clone(), piece: told, schema: SchemaRef::clone(&piece.schema) }
        };
        Some(Self {
            repo: pieces.repo.name().to_owned(),
            commit: pieces.commit.clone(),
            verify: pieces.verify,
            table: SchemaRef::clone(&scan.table),
            wanted: SchemaRef::clone(&scan.schema),
            in_paths: pieces.partitions.fields().to_vec(),
            parts: scan.kept.iter().filter_map(|&index| pieces.list.get(index)).map(part).collect(),
            runs: scan.runs.iter().map(|run| run.len()).collect(),
            predicate: scan.predicate.as_ref().map(|it| Arc::clone(it.orig_expr())),
            limit: scan.limit,
        })
    }

    /// The scan of `store` that reads this.
    ///
    /// # Errors
    /// The store's, if it has no such repo; DataFusion's, if the parts do not fit each other.
    pub fn open(self, store: &Store) -> Result<Arc<dyn ExecutionPlan>> {
        let repo = store.named(&self.repo).map_err(|error| DataFusionError::External(Box::new(Error::from(error))))?;
        let partitions = Partitions::with(self.in_paths);
        let list = self.parts.into_iter().map(|part| part.open(&partitions)).collect::<Result<Vec<_>>>()?;
        let (mut runs, mut from) = (Vec::<Range<usize>>::with_capacity(self.runs.len()), 0usize);
        for length in self.runs {
            let to = from.checked_add(length).filter(|to| *to <= list.len());
            let to = to.ok_or_else(|| exec_datafusion_err!("a scan reads more pieces than it has"))?;
            runs.push(from..to);
            from = to;
        }
        let pruning = |expression| {
            PruningPredicateBuilder::new().with_file_schema(SchemaRef::clone(&self.table)).build(expression)
        };
        let predicate = self.predicate.and_then(pruning);
        let properties = properties(&self.wanted, runs.len());
        let kept: Arc<[usize]> = (0..list.len()).collect();
        let pieces = Arc::new(Pieces { repo, commit: self.commit, partitions, list, verify: self.verify });
        Ok(Arc::new(Scan {
            pieces,
            table: self.table,
            schema: self.wanted,
            kept,
            runs: runs.into(),
            predicate,
            limit: self.limit,
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }
}

impl Part {
    fn open(self, partitions: &Partitions) -> Result<TablePiece> {
        let Self { path, mut piece, schema } = self;
        let info = piece.table.take().ok_or_else(|| exec_datafusion_err!("{path} is no table"))?;
        let values = partitions.values(&path);
        let file = FileEntry {
            path,
            format: Some(info.format),
            size: piece.blob.size,
            rows: Some(info.rows),
            sha256: piece.blob.sha256.clone(),
            pieces: Vec::new(),
        };
        Ok(TablePiece { file, piece, info, schema, values })
    }
}

impl Scan {
    /// `count` scans of as many partitions each, which together read what this one does.
    fn shares(&self, count: usize) -> Vec<Self> {
        let count = count.max(1);
        let parts = self.properties.output_partitioning().partition_count().max(1);
        let runs = runs(&weights(&self.pieces, &self.kept), parts.saturating_mul(count));
        // All have as many, as the engine wants it; those that are left over read nothing.
        let each = runs.len().div_ceil(count).max(1);
        let share = |at: usize| {
            let (mut kept, mut own) = (Vec::new(), Vec::with_capacity(each));
            for run in runs.iter().skip(at).step_by(count) {
                let from = kept.len();
                kept.extend(self.kept.get(run.clone()).unwrap_or_default());
                own.push(from..kept.len());
            }
            own.resize(each, kept.len()..kept.len());
            Self {
                kept: kept.into(),
                properties: properties(&self.schema, own.len()),
                runs: own.into(),
                metrics: ExecutionPlanMetricsSet::new(),
                ..self.clone()
            }
        };
        (0..count).map(share).collect()
    }
}
