//! `tcp`: rows to whoever listens at a port, as lines or as frames.

use std::{collections::VecDeque, io, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{Batch, Period};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    Consumer, ConsumerContext, Error,
    encode::{self, failed, pieces},
    outbox::{Deliver, Outbox, QueueSpec, Room},
    retry::Retry,
    spec::ConsumerKind,
};

/// Sends rows to a port: lines of NDJSON or CSV, or Arrow IPC streams in frames. At least once: after a lost connection
/// everything since the last commit is sent again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpSpec {
    /// Host and port to connect to, as in `127.0.0.1:9000`.
    pub address: String,
    /// `ndjson` (the default), `csv` (a line of names first, on every connection), or `arrow` (each batch is an Arrow IPC
    /// stream of its own, in a frame).
    #[serde(default)]
    pub format: TcpFormat,
    /// How the length of a frame is written: `digits` is ten decimal digits (the default with `arrow`), `u32` four bytes,
    /// big-endian. Lines need none.
    #[serde(default)]
    pub framing: Option<TcpFraming>,
    /// Timeout of one attempt to connect, as in `10s`.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Period,
    /// Rows queued while the receiver is slow or away.
    #[serde(default)]
    pub queue: QueueSpec,
}

fn connect_timeout() -> Period {
    Period(Duration::from_secs(10))
}

/// What is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TcpFormat {
    /// One JSON object a line.
    #[default]
    Ndjson,
    /// Comma-separated values.
    Csv,
    /// Arrow IPC streams.
    Arrow,
}

/// How the length of a frame is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TcpFraming {
    /// Ten decimal digits.
    Digits,
    /// Four bytes, big-endian.
    U32,
}

/// Arrow memory of one frame, about; those who read them have limits.
const FRAME: u64 = 8 << 20;

impl TcpSpec {
    /// What frames it, if anything does.
    fn frames(&self) -> Option<TcpFraming> {
        self.framing.or((self.format == TcpFormat::Arrow).then_some(TcpFraming::Digits))
    }
}

#[async_trait]
impl ConsumerKind for TcpSpec {
    #[cfg(test)]
    fn example() -> &'static str {
        r#"{"type": "tcp", "address": "127.0.0.1:9000", "format": "arrow"}"#
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        let sound =
            self.address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !sound {
            return Some((
                "address",
                format!("`{}` is not a host and port; write it like 127.0.0.1:9000", self.address),
            ));
        }
        let zero = self.connect_timeout.0.is_zero();
        zero.then(|| ("connectTimeout", "it must be more than 0; leave it out for 10s".into()))
    }

    fn describe(&self) -> String {
        let format = match self.format {
            TcpFormat::Ndjson => "ndjson",
            TcpFormat::Csv => "csv",
            TcpFormat::Arrow => "arrow",
        };
        let framed = match self.frames() {
            None => "",
            Some(TcpFraming::Digits) => ", framed by ten digits",
            Some(TcpFraming::U32) => ", framed by four bytes",
        };
        format!("tcp {}, {format}{framed}", self.address)
    }

    fn guarantee(&self) -> &'static str {
        "at least once, up to the operating system's buffer: rows are sent again after a crash or a lost connection, but what the other side had not read when its machine died is lost"
    }

    fn queue(&self) -> Option<&QueueSpec> {
        Some(&self.queue)
    }

    async fn open(&self, context: &ConsumerContext) -> Result<Box<dyn Consumer>, Error> {
        Ok(Box::new(TcpConsumer::open(self, context)))
    }
}

/// A running `tcp` consumer.
#[derive(Debug)]
pub(crate) struct TcpConsumer {
    spec: TcpSpec,
    outbox: Outbox<Parcel>,
}

impl TcpConsumer {
    /// Begins to connect; whoever listens need not be there yet.
    fn open(spec: &TcpSpec, context: &ConsumerContext) -> Self {
        let sender = Sender {
            address: spec.address.clone(),
            connect_timeout: spec.connect_timeout.0,
            most: usize::try_from(spec.queue.bytes.0).unwrap_or(usize::MAX),
            stream: None,
            retry: Retry::default(),
            heading: None,
            since: VecDeque::new(),
            kept: 0,
            whole: true,
        };
        Self { spec: spec.clone(), outbox: Outbox::new("tcp", &spec.queue, context.stop.clone(), sender) }
    }

