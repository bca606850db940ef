//! Receives what a ZeroMQ publisher sends: another program, or another pipeline of the same run.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::reach::Reach;
use spout_data::{Blobs, ByteSize, Period};
use spout_wire::{Endpoint, Received, Subscriber, SubscriberOptions};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::listen::{Receive, Receiving, queue, zero};
use crate::{
    ArrowSpec, Class, DecoderSpec, Error, MetadataColumn, NativeDecoder, Peek, Producer, Promise, SourceContext,
    SourceSpec, Upstream,
    inbox::{Closed, Inbox, Letterbox, Sent},
};

/// A ZeroMQ publisher, as in `{address: tcp://host:5556, sync: tcp://host:5557}`, or another pipeline of the same run, as in
/// `{pipeline: other}`. The decoder turns each message into rows. The offset counts messages, over all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubscribeSpec {
    /// A pipeline of the same run, by name, as in `events`: it publishes what it consumes to this one, without a socket or
    /// a decoder.
    #[serde(default)]
    pub pipeline: Option<String>,
    /// Address of the publisher (PUB), as in `tcp://127.0.0.1:5556` or `ipc:///run/rows`.
    #[serde(default)]
    pub address: Option<Endpoint>,
    /// Address where it expects a handshake (REP) before it sends anything, as in `tcp://127.0.0.1:5557`; `connect` and
    /// `end` are then signals, not payload. Without it this is a plain SUB.
    #[serde(default)]
    pub sync: Option<Endpoint>,
    /// Prefixes of the messages to receive, as in `[rows]`; all by default.
    #[serde(default)]
    pub topics: Vec<String>,
    /// What `end` does: `wait` (the default) for the publisher to return, or `stop` the pipeline.
    #[serde(default)]
    pub on_end: OnEnd,
    /// Maximum bytes of one message, as in `64MiB`; a publisher that sends more is disconnected, and connected again.
    #[serde(default = "message")]
    pub message: ByteSize,
    /// Bytes received but not yet decoded, as in `16MiB`; when full, the publisher has to wait.
    #[serde(default = "queue")]
    pub queue: ByteSize,
    /// Columns added to every row, as in `[offset, timestamp]`; the timestamp is the time of arrival.
    #[serde(default)]
    pub metadata: Vec<MetadataColumn>,
}

fn message() -> ByteSize {
    ByteSize(64 << 20)
}

/// What a publisher's `end` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnEnd {
    /// The publisher may return; the pipeline keeps running.
    #[default]
    Wait,
    /// The pipeline commits what it has, and is done.
    Stop,
}

impl SourceSpec for SubscribeSpec {
    fn reach(&self) -> Option<Reach> {
        self.pipeline.is_none().then_some(Reach::Network)
    }

    fn peek(&self) -> Peek {
        match &self.pipeline {
            Some(pipeline) => Peek::Impossible(format!(
                "it reads the pipeline `{pipeline}` of the same run; try that one out instead"
            )),
            None if self.sync.is_some() => {
                Peek::Harmful("the publisher counts it as one of its subscribers, and may begin because of it".into())
            }
            None => Peek::Harmless,
        }
    }

    fn promise(&self) -> Promise {
        let but = "what was received but not committed is lost if the host dies, and so is what is published while this pipeline is not connected; a pipeline that reads another's repo (`repo: {repo: …}`) loses nothing";
        Promise { class: Class::Push, guarantee: None, but }
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        self.contradiction().map(|(key, what)| (key, what.to_owned())).or_else(|| zero("queue", self.queue.0))
    }

    fn metadata(&self) -> &[MetadataColumn] {
        &self.metadata
    }

    /// What another pipeline publishes are rows already, as Arrow.
    fn usual_decoder(&self) -> Option<DecoderSpec> {
        self.pipeline.as_ref().map(|_| NativeDecoder::Arrow(ArrowSpec::default()).into())
    }

