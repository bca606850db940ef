//! How the engine of a leader reaches a member, and notices that it does not.

use std::{
    error::Error,
    fmt, io,
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::{
    common::{Result, exec_datafusion_err},
    error::DataFusionError,
    execution::TaskContext,
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use datafusion_distributed::{
    CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, SetPlanRequest, Worker,
    WorkerChannel, WorkerToCoordinatorMsg,
    grpc::{BoxCloneSyncChannel, create_worker_client},
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use http::{HeaderMap, HeaderValue, Request, Uri};
use hyper_util::rt::TokioIo;
use spout_pipeline::Lost;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, transport::Endpoint};
use tower::{ServiceExt as _, service_fn};
use url::Url;

use super::{PROOF, bounded::bounded};
use crate::{
    link::{Link, Transport},
    settings::Token,
};

/// A member that does not take a connection, or a call, within this time is lost.
const CALL: Duration = Duration::from_secs(4);
/// Bytes under way of one task, and of one member.
const WINDOW: u32 = 4 << 20;
const WINDOWS: u32 = 16 << 20;

/// Where a process is reached: a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// `host:port`, where the host is a name or an address; one of version 6 stands in brackets.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(bare) => bare.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
            None => host.to_owned(),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let named = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
        (named || bare.is_some()).then_some(Self { host, port })
    }

    /// Only this machine reaches it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The way to a member.
#[derive(Clone)]
pub(crate) enum Route {
    /// This process.
    Here(Box<Worker>),
    /// Another one.
    There(BoxCloneSyncChannel),
}

impl Route {
    /// To `address`; nothing is dialled yet.
    pub(crate) fn there(address: &Address, transport: &Transport, token: &Token) -> io::Result<Self> {
        let wrong = |error: tonic::transport::Error| io::Error::other(error);
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(wrong)?
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOWS)
            .http2_keep_alive_interval(transport.pace.beat)
            .keep_alive_timeout(transport.pace.pong())
            .keep_alive_while_idle(true);
        let (address, transport) = (address.clone(), transport.clone());
        let dial = service_fn(move |_: Uri| {
            let (address, transport) = (address.clone(), transport.clone());
            async move { Link::dial(&address, &transport).await.map(TokioIo::new) }
        });
        let proof = HeaderValue::from_str(token.proof()).map_err(io::Error::other)?;
        let channel = endpoint.connect_with_connector_lazy(dial).map_request(move |mut request: Request<Body>| {
            request.headers_mut().insert(PROOF, proof.clone());
            request
        });
        Ok(Self::There(BoxCloneSyncChannel::new(channel.map_response(bounded))))
    }

    fn client(&self) -> Box<dyn WorkerChannel> {
        match self {
            Self::Here(worker) => Box::new(Here(worker.as_ref().clone())),
            Self::There(channel) => create_worker_client(channel.clone()),
        }
    }
}

/// A member as the leader has it.
pub(crate) struct Peer {
    pub(crate) id: String,
    /// Where it is reached, also by others.
    pub(crate) address: Address,
    route: Route,
    /// It is no member any more.
    pub(crate) gone: CancellationToken,
    why: OnceLock<String>,
    /// Tasks that it has now.
    tasks: AtomicUsize,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Peer {
    pub(crate) fn new(id: String, address: Address, route: Route) -> Self {
        Self { id, address, route, gone: CancellationToken::new(), why: OnceLock::new(), tasks: AtomicUsize::new(0) }
    }

    /// It is a member no longer; whoever says so first says why.
    pub(crate) fn lose(&self, why: &str) {
        self.why.get_or_init(|| why.to_owned());
        self.gone.cancel();
    }

    /// What the engine calls it, here and where it is.
    pub(super) fn url(&self) -> Result<Url> {
        let url = format!("spout://{}/{}", self.address, self.id);
        Url::parse(&url).map_err(|error| exec_datafusion_err!("{url} is no URL: {error}"))
    }

    /// Why it is gone.
    pub(crate) fn why(&self) -> &str {
        self.why.get().map_or("it is gone", String::as_str)
    }

    /// Whether it is this process.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.route, Route::Here(_))
    }

    /// Whether it has tasks now.
    pub(crate) fn is_busy(&self) -> bool {
        self.tasks.load(Ordering::Acquire) > 0
    }

