//! The leaf of a job's plan. What a task is comes to it through the engine's feed of work units, and so do orders; what it says is
//! its rows, each with a number by which the engine's exchange finds whom it is for.

use std::{
    fmt,
    future::ready,
    panic::AssertUnwindSafe,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use arrow::{
    array::{ArrayRef, BinaryArray, RecordBatch, UInt8Array, UInt32Array, UInt64Array, cast::AsArray as _},
    datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type, UInt32Type},
};
use bytes::Bytes;
use datafusion::{
    common::{Result, exec_err, internal_err, tree_node::TreeNodeRecursion},
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use datafusion_distributed::{WorkUnitFeed, WorkUnitFeedProto, WorkUnitFeedProvider};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use futures::{FutureExt as _, Stream, StreamExt as _, stream, stream::BoxStream};
use prost::Message;
use spout_pipeline::{Says, Works};
use tokio::sync::mpsc;

use super::{
    LARGEST,
    gather::{GatherExec, Ways},
};

pub(super) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("to", DataType::UInt64, false),
        Field::new("task", DataType::UInt32, false),
        Field::new("kind", DataType::UInt8, false),
        Field::new("what", DataType::Binary, false),
    ]))
});

/// What the leader tells a task.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Unit {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    task: u32,
    #[prost(bytes = "bytes", tag = "3")]
    what: Bytes,
    /// How many tasks of a second stage there are, and which of them passes words on to the leader.
    #[prost(uint32, tag = "4")]
    gathers: u32,
    #[prost(uint32, tag = "5")]
    carrier: u32,
}

const TASK: u32 = 1;
/// Nothing to do: the engine runs a plan of one task in the process that planned it, so such a task gets company.
const IDLE: u32 = 2;
const ORDER: u32 = 3;

impl Unit {
    pub(super) fn task(task: u32, what: Bytes) -> Self {
        Self { kind: TASK, task, what, ..Self::default() }
    }

    pub(super) fn idle(task: u32) -> Self {
        Self { kind: IDLE, task, ..Self::default() }
    }

    pub(super) fn order(what: Bytes) -> Self {
        Self { kind: ORDER, what, ..Self::default() }
    }

    /// The same before a second stage of `gathers` tasks, of which `carrier` passes its words on.
    pub(super) fn before(self, gathers: u32, carrier: u32) -> Self {
        Self { gathers, carrier, ..self }
    }
}

/// What a task tells the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// Its word.
    Said { task: usize, what: Bytes },
    /// It is over.
    Over { task: usize },
    /// It failed, and says why.
    Failed { task: usize, why: String },
}

const SAID: u8 = 1;
const OVER: u8 = 2;
const FAILED: u8 = 3;
/// For a task of the second stage.
pub(super) const SENT: u8 = 4;

impl Row {
    fn batch(to: u64, task: u32, kind: u8, what: &[u8]) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from_value(to, 1)),
            Arc::new(UInt32Array::from_value(task, 1)),
            Arc::new(UInt8Array::from_value(kind, 1)),
            Arc::new(BinaryArray::from(vec![what])),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
    }

    /// The rows of a batch, which may come from a process that is not as it should be.
    pub(super) fn read(batch: &RecordBatch) -> Result<Vec<Self>> {
        let (tasks, kinds, words) = columns(batch)?;
        let rows = tasks.values().iter().zip(kinds.values()).zip(words);
        rows.map(|((task, kind), what)| {
            let (task, what) = (*task as usize, what.unwrap_or_default());
            match *kind {
                SAID => Ok(Self::Said { task, what: Bytes::copy_from_slice(what) }),
                OVER => Ok(Self::Over { task }),
                FAILED => Ok(Self::Failed { task, why: String::from_utf8_lossy(what).into_owned() }),
                other => exec_err!("a row of the unknown kind {other}"),
            }
        })
        .collect()
    }
}