    fn upstream(&self) -> Option<Upstream<'_>> {
        self.pipeline.as_deref().map(Upstream::Link)
    }

    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error> {
        Ok(Box::new(Subscription::producer(self, context.base, context.publisher)))
    }

    fn reads(&self) -> String {
        match (&self.pipeline, &self.address) {
            (Some(pipeline), _) => format!("what pipeline `{pipeline}` publishes to it"),
            (None, Some(address)) if self.sync.is_some() => format!("what {address} publishes, after the handshake"),
            (None, Some(address)) => format!("what {address} publishes"),
            (None, None) => "nothing".into(),
        }
    }
}

impl SubscribeSpec {
    /// The first key that contradicts another, and what to do.
    fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let linked = self.pipeline.is_some();
        if linked && (self.address.is_some() || self.sync.is_some()) {
            return Some((
                "pipeline",
                "a pipeline of the same run needs no socket; leave out `address` and `sync`, or `pipeline`",
            ));
        }
        if linked && !self.topics.is_empty() {
            return Some(("topics", "a pipeline of the same run has no topics; leave them out, and filter its rows"));
        }
        if !linked && self.address.is_none() {
            return Some((
                "address",
                "name the publisher's address, as in `address: tcp://127.0.0.1:5556`, or name a `pipeline`",
            ));
        }
        if self.on_end == OnEnd::Stop && !linked && self.sync.is_none() {
            return Some(("onEnd", "a plain publisher never sends `end`; set its `sync` socket, or leave `onEnd` out"));
        }
        (self.message.0 == 0).then_some(("message", "a message must be larger than 0 bytes; leave it out for 64MiB"))
    }
}

/// The other end of a link between two pipelines of one run.
#[derive(Clone, Debug)]
pub struct LinkedPublisher {
    /// Where it publishes.
    pub data: Endpoint,
    /// Where it expects the handshake.
    pub sync: Endpoint,
    /// Cancelled when its pipeline is over and will not come again.
    pub over: CancellationToken,
}

/// Silence after which a publisher counts as idle.
const SILENCE: Duration = Duration::from_secs(1);
/// Silence after which nothing more comes from a pipeline that is over, although it has said no `end`.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Receives what a publisher sends.
#[derive(Debug)]
struct Subscription {
    options: Result<SubscriberOptions, String>,
    linked: Option<CancellationToken>,
    ends: bool,
}

impl Subscription {
    /// Will listen as `spec` says; `linked` is where the named pipeline sends, if the spec names one.
    fn producer(spec: &SubscribeSpec, base: &Path, linked: Option<LinkedPublisher>) -> Receiving<Self> {
        let (topics, cap) = (spec.topics.clone(), spec.message.0);
        let (data, sync, over) = match linked {
            Some(LinkedPublisher { data, sync, over }) => (Some(data), Some(sync), Some(over)),
            None => {
                let within = |endpoint: &Endpoint| endpoint.within(base);
                (spec.address.as_ref().map(within), spec.sync.as_ref().map(within), None)
            }
        };
        let options = match data {
            Some(data) => Ok(SubscriberOptions { data, sync, topics, cap }),
            None => Err(spec.pipeline.clone().unwrap_or_default()),
        };
        let ends = spec.on_end == OnEnd::Stop || over.is_some();
        Receiving::new(Self { options, linked: over, ends }, spec.queue, Period(Duration::ZERO))
    }
}

#[async_trait]
impl Receive for Subscription {
    const LABEL: &'static str = "subscription";

    fn ends(&self) -> bool {
        self.ends
    }

    async fn open(&mut self, inbox: &mut Inbox) -> Result<Option<SocketAddr>, Error> {
        let options = self.options.clone().map_err(|pipeline| Error::NotLinked { pipeline })?;
        let opened = Subscriber::open(&options).await;
        let subscriber = opened.map_err(|source| Error::Subscribe { address: options.data.to_string(), source })?;
        let (linked, ends, address) = (self.linked.clone(), self.ends, options.data.to_string());
        inbox.fill(|letterbox, stop| async move {
            let listening = Listening { subscriber, letterbox, ends, address };
            match linked {
                // A pipeline that stops says so; until then it is read to its end.
                Some(over) => listening.until_over(over).await,
                None => drop(stop.run_until_cancelled(listening.forever()).await),
            }
        });
        Ok(None)
    }
}