    fn framed(&self, payload: Vec<u8>) -> Result<Bytes, Error> {
        let length = payload.len();
        let head = match self.spec.frames() {
            None => return Ok(payload.into()),
            Some(TcpFraming::Digits) if length < 10_000_000_000 => format!("{length:010}").into_bytes(),
            Some(TcpFraming::U32) if u32::try_from(length).is_ok() => (length as u32).to_be_bytes().to_vec(),
            Some(_) => {
                let reason = format!("a batch of {length} bytes is too large for a frame; flush commits earlier");
                return Err(Error::Spec { consumer: "tcp", reason });
            }
        };
        Ok([head, payload].concat().into())
    }

    async fn put(&mut self, payload: Vec<u8>, heading: Option<Bytes>, rows: usize) -> Result<(), Error> {
        let bytes = self.framed(payload)?;
        let size = bytes.len();
        self.outbox.put(Parcel::Bytes(bytes, heading), size, rows).await
    }
}

#[async_trait]
impl Consumer for TcpConsumer {
    fn name(&self) -> &str {
        "tcp"
    }

    async fn consume(&mut self, batch: &Batch) -> Result<(), Error> {
        let framed = self.spec.frames().is_some();
        for piece in pieces(&batch.records, FRAME) {
            let rows = piece.num_rows();
            match self.spec.format {
                TcpFormat::Ndjson => {
                    let bytes = encode::ndjson(&piece).map_err(failed("tcp", "ndjson", rows))?;
                    self.put(bytes, None, rows).await?;
                }
                TcpFormat::Csv => {
                    let bytes = encode::csv(&piece, framed).map_err(failed("tcp", "csv", rows))?;
                    let heading = encode::csv(&piece.slice(0, 0), true).map_err(failed("tcp", "csv", 0))?;
                    self.put(bytes, (!framed).then(|| heading.into()), rows).await?;
                }
                TcpFormat::Arrow => {
                    let bytes = encode::arrow(&piece, []).map_err(failed("tcp", "arrow", rows))?;
                    self.put(bytes, None, rows).await?;
                }
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.outbox.flush().await?;
        // What was sent before this point is not sent again.
        self.outbox.put(Parcel::Mark, 0, 0).await
    }

    async fn finish(&mut self) -> Result<(), Error> {
        self.outbox.finish().await
    }
}

#[derive(Debug)]
enum Parcel {
    /// Bytes to send, and what has to stand at the beginning of their connection.
    Bytes(Bytes, Option<Bytes>),
    /// A commit comes now.
    Mark,
}

/// Writes to the connection, and makes it anew when it breaks.
struct Sender {
    address: String,
    connect_timeout: Duration,
    /// Bytes that may be kept for sending them again.
    most: usize,
    stream: Option<TcpStream>,
    retry: Retry,
    /// What the connection began with.
    heading: Option<Bytes>,
    /// What was written since the last commit.
    since: VecDeque<(Bytes, Option<Bytes>)>,
    kept: usize,
    /// Whether `since` is all of it.
    whole: bool,
}

impl Sender {
    fn unreachable(&self, source: io::Error) -> Error {
        Error::Unreachable { consumer: "tcp", place: self.address.clone(), source }
    }

    fn keep(&mut self, bytes: Bytes, heading: Option<Bytes>) {
        self.kept += bytes.len();
        self.since.push_back((bytes, heading));
        if self.kept > self.most {
            self.whole = false;
            self.since.clear();
            self.kept = 0;
        }
    }

    /// Writes the last thing that was kept, or after a new connection everything that was.
    async fn send(&mut self, fresh: &(Bytes, Option<Bytes>)) -> io::Result<()> {
        if let Some(stream) = &mut self.stream {
            if closed(stream) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            return write(stream, &mut self.heading, fresh).await;
        }
        let mut stream = match timeout(self.connect_timeout, TcpStream::connect(&self.address)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        stream.set_nodelay(true)?;
        self.heading = None;
        for again in &self.since {
            write(&mut stream, &mut self.heading, again).await?;
        }
        if self.since.is_empty() {
            write(&mut stream, &mut self.heading, fresh).await?;
        }
        self.stream = Some(stream);
        Ok(())
    }
}

#[async_trait]
impl Deliver for Sender {
    type Parcel = Parcel;

    async fn deliver(&mut self, parcel: Parcel, _room: Room) -> Result<(), Error> {
        let Parcel::Bytes(bytes, heading) = parcel else {
            (self.kept, self.whole) = (0, true);
            self.since.clear();
            return Ok(());
        };
        let fresh = (bytes.clone(), heading.clone());
        self.keep(bytes, heading);
        loop {
            let connected = self.stream.is_some();
            let Err(error) = self.send(&fresh).await else {
                self.retry.worked();
                return Ok(());
            };
            self.stream = None;
            let address = &self.address;
            if connected {
                tracing::warn!(address, %error, "connection lost; reconnecting")
            } else {
                tracing::debug!(address, %error, "nothing is listening there yet")
            }
            if connected && !self.whole {
                // Too much was sent to keep; the pipeline has it, from its last commit on.
                return Err(self.unreachable(error));
            }
            self.retry.pause(None).await;
        }
    }

    /// Says that nothing follows, and waits a little for the other side to have read it all.
    async fn close(mut self, patience: Duration) -> Result<(), Error> {
        let Some(mut stream) = self.stream.take() else { return Ok(()) };
        let ending = async {
            stream.shutdown().await?;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        match timeout(patience.min(Duration::from_secs(5)), ending).await {
            Ok(Err(error)) => Err(self.unreachable(error)),
            // Some keep their side open; what was sent is with the system.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// Whether the other side has closed the connection. What it says is not listened to.
fn closed(stream: &TcpStream) -> bool {
    let mut said = [0; 1024];
    loop {
        match stream.try_read(&mut said) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

async fn write(
    stream: &mut TcpStream,
    begun: &mut Option<Bytes>,
    (bytes, heading): &(Bytes, Option<Bytes>),
) -> io::Result<()> {
    if let Some(heading) = heading
        && begun.as_ref() != Some(heading)
    {
        stream.write_all(heading).await?;
        *begun = Some(heading.clone());
    }
    stream.write_all(bytes).await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::tests::{batch, context};

    fn spec(address: String, format: TcpFormat) -> TcpSpec {
        let queue = QueueSpec { timeout: Period(Duration::from_secs(20)), ..QueueSpec::default() };
        TcpSpec { address, format, framing: None, connect_timeout: connect_timeout(), queue }
    }

    async fn all(listener: &TcpListener) -> Vec<u8> {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn lines_arrive_whole_and_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        for (format, expected) in [
            (TcpFormat::Ndjson, "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n"),
            // Names once, though there are two batches.
            (TcpFormat::Csv, "n\n0\n1\n2\n"),
        ] {
            let mut consumer = TcpConsumer::open(&spec(address.clone(), format), &context());
            consumer.consume(&batch(0..2)).await.unwrap();
            consumer.consume(&batch(2..3)).await.unwrap();
            let (read, finished) = tokio::join!(all(&listener), async {
                consumer.flush().await?;
                consumer.finish().await
            });
            finished.unwrap();
            assert_eq!(String::from_utf8(read).unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn frames_say_how_long_they_are() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        for framing in [TcpFraming::Digits, TcpFraming::U32] {
            let spec = TcpSpec { framing: Some(framing), ..spec(address.clone(), TcpFormat::Arrow) };
            let mut consumer = TcpConsumer::open(&spec, &context());
            consumer.consume(&batch(0..2)).await.unwrap();
            let (read, finished) = tokio::join!(all(&listener), consumer.finish());
            finished.unwrap();
            let (length, payload) = match framing {
                TcpFraming::Digits => (String::from_utf8(read[..10].to_vec()).unwrap().parse().unwrap(), &read[10..]),
                TcpFraming::U32 => (u32::from_be_bytes(read[..4].try_into().unwrap()) as usize, &read[4..]),
            };
            assert_eq!(length, payload.len());
            assert_eq!(payload, encode::arrow(&batch(0..2).records, []).unwrap());
        }
    }

    #[tokio::test]
    async fn after_a_broken_connection_everything_since_the_commit_is_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut consumer = TcpConsumer::open(&spec(address, TcpFormat::Ndjson), &context());
        consumer.consume(&batch(0..1)).await.unwrap();
        let (mut first, _) = listener.accept().await.unwrap();
        consumer.flush().await.unwrap();
        consumer.consume(&batch(1..2)).await.unwrap();
        let mut read = [0; 16];
        first.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"{\"n\":0}\n{\"n\":1}\n");
        drop(first);
        // It is only seen when something is written, and perhaps not by the first write.
        let reading = tokio::spawn(async move { all(&listener).await });
        consumer.consume(&batch(2..3)).await.unwrap();
        consumer.consume(&batch(3..4)).await.unwrap();
        consumer.finish().await.unwrap();
        let read = String::from_utf8(reading.await.unwrap()).unwrap();
        assert_eq!(read, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    }

    #[tokio::test]
    async fn a_receiver_that_is_not_there_ends_the_flush_in_time() {
        let queue = QueueSpec { timeout: Period(Duration::from_millis(50)), ..QueueSpec::default() };
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let spec = TcpSpec { queue, ..spec(address, TcpFormat::Ndjson) };
        let mut consumer = TcpConsumer::open(&spec, &context());
        consumer.consume(&batch(0..1)).await.unwrap();
        assert!(matches!(consumer.flush().await, Err(Error::Slow { .. })));
    }
}
