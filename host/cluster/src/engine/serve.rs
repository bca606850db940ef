//! How this process is reached by the engine of a leader.

use std::{io, sync::Arc};

use datafusion::{
    common::{Result, plan_err},
    execution::{SessionState, SessionStateBuilder},
    physical_plan::{ExecutionPlan, repartition::RepartitionExec},
};
use datafusion_distributed::{
    DistributedExt as _, NetworkShuffleExec, Worker, WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse,
    WorkerQueryContext,
};
use futures::stream;
use spout_pipeline::Works;
use tokio::sync::mpsc;
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Server, server::Connected},
};

use super::{
    MESSAGE, Others, PROOF, Plans,
    gather::GatherExec,
    task::{Doer, TaskCodec, TaskExec},
};
use crate::{
    link::Link,
    settings::{Pace, Token},
};

/// Bytes under way of one task, and of one caller.
const WINDOW: u32 = 4 << 20;
const WINDOWS: u32 = 16 << 20;
/// Calls of one caller at once: two for each task.
const CALLS: u32 = 4096;
/// Calls that a caller may give up before they are taken. Of the usual 20 a burst of jobs that are dropped would make an attack.
const GIVEN_UP: usize = 4096;

/// What does the engine's tasks in this process.
pub(crate) fn worker(works: Arc<dyn Works>, plans: Option<Plans>, others: Others, version: &str) -> Worker {
    let session = move |context: WorkerQueryContext| {
        let (works, plans, others) = (Arc::clone(&works), plans.clone(), others.clone());
        async move { session(context.builder, works, plans, others) }
    };
    Worker::from_session_builder(session).with_version(version.to_owned())
}

fn session(
    mut builder: SessionStateBuilder,
    works: Arc<dyn Works>,
    plans: Option<Plans>,
    others: Others,
) -> Result<SessionState> {
    let config = builder.config().get_or_insert_default();
    config.set_extension(Arc::new(Doer(works)));
    config.set_distributed_user_codec(TaskCodec);
    config.set_distributed_channel_resolver(others);
    let may_run = plans.clone();
    config.set_distributed_worker_plan_rewrite_handler(move |event: WorkerPlanRewriteEvent<'_>| {
        taken(may_run.as_ref(), &event.plan)?;
        Ok(WorkerPlanRewriteEventResponse::new(event.plan))
    });
    let Some(plans) = plans else { return Ok(builder.build()) };
    plans.open(config);
    let mut state = builder.build();
    (plans.functions)(&mut state)?;
    Ok(state)
}

/// Plans can read files and more; of a leader only tasks are taken, and of queries what may run.
fn taken(plans: Option<&Plans>, plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let sends = plan.downcast_ref::<RepartitionExec>().map(RepartitionExec::input);
    let gathers = plan.downcast_ref::<GatherExec>().map(GatherExec::input);
    let is_task = sends.unwrap_or(plan).is::<TaskExec>()
        || gathers.is_some_and(|input| input.is::<NetworkShuffleExec>() && input.children().is_empty());
    match plans {
        _ if is_task => Ok(()),
        Some(plans) => plans.check(plan),
        None => plan_err!("{} is no task of a pipeline", plan.name()),
    }
}

/// Serves the engine on connections that come from `links`, until there are no more. A caller that falls silent is gone, and so are
/// the tasks that it started.
pub(crate) async fn serve(worker: Worker, token: Token, pace: Pace, mut links: mpsc::Receiver<Link>) {
    let known = move |request: Request<()>| {
        let proof = request.metadata().get(PROOF).map(|proof| proof.as_bytes().to_vec());
        if proof.is_some_and(|proof| token.is(&proof)) {
            Ok(request)
        } else {
            Err(Status::unauthenticated("the token is another one"))
        }
    };
    let service = worker.into_worker_server().max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE);
    let mut server = Server::builder()
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        .max_concurrent_streams(CALLS)
        .http2_max_pending_accept_reset_streams(Some(GIVEN_UP))
        .http2_keepalive_interval(Some(pace.beat))
        .http2_keepalive_timeout(Some(pace.pong()))
        .http2_max_header_list_size(16 << 10);
    let incoming = stream::poll_fn(move |context| links.poll_recv(context).map(|link| link.map(Ok::<_, io::Error>)));
    let service = InterceptedService::new(service, known);
    if let Err(error) = server.add_service(service).serve_with_incoming(incoming).await {
        tracing::error!(%error, "the port of the fleet is no longer served");
    }
}

