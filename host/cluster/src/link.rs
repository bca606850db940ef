//! A connection, over TLS or not, and what was read of it to see what it is.

use std::{
    fmt,
    future::pending,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use spout_wire::{Identity, Permit, Trust};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::Address,
    settings::{Certificates, Pace},
    words::MAGIC,
};

/// How connections are made and taken.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) identity: Option<Identity>,
    pub(crate) trust: Option<Trust>,
    pub(crate) pace: Pace,
}

impl Transport {
    /// With `certificates`, if there are any.
    pub(crate) fn new(certificates: Option<&Certificates>, pace: Pace) -> Result<Self, crate::Error> {
        let Some(Certificates { chain, key, ca }) = certificates else {
            return Ok(Self { identity: None, trust: None, pace });
        };
        let identity = Identity::mutual(chain, key, ca).map_err(|error| crate::Error::Certificates {
            why: "the port needs them".to_owned(),
            cause: Some(error.into()),
        })?;
        let trust = Trust::read(Some(ca), Some((chain, key)), None)
            .map_err(|why| crate::Error::Certificates { why, cause: None })?;
        Ok(Self { identity: Some(identity), trust: Some(trust), pace })
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection.
pub(crate) struct Link {
    /// Read already.
    ahead: Bytes,
    wire: Box<dyn Wire>,
    _permit: Option<Permit>,
    /// It ends with the station.
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What a caller wants.
pub(crate) enum Wants {
    /// To be a member.
    Membership(Link),
    /// To start tasks.
    Tasks(Link),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Connects with who is at `address`, and makes sure of it.
    pub(crate) async fn dial(address: &Address, transport: &Transport) -> io::Result<Self> {
        let connect = async {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
            stream.set_nodelay(true)?;
            let wire: Box<dyn Wire> = match &transport.trust {
                Some(trust) => Box::new(trust.connect(&address.host, stream).await?),
                None => Box::new(stream),
            };
            Ok(Self { ahead: Bytes::new(), wire, _permit: None, closed: Box::pin(pending()) })
        };
        match timeout(transport.pace.answer, connect).await {
            Ok(link) => link,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answers")),
        }
    }

    /// Takes the connection `stream`, and reads what it is for.
    pub(crate) async fn take(
        stream: TcpStream,
        permit: Permit,
        transport: &Transport,
        closed: &CancellationToken,
    ) -> io::Result<Wants> {
        let take = async {
            stream.set_nodelay(true)?;
            let mut wire: Box<dyn Wire> = match &transport.identity {
                Some(identity) => Box::new(identity.accept(stream).await?),
                None => Box::new(stream),
            };
            let mut first = [0; MAGIC.len()];
            wire.read_exact(&mut first).await?;
            let closed: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(closed.clone().cancelled_owned());
            if first == *MAGIC {
                return Ok(Wants::Membership(Self { ahead: Bytes::new(), wire, _permit: Some(permit), closed }));
            }
            if PREFACE.starts_with(&first) {
                let ahead = Bytes::copy_from_slice(&first);
                return Ok(Wants::Tasks(Self { ahead, wire, _permit: Some(permit), closed }));
            }
            Err(io::Error::new(io::ErrorKind::InvalidData, "a caller speaks another protocol"))
        };
        match timeout(transport.pace.answer, take).await {
            Ok(wants) => wants,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "a caller does not say what it wants")),
        }
    }
}

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.ahead.is_empty() {
            return Pin::new(&mut self.wire).poll_read(context, into);
        }
        let some = self.ahead.len().min(into.remaining());
        into.put_slice(self.ahead.get(..some).unwrap_or_default());
        self.ahead.advance(some);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }
}