/// The columns of rows: of which task, of which kind, and what.
pub(super) fn columns(batch: &RecordBatch) -> Result<(&UInt32Array, &UInt8Array, &BinaryArray)> {
    if batch.schema_ref().fields() != SCHEMA.fields() {
        return exec_err!("rows of another shape");
    }
    let (tasks, kinds) = (batch.column(1).as_primitive::<UInt32Type>(), batch.column(2).as_primitive::<UInt8Type>());
    Ok((tasks, kinds, batch.column(3).as_binary::<i32>()))
}

/// The units of each task; each is asked for once.
#[derive(Clone)]
pub(super) struct Feeds(Arc<Vec<Mutex<Option<BoxStream<'static, Unit>>>>>);

impl Feeds {
    pub(super) fn new(feeds: Vec<BoxStream<'static, Unit>>) -> Self {
        Self(Arc::new(feeds.into_iter().map(|feed| Mutex::new(Some(feed))).collect()))
    }
}

impl fmt::Debug for Feeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Feeds").field(&self.0.len()).finish()
    }
}

impl WorkUnitFeedProvider for Feeds {
    type WorkUnit = Unit;

    fn feed(&self, task: usize, _context: Arc<TaskContext>) -> Result<BoxStream<'static, Result<Unit>>> {
        let feed = self.0.get(task).and_then(|feed| feed.lock().unwrap_or_else(PoisonError::into_inner).take());
        match feed {
            Some(feed) => Ok(feed.map(Ok).boxed()),
            None => internal_err!("the units of task {task} are asked for twice"),
        }
    }
}

/// Who does tasks in this process, as a session carries it.
#[derive(Debug)]
pub(super) struct Doer(pub(super) Arc<dyn Works>);

/// Who does tasks in the process of `context`.
pub(super) fn doer(context: &TaskContext) -> Result<Arc<dyn Works>> {
    match context.session_config().get_extension::<Doer>() {
        Some(doer) => Ok(Arc::clone(&doer.0)),
        None => internal_err!("nobody does tasks here"),
    }
}

/// The leaf: a task in the process that it is sent to.
#[derive(Debug)]
pub(super) struct TaskExec {
    feed: WorkUnitFeed<Feeds>,
    properties: Arc<PlanProperties>,
}

impl TaskExec {
    pub(super) fn new(feed: WorkUnitFeed<Feeds>) -> Self {
        let equivalence = EquivalenceProperties::new(Arc::clone(&SCHEMA));
        let one = Partitioning::UnknownPartitioning(1);
        let unbounded = Boundedness::Unbounded { requires_infinite_memory: false };
        let properties = PlanProperties::new(equivalence, one, EmissionType::Incremental, unbounded);
        Self { feed, properties: Arc::new(properties) }
    }

    /// Where the engine finds the units of a leaf.
    pub(super) fn feed(&self) -> Option<&WorkUnitFeed<Feeds>> {
        Some(&self.feed)
    }
}

impl DisplayAs for TaskExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskExec")
    }
}

impl ExecutionPlan for TaskExec {
    fn name(&self) -> &'static str {
        "TaskExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let doer = doer(&context)?;
        let units = self.feed.feed(partition, context)?;
        let rows = stream::once(rows(doer, units)).flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&SCHEMA), rows)))
    }
}

