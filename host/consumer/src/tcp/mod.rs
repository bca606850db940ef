//! `tcp`: rows to a port, as lines or as frames.

mod sender;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::reach::Reach;
use spout_data::{Batch, Period};

use self::sender::{Parcel, Sender};
use super::{
    Consumer, ConsumerContext, Error,
    encode::{self, failed, pieces},
    outbox::{Outbox, QueueSpec},
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

    fn reach(&self) -> Reach {
        Reach::Network
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
    /// Begins to connect; the receiver need not be there yet.
    fn open(spec: &TcpSpec, context: &ConsumerContext) -> Self {
        let most = usize::try_from(spec.queue.bytes.0).unwrap_or(usize::MAX);
        let sender = Sender::new(&spec.address, spec.connect_timeout.0, most);
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

    async fn failed(&mut self) -> Error {
        self.outbox.failed().await
    }

    async fn finish(&mut self) -> Result<(), Error> {
        self.outbox.finish().await
    }
}
