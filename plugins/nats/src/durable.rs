//! A stream read through a durable consumer: what was returned is acknowledged once it is committed, and never before.
//!
//! The server hands out again what was not acknowledged within the consumer's `ack_wait`. Messages that were returned and are not
//! acknowledged yet are known by their number, so that an instance returns each of them once, whatever the server does meanwhile.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::json;
use spout_guest::{
    Checkpoint, Deliveries, Error, Limits, Messages, Progress, Result, Start, StreamConsumer, Waiting, metrics, now,
};

use crate::{
    Settings,
    client::{Client, PATIENCE},
    protocol::{Message, Place},
    streams,
};

/// How long a stream that is not there is waited for, before another look.
const LOOK: Duration = Duration::from_secs(1);
/// The shortest wait for messages that may be handed out again.
const LEAST: Duration = Duration::from_millis(10);
/// Most messages of one request.
const BATCH: usize = 10_000;
/// How long the server waits for an acknowledgment, unless the settings say.
const ACK_WAIT: u64 = 30_000;
/// How many messages it hands out without one, unless the settings say.
const MAX_ACK_PENDING: u64 = 20_000;

/// What a server says of a consumer.
#[derive(Debug, Deserialize)]
struct Standing {
    config: Config,
    #[serde(default)]
    num_pending: u64,
    #[serde(default)]
    num_ack_pending: u64,
}

#[derive(Debug, Deserialize)]
struct Config {
    ack_policy: String,
    /// None below one is no limit.
    #[serde(default)]
    max_ack_pending: i64,
    #[serde(default)]
    deliver_subject: Option<String>,
}

/// What a server says of a stream.
#[derive(Debug, Deserialize)]
struct Made {
    created: String,
}

/// A durable consumer of a stream.
#[derive(Debug)]
pub struct Durable {
    client: Client,
    stream: String,
    name: String,
    settings: Settings,
    start: Start,
    /// When the stream was made: numbers mean something within one that was made then.
    created: Option<String>,
    /// The subscription that messages come to, and the connection that it belongs to.
    subscription: Option<(u64, u64)>,
    subscriptions: u64,
    /// How many messages there are that were not returned, as of the last look at the consumer.
    behind: Waiting,
    /// How many messages it may hand out that are not acknowledged, as of that look, less those that others have.
    window: usize,
    /// Messages that came and were not returned yet.
    waiting: VecDeque<(Place, Message)>,
    /// The numbers of those that were returned and are to be acknowledged.
    returned: Deliveries<u64>,
    /// How each of both is acknowledged: by what came with it last.
    known: BTreeMap<u64, String>,
    average: usize,
}

impl Durable {
    /// Makes sure that there is the consumer, and says how it stands.
    fn look(&mut self, until: Instant) -> Result<()> {
        if !self.behind.is_due() && self.created.is_some() {
            return Ok(());
        }
        let stream = self.client.ask(&format!("$JS.API.STREAM.INFO.{}", self.stream), &json!({}), until)?;
        let stream = stream.ok_or_else(|| self.missing(format!("there is no stream `{}`", self.stream)))?;
        let Made { created } = serde_json::from_slice(&stream).map_err(|_| protocol("what it says of the stream"))?;
        if self.created.as_ref().is_some_and(|known| *known != created) {
            // What is known is of another stream, and cannot be acknowledged in this one.
            let what = format!("the stream `{}` was made anew; start again", self.stream);
            return Err(Error::fatal("nats.stream", what));
        }
        self.created = Some(created);
        let path = format!("{}.{}", self.stream, self.name);
        let standing = match self.client.ask(&format!("$JS.API.CONSUMER.INFO.{path}"), &json!({}), until)? {
            Some(standing) => standing,
            None if self.settings.create => self.create(&path, until)?,
            None => {
                let what = format!(
                    "stream `{}` has no consumer `{}`; create it, or set `create: true`",
                    self.stream, self.name
                );
                return Err(Error::fatal("nats.consumer", what));
            }
        };
        let standing: Standing =
            serde_json::from_slice(&standing).map_err(|_| protocol("what it says of the consumer"))?;
        if standing.config.ack_policy != "explicit" || standing.config.deliver_subject.is_some() {
            let what = format!("the consumer `{}` is no pull consumer with the policy `explicit`", self.name);
            return Err(Error::fatal("nats.consumer", what));
        }
        metrics::set("behind", standing.num_pending as f64);
        metrics::set("pending", standing.num_ack_pending as f64);
        let pending = usize::try_from(standing.num_ack_pending).unwrap_or(usize::MAX);
        self.window = match usize::try_from(standing.config.max_ack_pending) {
            Ok(most @ 1..) => most.saturating_sub(pending.saturating_sub(self.known.len())),
            _ => usize::MAX,
        };
        // What was handed out and not returned here comes again, or came and waits.
        let returned = u64::try_from(self.returned.len()).unwrap_or(u64::MAX);
        let others = standing.num_ack_pending.saturating_sub(returned);
        self.behind.measured(Some(standing.num_pending.saturating_add(others)));
        Ok(())
    }

