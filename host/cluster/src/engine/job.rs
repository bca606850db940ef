//! A job: planned by the engine, followed until all its tasks are over or one is lost.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::{
    catalog::Session,
    common::{DFSchema, Result, exec_err},
    error::DataFusionError,
    execution::{SendableRecordBatchStream, SessionStateBuilder, context::QueryPlanner, runtime_env::RuntimeEnv},
    logical_expr::{EmptyRelation, LogicalPlan},
    physical_plan::{ExecutionPlan, coalesce_partitions::CoalescePartitionsExec, repartition::RepartitionExec},
    prelude::SessionConfig,
};
use datafusion_distributed::{
    ChannelResolver, DistributedExt as _, NetworkCoalesceExec, NetworkShuffleExec, RouteTasksEvent,
    RouteTasksEventResponse, SessionStateBuilderExt as _, WorkUnitFeed, WorkerChannel,
};
use futures::{StreamExt as _, future::select_all, stream};
use spout_base::{error::chain, owner};
use spout_pipeline::{Job, Lost, Said, Task};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
};
use url::Url;

use super::{
    AHEAD, LARGEST, Peer,
    channel::{Busy, lost_in},
    gather::{GatherExec, by_number},
    task::{Feeds, Row, TaskCodec, TaskExec, Unit},
};

/// Words that wait for whoever reads [`Job::said`].
const WORDS: usize = 16;

/// Memory and files of the leader's part of jobs; they need neither.
static RUNTIME: LazyLock<Arc<RuntimeEnv>> = LazyLock::new(Arc::default);

/// Starts `tasks`, and `gathers` as a second stage; `peers` are the members by their ids.
pub(crate) fn start(name: &str, tasks: Vec<Task>, gathers: Vec<Task>, peers: &BTreeMap<String, Arc<Peer>>) -> Job {
    let (orders, incoming) = mpsc::unbounded_channel();
    let (words, said) = mpsc::channel(WORDS);
    let plan = Plan::new(name, tasks, gathers, peers);
    let follow = owner::spawn(async move {
        let end = match plan {
            Ok(plan) => plan.follow(incoming, &words).await,
            Err(lost) => Err(lost),
        };
        match end {
            Ok(()) => drop(words.send(Event::Over).await),
            Err(lost) => drop(words.send(Event::Lost(lost)).await),
        }
    });
    let said = stream::unfold(Some((said, Ends(follow.abort_handle()))), |state| async {
        let (mut said, ends) = state?;
        match said.recv().await {
            Some(Event::Said(said_now)) => Some((Ok(said_now), Some((said, ends)))),
            Some(Event::Lost(lost)) => Some((Err(lost), None)),
            Some(Event::Over) => None,
            None => {
                Some((Err(Lost { member: "the leader".into(), reason: "following the job panicked".into() }), None))
            }
        }
    });
    Job { said: said.boxed(), orders }
}

enum Event {
    Said(Said),
    Lost(Lost),
    Over,
}

/// Ends a task of the runtime with itself.
struct Ends(AbortHandle);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Ends {
    fn of<T>(task: &JoinHandle<T>) -> Self {
        Self(task.abort_handle())
    }
}

/// What is to run where.
struct Plan {
    name: String,
    /// Of each task its member and what it is, by number: those of the first stage, those of the second, then idle ones, which have
    /// nothing.
    tasks: Vec<(Arc<Peer>, Option<Bytes>)>,
    /// The numbers of the tasks of each stage.
    first: Vec<usize>,
    second: Vec<usize>,
    busy: Vec<Busy>,
}

impl Plan {
    fn new(
        name: &str,
        tasks: Vec<Task>,
        gathers: Vec<Task>,
        peers: &BTreeMap<String, Arc<Peer>>,
    ) -> Result<Self, Lost> {
        let count = tasks.len();
        let mut planned = Vec::with_capacity(count + gathers.len() + 2);
        for Task { member, what } in tasks.into_iter().chain(gathers) {
            let lost = |reason: String| Lost { member: member.clone(), reason };
            let peer = peers.get(&member).ok_or_else(|| lost("it is no member any more".to_owned()))?;
            if what.len() > LARGEST {
                return Err(lost(format!("its task has {} bytes; {LARGEST} are the most", what.len())));
            }
            planned.push((Arc::clone(peer), Some(what)));
        }
        let mut first: Vec<usize> = (0..count).collect();
        let mut second: Vec<usize> = (count..planned.len()).collect();
        for stage in [&mut first, &mut second] {
            if let [only] = stage.as_slice()
                && let Some((peer, _)) = planned.get(*only)
            {
                let idle = (Arc::clone(peer), None);
                stage.push(planned.len());
                planned.push(idle);
            }
        }
        let busy = planned.iter().map(|(peer, _)| peer.busy()).collect();
        Ok(Self { name: name.to_owned(), tasks: planned, first, second, busy })
    }

