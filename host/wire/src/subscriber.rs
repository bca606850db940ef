//! SUB, with the REQ socket on which it says hello.

use std::{fmt, io, time::Duration};

use bytes::{Bytes, BytesMut};
use spout_base::{clock, owner, panicked::go_on, scratch::Scratch};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeromq::{ReqSocket, Socket as _, SocketRecv as _, SocketSend as _, SubSocket, ZmqMessage};

use super::{
    CONNECT, END, Endpoint, HELLO,
    endpoint::connect,
    publisher::{address, said},
    relay::relay,
};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long an answer to a hello is waited for. A publisher that gives none has heard it all the same.
const ANSWER: Duration = Duration::from_secs(2);

/// A socket that can so often not be read, with no message in between, is broken itself: connections are made anew with pauses.
const BROKEN: u32 = 10_000;

/// How a subscriber is opened.
#[derive(Clone, Debug)]
pub struct SubscriberOptions {
    /// Where the publisher speaks.
    pub data: Endpoint,
    /// Where it wants to hear a hello; without it nothing is said, and `connect` and `end` are messages like any other.
    pub sync: Option<Endpoint>,
    /// Beginnings of the messages that are wanted; none wants all.
    pub topics: Vec<String>,
    /// Most bytes of a message; a publisher that says more is left, and found anew.
    pub cap: u64,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Message {
        /// Its first frame, if it had several.
        topic: Option<Bytes>,
        /// The rest of it.
        payload: Bytes,
    },
    /// The publisher said that this was all.
    End,
}

/// Hears what a publisher says. A connection that breaks is made anew; what is said meanwhile is lost.
pub struct Subscriber {
    socket: SubSocket,
    sync: Option<Endpoint>,
    name: String,
    /// Connects, as long as this lives.
    dialling: JoinHandle<()>,
    connected: watch::Receiver<bool>,
    /// Hellos on their way.
    hellos: JoinSet<()>,
    /// How often nothing could be read since the last message, and how often that may be.
    unread: u32,
    pub(super) broken: u32,
    _stop: DropGuard,
    _private: Scratch,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("name", &self.name).field("sync", &self.sync).finish_non_exhaustive()
    }
}

impl Subscriber {
    /// Begins to listen; the publisher need not be there yet.
    ///
    /// # Errors
    /// If there is no room for a private socket.
    pub async fn open(options: &SubscriberOptions) -> io::Result<Self> {
        let private = Scratch::new()?;
        let inner = private.path().join("sub");
        let mut socket = SubSocket::new();
        socket.bind(&address(&inner)).await.map_err(said)?;
        let all = [String::new()];
        let topics = if options.topics.is_empty() { &all[..] } else { &options.topics };
        for topic in topics {
            socket.subscribe(topic).await.map_err(said)?;
        }
        let stop = CancellationToken::new();
        let (state, connected) = watch::channel(false);
        let dialling = dial(options.data.clone(), inner, options.cap, state);
        let token = stop.clone();
        let dialling = owner::spawn(async move { token.run_until_cancelled(dialling).await.unwrap_or(()) });
        let (sync, name) = (options.sync.clone(), clock::nonce());
        Ok(Self {
            socket,
            sync,
            name,
            dialling,
            connected,
            hellos: JoinSet::new(),
            unread: 0,
            broken: BROKEN,
            _stop: stop.drop_guard(),
            _private: private,
        })
    }

    /// Whether the publisher is there now.
    #[must_use]
    pub fn connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// The next message. May be dropped while it waits; nothing is lost by that.
    ///
    /// # Errors
    /// If the socket is broken.
    pub async fn recv(&mut self) -> io::Result<Received> {
        loop {
            let message = tokio::select! {
                message = self.socket.recv() => message,
                over = &mut self.dialling => {
                    // It ends with this, or by a panic: nothing would be heard any more.
                    go_on(over);
                    return Err(io::Error::other("the task that connects to the publisher has ended"));
                }
                Some(said) = self.hellos.join_next() => {
                    go_on(said);
                    continue;
                }
            };
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    // A connection that broke; it is being made anew.
                    tracing::debug!(%error, "cannot read a message");
                    self.unread += 1;
                    if self.unread >= self.broken {
                        return Err(said(error));
                    }
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            self.unread = 0;
            let (topic, payload) = parts(message);
            match (&self.sync, payload.as_ref()) {
                (Some(sync), CONNECT) => self.greet(sync.clone()),
                (Some(_), END) => return Ok(Received::End),
                _ => return Ok(Received::Message { topic, payload }),
            }
        }
    }

    /// Says hello, in a task of its own so that listening goes on. The publisher counts a name once, so it may be said
    /// whenever it is asked for.
    fn greet(&mut self, sync: Endpoint) {
        let name = self.name.clone();
        self.hellos.spawn(owner::of_same(async move {
            if let Err(error) = hello(&sync, name).await {
                tracing::warn!(%sync, %error, "the handshake with the publisher failed; retrying when it asks again");
            }
        }));
    }
}

fn parts(message: ZmqMessage) -> (Option<Bytes>, Bytes) {
    let mut frames = message.into_vecdeque();
    match (frames.pop_front(), frames.len()) {
        (Some(only), 0) => (None, only),
        (topic, 1) => (topic, frames.pop_front().unwrap_or_default()),
        (topic, _) => {
            let mut rest = BytesMut::new();
            frames.iter().for_each(|frame| rest.extend_from_slice(frame));
            (topic, rest.freeze())
        }
    }
}

async fn hello(sync: &Endpoint, name: String) -> io::Result<()> {
    let private = Scratch::new()?;
    let path = private.path().join("req");
    let listener = UnixListener::bind(&path)?;
    let outer = connect(sync).await?;
    let relaying = owner::spawn(async move {
        let (inner, _) = listener.accept().await?;
        relay(outer, inner, HELLO, None).await
    });
    let mut socket = ReqSocket::new();
    let talking = async {
        socket.connect(&address(&path)).await.map_err(said)?;
        socket.send(ZmqMessage::from(name)).await.map_err(said)?;
        socket.recv().await.map_err(said)
    };
    let talked = timeout(ANSWER, talking).await;
    relaying.abort();
    go_on(relaying.await);
    match talked {
        Ok(answer) => answer.map(drop),
        Err(_) => {
            tracing::debug!(%sync, "the publisher did not answer the handshake");
            Ok(())
        }
    }
}

/// Connects, and connects again, with pauses that grow up to ten seconds.
async fn dial(publisher: Endpoint, inner: std::path::PathBuf, cap: u64, state: watch::Sender<bool>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let outer = match connect(&publisher).await {
            Ok(outer) => outer,
            Err(error) => {
                tracing::debug!(%publisher, %error, ?pause, "the publisher is not reachable yet");
                tokio::time::sleep(clock::jittered(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        };
        pause = FIRST_PAUSE;
        state.send_replace(true);
        let done = match UnixStream::connect(&inner).await {
            Ok(inner) => relay(outer, inner, cap, None).await,
            Err(error) => Err(error),
        };
        state.send_replace(false);
        match done {
            Ok(()) => tracing::debug!(%publisher, "the publisher closed the connection"),
            Err(error) => tracing::warn!(%publisher, %error, "lost the connection to the publisher"),
        }
        tokio::time::sleep(clock::jittered(pause)).await;
    }
}