    fn create(&mut self, path: &str, until: Instant) -> Result<Vec<u8>> {
        let nanos = self.settings.ack_wait.unwrap_or(ACK_WAIT).saturating_mul(1_000_000);
        let mut config = json!({
            "durable_name": self.name, "ack_policy": "explicit", "ack_wait": nanos, "max_deliver": -1,
            "max_ack_pending": self.settings.max_ack_pending.unwrap_or(MAX_ACK_PENDING), "replay_policy": "instant",
            "deliver_policy": if self.start == Start::Latest { "new" } else { "all" },
        });
        if let Some(subject) = &self.settings.subject {
            config["filter_subject"] = subject.as_str().into();
        }
        let request = json!({ "stream_name": self.stream, "config": config });
        let made = self.client.ask(&format!("$JS.API.CONSUMER.DURABLE.CREATE.{path}"), &request, until)?;
        made.ok_or_else(|| self.missing(format!("there is no stream `{}`", self.stream)))
    }

    fn missing(&self, message: String) -> Error {
        Error::Retriable { code: "nats.stream".into(), message, after: Some(LOOK) }
    }

    /// The subscription that messages come to, on the connection that there is.
    fn subscribed(&mut self, until: Instant) -> Result<u64> {
        match (self.subscription, self.client.connection()) {
            (Some((sid, of)), Some(connection)) if of == connection => Ok(sid),
            _ => {
                self.subscriptions += 1;
                let sid = self.subscriptions + 1;
                self.client.subscribe(sid, until)?;
                self.subscription = self.client.connection().map(|connection| (sid, connection));
                Ok(sid)
            }
        }
    }

    /// How many messages the server may hand out before one is acknowledged.
    fn room(&self) -> usize {
        self.window.saturating_sub(self.known.len())
    }

    /// Asks for messages: those that are there or, with `wait`, those that come meanwhile.
    fn pull(&mut self, count: usize, wait: Option<Duration>, until: Instant) -> Result<()> {
        let request = match wait {
            None => json!({ "batch": count, "no_wait": true }),
            Some(wait) => json!({ "batch": count, "expires": u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX) }),
        };
        let sid = self.subscribed(until)?;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.name);
        self.client.publish(&subject, sid, &request, until)?;
        for _ in 0..count {
            let message = loop {
                let message = self.client.next(sid, until)?;
                match message.status() {
                    // It is alive.
                    Some((100, _)) => {}
                    // Nothing, nothing more, or as many are not acknowledged as may be.
                    Some((404 | 408 | 409, _)) => return Ok(()),
                    Some((code, says)) => {
                        let what = format!("consumer `{}`: the server says {code} {says}", self.name);
                        return Err(Error::Retriable {
                            code: "nats.unavailable".into(),
                            message: what,
                            after: Some(Duration::from_millis(200)),
                        });
                    }
                    None => break message,
                }
            };
            let place = message.reply.as_deref().and_then(|reply| Place::parse(reply, &self.name));
            let (Some(place), Some(reply)) = (place, message.reply.clone()) else {
                self.client.close();
                return Err(protocol("a message that is none of its consumer"));
            };
            // One that is known is waited for here: the last of its names acknowledges it.
            if self.known.insert(place.sequence, reply).is_none() {
                self.average = (self.average * 7 + message.head.len() + message.payload.len()) / 8;
                self.waiting.push_back((place, message));
            }
        }
        Ok(())
    }

    /// Sees to it that messages wait, if the server has any.
    fn fill(&mut self, limits: Limits, until: Instant) -> Result<()> {
        if self.waiting.is_empty() {
            self.look(until)?;
            let count = self.count(limits);
            match self.room() {
                // Nothing new, and no answer that says so; only what is handed out again.
                0 => self.pull(count, Some(limits.timeout.max(LEAST)), until)?,
                room => self.pull(count.min(room), None, until)?,
            }
        }
        if self.waiting.is_empty() && self.room() > 0 && !limits.timeout.is_zero() {
            self.pull(1, Some(limits.timeout), until)?;
        }
        Ok(())
    }

    fn count(&self, limits: Limits) -> usize {
        (limits.bytes / self.average.max(1)).clamp(1, limits.messages.clamp(1, BATCH))
    }
}

