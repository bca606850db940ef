//! `publish`: rows to whoever subscribes over ZeroMQ.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::reach::Reach;
use spout_data::{Batch, ByteSize};
use spout_wire::{Crowd, Endpoint, Publisher, PublisherOptions};
use tokio_util::sync::CancellationToken;

use super::{
    Consumer, ConsumerContext, Error,
    encode::{self, failed, pieces},
    outbox::{Deliver, Outbox, QueueSpec, Room},
    spec::ConsumerKind,
};

/// Publishes rows over ZeroMQ (PUB). Subscribers that have completed the handshake get every row at least once while they
/// stay connected; one that is away misses what is published meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishSpec {
    /// Where subscribers read, as in `tcp://*:5556` or `ipc:///run/rows`.
    pub address: Endpoint,
    /// Where they complete the handshake (REP), as in `tcp://*:5557`. Before any data, `connect` is sent each second until
    /// `subscribers` of them have done so; `end` is sent when the pipeline stops.
    #[serde(default)]
    pub sync: Option<Endpoint>,
    /// How many subscribers to wait for; 1 if there is a `sync` socket. 0 waits for none: plain PUB.
    #[serde(default)]
    pub subscribers: Option<usize>,
    /// `arrow` (the default: each batch is an Arrow IPC stream of its own) or `ndjson`.
    #[serde(default)]
    pub payload: PublishPayload,
    /// First frame of every message, by which subscribers can filter, as in `rows`. Without it a message is one frame.
    #[serde(default)]
    pub topic: Option<String>,
    /// Maximum bytes of rows in one message, as in `8MiB`; larger batches are split.
    #[serde(default = "message")]
    pub message: ByteSize,
    /// Maximum concurrent connections at each of the two sockets, as in `256`; others are closed.
    #[serde(default = "max_peers")]
    pub max_peers: u32,
    /// Rows queued while subscribers are slow, or not connected yet.
    #[serde(default)]
    pub queue: QueueSpec,
}

fn message() -> ByteSize {
    ByteSize(8 << 20)
}

fn max_peers() -> u32 {
    256
}

/// What a message holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PublishPayload {
    /// An Arrow IPC stream.
    #[default]
    Arrow,
    /// One JSON object a line.
    Ndjson,
}

impl PublishSpec {
    /// A publisher for one subscriber of this process, at these sockets.
    #[must_use]
    pub fn linked(data: &Path, sync: &Path) -> Self {
        Self {
            address: Endpoint::Ipc(data.to_owned()),
            sync: Some(Endpoint::Ipc(sync.to_owned())),
            subscribers: Some(1),
            payload: PublishPayload::Arrow,
            topic: None,
            message: message(),
            max_peers: max_peers(),
            queue: QueueSpec::default(),
        }
    }

    /// How many subscribers are waited for.
    fn awaited(&self) -> usize {
        self.subscribers.unwrap_or(usize::from(self.sync.is_some()))
    }
}

#[async_trait]
impl ConsumerKind for PublishSpec {
    #[cfg(test)]
    fn example() -> &'static str {
        r#"{"type": "publish", "address": "tcp://*:5556", "sync": "tcp://*:5557", "subscribers": 2, "topic": "rows"}"#
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        if self.sync.is_none() && self.subscribers.is_some_and(|subscribers| subscribers > 0) {
            return Some((
                "subscribers",
                "waiting for subscribers needs a second socket; set `sync` to an address like tcp://*:5557".into(),
            ));
        }
        if self.topic.as_ref().is_some_and(String::is_empty) {
            return Some(("topic", "an empty topic selects nothing; leave it out".into()));
        }
        if self.max_peers == 0 {
            return Some(("maxPeers", "`maxPeers` is 0, so nobody could subscribe; leave it out for 256".into()));
        }
        (self.message.0 == 0)
            .then(|| ("message", "a message must be larger than 0 bytes; leave it out for 8MiB".into()))
    }

    fn describe(&self) -> String {
        let payload = match self.payload {
            PublishPayload::Arrow => "arrow",
            PublishPayload::Ndjson => "ndjson",
        };
        let waits = match self.awaited() {
            0 => "without waiting for subscribers".into(),
            1 => "after the handshake of one subscriber".into(),
            many => format!("after the handshakes of {many} subscribers"),
        };
        format!("publish {}, {payload}, {waits}", self.address)
    }

    fn reach(&self) -> Reach {
        Reach::Ports
    }

    fn guarantee(&self) -> &'static str {
        if self.sync.is_some() {
            "at least once after the handshake, while a subscriber stays connected: after a crash some rows are sent again"
        } else {
            "at least once for subscribers that are connected, none for others: after a crash some rows are sent again"
        }
    }

    fn queue(&self) -> Option<&QueueSpec> {
        Some(&self.queue)
    }

    async fn open(&self, context: &ConsumerContext) -> Result<Box<dyn Consumer>, Error> {
        Ok(Box::new(PublishConsumer::open(self, context, None).await?))
    }
}

/// A running `publish` consumer.
#[derive(Debug)]
pub struct PublishConsumer {
    payload: PublishPayload,
    message: u64,
    outbox: Outbox<Bytes>,
    addresses: Vec<String>,
}