impl Connected for Link {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use datafusion::{
        arrow::datatypes::Schema,
        physical_plan::{
            coalesce_partitions::CoalescePartitionsExec, empty::EmptyExec, metrics::ExecutionPlanMetricsSet,
            union::UnionExec,
        },
        prelude::SessionContext,
    };
    use datafusion_distributed::{MaybeEncoded, SetPlanRequest, TaskKey};
    use datafusion_proto::physical_plan::DefaultPhysicalExtensionCodec;
    use futures::{StreamExt as _, stream::BoxStream};
    use http::HeaderMap;
    use url::Url;

    use super::*;
    use crate::{
        Pace, Settings, Station,
        engine::{Address, Peer, Route},
        link::Transport,
    };

    #[derive(Debug)]
    struct Nothing;

    impl Works for Nothing {
        fn work(
            &self,
            _: bytes::Bytes,
            _: BoxStream<'static, bytes::Bytes>,
        ) -> BoxStream<'static, Result<spout_pipeline::Says, String>> {
            stream::empty().boxed()
        }

        fn gather(
            &self,
            _: bytes::Bytes,
            _: BoxStream<'static, bytes::Bytes>,
            _: BoxStream<'static, Result<bytes::Bytes, spout_pipeline::Lost>>,
        ) -> BoxStream<'static, Result<bytes::Bytes, String>> {
            stream::empty().boxed()
        }
    }

    /// What a station says to the plan of a caller that knows the token.
    async fn sent(plan: Arc<dyn ExecutionPlan>, plans: Option<Plans>) -> Result<(), String> {
        let token = Token::new("sixteen bytes or more").unwrap();
        let settings = Settings::new(([127, 0, 0, 1], 0).into(), token.clone());
        let station = Station::open_with(settings, Arc::new(Nothing), plans).await.unwrap();
        let transport = Transport::new(None, Pace::default()).unwrap();
        let address = Address::parse(&station.address()).unwrap();
        let route = Route::there(&address, &transport, &token).unwrap();
        let peer = Arc::new(Peer::new(station.id().to_owned(), address, route));
        let request = SetPlanRequest {
            task_key: TaskKey { query_id: Default::default(), stage_id: 1, task_number: 0 },
            task_count: 1,
            plan: MaybeEncoded::Decoded(plan),
            work_unit_feed_declarations: Vec::new(),
            target_worker_url: Url::parse("spout:/0").unwrap(),
            query_start_time_ns: 0,
        };
        let (messages, context) = (stream::pending().boxed(), SessionContext::new().task_ctx());
        let metrics = ExecutionPlanMetricsSet::new();
        let mut channel = peer.channel();
        let taken = channel.coordinator_channel(HeaderMap::new(), request, messages, metrics, &context).await;
        // An error was one of the worker's engine, so the member is still one.
        assert!(!peer.gone.is_cancelled());
        taken.map(drop).map_err(|error| error.to_string())
    }

    fn empty() -> Arc<dyn ExecutionPlan> {
        Arc::new(EmptyExec::new(Arc::new(Schema::empty())))
    }

    #[tokio::test]
    async fn of_a_leader_only_tasks_are_taken() {
        let error = sent(empty(), None).await.unwrap_err();
        assert!(error.contains("EmptyExec is no task of a pipeline"), "{error}");
    }

    #[tokio::test]
    async fn of_queries_every_operator_has_to_be_one_that_may_run() {
        let plans = || Plans {
            codec: Arc::new(DefaultPhysicalExtensionCodec {}),
            functions: |_| Ok(()),
            pieces: |_| None,
            shares: |_, _| None,
            may_run: |plan| plan.name() == "EmptyExec",
        };
        assert_eq!(sent(empty(), Some(plans())).await, Ok(()));
        let within: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(empty()));
        let error = sent(within, Some(plans())).await.unwrap_err();
        assert!(error.contains("CoalescePartitionsExec may not be in the plan of a query"), "{error}");
        let above: Arc<dyn ExecutionPlan> = UnionExec::try_new(vec![empty(), empty()]).unwrap();
        let error = sent(above, Some(plans())).await.unwrap_err();
        assert!(error.contains("UnionExec may not be"), "{error}");
    }
}
