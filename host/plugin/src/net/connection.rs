//! A connection that the host has made: bytes in both directions, in the clear or through TLS.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, BytesMut};
use spout_base::clock::Instant;
use spout_wire::Secured;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    time::timeout_at,
};
use tokio_util::io::poll_read_buf;

use super::{endpoint_grant::Endpoint, traffic::Traffic};
use crate::{
    bindings::spout::plugin::network::{Cause, Failure},
    log::clean,
};

/// Bytes of one answer to a guest.
const MOST: usize = 1 << 20;

/// Bytes that are read ahead while a guest waits for connections through TLS: whether there are some is not known before.
const AHEAD: usize = 16 << 10;

/// Bytes that room is made for at first, and then for twice what came before: a mebibyte each time would be asked of the system, and
/// given back, for the few kilobytes that have come.
const FIRST: usize = 16 << 10;

/// Bytes of a message to a guest.
const MESSAGE: usize = 500;

/// A connection of a guest.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Dialled {
    way: Way,
    pub(super) endpoint: Arc<Endpoint>,
    /// The host as the guest has named it, whom a certificate has to be for.
    host: String,
    peer: SocketAddr,
    /// What it may carry, with the others.
    traffic: Traffic,
    /// What was read and not taken.
    ahead: BytesMut,
    /// Bytes that room is made for at the next read.
    room: usize,
    ended: bool,
    /// What went wrong after the last bytes came, or while others were waited for: the system says it once, and the end of all bytes
    /// after that.
    trouble: Option<io::Error>,
}

