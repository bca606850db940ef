//! HTTP/1.1 at a port: who gets in, how slow they may be, and how connections end.
//!
//! HTTP/2 is not spoken: a connection there is many requests at once, each of which would need what a connection has here.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::{JoinError, JoinSet},
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{Gate, Identity, Permit, Refused};

/// The heads of requests may be as long as this, and have as many headers.
const HEAD_BYTES: usize = 64 << 10;
const HEADERS: usize = 100;
/// Whoever reads nothing of an answer for so long is given up.
const UNREAD: Duration = Duration::from_secs(60);
/// So many are told at the same time that there is no room, and for so long; others are just closed.
const TURNED_AWAY: usize = 64;
const FAREWELL: Duration = Duration::from_secs(2);

/// A port that answers requests.
pub struct Web {
    listener: TcpListener,
    gate: Gate,
    identity: Option<Identity>,
    head: Duration,
    busy: Box<dyn Fn(Refused) -> String + Send + Sync>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("listener", &self.listener).field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Web {
    /// Will answer at `listener`, over TLS with an `identity`. The head of a request has to come within `head`, and so has the next
    /// one on a connection; who is refused gets status 503 with the JSON that `busy` makes of it.
    #[must_use]
    pub fn new(
        listener: TcpListener,
        gate: Gate,
        identity: Option<Identity>,
        head: Duration,
        busy: impl Fn(Refused) -> String + Send + Sync + 'static,
    ) -> Self {
        Self { listener, gate, identity, head, busy: Box::new(busy) }
    }

    /// Answers requests until `stop`; those that were begun are answered, within `last` if there is one. Whether they all were.
    /// Connections end when this is dropped.
    pub async fn serve(self, router: Router, stop: CancellationToken, last: Option<Duration>) -> bool {
        let Self { listener, gate, identity, head, busy } = self;
        let (mut connections, mut turned_away) = (JoinSet::new(), JoinSet::new());
        loop {
            let (stream, _, admitted): (_, SocketAddr, _) = tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    note(&ended);
                    continue;
                }
                Some(_) = turned_away.join_next() => continue,
                accepted = gate.accept(&listener) => accepted,
            };
            match admitted {
                Ok(permit) => {
                    let connection =
                        Connection { router: router.clone(), stop: stop.clone(), head, _permit: Some(permit) };
                    connections.spawn(connection.run(stream, identity.clone()));
                }
                Err(refused) if identity.is_none() && turned_away.len() < TURNED_AWAY => {
                    turned_away.spawn(timeout(FAREWELL, turn_away(stream, busy(refused))));
                }
                Err(_) => drop(stream),
            }
        }
        drop(listener);
        let answered = async {
            while let Some(ended) = connections.join_next().await {
                note(&ended)
            }
        };
        match last {
            None => answered.await,
            Some(last) => return timeout(last, answered).await.is_ok(),
        }
        true
    }
}

/// Connections of this user at the same time, and how long the head of a request of one may take.
const OWN: usize = 64;
const OWN_HEAD: Duration = Duration::from_secs(30);

/// Answers requests at a socket of this machine until `stop`, those of processes of the same user only.
pub async fn serve_own(listener: UnixListener, user: u32, router: Router, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                note(&ended);
                continue;
            }
            accepted = listener.accept(), if connections.len() < OWN => accepted,
        };
        match accepted {
            Ok((stream, _)) if is_of(&stream, user) => {
                let (router, stop) = (router.clone(), stop.clone());
                let connection = Connection { router, stop, head: OWN_HEAD, _permit: None };
                connections.spawn(connection.answer(stream));
            }
            Ok(_) => tracing::warn!("somebody of another user is not answered at the control socket"),
            Err(error) => {
                tracing::warn!(%error, "the control socket takes no connection for now");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
    drop(listener);
    let answered = async {
        while let Some(ended) = connections.join_next().await {
            note(&ended)
        }
    };
    drop(timeout(FAREWELL, answered).await);
}

/// A panic in one connection breaks that one: others are answered. A source whose messages it has finds out by itself.
fn note(ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        tracing::error!("a bug: answering a request panicked, which standard error says more of; please report it");
    }
}

