//! How a scan gets to another process: with all that it needs to know of its pieces, so that nobody looks them up a second time.
//!
//! **Invariant**: what a scan reads there is in the store that the process was started with.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    catalog::memory::{DataSourceExec, MemorySourceConfig},
    common::{Result, exec_datafusion_err, internal_err},
    error::DataFusionError,
    execution::{FunctionRegistry, SessionState, TaskContext},
    physical_optimizer::pruning::PruningPredicateBuilder,
    physical_plan::{ExecutionPlan, metrics::ExecutionPlanMetricsSet},
};
use datafusion_proto::{
    physical_plan::{PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension},
    protobuf,
};
use prost::Message;
use spout_repo::{FileEntry, Piece, Store, TableInfo};

use super::{Scan, properties, weights};
use crate::{
    Verify,
    partitions::Partitions,
    pieces::{Pieces, TablePiece, runs},
    text,
};

/// Operators that read nothing but what their inputs give, and write nothing.
const PURE: [&str; 30] = [
    "AggregateExec",
    "BoundedWindowAggExec",
    "BufferExec",
    "CoalesceBatchesExec",
    "CoalescePartitionsExec",
    "CooperativeExec",
    "CrossJoinExec",
    "EmptyExec",
    "FilterExec",
    "GlobalLimitExec",
    "HashJoinExec",
    "InterleaveExec",
    "LocalLimitExec",
    "NestedLoopJoinExec",
    "PartialSortExec",
    "PartitionedTopKExec",
    "PiecewiseMergeJoinExec",
    "PlaceholderRowExec",
    "ProjectionExec",
    "RepartitionExec",
    "ScalarSubqueryExec",
    "SortExec",
    "SortExec(TopK)",
    "SortMergeJoinExec",
    "SortPreservingMergeExec",
    "SymmetricHashJoinExec",
    "UnionExec",
    "UnnestExec",
    "WindowAggExec",
    "OutputRequirementExec",
];

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

