//! How the plans of queries get to another process: what a scan reads, in words.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    catalog::memory::{DataSourceExec, MemorySourceConfig},
    common::{Result, exec_datafusion_err, internal_err},
    error::DataFusionError,
    execution::TaskContext,
    physical_plan::ExecutionPlan,
};
use datafusion_proto::{
    physical_plan::{PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension},
    protobuf,
};
use prost::Message;
use spout_repo::Store;
use spout_sql::{Part, Reading, Verify, pieces};

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

/// Whether an operator of a plan that another process has sent may run here.
#[must_use]
pub fn may_run(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let in_memory = |source: &DataSourceExec| source.data_source().downcast_ref::<MemorySourceConfig>().is_some();
    pieces(plan).is_some()
        || plan.downcast_ref::<DataSourceExec>().is_some_and(in_memory)
        || PURE.contains(&plan.name())
}

/// How scans of `store` travel.
#[must_use]
pub fn codec(store: &Store) -> Arc<dyn PhysicalExtensionCodec> {
    Arc::new(ScanCodec(store.clone()))
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
        let Some(reading) = Reading::of(&node) else { return internal_err!("{} does not travel", node.name()) };
        let (mut schemas, mut pieces) = (Vec::<&SchemaRef>::new(), Vec::with_capacity(reading.parts.len()));
        for part in &reading.parts {
            let known = schemas.iter().position(|schema| Arc::ptr_eq(schema, &part.schema));
            let schema = known.unwrap_or_else(|| {
                schemas.push(&part.schema);
                schemas.len() - 1
            });
            let piece = serde_json::to_string(&part.piece).map_err(external)?;
            let schema = u32::try_from(schema).map_err(external)?;
            pieces.push(PieceWords { path: part.path.clone(), piece, schema });
        }
        // What cannot travel rules out nothing there.
        let predicate = reading.predicate.as_ref().and_then(|it| converter.physical_expr_to_proto(it, self).ok());
        let words = ScanWords {
            repo: reading.repo,
            commit: reading.commit,
            whole: reading.verify == Verify::Whole,
            table: Some(reading.table.as_ref().try_into()?),
            wanted: Some(reading.wanted.as_ref().try_into()?),
            partitions: Some((&Schema::new(reading.in_paths)).try_into()?),
            schemas: schemas.iter().map(|schema| Ok(schema.as_ref().try_into()?)).collect::<Result<_>>()?,
            pieces,
            runs: reading.runs.iter().map(|&run| run as u64).collect(),
            predicate,
            limit: reading.limit.map(|limit| limit as u64),
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
        let (table, wanted) = (schema(words.table.as_ref())?, schema(words.wanted.as_ref())?);
        let in_paths = schema(words.partitions.as_ref())?;
        let schemas = words.schemas.iter().map(|words| schema(Some(words))).collect::<Result<Vec<_>>>()?;
        let parts = words.pieces.into_iter().map(|piece| piece.part(&schemas)).collect::<Result<_>>()?;
        let runs = words.runs.into_iter().map(usize::try_from).collect::<Result<_, _>>().map_err(external)?;
        let predicate = words.predicate.map(|predicate| {
            let decoding = PhysicalPlanDecodeContext::new(context, self);
            converter.proto_to_physical_expr(&predicate, &table, &decoding)
        });
        let reading = Reading {
            repo: words.repo,
            commit: words.commit,
            verify: if words.whole { Verify::Whole } else { Verify::Parts },
            predicate: predicate.transpose()?,
            table,
            wanted,
            in_paths: in_paths.fields().iter().map(|field| field.as_ref().clone()).collect(),
            parts,
            runs,
            limit: words.limit.map(usize::try_from).transpose().map_err(external)?,
        };
        reading.open(&self.0)
    }
}

impl PieceWords {
    fn part(self, schemas: &[SchemaRef]) -> Result<Part> {
        let piece = serde_json::from_str(&self.piece).map_err(external)?;
        let schema = usize::try_from(self.schema).ok().and_then(|at| schemas.get(at));
        let schema = schema.ok_or_else(|| exec_datafusion_err!("{} has no columns", self.path))?;
        Ok(Part { path: self.path, piece, schema: SchemaRef::clone(schema) })
    }
}

fn schema(words: Option<&protobuf::Schema>) -> Result<SchemaRef> {
    let words = words.ok_or_else(|| exec_datafusion_err!("a scan without columns"))?;
    Ok(Arc::new(Schema::try_from(words)?))
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