    /// Counts a task until what it returns is dropped.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.tasks.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(self))
    }

    /// Whether it can be reached, and has the version `version`.
    pub(crate) async fn probe(&self, version: &str, patience: Duration) -> Result<(), String> {
        let mut client = self.route.client();
        match timeout(patience, client.get_worker_info(GetWorkerInfoRequest {})).await {
            Ok(Ok(info)) if info.version == version => Ok(()),
            Ok(Ok(info)) => Err(format!("its version is {:?} where it is reached, not {version:?}", info.version)),
            Ok(Err(error)) => Err(spout_base::error::chain(&error)),
            Err(_) => Err("it does not answer".to_owned()),
        }
    }

    /// How the engine talks with it.
    pub(super) fn channel(self: &Arc<Self>) -> Box<dyn WorkerChannel> {
        Box::new(Watched { peer: Arc::clone(self), inner: self.route.client() })
    }

    /// The task of a call that failed with `error` is lost; so is the member, if the connection is what failed.
    fn failed(&self, error: &DataFusionError) -> DataFusionError {
        let reason = spout_base::error::chain(error);
        if is_of_connection(error) {
            self.lose(&reason);
        }
        // What became of the member says more than what became of the call.
        self.lost(if self.gone.is_cancelled() { self.why().to_owned() } else { reason })
    }

    fn lost(&self, reason: String) -> DataFusionError {
        DataFusionError::External(Box::new(Lost { member: self.id.clone(), reason }))
    }
}

/// Errors of a worker's engine come as what they were there; everything else is what the connection says.
fn is_of_connection(error: &DataFusionError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<tonic::Status>() || error.is::<tonic::transport::Error>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Who was lost, if that is what an error of the engine is about.
pub(super) fn lost_in(error: &DataFusionError) -> Option<&Lost> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(lost) = error.downcast_ref::<Lost>() {
            return Some(lost);
        }
        next = error.source();
    }
    None
}

/// A task of a member, while it is.
#[derive(Debug)]
pub(super) struct Busy(Arc<Peer>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The engine's channel to a member, which ends with its membership, and the membership with it. The engine itself would wait for
/// ever for orders to arrive on a stream that is gone, and names nobody in its errors.
struct Watched {
    peer: Arc<Peer>,
    inner: Box<dyn WorkerChannel>,
}

#[async_trait]
impl WorkerChannel for Watched {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let call = self.inner.coordinator_channel(headers, request, messages, metrics, context);
        let answers = match timeout(CALL, call).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(error)) => return Err(self.peer.failed(&error)),
            Err(_) => {
                self.peer.lose("it takes no task");
                return Err(self.peer.lost("it takes no task".to_owned()));
            }
        };
        let peer = Arc::clone(&self.peer);
        // Nobody else looks at it: with this stream the way of orders is gone.
        Ok(answers.map(move |answer| answer.map_err(|error| peer.failed(&error))).boxed())
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let streams = self.inner.execute_task(headers, request, metrics, context).await;
        let streams = streams.map_err(|error| self.peer.failed(&error))?;
        Ok(streams.into_iter().map(|rows| watched(Arc::clone(&self.peer), rows)).collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}

/// `rows` until `peer` is gone.
fn watched(peer: Arc<Peer>, rows: BoxStream<'static, Result<RecordBatch>>) -> BoxStream<'static, Result<RecordBatch>> {
    stream::unfold(Some((peer, rows)), |state| async {
        let (peer, mut rows) = state?;
        let next = tokio::select! {
            biased;
            () = peer.gone.cancelled() => Some(Err(peer.lost(peer.why().to_owned()))),
            next = rows.next() => next.map(|next| next.map_err(|error| peer.failed(&error))),
        };
        match next? {
            Ok(batch) => Some((Ok(batch), Some((peer, rows)))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

/// The channel to this very process: no bytes, no port.
struct Here(Worker);

#[async_trait]
impl WorkerChannel for Here {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        _: ExecutionPlanMetricsSet,
        _: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        self.0.coordinator_channel(headers, request, messages.map(Ok).boxed()).await
    }

    async fn execute_task(
        &mut self,
        _: HeaderMap,
        request: ExecuteTaskRequest,
        _: ExecutionPlanMetricsSet,
        _: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let (streams, _) = self.0.execute_task(request).await?;
        Ok(streams.into_iter().map(|rows| rows.boxed()).collect())
    }

    async fn get_worker_info(&mut self, _: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        Ok(GetWorkerInfoResponse { version: self.0.version().to_owned() })
    }
}
