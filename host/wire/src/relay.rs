//! Passes bytes between a connection and a socket in a private directory, and lets no frame in that is too large.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter},
    net::UnixStream,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::endpoint::{Connection, Endpoint, Listener};

/// Bytes of ZMTP's greeting, which comes before the first frame.
const GREETING: u64 = 64;
/// What a frame counts for besides its bytes, so that many empty ones are a large message too.
const FRAME: u64 = 64;
const MORE: u8 = 1;
const LONG: u8 = 2;

/// Relays until either side is done; from `outer` comes no message of more than `cap` bytes.
///
/// # Errors
/// A message that is larger, and what the system says.
pub(super) async fn relay(outer: Connection, inner: UnixStream, cap: u64) -> io::Result<()> {
    let Connection { from, mut to } = outer;
    let (mut inner_from, inner_to) = inner.into_split();
    let outwards = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match inner_from.read(&mut buffer).await? {
                0 => return to.shutdown().await,
                read => to.write_all(buffer.get(..read).unwrap_or_default()).await?,
            }
        }
    };
    tokio::select! {
        done = inwards(from, inner_to, cap) => done,
        done = outwards => done,
    }
}

/// Copies until `from` ends, wherever that is.
pub(super) async fn inwards(from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin, cap: u64) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::with_capacity(64 << 10, from), BufWriter::with_capacity(64 << 10, to));
    match frames(&mut from, &mut to, cap).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => to.shutdown().await,
        Err(error) => {
            to.flush().await?;
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

/// Copies frame by frame; a header is passed on only when its frame may follow.
async fn frames<R, W>(from: &mut BufReader<R>, to: &mut W, cap: u64) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    pass(from, to, GREETING).await?;
    let mut message = 0_u64;
    loop {
        if from.buffer().is_empty() {
            to.flush().await?;
        }
        let flags = from.read_u8().await?;
        let long = flags & LONG != 0;
        let length = if long { from.read_u64().await? } else { u64::from(from.read_u8().await?) };
        message = message.saturating_add(length).saturating_add(FRAME);
        if message > cap.saturating_add(FRAME) {
            let what = format!("refused a message of at least {message} bytes; the limit is {cap}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        to.write_u8(flags).await?;
        match u8::try_from(length) {
            Ok(length) if !long => to.write_u8(length).await?,
            _ => to.write_u64(length).await?,
        }
        pass(from, to, length).await?;
        if flags & MORE == 0 {
            message = 0;
        }
    }
}

async fn pass<R, W>(from: &mut R, to: &mut W, bytes: u64) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    match tokio::io::copy(&mut from.take(bytes), to).await? {
        passed if passed < bytes => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Listens outside for a socket that is bound in a private directory.
#[derive(Debug)]
pub(super) struct Front {
    endpoint: Endpoint,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Front {
    /// Listens at `endpoint`; every connection is relayed to the socket file `inner`.
    pub(super) async fn listen(endpoint: &Endpoint, inner: &Path, cap: u64) -> io::Result<Self> {
        let listener = Listener::at(endpoint).await?;
        let endpoint = listener.endpoint()?;
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(accept(listener, inner.to_owned(), cap, stop.clone()));
        Ok(Self { endpoint, stop, accepting })
    }

    /// Where it listens, with the port that was taken.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Accepts nobody else, and waits until what the inner socket has said, which must be closed, is passed on.
    pub(super) async fn finish(mut self, patience: Duration) {
        self.stop.cancel();
        if timeout(patience, &mut self.accepting).await.is_err() {
            tracing::debug!(endpoint = %self.endpoint, "a peer did not read everything that was sent to it");
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: Listener, inner: PathBuf, cap: u64, stop: CancellationToken) {
    let mut peers = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = peers.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(outer) => drop(peers.spawn(serve(outer, inner.clone(), cap))),
                Err(error) => {
                    // Too many open files, most of all; it must not spin until that is over.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    drop(listener);
    while peers.join_next().await.is_some() {}
}

async fn serve(outer: Connection, inner: PathBuf, cap: u64) {
    let done = match UnixStream::connect(&inner).await {
        Ok(inner) => relay(outer, inner, cap).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        tracing::debug!(%error, "connection closed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting() -> Vec<u8> {
        vec![0xff; 64]
    }

    async fn passed(input: &[u8], cap: u64) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let done = inwards(input, &mut out, cap).await;
        (out, done.is_ok())
    }

    #[tokio::test]
    async fn frames_pass_as_they_are() {
        let mut stream = greeting();
        stream.extend([0, 3, b'a', b'b', b'c', 1, 0]);
        stream.extend([2, 0, 0, 0, 0, 0, 0, 0, 2, b'x', b'y']);
        assert_eq!(passed(&stream, 100).await, (stream.clone(), true));
        stream.truncate(68);
        assert_eq!(passed(&stream, 100).await, (stream.clone(), true), "cut off in a frame");
        assert_eq!(passed(&stream[..65], 100).await, (greeting(), true), "cut off in a header");
        assert_eq!(passed(&[0xff; 10], 100).await, (vec![0xff; 10], true), "cut off in the greeting");
    }

    #[tokio::test]
    async fn a_large_message_does_not_pass() {
        let huge = [greeting(), vec![2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]].concat();
        assert_eq!(passed(&huge, 1 << 30).await, (greeting(), false));
        // Neither in many frames.
        let frame = [vec![MORE, 200], vec![7; 200]].concat();
        let many = [greeting(), frame.repeat(10)].concat();
        let (out, fine) = passed(&many, 1000).await;
        assert!(!fine && out.len() < 64 + 1000, "{} bytes", out.len());
    }
}