/// How the bytes go.
#[derive(Debug)]
enum Way {
    Clear(TcpStream),
    Secure(Box<Secured>),
    /// A handshake has failed, or is under way.
    Lost,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Way {
    fn io(&mut self) -> io::Result<&mut dyn Duplex> {
        match self {
            Self::Clear(stream) => Ok(stream),
            Self::Secure(stream) => Ok(stream.as_mut()),
            Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Dialled {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        endpoint: Arc<Endpoint>,
        host: String,
        traffic: Traffic,
    ) -> Self {
        // What a guest sends, it sends in one piece.
        drop(stream.set_nodelay(true));
        Self {
            way: Way::Clear(stream),
            endpoint,
            host,
            peer,
            traffic,
            ahead: BytesMut::new(),
            room: FIRST,
            ended: false,
            trouble: None,
        }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it goes through TLS.
    pub(super) fn secure(&self) -> bool {
        matches!(self.way, Way::Secure(_))
    }

    /// Why a secret may not be written to it; none if it may.
    pub(crate) fn keeps_out(&self) -> Option<Failure> {
        if self.endpoint.name.is_none() {
            let add = "name it as one of `endpoints`";
            return Some(failure(Cause::Denied, format!("a secret is written only to an endpoint; {add}")));
        }
        let open = self.endpoint.trust.is_some() && !self.secure();
        open.then(|| failure(Cause::Denied, "the endpoint has TLS, and this connection has not begun it".into()))
    }

    /// Goes on with TLS.
    pub(super) async fn start_tls(&mut self, until: Instant) -> Result<(), Failure> {
        let Some(trust) = self.endpoint.trust.clone() else {
            return Err(failure(Cause::Denied, "the spec grants no TLS here; add `tls: true` to the endpoint".into()));
        };
        if !self.ahead.is_empty() {
            return Err(failure(Cause::Tls, "the server has sent more than was read before TLS began".into()));
        }
        match std::mem::replace(&mut self.way, Way::Lost) {
            Way::Clear(stream) => match timeout_at(until, trust.connect(&self.host, stream)).await {
                Ok(Ok(secured)) => {
                    self.way = Way::Secure(Box::new(secured));
                    Ok(())
                }
                Ok(Err(error)) => Err(self.failed("the TLS handshake failed", &error)),
                Err(_) => Err(failure(Cause::TimedOut, format!("{}: the TLS handshake took too long", self.host))),
            },
            other => {
                self.way = other;
                Err(failure(Cause::Invalid, "TLS has begun already, or has failed".into()))
            }
        }
    }

    /// What there is, at most `most` bytes; nothing at the end.
    pub(super) async fn read(&mut self, most: usize, until: Instant) -> Result<Vec<u8>, Failure> {
        let most = most.min(MOST);
        if !self.ahead.is_empty() {
            let taken = self.ahead.len().min(most);
            let bytes = self.ahead.get(..taken).map(<[u8]>::to_vec).unwrap_or_default();
            self.ahead.advance(taken);
            return Ok(bytes);
        }
        if let Some(error) = self.trouble.take() {
            return Err(self.failed("reading", &error));
        }
        if self.ended || most == 0 {
            return Ok(Vec::new());
        }
        if timeout_at(until, self.traffic.freed()).await.is_err() {
            return Err(self.slowed());
        }
        let most = self.traffic.piece(most);
        let mut bytes = Vec::with_capacity(most.min(self.room));
        match timeout_at(until, poll_fn(|cx| self.way.poll_all(cx, &mut bytes, most))).await {
            Ok(Ok(trouble)) => {
                self.traffic.gone(bytes.len());
                self.trouble = trouble;
                self.ended = bytes.is_empty();
                self.room = bytes.len().saturating_mul(2).clamp(FIRST, MOST);
                // An allocation may be larger than what was asked for.
                if let Some(more) = bytes.get(most..) {
                    self.ahead.extend_from_slice(more);
                    bytes.truncate(most);
                }
                Ok(bytes)
            }
            Ok(Err(error)) => Err(self.failed("reading", &error)),
            Err(_) => Err(failure(Cause::TimedOut, format!("{}: nothing came in time", self.host))),
        }
    }

    /// Whether it can be read, or has ended; what comes through TLS is kept.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended || self.trouble.is_some() || !self.ahead.is_empty() {
            return Poll::Ready(());
        }
        if let Way::Clear(stream) = &self.way {
            let looked = stream.poll_peek(cx, &mut ReadBuf::new(&mut [0]));
            return looked.map(|looked| self.trouble = looked.err());
        }
        self.ahead.reserve(AHEAD);
        match self.way.poll_read(cx, &mut self.ahead) {
            Poll::Ready(read) => {
                self.ended = matches!(read, Ok(0));
                self.trouble = read.err();
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    /// How many of `bytes` were taken.
    pub(crate) async fn write(&mut self, bytes: &[u8], until: Instant) -> Result<usize, Failure> {
        let (mut taken, way, traffic) = (0, &mut self.way, &self.traffic);
        let writing = async {
            let io = way.io()?;
            while let Some(left) = bytes.get(taken..).filter(|left| !left.is_empty()) {
                traffic.freed().await;
                let piece = left.get(..traffic.piece(left.len())).unwrap_or(left);
                match io.write(piece).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => taken += count,
                }
                traffic.gone(piece.len());
            }
            io.flush().await
        };
        match timeout_at(until, writing).await {
            Ok(Ok(())) => Ok(taken),
            Ok(Err(error)) => Err(self.failed("writing", &error)),
            Err(_) if taken > 0 => Ok(taken),
            Err(_) => Err(failure(Cause::TimedOut, format!("{}: the peer took nothing in time", self.host))),
        }
    }

    /// Sends no more.
    pub(super) async fn finish(&mut self, until: Instant) -> Result<(), Failure> {
        let way = &mut self.way;
        match timeout_at(until, async { way.io()?.shutdown().await }).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed("finishing", &error)),
            Err(_) => Err(failure(Cause::TimedOut, format!("{}: the peer took nothing in time", self.host))),
        }
    }

    fn slowed(&self) -> Failure {
        let why =
            "as many bytes as `limits.traffic` lets all connections of the plugin carry have gone; raise it, or wait";
        failure(Cause::TimedOut, format!("{}: {why}", self.host))
    }

    fn failed(&self, what: &str, error: &io::Error) -> Failure {
        let cause = match error.kind() {
            // What rustls says of a peer.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Cause::Tls,
            kind => cause(kind),
        };
        failure(cause, format!("{}: {what}: {error}", self.host))
    }
}

impl Way {
    /// Reads what there is, at most about `most` bytes, as soon as there is something; nothing at the end. With what came, what went
    /// wrong after it.
    fn poll_all(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<Option<io::Error>>> {
        loop {
            let read = self.poll_read(cx, into);
            match read {
                Poll::Ready(Ok(1..)) if into.len() == into.capacity() && into.len() < most => {
                    into.reserve_exact(into.len().min(most - into.len()));
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) if !into.is_empty() => return Poll::Ready(Ok(Some(error))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if !into.is_empty() => return Poll::Ready(Ok(None)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads into what `into` has room for.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut impl bytes::BufMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Clear(stream) => poll_read_buf(Pin::new(stream), cx, into),
            Self::Secure(stream) => {
                // What a write had no time for is still to go.
                if let Poll::Ready(Err(error)) = Pin::new(stream.as_mut()).poll_flush(cx) {
                    return Poll::Ready(Err(error));
                }
                poll_read_buf(Pin::new(stream.as_mut()), cx, into)
            }
            Self::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

/// What of the kinds of trouble a guest is told.
pub(super) fn cause(kind: io::ErrorKind) -> Cause {
    match kind {
        io::ErrorKind::ConnectionRefused => Cause::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Cause::Unreachable,
        io::ErrorKind::TimedOut => Cause::TimedOut,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected
        | io::ErrorKind::WriteZero
        | io::ErrorKind::UnexpectedEof => Cause::Closed,
        _ => Cause::Other,
    }
}

/// What a guest is told.
pub(crate) fn failure(cause: Cause, message: String) -> Failure {
    Failure { cause, message: clean(&message, MESSAGE) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spout_base::clock;
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    async fn pair() -> (Dialled, TcpStream) {
        pair_of(None).await
    }

    async fn pair_of(rate: Option<u64>) -> (Dialled, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let endpoint = Arc::new(Endpoint::new(("p", "guest"), None, &[], None, &[]));
        let dialled = Dialled::new(dialled.unwrap(), address, endpoint, "broker".into(), Traffic::of(rate));
        (dialled, accepted.unwrap().0)
    }

    #[tokio::test]
    async fn all_that_came_is_read_at_once_and_no_more_than_is_wanted() {
        let (mut dialled, mut peer) = pair().await;
        let until = || clock::now() + Duration::from_secs(20);
        peer.write_all(&[7; 100_000]).await.unwrap();
        let mut got = Vec::new();
        while got.len() < 99_000 {
            let bytes = dialled.read(99_000 - got.len(), until()).await.unwrap();
            assert!(!bytes.is_empty());
            got.extend(bytes);
        }
        assert_eq!(got.len(), 99_000);
        assert_eq!(dialled.read(500, until()).await.unwrap().len(), 500);
        assert_eq!(dialled.read(MOST, until()).await.unwrap().len(), 500);
        peer.shutdown().await.unwrap();
        assert_eq!(dialled.read(MOST, until()).await.unwrap().len(), 0);
    }

    #[tokio::test]
    async fn a_connection_carries_what_the_plugin_may_and_says_so() {
        let (mut dialled, mut peer) = pair_of(Some(10_000)).await;
        let until = |ms| clock::now() + Duration::from_millis(ms);
        peer.write_all(&[7; 50_000]).await.unwrap();
        let begun = clock::now();
        let mut got = 0;
        while got < 4_000 {
            got += dialled.read(MOST, until(20_000)).await.unwrap().len();
        }
        // A thousand at once, the others at their time.
        assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
        let sent = dialled.write(&[1; 5_000], until(20_000)).await.unwrap();
        assert_eq!(sent, 5_000);
        let said = dialled.read(MOST, until(1)).await.unwrap_err();
        assert!(said.cause == Cause::TimedOut && said.message.contains("limits.traffic"), "{said:?}");
    }

    #[tokio::test]
    async fn a_connection_that_broke_is_not_one_that_ended_however_it_is_noticed() {
        let until = || clock::now() + Duration::from_secs(20);
        let (mut dialled, mut peer) = pair().await;
        peer.write_all(b"ok").await.unwrap();
        // Whoever closes with bytes that were not read breaks the connection.
        dialled.write(b"hello", until()).await.unwrap();
        peer.readable().await.unwrap();
        drop(peer);
        poll_fn(|cx| dialled.poll_readable(cx)).await;
        let mut said = dialled.read(MOST, until()).await;
        if said.as_ref().is_ok_and(|bytes| bytes == b"ok") {
            poll_fn(|cx| dialled.poll_readable(cx)).await;
            said = dialled.read(MOST, until()).await;
        }
        assert_eq!(said.unwrap_err().cause, Cause::Closed);
    }
}
