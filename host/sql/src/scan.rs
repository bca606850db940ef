//! The plan that reads pieces: which are left, who reads which, and what came of it.

use std::{fmt, ops::Range, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{Statistics, tree_node::TreeNodeRecursion},
    error::Result as DataFusionResult,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_optimizer::pruning::PruningPredicate,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
        execution_plan::{Boundedness, EmissionType, SchedulingType},
        metrics::{ExecutionPlanMetricsSet, MetricsSet},
        statistics::StatisticsArgs,
        stream::RecordBatchReceiverStreamBuilder,
    },
};

pub(super) mod told;

use super::{
    pieces::{Pieces, runs},
    read::{AHEAD, Counts, Reader, Wanted},
};

/// Digits of a commit id that a plan shows.
const SHORT: usize = 12;

/// Reads the pieces that are left of a table.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pieces: Arc<Pieces>,
    /// Columns of the table, and of those the wanted ones.
    table: SchemaRef,
    schema: SchemaRef,
    /// Indexes of the pieces to read, and who reads which of them.
    kept: Arc<[usize]>,
    runs: Arc<[Range<usize>]>,
    predicate: Option<Arc<PruningPredicate>>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl Scan {
    /// Reads the pieces `kept` in at most `parts` partitions, and of each what `predicate` does not rule out.
    pub(super) fn new(
        pieces: &Arc<Pieces>,
        table: SchemaRef,
        schema: SchemaRef,
        mut kept: Vec<usize>,
        predicate: Option<Arc<PruningPredicate>>,
        limit: Option<usize>,
        parts: usize,
    ) -> Self {
        kept.truncate(enough(pieces, &kept, limit.filter(|_| predicate.is_none())));
        let runs: Arc<[Range<usize>]> = runs(&weights(pieces, &kept), parts).into();
        let properties = properties(&schema, runs.len());
        let (pieces, kept, metrics) = (Arc::clone(pieces), kept.into(), ExecutionPlanMetricsSet::new());
        Self { pieces, table, schema, kept, runs, predicate, limit, properties, metrics }
    }

    /// The pieces that `partition` reads, or all.
    fn run(&self, partition: Option<usize>) -> &[usize] {
        let range = partition.map_or(Some(0..self.kept.len()), |partition| self.runs.get(partition).cloned());
        range.and_then(|range| self.kept.get(range)).unwrap_or_default()
    }
}

fn properties(schema: &SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    let properties = PlanProperties::new(
        EquivalenceProperties::new(SchemaRef::clone(schema)),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    );
    Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative))
}

/// Bytes of each of the pieces at `kept`.
fn weights(pieces: &Pieces, kept: &[usize]) -> Vec<u64> {
    kept.iter().map(|&index| pieces.list.get(index).map_or(0, |piece| piece.piece.blob.size)).collect()
}

/// How many of the first of `kept` have `limit` rows.
fn enough(pieces: &Pieces, kept: &[usize], limit: Option<usize>) -> usize {
    let Some(limit) = limit else { return kept.len() };
    let mut rows = 0;
    let before = kept.iter().take_while(|&&index| {
        let more = rows < limit as u64;
        rows += pieces.rows(index);
        more
    });
    before.count()
}

impl DisplayAs for Scan {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.pieces.commit.get(..SHORT).unwrap_or(&self.pieces.commit);
        let (left, all) = (self.pieces.files(self.kept.iter().copied()), self.pieces.files(0..self.pieces.len()));
        let columns: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let separator = if kind == DisplayFormatType::TreeRender { "\n" } else { ", " };
        if kind != DisplayFormatType::TreeRender {
            f.write_str("RepoScan: ")?;
        }
        write!(f, "repo={}{separator}commit={commit}{separator}files={left}/{all}", self.pieces.repo.name())?;
        if self.pieces.len() > all {
            write!(f, "{separator}pieces={}/{}", self.kept.len(), self.pieces.len())?;
        }
        write!(f, "{separator}columns=[{}]", columns.join(", "))?;
        if let Some(predicate) = &self.predicate {
            write!(f, "{separator}predicate={}", predicate.orig_expr())?;
        }
        self.limit.map_or(Ok(()), |limit| write!(f, "{separator}limit={limit}"))
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &'static str {
        "RepoScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DataFusionResult<SendableRecordBatchStream> {
        let mut stream = RecordBatchReceiverStreamBuilder::new(SchemaRef::clone(&self.schema), AHEAD);
        let reader = Reader {
            pieces: Arc::clone(&self.pieces),
            wanted: Wanted::new(&self.pieces, &self.schema),
            table: SchemaRef::clone(&self.table),
            predicate: self.predicate.clone(),
            counts: Counts::new(&self.metrics, partition),
            to: stream.tx(),
        };
        let (run, limit) = (self.run(Some(partition)).to_vec(), self.limit);
        stream.spawn(async move { reader.run(run, limit).await });
        Ok(stream.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> DataFusionResult<Arc<Statistics>> {
        let whole = self.predicate.is_none() && self.limit.is_none();
        Ok(Arc::new(self.pieces.statistics(self.run(args.partition()), &self.schema, whole)))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Self { limit, ..self.clone() }))
    }
}