/// Whether an operator of a plan that another process has sent may run here.
#[must_use]
pub fn may_run(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let in_memory = |source: &DataSourceExec| source.data_source().downcast_ref::<MemorySourceConfig>().is_some();
    plan.downcast_ref::<Scan>().is_some()
        || plan.downcast_ref::<DataSourceExec>().is_some_and(in_memory)
        || PURE.contains(&plan.name())
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

/// How scans of `store` travel.
#[must_use]
pub fn codec(store: &Store) -> Arc<dyn PhysicalExtensionCodec> {
    Arc::new(ScanCodec(store.clone()))
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

/// A scan as it travels.
#[derive(Clone, PartialEq, Message)]
struct ScanWords {
    #[prost(string, tag = "1")]
    repo: String,
    #[prost(string, tag = "2")]
    commit: String,
    /// Every file is read whole.
    #[prost(bool, tag = "3")]
    whole: bool,
    /// Columns of the table, those that are wanted, and those that are in paths.
    #[prost(message, tag = "4")]
    table: Option<protobuf::Schema>,
    #[prost(message, tag = "5")]
    wanted: Option<protobuf::Schema>,
    #[prost(message, tag = "6")]
    partitions: Option<protobuf::Schema>,
    /// Columns of pieces.
    #[prost(message, repeated, tag = "7")]
    schemas: Vec<protobuf::Schema>,
    #[prost(message, repeated, tag = "8")]
    pieces: Vec<PieceWords>,
    /// How many of the pieces each partition reads.
    #[prost(uint64, repeated, tag = "9")]
    runs: Vec<u64>,
    #[prost(message, tag = "10")]
    predicate: Option<protobuf::PhysicalExprNode>,
    #[prost(uint64, optional, tag = "11")]
    limit: Option<u64>,
}

/// A piece as it travels.
#[derive(Clone, PartialEq, Message)]
struct PieceWords {
    #[prost(string, tag = "1")]
    path: String,
    /// The piece as records have it, without what is known of its values.
    #[prost(string, tag = "2")]
    piece: String,
    #[prost(uint32, tag = "3")]
    schema: u32,
}

/// Carries scans, and opens them in a store.
#[derive(Debug)]
struct ScanCodec(Store);

impl PhysicalExtensionCodec for ScanCodec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(scan) = node.downcast_ref::<Scan>() else { return internal_err!("{} does not travel", node.name()) };
        let (pieces, mut schemas) = (&scan.pieces, Vec::<SchemaRef>::new());
        let mut list = Vec::with_capacity(scan.kept.len());
        for piece in scan.kept.iter().filter_map(|&index| pieces.list.get(index)) {
            let known = schemas.iter().position(|schema| Arc::ptr_eq(schema, &piece.schema));
            let schema = known.unwrap_or_else(|| {
                schemas.push(SchemaRef::clone(&piece.schema));
                schemas.len() - 1
            });
            let info = TableInfo { columns: Vec::new(), ..piece.info.clone() };
            let json = serde_json::to_string(&Piece { table: Some(info), ..piece.piece.clone() }).map_err(external)?;
            let schema = u32::try_from(schema).map_err(external)?;
            list.push(PieceWords { path: piece.file.path.clone(), piece: json, schema });
        }
        // What cannot travel rules out nothing there.
        let predicate = scan.predicate.as_ref();
        let predicate = predicate.and_then(|it| converter.physical_expr_to_proto(it.orig_expr(), self).ok());
        let words = ScanWords {
            repo: pieces.repo.name().to_owned(),
            commit: pieces.commit.clone(),
            whole: pieces.verify == Verify::Whole,
            table: Some(scan.table.as_ref().try_into()?),
            wanted: Some(scan.schema.as_ref().try_into()?),
            partitions: Some((&Schema::new(pieces.partitions.fields().to_vec())).try_into()?),
            schemas: schemas.iter().map(|schema| Ok(schema.as_ref().try_into()?)).collect::<Result<_>>()?,
            pieces: list,
            runs: scan.runs.iter().map(|run| run.len() as u64).collect(),
            predicate,
            limit: scan.limit.map(|limit| limit as u64),
        };
        words.encode(bytes).map_err(external)
    }

    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if !inputs.is_empty() {
            return internal_err!("a scan has no inputs");
        }
        let words = ScanWords::decode(bytes).map_err(external)?;
        let repo = self.0.named(&words.repo).map_err(|error| external(crate::Error::from(error)))?;
        let (table, wanted) = (schema(words.table.as_ref())?, schema(words.wanted.as_ref())?);
        let in_paths = schema(words.partitions.as_ref())?;
        let partitions = Partitions::with(in_paths.fields().iter().map(|field| field.as_ref().clone()).collect());
        let schemas = words.schemas.iter().map(|words| schema(Some(words))).collect::<Result<Vec<_>>>()?;
        let list =
            words.pieces.into_iter().map(|piece| piece.open(&schemas, &partitions)).collect::<Result<Vec<_>>>()?;
        let (mut runs, mut from) = (Vec::with_capacity(words.runs.len()), 0usize);
        for length in words.runs {
            let to = usize::try_from(length).ok().and_then(|length| from.checked_add(length));
            let to = to.filter(|to| *to <= list.len());
            let to = to.ok_or_else(|| exec_datafusion_err!("a scan reads more pieces than it has"))?;
            runs.push(from..to);
            from = to;
        }
        let predicate = match &words.predicate {
            Some(words) => {
                let decoding = PhysicalPlanDecodeContext::new(context, self);
                let expression = converter.proto_to_physical_expr(words, &table, &decoding)?;
                PruningPredicateBuilder::new().with_file_schema(SchemaRef::clone(&table)).build(expression)
            }
            None => None,
        };
        let limit = words.limit.map(usize::try_from).transpose().map_err(external)?;
        let verify = if words.whole { Verify::Whole } else { Verify::Parts };
        let kept: Arc<[usize]> = (0..list.len()).collect();
        let properties = properties(&wanted, runs.len());
        let pieces = Arc::new(Pieces { repo, commit: words.commit, partitions, list, verify });
        Ok(Arc::new(Scan {
            pieces,
            table,
            schema: wanted,
            kept,
            runs: runs.into(),
            predicate,
            limit,
            properties,
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }
}

impl PieceWords {
    fn open(self, schemas: &[SchemaRef], partitions: &Partitions) -> Result<TablePiece> {
        let mut piece: Piece = serde_json::from_str(&self.piece).map_err(external)?;
        let info = piece.table.take().ok_or_else(|| exec_datafusion_err!("{} is no table", self.path))?;
        let schema = usize::try_from(self.schema).ok().and_then(|at| schemas.get(at));
        let schema = schema.ok_or_else(|| exec_datafusion_err!("{} has no columns", self.path))?;
        let values = partitions.values(&self.path);
        let file = FileEntry {
            path: self.path,
            format: Some(info.format),
            size: piece.blob.size,
            rows: Some(info.rows),
            sha256: piece.blob.sha256.clone(),
            pieces: Vec::new(),
        };
        Ok(TablePiece { file, piece, info, schema: SchemaRef::clone(schema), values })
    }
}

fn schema(words: Option<&protobuf::Schema>) -> Result<SchemaRef> {
    let words = words.ok_or_else(|| exec_datafusion_err!("a scan without columns"))?;
    Ok(Arc::new(Schema::try_from(words)?))
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
