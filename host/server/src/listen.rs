//! Connections: how many, how slow, and how they end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use spout_api::Problem;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{Error, Identity, Service, router};

/// The head of a request has to come within this time; a connection without requests is closed after it.
const HEAD: Duration = Duration::from_secs(60);
/// Requests that are being answered at a stop may take so much longer.
const LAST: Duration = Duration::from_secs(30);
/// The heads of requests may be as long as this, and have as many headers.
const HEAD_BYTES: usize = 64 << 10;
const HEADERS: usize = 100;
/// So many are told at the same time that there is no room; others are just closed.
const TURNED_AWAY: usize = 64;

/// How much a server takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// Bytes of a body.
    pub max_body: u64,
}

/// A port that is open, and not yet answered.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    identity: Option<Identity>,
    limits: Limits,
    /// Where it can be reached.
    pub address: SocketAddr,
}

/// Opens a port. Without TLS it has to be one that only this machine reaches.
///
/// # Errors
/// [`Error::Listen`], [`Error::Exposed`].
pub async fn listen(
    address: &str,
    identity: Option<Identity>,
    has_tokens: bool,
    limits: Limits,
) -> Result<Listening, Error> {
    let failed = |source| Error::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    if !at.ip().is_loopback() {
        let why = match (&identity, has_tokens) {
            (None, _) => "tokens and data would be sent in the clear; give --cert and --key",
            (Some(_), false) => "everyone could do everything; give --tokens",
            (Some(_), true) => return Ok(Listening { listener, identity, limits, address: at }),
        };
        return Err(Error::Exposed { address: at, why });
    }
    Ok(Listening { listener, identity, limits, address: at })
}

impl Listening {
    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.identity.is_some()
    }

    /// Answers requests until `service` stops; those that were begun are answered.
    pub async fn serve(self, service: Service) {
        let stop = service.stop.clone();
        let router = router(Arc::new(service));
        let limit = self.limits.connections;
        let connections = Arc::new(Semaphore::new(limit));
        let turned_away = Arc::new(AtomicUsize::new(0));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Most likely there are no more file descriptors; some come back when connections end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            match Arc::clone(&connections).try_acquire_owned() {
                Ok(permit) => {
                    let connection = Connection { router: router.clone(), stop: stop.clone(), _permit: permit };
                    tokio::spawn(connection.run(stream, self.identity.clone()));
                }
                Err(_) if self.identity.is_none() && turned_away.load(Ordering::Relaxed) < TURNED_AWAY => {
                    turned_away.fetch_add(1, Ordering::Relaxed);
                    let turned_away = Arc::clone(&turned_away);
                    tokio::spawn(async move {
                        drop(timeout(Duration::from_secs(2), turn_away(stream, limit)).await);
                        turned_away.fetch_sub(1, Ordering::Relaxed);
                    });
                }
                Err(_) => drop(stream),
            }
        }
        drop(self.listener);
        let all = u32::try_from(limit).unwrap_or(u32::MAX);
        if timeout(LAST, connections.acquire_many(all)).await.is_err() {
            tracing::warn!("some requests were not answered to their end when the server stopped");
        }
    }
}

/// One connection.
struct Connection {
    router: Router,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, identity: Option<Identity>) {
        // An answer is written at once.
        drop(stream.set_nodelay(true));
        match identity {
            None => self.answer(stream).await,
            Some(identity) => match identity.accept(stream).await {
                Ok(stream) => self.answer(stream).await,
                Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
            },
        }
    }

    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES).max_headers(HEADERS);
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router));
        let mut connection = std::pin::pin!(connection);
        let over = tokio::select! {
            over = connection.as_mut() => over,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = over {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// Says that there is no room, and reads what was sent, so that the answer is not lost with it.
async fn turn_away(mut stream: TcpStream, limit: usize) {
    let problem = serde_json::to_string(&Problem::of(&Error::Busy { limit })).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{problem}",
        problem.len()
    );
    if stream.write_all(answer.as_bytes()).await.is_ok() && stream.shutdown().await.is_ok() {
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }
}
