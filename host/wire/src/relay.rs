//! Passes bytes between a connection and a socket in a private directory, and lets no frame in that is too large.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use spout_base::{owner, panicked::go_on};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter},
    net::UnixStream,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    endpoint::{Connection, Endpoint, Listener},
    gate::{Crowd, Gate, Permit},
};

/// Bytes of ZMTP's greeting, which comes before the first frame.
const GREETING: u64 = 64;
/// What a frame counts for besides its bytes, so that many empty ones are a large message too.
const FRAME: u64 = 64;
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
/// How long each step of the beginning may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What a connection takes: with the peer, and both ends of the one inside.
const DESCRIPTORS: usize = 3;
/// Subscriptions of one peer, and their bytes. Every message is compared with each, and the library keeps them.
const SUBSCRIPTIONS: usize = 1000;
const SUBSCRIBED_BYTES: usize = 64 << 10;

/// Relays until either side is done; from `outer` comes no message of more than `cap` bytes.
///
/// # Errors
/// A message that is larger, and what the system says.
pub(super) async fn relay(outer: Connection, inner: UnixStream, cap: u64, wishes: Option<Wishes>) -> io::Result<()> {
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
        done = inwards(from, inner_to, cap, wishes) => done,
        done = outwards => done,
    }
}

/// Copies until `from` ends, wherever that is.
pub(super) async fn inwards(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    cap: u64,
    wishes: Option<Wishes>,
) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::with_capacity(64 << 10, from), BufWriter::with_capacity(64 << 10, to));
    match frames(&mut from, &mut to, cap, wishes).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => to.shutdown().await,
        Err(error) => {
            to.flush().await?;
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

/// Copies frame by frame; a header is passed on only when its frame may follow.
async fn frames<R, W>(from: &mut BufReader<R>, to: &mut W, cap: u64, mut wishes: Option<Wishes>) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let greeting = timeout(HANDSHAKE, pass(from, to, GREETING)).await;
    greeting.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no greeting came"))??;
    let (mut message, mut first) = (0_u64, true);
    loop {
        if from.buffer().is_empty() {
            to.flush().await?;
        }
        // What says who it is comes right after the greeting; after that a peer may be silent.
        let flags = if std::mem::take(&mut first) {
            let flags = timeout(HANDSHAKE, from.read_u8()).await;
            flags.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "a handshake stopped half way"))??
        } else {
            from.read_u8().await?
        };
        let long = flags & LONG != 0;
        let length = if long { from.read_u64().await? } else { u64::from(from.read_u8().await?) };
        message = message.saturating_add(length).saturating_add(FRAME);
        if message > cap.saturating_add(FRAME) {
            let what = format!("refused a message of at least {message} bytes; the limit is {cap}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let heard = match &mut wishes {
            // Of a peer that says what it wants to hear, messages are small.
            Some(wishes) => {
                let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
                from.read_exact(&mut payload).await?;
                if flags & COMMAND == 0 {
                    wishes.hear(&payload)?;
                    Some(payload)
                } else {
                    Some(nameless(payload))
                }
            }
            None => None,
        };
        let length = heard.as_ref().map_or(length, |payload| payload.len() as u64);
        to.write_u8(flags).await?;
        match u8::try_from(length) {
            Ok(length) if !long => to.write_u8(length).await?,
            _ => to.write_u64(length).await?,
        }
        match heard {
            Some(payload) => to.write_all(&payload).await?,
            None => pass(from, to, length).await?,
        }
        if flags & MORE == 0 {
            message = 0;
        }
    }
}

/// The hello of a peer without the name that it gives itself. The library keeps peers by it, so whoever took another's name would
/// take its place; one without a name gets one of its own.
fn nameless(hello: Vec<u8>) -> Vec<u8> {
    fn split(bytes: &[u8], length: usize, size: usize) -> Option<(&[u8], &[u8])> {
        let whole = length.checked_add(size)?;
        (bytes.len() >= whole).then(|| bytes.split_at(whole))
    }
    let Some((begin, mut rest)) = hello.first().and_then(|length| split(&hello, 1, usize::from(*length))) else {
        return hello;
    };
    if !begin.ends_with(b"READY") {
        return hello;
    }
    let mut kept = begin.to_vec();
    while let Some((name, value)) = rest.first().and_then(|length| split(rest, 1, usize::from(*length))) {
        let size =
            value.first_chunk().map(|length| u32::from_be_bytes(*length)).and_then(|size| usize::try_from(size).ok());
        // What is none, the library refuses.
        let Some((value, after)) = size.and_then(|size| split(value, 4, size)) else { return hello };
        if !name.get(1..).is_some_and(|name| name.eq_ignore_ascii_case(b"Identity")) {
            kept.extend_from_slice(name);
            kept.extend_from_slice(value);
        }
        rest = after;
    }
    if rest.is_empty() { kept } else { hello }
}

/// What a subscriber wants to hear.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Each beginning of messages, and how often it was asked for: it has to be given up as often.
    topics: HashMap<Vec<u8>, usize>,
    count: usize,
    bytes: usize,
}

