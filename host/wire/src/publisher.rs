//! PUB, with the REP socket on which subscribers say hello.

use std::{collections::BTreeSet, fmt, io, path::Path, time::Duration};

use bytes::Bytes;
use spout_base::{owner, scratch::Scratch};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use zeromq::{PubSocket, RepSocket, Socket as _, SocketRecv as _, SocketSend as _, ZmqError, ZmqMessage};

use super::{CONNECT, END, Endpoint, HELLO, gate::Crowd, relay::Front};

/// Pauses between two `connect` messages: short at first, for those who come at the same time, then this long.
const AGAIN: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(50);
/// Names of subscribers that are told apart; what comes after counts as new each time.
const NAMES: usize = 10_000;

/// How a publisher is opened.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// Where subscribers read.
    pub data: Endpoint,
    /// Where they say hello; without it nobody is waited for.
    pub sync: Option<Endpoint>,
    /// First frame of every message, that subscribers can choose by.
    pub topic: Option<String>,
    /// How many connections each socket takes at once.
    pub peers: Crowd,
}

/// Says messages to whoever listens.
pub struct Publisher {
    socket: PubSocket,
    topic: Option<Bytes>,
    front: Front,
    greeting: Option<Greeting>,
    heard: watch::Receiver<usize>,
    _private: Scratch,
}

/// The socket on which subscribers say hello, and the task that answers them.
#[derive(Debug)]
struct Greeting {
    front: Front,
    answering: JoinHandle<()>,
}

impl Greeting {
    fn watched(&self) -> io::Result<()> {
        if self.answering.is_finished() { Err(unanswered()) } else { self.front.watched() }
    }

    async fn failed(&mut self) -> io::Error {
        tokio::select! {
            error = self.front.failed() => error,
            _ = &mut self.answering => unanswered(),
        }
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

fn unanswered() -> io::Error {
    io::Error::other("the task that answers the handshakes of subscribers has panicked")
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("front", &self.front)
            .field("greeting", &self.greeting)
            .finish_non_exhaustive()
    }
}

/// Bytes of a message, with something that is let go of when every queue has let go of them.
struct Held<T> {
    bytes: Bytes,
    _guard: T,
}

impl<T> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Publisher {
    /// Listens where `options` say.
    ///
    /// # Errors
    /// If that is not possible: the port is taken, or there is no such directory.
    pub async fn open(options: &PublisherOptions) -> io::Result<Self> {
        let private = Scratch::new()?;
        let (data, sync) = (private.path().join("pub"), private.path().join("rep"));
        let mut socket = PubSocket::new();
        socket.bind(&address(&data)).await.map_err(said)?;
        let front = Front::listen(&options.data, &data, HELLO, options.peers).await?;
        let (hello, heard) = watch::channel(0);
        let greeting = match &options.sync {
            None => None,
            Some(endpoint) => {
                let mut socket = RepSocket::new();
                socket.bind(&address(&sync)).await.map_err(said)?;
                let front = Front::listen(endpoint, &sync, HELLO, options.peers).await?;
                Some(Greeting { front, answering: owner::spawn(greet(socket, hello)) })
            }
        };
        let topic = options.topic.clone().map(Bytes::from);
        Ok(Self { socket, topic, front, greeting, heard, _private: private })
    }

    /// Where subscribers read, with the port that was taken.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.front.endpoint()
    }

    /// Where they say hello.
    #[must_use]
    pub fn sync_endpoint(&self) -> Option<&Endpoint> {
        self.greeting.as_ref().map(|greeting| greeting.front.endpoint())
    }

    /// Says `connect` each second until `subscribers` have said hello.
    ///
    /// # Errors
    /// If the socket is broken.
    pub async fn wait_for(&mut self, subscribers: usize) -> io::Result<()> {
        let mut heard = self.heard.clone();
        let mut pause = SOON;
        loop {
            let enough = async { heard.wait_for(|heard| *heard >= subscribers).await.map(drop) };
            tokio::select! {
                enough = enough => return enough.map_err(|_| io::Error::other("the `sync` socket is closed, so no subscriber can complete the handshake")),
                () = sleep(pause) => {
                    self.say(Bytes::from_static(CONNECT)).await?;
                    pause = (pause * 2).min(AGAIN);
                }
            }
        }
    }

    /// Says `payload`. `guard` is dropped when every subscriber's queue has let go of it; whoever does not read holds it.
    ///
    /// # Errors
    /// If the socket is broken.
    pub async fn send(&mut self, payload: Bytes, guard: impl Send + Sync + 'static) -> io::Result<()> {
        self.say(Bytes::from_owner(Held { bytes: payload, _guard: guard })).await
    }

    /// Why others cannot connect or say hello any more; never, as long as they can. The future may be dropped.
    pub async fn failed(&mut self) -> io::Error {
        let greeting = async {
            match &mut self.greeting {
                Some(greeting) => greeting.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            error = self.front.failed() => error,
            error = greeting => error,
        }
    }

    /// Says `end` and waits, at most `patience`, until everything has been passed on to those who listen.
    ///
    /// # Errors
    /// If the socket is broken.
    pub async fn finish(mut self, patience: Duration) -> io::Result<()> {
        let (guard, gone) = oneshot::channel::<()>();
        self.send(Bytes::from_static(END), guard).await?;
        if timeout(patience, gone).await.is_err() {
            tracing::warn!(endpoint = %self.endpoint(), "a subscriber is not reading; it will miss `end`");
        }
        let Self { socket, front, greeting, .. } = self;
        drop((socket, greeting));
        front.finish(patience).await;
        Ok(())
    }

    /// As if the task that answers handshakes, or else the one that accepts subscribers, had panicked.
    #[cfg(test)]
    pub(super) fn lose(&mut self, greeting: bool) {
        match &self.greeting {
            Some(lost) if greeting => lost.answering.abort(),
            _ => self.front.lose(),
        }
    }

    async fn say(&mut self, payload: Bytes) -> io::Result<()> {
        self.front.watched()?;
        self.greeting.as_ref().map_or(Ok(()), Greeting::watched)?;
        let message = match &self.topic {
            None => ZmqMessage::from(payload),
            Some(topic) => {
                let mut message = ZmqMessage::from(topic.clone());
                message.push_back(payload);
                message
            }
        };
        self.socket.send(message).await.map_err(said)
    }
}

/// Answers every hello, and counts those who say it. One who gives its name counts once.
async fn greet(mut socket: RepSocket, hello: watch::Sender<usize>) {
    let mut names = BTreeSet::new();
    loop {
        match socket.recv().await {
            Ok(message) => {
                let name: Vec<u8> = message.iter().flat_map(|frame| frame.to_vec()).collect();
                // Answered first: who waits for data must not find it before the answer.
                if let Err(error) = socket.send(ZmqMessage::from(Bytes::new())).await {
                    tracing::debug!(%error, "a subscriber disconnected before the reply");
                }
                let again = !name.is_empty() && !names.insert(name);
                if names.len() > NAMES {
                    names.clear();
                }
                if !again {
                    hello.send_modify(|heard| *heard += 1);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot read a handshake");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// A socket file as the library wants it.
pub(super) fn address(path: &Path) -> String {
    format!("ipc://{}", path.display())
}

/// What the library says, as an error of the system.
pub(super) fn said(error: ZmqError) -> io::Error {
    match error {
        ZmqError::Network(error) => error,
        other => io::Error::other(other.to_string()),
    }
}