impl PublishConsumer {
    /// Listens where `spec` says, and waits for subscribers beside the rows to come. It is for one pipeline of this
    /// run alone if there is `gone`: after that is cancelled nobody will ever listen, and rows are let go of.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub async fn open(
        spec: &PublishSpec,
        context: &ConsumerContext,
        gone: Option<CancellationToken>,
    ) -> Result<Self, Error> {
        let options = PublisherOptions {
            data: spec.address.within(&context.base),
            sync: spec.sync.as_ref().map(|sync| sync.within(&context.base)),
            topic: spec.topic.clone(),
            peers: Crowd { most: spec.max_peers as usize, per_address: None },
        };
        let place = options.data.to_string();
        let unreachable = |source| Error::Unreachable { consumer: "publish", place, source };
        let publisher = Publisher::open(&options).await.map_err(unreachable)?;
        let addresses = [Some(publisher.endpoint()), publisher.sync_endpoint()];
        // Where two pipelines of a run meet is of no use to anybody else.
        let told = gone.is_none();
        let addresses = addresses.into_iter().flatten().filter(|_| told).map(ToString::to_string).collect();
        let (ours, gone) = (gone.is_some(), gone.unwrap_or_default());
        let posting = Posting { publisher, awaited: spec.awaited(), place: spec.address.to_string(), ours, gone };
        let outbox = Outbox::new("publish", &spec.queue, context.stop.clone(), posting);
        Ok(Self { payload: spec.payload, message: spec.message.0, outbox, addresses })
    }
}

#[async_trait]
impl Consumer for PublishConsumer {
    fn name(&self) -> &str {
        "publish"
    }

    async fn consume(&mut self, batch: &Batch) -> Result<(), Error> {
        for piece in pieces(&batch.records, self.message) {
            let rows = piece.num_rows();
            let bytes = match self.payload {
                PublishPayload::Arrow => encode::arrow(&piece, []).map_err(failed("publish", "arrow", rows))?,
                PublishPayload::Ndjson => encode::ndjson(&piece).map_err(failed("publish", "ndjson", rows))?,
            };
            let size = bytes.len();
            self.outbox.put(bytes.into(), size, rows).await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.outbox.flush().await
    }

    async fn failed(&mut self) -> Error {
        self.outbox.failed().await
    }

    async fn finish(&mut self) -> Result<(), Error> {
        self.outbox.finish().await
    }

    fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }
}

/// Says what waits, once as many as are awaited have said hello.
struct Posting {
    publisher: Publisher,
    awaited: usize,
    place: String,
    /// For one pipeline of this run alone.
    ours: bool,
    gone: CancellationToken,
}

impl Posting {
    fn failed(&self, source: std::io::Error) -> Error {
        Error::Unreachable { consumer: "publish", place: self.place.clone(), source }
    }
}

#[async_trait]
impl Deliver for Posting {
    type Parcel = Bytes;

    fn is_ours(&self) -> bool {
        self.ours
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let awaited = self.awaited;
        let heard = self.gone.run_until_cancelled(self.publisher.wait_for(awaited)).await;
        heard.unwrap_or(Ok(())).map_err(|source| self.failed(source))
    }

    async fn deliver(&mut self, parcel: Bytes, room: Room) -> Result<(), Error> {
        if self.gone.is_cancelled() {
            return Ok(());
        }
        let said = self.publisher.send(parcel, room).await;
        said.map_err(|source| self.failed(source))
    }

    async fn broken(&mut self) -> Error {
        let source = self.publisher.failed().await;
        self.failed(source)
    }

    async fn close(self, patience: Duration) -> Result<(), Error> {
        let place = self.place;
        let failed = |source| Error::Unreachable { consumer: "publish", place, source };
        self.publisher.finish(patience).await.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use arrow::ipc::reader::StreamReader;

    use super::*;
    use crate::tests::{batch, context};
    use spout_wire::{Received, Subscriber, SubscriberOptions};

    async fn open(spec: &PublishSpec) -> PublishConsumer {
        PublishConsumer::open(spec, &context(), Some(CancellationToken::new())).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn subscribers_get_every_row_and_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (data, sync) = (dir.path().join("a"), dir.path().join("a_sync"));
        let mut consumer = open(&PublishSpec::linked(&data, &sync)).await;
        // Rows may come before anybody is there.
        consumer.consume(&batch(0..2)).await.unwrap();
        let options = SubscriberOptions {
            data: Endpoint::Ipc(data),
            sync: Some(Endpoint::Ipc(sync)),
            topics: Vec::new(),
            cap: 1 << 20,
        };
        let mut subscriber = Subscriber::open(&options).await.unwrap();
        let hearing = tokio::spawn(async move {
            let mut rows = 0;
            while let Received::Message { payload, .. } = subscriber.recv().await.unwrap() {
                rows += StreamReader::try_new(Cursor::new(payload), None)
                    .unwrap()
                    .map(|b| b.unwrap().num_rows())
                    .sum::<usize>();
            }
            rows
        });
        consumer.flush().await.unwrap();
        consumer.consume(&batch(2..5)).await.unwrap();
        consumer.finish().await.unwrap();
        assert_eq!(hearing.await.unwrap(), 5);
    }

    #[test]
    fn what_cannot_be_is_said() {
        let spec: PublishSpec = serde_json::from_str(r#"{"address": "tcp://*:1", "subscribers": 1}"#).unwrap();
        assert_eq!(spec.problem().map(|(key, _)| key), Some("subscribers"));
        let spec: PublishSpec = serde_json::from_str(r#"{"address": "tcp://*:1"}"#).unwrap();
        assert!(spec.problem().is_none() && spec.awaited() == 0);
    }
}