    /// Starts the tasks, hands on what they say, and is over when they are.
    async fn follow(self, orders: mpsc::UnboundedReceiver<Bytes>, words: &mpsc::Sender<Event>) -> Result<(), Lost> {
        if self.tasks.is_empty() {
            return Ok(());
        }
        let (feeds, _fan) = self.feeds(orders);
        let mut rows = self.execute(feeds).await.map_err(|error| self.lost(&error))?;
        let mut over = vec![false; self.tasks.len()];
        loop {
            let batch = tokio::select! {
                biased;
                batch = rows.next() => batch,
                // Those of the first stage have no stream of their own that would end.
                lost = self.gone(&over), if !self.second.is_empty() => return Err(lost),
            };
            let Some(batch) = batch else { break };
            for row in batch.and_then(|batch| Row::read(&batch)).map_err(|error| self.lost(&error))? {
                match row {
                    Row::Said { task, what } => {
                        self.member(task)?;
                        // Nobody listens only once this is about to be aborted.
                        drop(words.send(Event::Said(Said { task, what })).await);
                    }
                    Row::Over { task } => {
                        self.member(task)?;
                        over.iter_mut().skip(task).take(1).for_each(|over| *over = true);
                    }
                    Row::Failed { task, why } => return Err(Lost { member: self.member(task)?, reason: why }),
                }
            }
            if over.iter().all(|over| *over) {
                tracing::debug!(job = self.name, tasks = self.busy.len(), "all tasks of a job are over");
                return Ok(());
            }
        }
        let first = over.iter().position(|over| !over).unwrap_or_default();
        Err(Lost { member: self.member(first)?, reason: "its task ended before it was over".to_owned() })
    }

    /// Waits until a member is gone whose task is not over.
    async fn gone(&self, over: &[bool]) -> Lost {
        let left = self.tasks.iter().zip(over).filter(|(_, over)| !**over).map(|((peer, _), _)| peer);
        let gone = left.map(|peer| {
            Box::pin(async move {
                peer.gone.cancelled().await;
                Lost { member: peer.id.clone(), reason: peer.why().to_owned() }
            })
        });
        let gone: Vec<_> = gone.collect();
        if gone.is_empty() { std::future::pending().await } else { select_all(gone).await.0 }
    }

    /// The member of a task.
    fn member(&self, task: usize) -> Result<String, Lost> {
        let member = self.tasks.get(task).map(|(peer, _)| peer.id.clone());
        let unknown = || Lost { member: "a member".into(), reason: format!("it speaks of task {task}, which is none") };
        member.ok_or_else(unknown)
    }

    /// What each task of a stage is told: what it is, then orders. What passes orders on ends with the second part of the answer.
    fn feeds(&self, mut orders: mpsc::UnboundedReceiver<Bytes>) -> ((Feeds, Feeds), Ends) {
        let mut tellers = Vec::with_capacity(self.tasks.len());
        let mut feed = |number: &usize| {
            let what = self.tasks.get(*number).and_then(|(_, what)| what.clone());
            let at = u32::try_from(*number).unwrap_or(u32::MAX);
            let first = what.map_or_else(|| Unit::idle(at), |what| Unit::task(at, what));
            let first = match u32::try_from(self.second.len()) {
                Ok(gathers) if self.first.contains(number) => first.before(gathers, self.carrier(*number)),
                _ => first,
            };
            let (teller, mut told) = mpsc::unbounded_channel();
            let told = stream::poll_fn(move |context| told.poll_recv(context));
            tellers.push(teller);
            stream::once(async move { first }).chain(told).boxed()
        };
        let first = Feeds::new(self.first.iter().map(&mut feed).collect());
        let second = Feeds::new(self.second.iter().map(&mut feed).collect());
        let fan = owner::spawn(async move {
            while let Some(order) = orders.recv().await {
                for teller in &tellers {
                    // A task that is over takes no orders.
                    drop(teller.send(Unit::order(order.clone())));
                }
            }
        });
        ((first, second), Ends::of(&fan))
    }

