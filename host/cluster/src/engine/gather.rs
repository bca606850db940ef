//! The second stage of a job's plan: a task that gets what tasks of the first have sent to it, by the engine's exchange.
//!
//! That exchange is by the hash of a column. So whoever sends takes, for each task of the second stage, a number that the engine's own
//! hash leads there ([`Ways`]). What tasks of the first stage say to the leader goes through here too, and is passed on.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array, cast::AsArray as _};
use bytes::Bytes;
use datafusion::{
    arrow::datatypes::{DataType, Field, Schema, UInt64Type},
    common::{Result, exec_err, internal_err, tree_node::TreeNodeRecursion},
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr, expressions::Column},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        metrics::Time,
        repartition::BatchPartitioner,
        stream::RecordBatchStreamAdapter,
    },
};
use datafusion_distributed::WorkUnitFeed;
use futures::{
    StreamExt as _,
    future::ready,
    stream::{self, BoxStream},
};
use spout_base::error::chain;
use spout_pipeline::{Lost, Says, Works};
use tokio::sync::mpsc;

use super::{
    channel::lost_in,
    task::{Begun, Feeds, SCHEMA, SENT, Unit, begun, columns, doer, over, words},
};

/// Numbers that are tried for each task of a second stage.
const TRIED: u64 = 64;

/// By which numbers rows find the tasks of the second stage, and the leader. All are 0 where there is one stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways {
    pub(super) gathers: Vec<u64>,
    pub(super) leader: u64,
}

impl Ways {
    /// The ways to so many tasks, of which `carrier` is the one that passes words on.
    pub(super) fn new(gathers: u32, carrier: u32) -> Result<Self> {
        if gathers == 0 {
            return Ok(Self::default());
        }
        let count = gathers as usize;
        let numbers = UInt64Array::from_iter_values(0..(u64::from(gathers) * TRIED).max(256));
        let schema = Schema::new(vec![Field::new("to", DataType::UInt64, false)]);
        let numbers = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers)])?;
        let mut ways: Vec<Option<u64>> = vec![None; count];
        BatchPartitioner::try_new(by_number(count), Time::new(), 0, 1)?.partition(numbers, |place, numbers| {
            let first = numbers.column(0).as_primitive::<UInt64Type>().values().first().copied();
            ways.iter_mut().skip(place).take(1).for_each(|way| *way = first);
            Ok(())
        })?;
        let Some(gathers) = ways.into_iter().collect::<Option<Vec<u64>>>() else {
            return internal_err!("no number leads to one of {count} tasks");
        };
        match gathers.get(carrier as usize).copied() {
            Some(leader) => Ok(Self { gathers, leader }),
            None => exec_err!("task {carrier} of {count} passes nothing on"),
        }
    }
}

/// Rows by the number of whom they are for.
pub(super) fn by_number(tasks: usize) -> Partitioning {
    Partitioning::Hash(vec![Arc::new(Column::new("to", 0)) as Arc<dyn PhysicalExpr>], tasks)
}

/// A task of the second stage, in the process that it is sent to.
#[derive(Debug)]
pub(super) struct GatherExec {
    feed: WorkUnitFeed<Feeds>,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl GatherExec {
    pub(super) fn new(feed: WorkUnitFeed<Feeds>, input: Arc<dyn ExecutionPlan>) -> Self {
        let equivalence = EquivalenceProperties::new(Arc::clone(&SCHEMA));
        let one = Partitioning::UnknownPartitioning(1);
        let unbounded = Boundedness::Unbounded { requires_infinite_memory: false };
        let properties = PlanProperties::new(equivalence, one, EmissionType::Incremental, unbounded);
        Self { feed, input, properties: Arc::new(properties) }
    }

    /// Where the engine finds the units of these tasks.
    pub(super) fn feed(&self) -> Option<&WorkUnitFeed<Feeds>> {
        Some(&self.feed)
    }

    pub(super) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

impl DisplayAs for GatherExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GatherExec")
    }
}

impl ExecutionPlan for GatherExec {
    fn name(&self) -> &'static str {
        "GatherExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self::new(self.feed.clone(), input))),
            Err(children) => internal_err!("a task of the second stage has one input, not {}", children.len()),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let works = doer(&context)?;
        let units = self.feed.feed(partition, Arc::clone(&context))?;
        let rows = self.input.execute(partition, context)?;
        let rows = stream::once(gathered(works, units, rows)).flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&SCHEMA), rows)))
    }
}

/// What the task says, and what others say to the leader.
async fn gathered(
    works: Arc<dyn Works>,
    units: BoxStream<'static, Result<Unit>>,
    rows: SendableRecordBatchStream,
) -> BoxStream<'static, Result<RecordBatch>> {
    let Begun { task, doing, .. } = match begun(units).await {
        Ok(Some(begun)) => begun,
        Ok(None) => return stream::empty().boxed(),
        Err(error) => return stream::once(async { Err(error) }).boxed(),
    };
    // Whoever sends waits until what was sent before is done, so not much is in it; were it bounded, what others say to the leader
    // would have to wait, and with that all of them.
    let (sent, mut received) = mpsc::unbounded_channel();
    let mut sent = Some(sent);
    // The last of it has to be seen by the task as soon as it has come.
    let passed = rows.map(Some).chain(stream::once(ready(None)));
    let passed = passed.flat_map(move |rows| {
        let passed = rows.zip(sent.as_ref()).map(|(rows, sent)| pass(rows, sent));
        if passed.is_none() {
            sent = None;
        }
        stream::iter(passed.unwrap_or_default())
    });
    match doing {
        Some((what, orders)) => {
            let from = stream::poll_fn(move |context| received.poll_recv(context)).boxed();
            let said = works.gather(what, orders, from).map(|said| said.map(Says::to_leader)).boxed();
            stream::select(passed, words(task, Ways::default(), said)).boxed()
        }
        None => stream::select(passed, over(task, Ways::default())).boxed(),
    }
}

type Sent = mpsc::UnboundedSender<Result<Bytes, Lost>>;

/// Hands on what is for the task; the rest is for the leader.
fn pass(rows: Result<RecordBatch>, sent: &Sent) -> Vec<Result<RecordBatch>> {
    let passed = rows.and_then(|rows| {
        let (_, kinds, words) = columns(&rows)?;
        let mut passed = Vec::new();
        for (row, (kind, word)) in kinds.values().iter().zip(words).enumerate() {
            if *kind == SENT {
                // A task that is over takes nothing.
                drop(sent.send(Ok(Bytes::copy_from_slice(word.unwrap_or_default()))));
            } else {
                passed.push(Ok(rows.slice(row, 1)));
            }
        }
        Ok(passed)
    });
    passed.unwrap_or_else(|error: DataFusionError| {
        let unknown = || Lost { member: "another member".into(), reason: chain(&error) };
        drop(sent.send(Err(lost_in(&error).cloned().unwrap_or_else(unknown))));
        Vec::new()
    })
}