impl StreamConsumer for Durable {
    type Settings = Settings;
    const ACKED: bool = true;

    fn open(topic: &str, pipeline: &str, start: Start, settings: Settings) -> Result<Self> {
        let streams = streams(topic, &settings)?;
        let [stream] = streams.as_slice() else {
            return Err(Error::invalid_config("a durable consumer is of one stream; the topic names several"));
        };
        let name = settings.durable.clone().unwrap_or_else(|| pipeline.to_owned());
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            let what =
                format!("`{name}` cannot be the name of a consumer; set `durable` to letters, digits, `-` and `_`");
            return Err(Error::invalid_config(what));
        }
        if settings.ack_wait == Some(0) || settings.max_ack_pending == Some(0) {
            return Err(Error::invalid_config("`ackWait` and `maxAckPending` are 1 or more"));
        }
        let client = Client::new(settings.address.clone(), settings.username.clone(), settings.max_message);
        Ok(Self {
            client,
            stream: stream.clone(),
            name,
            settings,
            start,
            created: None,
            subscription: None,
            subscriptions: 0,
            behind: Waiting::default(),
            window: usize::MAX,
            waiting: VecDeque::new(),
            returned: Deliveries::new(),
            known: BTreeMap::new(),
            average: 512,
        })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        let until = now() + limits.timeout + PATIENCE;
        self.fill(limits, until).map_err(|error| error.of(self.client.address()))?;
        self.client.well();
        let (mut messages, mut bytes) = (Messages::default(), 0_usize);
        while messages.len() < limits.messages
            && let Some((place, message)) = self.waiting.pop_front()
        {
            bytes = bytes.saturating_add(message.head.len() + message.payload.len());
            if bytes > limits.bytes && !messages.is_empty() {
                self.waiting.push_front((place, message));
                break;
            }
            let id = format!("{} {}", place.sequence, self.created.as_deref().unwrap_or_default());
            message.add(self.returned.next_offset(), place, &mut messages).partition(0).id(id.as_bytes());
            self.returned.push(place.sequence);
        }
        self.behind.returned(messages.len());
        // The server may wait for acknowledgments, as we do for the commit.
        let waits = self.room() == 0 && !self.returned.is_empty();
        let progress = if messages.is_empty() && !waits { Progress::Idle } else { Progress::More };
        Ok((messages, progress))
    }

    fn waiting(&self) -> Option<u64> {
        self.behind.count()
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        Ok(self.returned.checkpoint())
    }

    fn committed(&mut self, upto: Checkpoint) -> Result<()> {
        let count = self.returned.covered(&upto);
        let known = |sequence| self.known.get(sequence).map(String::as_str);
        let subjects: Vec<&str> = self.returned.first(count).filter_map(known).collect();
        self.client.acknowledge(&subjects, now() + PATIENCE)?;
        for sequence in self.returned.acknowledged(count) {
            self.known.remove(&sequence);
        }
        Ok(())
    }
}

fn protocol(what: &str) -> Error {
    Error::retriable("nats.protocol", format!("{what} is none that NATS gives"))
}