/// Whether a process of `user`, or of the machine's administrator, is at the other end.
fn is_of(stream: &UnixStream, user: u32) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == user || peer.uid() == 0)
}

/// One connection.
struct Connection {
    router: Router,
    stop: CancellationToken,
    head: Duration,
    _permit: Option<Permit>,
}

impl Connection {
    async fn run(self, stream: TcpStream, identity: Option<Identity>) {
        // An answer is written at once.
        drop(stream.set_nodelay(true));
        match identity {
            None => self.answer(stream).await,
            Some(identity) => {
                let accepted = tokio::select! {
                    accepted = identity.accept(stream) => accepted,
                    // Nothing was asked yet.
                    () = self.stop.cancelled() => return,
                };
                match accepted {
                    Ok(stream) => self.answer(stream).await,
                    Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
                }
            }
        }
    }

    async fn answer(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(self.head).max_buf_size(HEAD_BYTES).max_headers(HEADERS);
        let stream = TokioIo::new(Reading { stream, patience: UNREAD, unread: None });
        let (router, begun) = (TowerToHyperService::new(self.router), AtomicBool::new(false));
        let service = service_fn(|request| {
            begun.store(true, Ordering::Relaxed);
            router.call(request)
        });
        let mut connection = std::pin::pin!(http.serve_connection(stream, service));
        let over = tokio::select! {
            over = connection.as_mut() => over,
            () = self.stop.cancelled() => {
                if !begun.load(Ordering::Relaxed) {
                    // It has sent half a head at most, for whose other half hyper would wait.
                    return;
                }
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
async fn turn_away(mut stream: TcpStream, problem: String) {
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

/// A connection to somebody who has to read what is sent.
struct Reading<S> {
    stream: S,
    patience: Duration,
    /// When they are given up, while they read nothing.
    unread: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Reading<S> {
    /// What became of a write: an error if that has to wait for too long.
    fn bounded<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let patience = self.patience;
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(patience)));
        match unread.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reading<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reading<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Crowd;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A port for `most` connections, whose heads have to come within `head`.
    async fn web(most: usize, head: Duration) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate::new("a test", "nothing", Crowd { most, per_address: None }, 1);
        let web = Web::new(listener, gate, None, head, |refused| format!("{{\"error\": \"{refused}\"}}"));
        let router = Router::new().fallback(|| async { "here" });
        let stop = CancellationToken::new();
        (address, stop.clone(), tokio::spawn(web.serve(router, stop, Some(Duration::from_millis(300)))))
    }

    /// All that is answered to `sent` before the connection is closed.
    async fn said(address: SocketAddr, sent: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap().unwrap();
        String::from_utf8(said).unwrap()
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_its_connection() {
        let (address, ..) = web(10, Duration::from_millis(50)).await;
        assert_eq!(said(address, "GET / HTTP/1.1\r\nhost: x\r\nx-").await, "");
        assert_eq!(said(address, "").await, "", "nothing at all");
        let idle = said(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(idle.ends_with("here"), "one that is idle, too: {idle}");
    }

    #[tokio::test]
    async fn one_too_many_is_told_so() {
        let (address, ..) = web(1, PATIENCE).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(first.read(&mut [0; 1000]).await.unwrap() > 0);
        let refused = said(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("all 1 connections"), "{refused}");
        drop(first);
        let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let served = async { while !said(address, request).await.ends_with("here") {} };
        timeout(PATIENCE, served).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_keeps_a_port_from_closing() {
        let (address, stop, over) = web(10, PATIENCE).await;
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nx-").await.unwrap();
        let _silent = TcpStream::connect(address).await.unwrap();
        assert!(said(address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ends_with("here"));
        stop.cancel();
        assert!(timeout(PATIENCE, over).await.unwrap().unwrap(), "nothing was left to answer");
        assert_eq!(timeout(PATIENCE, half.read(&mut [0; 10])).await.unwrap().unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn who_reads_nothing_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(10);
        let mut reading = Reading { stream: ours, patience: Duration::from_millis(20), unread: None };
        let error = timeout(PATIENCE, reading.write_all(&[0; 100])).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
