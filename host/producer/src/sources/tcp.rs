//! Listens on a TCP port: each client sends a stream of messages, and may be told what is stored.

use std::{future::pending, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::{error::Coded as _, owner, panicked::go_on, reach::Reach};
use spout_data::{Blobs, ByteSize, Period};
use spout_wire::{Gate, Permit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::listen::{Receive, Receiving, answer_within, crowd, listen, no_address, no_time, queue, zero};
use crate::{
    Class, Compression, Error, Framer, FramingSpec, Guarantee, MetadataColumn, Peek, Producer, Promise, SourceContext,
    SourceSpec,
    inbox::{Inbox, Letterbox, Receipt, Sent},
    unfinished::{Share, Unfinished},
};

/// A port that accepts messages over TCP, as in `{listen: "0.0.0.0:9000", framing: {type: lines}, reply: line}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpSpec {
    /// Host and port to listen on, as in `127.0.0.1:9000`; with port 0 the system chooses one, and `spout run` prints it.
    pub listen: String,
    /// Where messages end in what a client sends, as in `{type: lines}`.
    #[serde(default)]
    pub framing: FramingSpec,
    /// How a client is answered after the commit, as in `line`. Without it, clients get no reply.
    #[serde(default)]
    pub reply: Option<Reply>,
    /// How long messages wait for others to share their commit, as in `50ms`, if `reply` is set. Without it, a commit is cut
    /// as soon as the one before it is written, with all that arrived meanwhile.
    #[serde(default = "answer_within", alias = "answer_within")]
    pub answer_within: Period,
    /// Maximum concurrent clients, as in `1024`; others are refused.
    #[serde(default = "max_clients", alias = "max_clients")]
    pub max_clients: u32,
    /// How many of them may come from one address (one /64 of IPv6), as in `64`. Without it half of `maxClients`, or 32 if that is
    /// more, and from this machine as many as there are.
    #[serde(default, alias = "max_per_address")]
    pub max_per_address: Option<u32>,
    /// How long a client may send nothing, as in `10m`, before it is closed. Without it, as long as it likes.
    #[serde(default, alias = "idle_time")]
    pub idle_time: Option<Period>,
    /// Bytes read but not yet decoded, as in `16MiB`; when full, clients have to wait. As many again may be parts of messages that
    /// are not complete.
    #[serde(default = "queue")]
    pub queue: ByteSize,
    /// Columns added to every row, as in `[offset, timestamp]`; the timestamp is the time of arrival.
    #[serde(default)]
    pub metadata: Vec<MetadataColumn>,
}

/// How a client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// `ok <messages> <commit>` when the first so many messages of the connection are stored; `error <messages> <why>` when
    /// what follows them is not, and has to be sent again.
    Line,
}

fn max_clients() -> u32 {
    1024
}

impl SourceSpec for TcpSpec {
    fn reach(&self) -> Option<Reach> {
        Some(Reach::Ports)
    }

    fn reads(&self) -> String {
        format!("what clients send to TCP port {}", self.listen)
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        no_address(&self.listen)
            .or_else(|| self.framing.problem())
            .or_else(|| zero("maxClients", u64::from(self.max_clients)))
            .or_else(|| self.max_per_address.and_then(|most| zero("maxPerAddress", u64::from(most))))
            .or_else(|| self.idle_time.and_then(|time| no_time("idleTime", time)))
            .or_else(|| zero("queue", self.queue.0))
    }

    fn metadata(&self) -> &[MetadataColumn] {
        &self.metadata
    }

    fn framing(&self) -> Option<&FramingSpec> {
        Some(&self.framing)
    }

    fn may_end(&self) -> bool {
        false
    }

    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error> {
        let uses_first_record = context.decoder.uses_first_record() && self.framing.kind.has_records();
        let port = TcpPort { spec: Arc::new(self.clone()), pipeline: context.pipeline.to_owned(), uses_first_record };
        Ok(Box::new(Receiving::new(port, self.queue, self.answer_within)))
    }

    fn peek(&self) -> Peek {
        Peek::Harmful("clients that connect meanwhile send messages that are kept nowhere, and get no reply".into())
    }