impl Wishes {
    /// Takes a message of the subscriber.
    fn hear(&mut self, message: &[u8]) -> io::Result<()> {
        match message.split_first() {
            Some((1, topic)) => {
                *self.topics.entry(topic.to_vec()).or_default() += 1;
                (self.count, self.bytes) = (self.count + 1, self.bytes + topic.len());
            }
            Some((0, topic)) => {
                if let Entry::Occupied(mut times) = self.topics.entry(topic.to_vec()) {
                    (self.count, self.bytes) = (self.count - 1, self.bytes - topic.len());
                    *times.get_mut() -= 1;
                    if *times.get() == 0 {
                        times.remove();
                    }
                }
            }
            _ => {}
        }
        if self.count > SUBSCRIPTIONS || self.bytes > SUBSCRIBED_BYTES {
            let what = format!(
                "refused a subscriber with more than {SUBSCRIPTIONS} subscriptions or {SUBSCRIBED_BYTES} bytes of them"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(())
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
    /// Listens at `endpoint` for at most `peers`; every connection is relayed to the socket file `inner`, from which no message of
    /// more than `cap` bytes comes. Only subscribers subscribe.
    pub(super) async fn listen(endpoint: &Endpoint, inner: &Path, cap: u64, peers: Crowd) -> io::Result<Self> {
        let listener = Listener::at(endpoint).await?;
        let endpoint = listener.endpoint()?;
        let stop = CancellationToken::new();
        let gate = Gate::new(endpoint.to_string(), "`maxPeers`", peers, DESCRIPTORS);
        let accepting = owner::spawn(accept((listener, gate), inner.to_owned(), cap, stop.clone()));
        Ok(Self { endpoint, stop, accepting })
    }

    /// Where it listens, with the port that was taken.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether others can still connect.
    ///
    /// # Errors
    /// The task that accepts them has ended, which it does by a panic alone.
    pub(super) fn watched(&self) -> io::Result<()> {
        if self.accepting.is_finished() { Err(self.panicked()) } else { Ok(()) }
    }

    /// Why nobody else can connect any more; never, as long as others can.
    pub(super) async fn failed(&mut self) -> io::Error {
        drop((&mut self.accepting).await);
        self.panicked()
    }

    #[cfg(test)]
    pub(super) fn lose(&self) {
        self.accepting.abort();
    }

    fn panicked(&self) -> io::Error {
        io::Error::other(format!("the task that listens at {} has panicked", self.endpoint))
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

async fn accept((listener, gate): (Listener, Gate), inner: PathBuf, cap: u64, stop: CancellationToken) {
    let mut peers = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = peers.join_next() => go_on(ended),
            (outer, admitted) = gate.next(|| listener.accept()) => match admitted {
                Ok(permit) => drop(peers.spawn(serve(outer, inner.clone(), cap, permit))),
                Err(_) => drop(outer),
            },
        }
    }
    drop(listener);
    while let Some(ended) = peers.join_next().await {
        go_on(ended);
    }
}

async fn serve(outer: Connection, inner: PathBuf, cap: u64, _permit: Permit) {
    let done = match UnixStream::connect(&inner).await {
        Ok(inner) => relay(outer, inner, cap, Some(Wishes::default())).await,
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
        let done = inwards(input, &mut out, cap, None).await;
        (out, done.is_ok())
    }

    /// What passes of a subscriber's messages, all of them short.
    async fn heard(messages: impl IntoIterator<Item = Vec<u8>>) -> (usize, bool) {
        let mut stream = greeting();
        for message in messages {
            stream.extend([0, u8::try_from(message.len()).unwrap()]);
            stream.extend(message);
        }
        let mut out = Vec::new();
        let done = inwards(&stream[..], &mut out, 1 << 12, Some(Wishes::default())).await;
        assert!(stream.starts_with(&out));
        (out.len(), done.is_ok())
    }

    #[tokio::test]
    async fn a_subscriber_has_a_limited_number_of_subscriptions() {
        let wish = |index: usize| [&[1][..], index.to_string().as_bytes()].concat();
        let (all, fine) = heard((0..SUBSCRIPTIONS).map(wish)).await;
        assert!(fine);
        let (passed, fine) = heard((0..SUBSCRIPTIONS * 60).map(wish)).await;
        assert!(!fine && passed == all, "{passed} of {all} bytes");
        let (_, fine) = heard((0..2000).map(|_| vec![1; 250])).await;
        assert!(!fine, "nor of bytes");
        // Who gives up what it had may have others; who gives up what it never had may not.
        let changing = (0..SUBSCRIPTIONS * 2).flat_map(|index| {
            let mut gone = wish(index);
            gone[0] = 0;
            [wish(index), gone.clone(), gone]
        });
        assert!(heard(changing).await.1);
        assert!(!heard((0..SUBSCRIPTIONS + 1).flat_map(|index| [wish(index), vec![0, b'x']])).await.1);
    }

    #[test]
    fn nobody_takes_the_name_of_another() {
        let property = |name: &str, value: &[u8]| {
            let length = u32::try_from(value.len()).unwrap().to_be_bytes();
            [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &length, value].concat()
        };
        let kind = property("Socket-Type", b"SUB");
        let hello = |properties: &[&[u8]]| [b"\x05READY", properties.concat().as_slice()].concat();
        let check = |given: Vec<u8>, expected: Vec<u8>| assert_eq!(nameless(given), expected);
        check(hello(&[&kind]), hello(&[&kind]));
        check(hello(&[&property("Identity", b"another"), &kind]), hello(&[&kind]));
        check(hello(&[&kind, &property("identity", b"")]), hello(&[&kind]));
        // What is none stays so.
        for broken in
            [&b""[..], b"\x05REA", b"\xff", &hello(&[b"\x08Identity\0\0\0\x09short"]), &hello(&[&kind, b"\x02x"])]
        {
            check(broken.to_vec(), broken.to_vec());
        }
        check(b"\x04PING\x08Identity".to_vec(), b"\x04PING\x08Identity".to_vec());
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