/// Puts what is received into the inbox.
struct Listening {
    subscriber: Subscriber,
    letterbox: Letterbox,
    ends: bool,
    address: String,
}

impl Listening {
    async fn forever(mut self) {
        loop {
            let Some(first) = self.recv().await else { return };
            // Somebody is there as long as there is no silence.
            let present = self.letterbox.enter();
            let mut next = Some(first);
            while let Some(payload) = next.take() {
                if self.put(payload).await.is_err() {
                    return;
                }
                next = match timeout(SILENCE, self.recv()).await {
                    Ok(Some(payload)) => Some(payload),
                    Ok(None) => return,
                    Err(_) => None,
                };
            }
            drop(present);
        }
    }

    async fn until_over(mut self, over: CancellationToken) {
        let _present = self.letterbox.enter();
        let letterbox = self.letterbox.clone();
        loop {
            let heard = tokio::select! {
                biased;
                heard = self.recv() => heard,
                () = over.cancelled() => break,
                () = letterbox.closed() => return,
            };
            let Some(payload) = heard else { return };
            if self.put(payload).await.is_err() {
                return;
            }
        }
        // What it said last is still under way.
        while let Ok(Some(payload)) = timeout(LAST_WORDS, self.recv()).await {
            if self.put(payload).await.is_err() {
                return;
            }
        }
    }

    /// The next payload; `None` at the end, and where the socket is broken, which is said.
    async fn recv(&mut self) -> Option<Bytes> {
        loop {
            let received = self.subscriber.recv().await;
            if let Some(heard) = self.heard(received) {
                return heard;
            }
        }
    }

    /// What was received, if that is a payload or the end.
    fn heard(&self, received: io::Result<Received>) -> Option<Option<Bytes>> {
        match received {
            Ok(Received::Message { payload, .. }) => Some(Some(payload)),
            Ok(Received::End) if self.ends => Some(None),
            Ok(Received::End) => {
                tracing::info!("the publisher sent `end`; waiting for it to return");
                None
            }
            Err(source) => {
                // That is no end: the pipeline starts again.
                self.letterbox.fail(Error::Subscribe { address: self.address.clone(), source });
                Some(None)
            }
        }
    }

    async fn put(&self, payload: Bytes) -> Result<(), Closed> {
        let room = self.letterbox.room(payload.len()).await?;
        let mut values = Blobs::default();
        values.push(&payload);
        self.letterbox.put(Sent { values, first: Vec::new(), key: None, wants_receipt: false }, room).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fetcher, Found};
    use spout_data::Marker;
    use spout_plugin::Progress;
    use spout_wire::{Crowd, Publisher, PublisherOptions};