/// What a task is, or that there is nothing to do.
pub(super) struct Begun {
    pub(super) task: u32,
    /// What it is, and its orders.
    pub(super) doing: Option<(Bytes, BoxStream<'static, Bytes>)>,
    gathers: u32,
    carrier: u32,
}

/// Reads what a task is, which comes first; then orders come. Nothing, if the leader is gone.
pub(super) async fn begun(mut units: BoxStream<'static, Result<Unit>>) -> Result<Option<Begun>> {
    let Some(first) = units.next().await.transpose()? else { return Ok(None) };
    let Unit { kind, task, what, gathers, carrier } = first;
    let doing = match kind {
        TASK => {
            // After an error the connection is gone, and the task ends with it.
            let orders = units.take_while(|unit| ready(unit.is_ok()));
            let orders =
                orders.filter_map(|unit| ready(unit.ok().filter(|unit| unit.kind == ORDER).map(|unit| unit.what)));
            Some((what, orders.boxed()))
        }
        IDLE => None,
        other => return exec_err!("a task of the unknown kind {other}"),
    };
    Ok(Some(Begun { task, doing, gathers, carrier }))
}

async fn rows(
    works: Arc<dyn Works>,
    units: BoxStream<'static, Result<Unit>>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let Begun { task, doing, gathers, carrier } = match begun(units).await {
        Ok(Some(begun)) => begun,
        Ok(None) => return stream::empty().boxed(),
        Err(error) => return stream::once(async { Err(error) }).boxed(),
    };
    let ways = match Ways::new(gathers, carrier) {
        Ok(ways) => ways,
        Err(error) => return stream::once(async { Err(error) }).boxed(),
    };
    match doing {
        Some((what, orders)) if gathers == 0 => words(task, ways, works.work(what, orders)).boxed(),
        Some((what, orders)) => {
            // The exchange takes what such a task says also when nobody is left who wants it; that there are no more orders says so.
            let (order, mut ordered) = mpsc::unbounded_channel();
            let over = orders.for_each(move |what| {
                // A task that is over takes none.
                drop(order.send(what));
                ready(())
            });
            let orders = stream::poll_fn(move |context| ordered.poll_recv(context)).boxed();
            words(task, ways, works.work(what, orders)).take_until(over).boxed()
        }
        None => over(task, ways).boxed(),
    }
}

/// A task with nothing to do is over.
pub(super) fn over(task: u32, ways: Ways) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    stream::once(async move { Row::batch(ways.leader, task, OVER, &[]) })
}

/// What a task says, and how it ends. A panic is an error of the task, not of the process.
pub(super) fn words(
    task: u32,
    ways: Ways,
    said: BoxStream<'static, Result<Says, String>>,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static {
    stream::unfold(Some((said, ways)), move |state| async move {
        let (mut said, ways) = state?;
        let failed = |why: &str| Row::batch(ways.leader, task, FAILED, why.as_bytes());
        let next = AssertUnwindSafe(said.next()).catch_unwind().await;
        let (row, goes_on) = match next {
            Ok(Some(Ok(Says { what, .. }))) if what.len() > LARGEST => {
                (failed(&format!("it said a word of {} bytes; {LARGEST} are the most", what.len())), false)
            }
            Ok(Some(Ok(Says { to: None, what }))) => (Row::batch(ways.leader, task, SAID, &what), true),
            Ok(Some(Ok(Says { to: Some(to), what }))) => match ways.gathers.get(to) {
                Some(way) => (Row::batch(*way, task, SENT, &what), true),
                None => (failed("it spoke to a task that there is not"), false),
            },
            Ok(Some(Err(why))) => (failed(&why), false),
            Ok(None) => (Row::batch(ways.leader, task, OVER, &[]), false),
            Err(_) => (failed("it panicked; the log of that process says where"), false),
        };
        Some((row, goes_on.then_some((said, ways))))
    })
}

/// How the leaf travels.
#[derive(Debug)]
pub(super) struct TaskCodec;

impl PhysicalExtensionCodec for TaskCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let feed = WorkUnitFeedProto::decode(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let feed = WorkUnitFeed::from_proto(feed)?;
        match inputs {
            [] => Ok(Arc::new(TaskExec::new(feed))),
            [input] => Ok(Arc::new(GatherExec::new(feed, Arc::clone(input)))),
            _ => internal_err!("a task has one input at most"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let task = node.downcast_ref::<TaskExec>().and_then(TaskExec::feed);
        let Some(feed) = task.or_else(|| node.downcast_ref::<GatherExec>().and_then(GatherExec::feed)) else {
            return internal_err!("{} does not travel", node.name());
        };
        bytes.extend(feed.to_proto().encode_to_vec());
        Ok(())
    }
}