    /// Which task of the second stage passes on what a task of the first says: one of the same process, if there is one.
    fn carrier(&self, number: usize) -> u32 {
        let peer = |number: usize| self.tasks.get(number).map(|(peer, _)| &peer.id);
        let near = self.second.iter().position(|gather| peer(*gather) == peer(number));
        let place = near.unwrap_or(number.checked_rem(self.second.len()).unwrap_or_default());
        u32::try_from(place).unwrap_or_default()
    }

    /// Has the engine plan the job, and starts it.
    async fn execute(&self, (first, second): (Feeds, Feeds)) -> Result<SendableRecordBatchStream> {
        let mut stage: Arc<dyn ExecutionPlan> = Arc::new(TaskExec::new(WorkUnitFeed::new(first)));
        let mut tasks = self.first.len();
        if !self.second.is_empty() {
            let sent = Arc::new(RepartitionExec::try_new(stage, by_number(1))?);
            let exchange = Arc::new(NetworkShuffleExec::try_new(sent, tasks)?);
            stage = Arc::new(GatherExec::new(WorkUnitFeed::new(second), exchange));
            tasks = self.second.len();
        }
        let stage = NetworkCoalesceExec::try_new(stage, tasks, 1)?;
        let job: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(Arc::new(stage)));

        let peers = self.tasks.iter().map(|(peer, _)| Ok((peer.url()?, Arc::clone(peer))));
        let peers = peers.collect::<Result<BTreeMap<Url, Arc<Peer>>>>()?;
        let urls = |stage: &[usize]| {
            let tasks = stage.iter().filter_map(|number| self.tasks.get(*number));
            tasks.map(|(peer, _)| peer.url()).collect::<Result<Vec<_>>>()
        };
        let (first, second) = (urls(&self.first)?, urls(&self.second)?);
        let route = move |event: RouteTasksEvent<'_>| {
            let urls = if event.plan.is::<GatherExec>() { &second } else { &first };
            Some(Ok(RouteTasksEventResponse::new(urls.clone())))
        };
        let mut config = SessionConfig::new();
        config.set_distributed_user_codec(TaskCodec);
        config.set_distributed_channel_resolver(Routes(peers));
        config.set_distributed_route_tasks_handler(route);
        config.set_distributed_work_unit_feed(TaskExec::feed);
        config.set_distributed_work_unit_feed(GatherExec::feed);
        config.set_distributed_compression(None)?;
        config.set_distributed_worker_connection_buffer_budget_bytes(AHEAD)?;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&RUNTIME))
            .with_query_planner(Arc::new(Planned(job)))
            .with_distributed_planner()
            .build();
        let nothing = EmptyRelation { produce_one_row: false, schema: Arc::new(DFSchema::empty()) };
        let plan = state.query_planner().create_physical_plan(&LogicalPlan::EmptyRelation(nothing), &state).await?;
        plan.execute(0, state.task_ctx())
    }

    /// Whom `error` is about.
    fn lost(&self, error: &DataFusionError) -> Lost {
        let own = || format!("the job {:?} cannot go on: {}", self.name, chain(error));
        lost_in(error).cloned().unwrap_or_else(|| Lost { member: "the leader".into(), reason: own() })
    }
}

/// The plan of a job is made by hand; the engine makes its stages of it.
#[derive(Debug)]
struct Planned(Arc<dyn ExecutionPlan>);

#[async_trait]
impl QueryPlanner for Planned {
    async fn create_physical_plan(&self, _: &LogicalPlan, _: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::clone(&self.0))
    }
}

/// The ways to the members, by what the engine calls them.
struct Routes(BTreeMap<Url, Arc<Peer>>);

#[async_trait]
impl ChannelResolver for Routes {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        match self.0.get(url) {
            Some(peer) => Ok(peer.channel()),
            None => exec_err!("{url} is no member with a task of this job"),
        }
    }
}