    fn spec() -> SubscribeSpec {
        serde_json::from_str(r#"{"pipeline": "other"}"#).unwrap()
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn publisher(dir: &std::path::Path) -> (Publisher, LinkedPublisher) {
        let (data, sync) = (Endpoint::Ipc(dir.join("a")), Endpoint::Ipc(dir.join("a_sync")));
        let peers = Crowd { most: 10, per_address: None };
        let options = PublisherOptions { data: data.clone(), sync: Some(sync.clone()), topic: None, peers };
        let over = CancellationToken::new();
        (Publisher::open(&options).await.unwrap(), LinkedPublisher { data, sync, over })
    }

    /// What a fetcher brings until it ends.
    async fn all(fetcher: &mut Box<dyn Fetcher>) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let fetched = timeout(PATIENCE, fetcher.fetch(u32::MAX)).await.unwrap().unwrap();
            all.extend((0..fetched.messages.len()).map(|index| fetched.messages.values.get(index).to_vec()));
            if fetched.progress == Progress::Ended {
                return all;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_linked_pipeline_is_heard_to_its_end_also_while_draining() {
        let dir = tempfile::tempdir().unwrap();
        let (mut publisher, linked) = publisher(dir.path()).await;
        let mut producer = Subscription::producer(&spec(), dir.path(), Some(linked));
        let found = producer.partitions(&Marker::default(), true).await.unwrap().remove(0);
        let mut fetcher = producer.fetcher(found);
        timeout(PATIENCE, publisher.wait_for(1)).await.unwrap().unwrap();
        publisher.send(Bytes::from_static(b"one"), ()).await.unwrap();
        producer.drain();
        publisher.send(Bytes::from_static(b"two"), ()).await.unwrap();
        publisher.finish(PATIENCE).await.unwrap();
        assert_eq!(all(&mut fetcher).await, [b"one".to_vec(), b"two".to_vec()]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_linked_pipeline_that_says_no_end_is_over_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (mut publisher, linked) = publisher(dir.path()).await;
        let over = linked.over.clone();
        let mut producer = Subscription::producer(&spec(), dir.path(), Some(linked));
        let found = producer.partitions(&Marker::default(), true).await.unwrap().remove(0);
        let mut fetcher = producer.fetcher(found);
        timeout(PATIENCE, publisher.wait_for(1)).await.unwrap().unwrap();
        publisher.send(Bytes::from_static(b"one"), ()).await.unwrap();
        let first = timeout(PATIENCE, async {
            loop {
                let fetched = fetcher.fetch(u32::MAX).await.unwrap();
                if !fetched.messages.is_empty() {
                    return fetched;
                }
            }
        });
        assert_eq!(first.await.unwrap().span.next.offset, 1);
        drop(publisher);
        over.cancel();
        assert!(all(&mut fetcher).await.is_empty());
    }

    #[tokio::test]
    async fn a_socket_that_breaks_is_an_error_and_not_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let nobody =
            SubscriberOptions { data: Endpoint::Ipc(dir.path().join("nobody")), sync: None, topics: vec![], cap: 1 };
        let mut inbox = Inbox::new(ByteSize(1 << 20), Duration::ZERO);
        let mut fetcher = inbox.fetcher(Found::only(&Marker::default(), "subscription"), 0);
        inbox.fill(|letterbox, _| async move {
            let subscriber = Subscriber::open(&nobody).await.unwrap();
            let listening = Listening { subscriber, letterbox, ends: true, address: "ipc://nobody".into() };
            assert_eq!(listening.heard(Err(io::Error::other("it broke"))), Some(None));
        });
        let failed = timeout(PATIENCE, async {
            loop {
                match fetcher.fetch(u32::MAX).await {
                    Ok(fetched) => assert_ne!(fetched.progress, Progress::Ended, "as if all had been read"),
                    Err(error) => return error,
                }
            }
        });
        let failed = failed.await.unwrap();
        assert!(matches!(failed, Error::Subscribe { .. }), "{failed}");
    }

    #[test]
    fn what_cannot_be_is_said() {
        let check = |text: &str, expected: Option<&str>| {
            let spec: SubscribeSpec = serde_json::from_str(text).unwrap();
            assert_eq!(spec.problem().map(|(key, _)| key), expected, "{text}");
        };
        check(r#"{"pipeline": "other"}"#, None);
        check(r#"{"address": "tcp://h:1"}"#, None);
        check(r#"{"address": "tcp://h:1", "sync": "tcp://h:2", "onEnd": "stop"}"#, None);
        check("{}", Some("address"));
        check(r#"{"pipeline": "other", "address": "tcp://h:1"}"#, Some("pipeline"));
        check(r#"{"pipeline": "other", "topics": ["a"]}"#, Some("topics"));
        check(r#"{"address": "tcp://h:1", "onEnd": "stop"}"#, Some("onEnd"));
        check(r#"{"address": "tcp://h:1", "message": "0B"}"#, Some("message"));
    }
}