    fn promise(&self) -> Promise {
        match self.reply {
            Some(Reply::Line) => Promise {
                class: Class::Push,
                guarantee: Some(Guarantee::AtLeastOnce),
                but: "exactly once after the reply; a client that gets no reply sends again, and both may be stored",
            },
            None => Promise {
                class: Class::Push,
                guarantee: None,
                but: "what was received but not committed is lost if the host dies; set `reply: line` and have clients resend what was not acknowledged",
            },
        }
    }
}

/// Bytes read at once, and of a compressed stream, of which each may become a thousand before room is asked for them.
const READ: usize = 64 << 10;
const PACKED: usize = 2 << 10;
/// Messages that take so much are put without waiting for more of what was read.
const FULL: usize = 4 << 20;
/// Receipts of one client that are waited for; more, and it is read no further.
const RECEIPTS: usize = 1024;

/// Listens on a TCP port.
#[derive(Debug)]
struct TcpPort {
    spec: Arc<TcpSpec>,
    pipeline: String,
    uses_first_record: bool,
}

#[async_trait]
impl Receive for TcpPort {
    const LABEL: &'static str = "tcp";

    async fn open(&mut self, inbox: &mut Inbox) -> Result<Option<SocketAddr>, Error> {
        let (listener, address) = listen("tcp", &self.spec.listen).await?;
        let (spec, pipeline, uses_first_record) =
            (Arc::clone(&self.spec), self.pipeline.clone(), self.uses_first_record);
        let name = format!("the tcp port of pipeline {pipeline}");
        let crowd = crowd(spec.max_clients, spec.max_per_address);
        let gate = Gate::new(name, "`maxClients` or `maxPerAddress`", crowd, 1);
        let unfinished = Unfinished::new(spec.queue.0);
        inbox.fill(|letterbox, stop| {
            accept(listener, gate, Clients { spec, pipeline, uses_first_record, unfinished, letterbox, stop })
        });
        Ok(Some(address))
    }
}

/// What every connection needs.
#[derive(Clone, Debug)]
struct Clients {
    spec: Arc<TcpSpec>,
    pipeline: String,
    uses_first_record: bool,
    unfinished: Unfinished,
    letterbox: Letterbox,
    stop: CancellationToken,
}

/// Takes clients until it is stopped, and then waits until each of them knows how it ended.
async fn accept(listener: TcpListener, gate: Gate, clients: Clients) {
    let mut connections = JoinSet::new();
    let stop = clients.stop.clone();
    loop {
        let (mut stream, peer, admitted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = gate.accept(&listener) => accepted,
            Some(ended) = connections.join_next() => {
                go_on(ended);
                continue;
            }
        };
        match admitted {
            Ok(permit) => drop(connections.spawn(owner::of_same(serve(stream, peer, clients.clone(), permit)))),
            Err(_) => {
                if clients.spec.reply.is_some() {
                    drop(stream.try_write(b"error 0 too many clients; try again later\n"));
                }
                drop(stream.shutdown().await);
            }
        }
    }
    // The port is closed, and the queue ends with the last connection.
    drop((listener, clients));
    while let Some(ended) = connections.join_next().await {
        go_on(ended);
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, clients: Clients, _permit: Permit) {
    let (_present, _watch) = (clients.letterbox.enter(), clients.letterbox.watch());
    // Replies are short and waited for.
    drop(stream.set_nodelay(true));
    let (read, write) = stream.into_split();
    let (receipts, replies) = mpsc::channel(RECEIPTS);
    let replying = owner::spawn(answer(write, replies));
    let (pipeline, reply) = (clients.pipeline.clone(), clients.spec.reply);
    let ending = match receive(read, &clients, &receipts).await {
        Ok(()) => None,
        Err(why) => {
            tracing::warn!(pipeline, %peer, why, "closing a client's connection");
            Some(why)
        }
    };
    // The queue has to end even while this client still waits for a commit.
    drop(clients);
    if reply.is_some() {
        drop(receipts.send(Answer::End(ending)).await);
    }
    drop(receipts);
    go_on(replying.await);
}

/// What the replying half of a connection sends.
enum Answer {
    Receipt(Receipt),
    /// The last one: no more messages come, and why, if it is the client's fault.
    End(Option<String>),
}

/// Reads messages until the client ends, or it is stopped.
async fn receive(mut read: OwnedReadHalf, clients: &Clients, receipts: &mpsc::Sender<Answer>) -> Result<(), String> {
    let mut framer = Framer::new(&clients.spec.framing).map_err(|error| error.to_string())?;
    let mut share = clients.unfinished.share();
    let packed = clients.spec.framing.compression != Compression::None;
    let (mut buffer, mut values) = (vec![0; if packed { PACKED } else { READ }], Blobs::default());
    loop {
        let read = tokio::select! {
            () = clients.stop.cancelled() => return Ok(()),
            read = next(&mut read, &mut buffer, (&mut share, framer.held()), clients.spec.idle_time) => read?,
        };
        // A few bytes may unpack to many.
        for piece in buffer.get(..read).unwrap_or_default().chunks(framer.at_once()) {
            let pushed = framer.push(piece, &mut values);
            // What came before a bad byte is sound.
            if pushed.is_err() || values.room() >= FULL {
                clients.put(std::mem::take(&mut values), framer.first(), receipts).await?;
            }
            pushed.map_err(|error| error.to_string())?;
        }
        let finished = if read == 0 { framer.finish(&mut values) } else { Ok(()) };
        clients.put(std::mem::take(&mut values), framer.first(), receipts).await?;
        finished.map_err(|error| error.to_string())?;
        if read == 0 {
            return Ok(());
        }
    }
}

/// What comes next, once there is room for the `held` bytes of a message that came before it.
async fn next(
    read: &mut OwnedReadHalf,
    buffer: &mut [u8],
    (share, held): (&mut Share, usize),
    idle_time: Option<Period>,
) -> Result<usize, String> {
    let too_slow = |_| format!("{} ({})", Error::TooSlow, Error::TooSlow.code());
    share.hold(held).await.map_err(too_slow)?;
    let read = tokio::select! {
        read = read.read(buffer) => read.map_err(|error| error.to_string())?,
        slow = share.too_slow() => return Err(too_slow(slow)),
        why = silent(idle_time) => return Err(why),
    };
    share.arrived();
    Ok(read)
}

/// Ends after `time`, with what a client is told that has sent nothing meanwhile.
async fn silent(time: Option<Period>) -> String {
    let Some(time) = time else { return pending().await };
    sleep(time.0).await;
    format!("nothing came for {time}, which is `idleTime`")
}

impl Clients {
    /// Puts what a client has sent, once there is room.
    async fn put(&self, values: Blobs, first: Option<&[u8]>, receipts: &mpsc::Sender<Answer>) -> Result<(), String> {
        if values.is_empty() {
            return Ok(());
        }
        let wants_receipt = self.spec.reply.is_some();
        let stopping = || "the pipeline stops".to_owned();
        let room = self.letterbox.room(values.room()).await.map_err(|_| stopping())?;
        let first = first.filter(|_| self.uses_first_record).unwrap_or_default().to_vec();
        let receipt = self.letterbox.put(Sent { values, first, key: None, wants_receipt }, room);
        if let Some(receipt) = receipt.map_err(|_| stopping())? {
            drop(receipts.send(Answer::Receipt(receipt)).await);
        }
        Ok(())
    }
}

/// Reports to the client what is stored, in the order in which it was sent.
async fn answer(mut write: OwnedWriteHalf, mut answers: mpsc::Receiver<Answer>) {
    let mut stored = 0;
    while let Some(answer) = answers.recv().await {
        let line = match answer {
            Answer::Receipt(receipt) => match receipt.await {
                Ok(Ok(receipt)) => {
                    stored += receipt.messages;
                    let commit = receipt.commit.unwrap_or_default();
                    match receipt.dead {
                        0 => format!("ok {stored} {commit}\n"),
                        dead => format!("ok {stored} {commit} {dead} set aside\n"),
                    }
                }
                // No line has a key.
                Ok(Err(_)) | Err(_) => {
                    let line = format!("error {stored} the pipeline stopped before the commit; send the rest again\n");
                    drop(write.write_all(line.as_bytes()).await);
                    break;
                }
            },
            Answer::End(Some(why)) => format!("error {stored} {}\n", why.replace('\n', " ")),
            Answer::End(None) => break,
        };
        if write.write_all(line.as_bytes()).await.is_err() {
            // It is gone, and what it sent is stored all the same.
            break;
        }
    }
    drop(write.shutdown().await);
}
