//! Reads one stream, through a consumer that the server makes for it and forgets again.

use std::time::{Duration, Instant};

use serde_json::json;
use spout_guest::{Error, Fetched, Limits, Messages, Position, Progress, Result, now};

use crate::{
    client::{Client, PATIENCE},
    protocol::{Message, Place},
    stream::{Begin, INACTIVE, Made, Stream, consumer},
};

/// How often a stream that has nothing is looked at: whether it was purged or made anew, or has what the filter leaves out.
const LOOK: Duration = Duration::from_secs(1);
/// What a message is taken to have before one was seen.
const MESSAGE: usize = 512;
/// Most messages of one request.
const BATCH: usize = 10_000;

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    pub(crate) client: Client,
    stream: String,
    subject: Option<String>,
    consumer: Option<Consumer>,
    /// Subscriptions so far; the first is that of answers.
    subscriptions: u64,
    looked: Option<Instant>,
    /// What was said of the stream last.
    known: Option<Stream>,
    /// Bytes that a message has on average, as far as that was seen.
    average: usize,
}

/// What the server delivers from.
#[derive(Debug)]
struct Consumer {
    name: String,
    sid: u64,
    /// The connection it belongs to.
    connection: u64,
    /// The next message of the stream.
    next: u64,
    /// The number of the last message that it delivered.
    delivered: u64,
    asked: Instant,
}

/// What came of one request.
#[derive(Default)]
struct Batch {
    messages: Vec<(Place, Message)>,
    bytes: usize,
}

impl Reader {
    pub(crate) fn new(client: Client, stream: &str, subject: Option<String>) -> Self {
        let (consumer, looked, known) = (None, None, None);
        Self { client, stream: stream.to_owned(), subject, consumer, subscriptions: 1, looked, known, average: MESSAGE }
    }

    /// What the server says of the stream now; `None` if there is none.
    pub(crate) fn look(&mut self, until: Instant) -> Result<Option<Stream>> {
        let answer = self.client.ask(&format!("$JS.API.STREAM.INFO.{}", self.stream), &json!({}), until)?;
        let parse =
            |answer: Vec<u8>| serde_json::from_slice(&answer).map_err(|_| protocol("what it says of the stream"));
        self.known = answer.map(parse).transpose()?;
        self.looked = Some(now());
        Ok(self.known.clone())
    }

    /// The same where there has to be one.
    fn there(&mut self, until: Instant) -> Result<Stream> {
        self.look(until)?.ok_or_else(|| self.missing())
    }

    pub(crate) fn missing(&self) -> Error {
        Error::Retriable {
            code: "nats.stream".into(),
            message: format!("there is no stream `{}`", self.stream),
            after: Some(LOOK),
        }
    }

    /// The number of the first message at or after a time.
    pub(crate) fn at_time(&mut self, ms: u64, until: Instant) -> Result<Position> {
        let stream = self.there(until)?;
        self.make(Begin::Time(ms), 0, until)?;
        let batch = self.pull(1, None, usize::MAX, until)?;
        self.drop_consumer(until)?;
        Ok(stream.at(batch.messages.first().map_or(stream.after(), |(place, _)| place.sequence)))
    }

    fn make(&mut self, begin: Begin, next: u64, until: Instant) -> Result<()> {
        self.drop_consumer(until)?;
        self.subscriptions += 1;
        let sid = self.subscriptions;
        let request = consumer(&self.stream, self.subject.as_deref(), begin);
        let answer = self.client.ask(&format!("$JS.API.CONSUMER.CREATE.{}", self.stream), &request, until)?;
        let answer = answer.ok_or_else(|| self.missing())?;
        let made: Made = serde_json::from_slice(&answer).map_err(|_| protocol("the answer about a consumer"))?;
        self.client.subscribe(sid, until)?;
        let connection = self.client.connection().unwrap_or_default();
        self.consumer = Some(Consumer { name: made.name, sid, connection, next, delivered: 0, asked: now() });
        Ok(())
    }

    /// What was delivered and not taken is not of interest any more.
    fn drop_consumer(&mut self, until: Instant) -> Result<()> {
        let Some(consumer) = self.consumer.take() else { return Ok(()) };
        if self.client.connection() == Some(consumer.connection) {
            self.client.unsubscribe(consumer.sid, until)?;
        }
        Ok(())
    }

    /// Makes sure that there is a consumer whose next message is that at `start`.
    fn begin(&mut self, start: &Position, until: Instant) -> Result<()> {
        let connection = self.client.connection();
        let fits = |one: &Consumer| {
            one.next == start.offset && Some(one.connection) == connection && one.asked.elapsed() < INACTIVE / 2
        };
        let known = self
            .known
            .as_ref()
            .is_some_and(|stream| start.token.as_ref().is_none_or(|token| token == stream.created.as_bytes()));
        if known && self.consumer.as_ref().is_some_and(fits) {
            return Ok(());
        }
        let stream = self.there(until)?;
        if stream.lost(start) {
            return Err(stream.out_of_range());
        }
        self.make(Begin::Sequence(start.offset), start.offset, until)
    }

    /// Asks for `count` messages, those that are there or, with `wait`, those that come meanwhile. Stops at more than `most` bytes:
    /// what is still on its way then goes with the consumer.
    fn pull(&mut self, count: usize, wait: Option<Duration>, most: usize, until: Instant) -> Result<Batch> {
        let Some(mut consumer) = self.consumer.take() else { return Err(protocol("a consumer")) };
        let request = match wait {
            None => json!({ "batch": count, "no_wait": true }),
            Some(wait) => json!({ "batch": count, "expires": u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX) }),
        };
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, consumer.name);
        self.client.publish(&subject, consumer.sid, &request, until)?;
        consumer.asked = now();
        let (mut batch, mut whole) = (Batch::default(), true);
        while batch.messages.len() < count {
            let message = self.client.next(consumer.sid, until)?;
            if let Some((code, says)) = message.status() {
                match code {
                    100 => continue,
                    // Nothing, or nothing more.
                    404 | 408 => {}
                    _ if batch.messages.is_empty() => return Err(self.ended(code, says)),
                    _ => whole = false,
                }
                break;
            }
            let place = message.reply.as_deref().and_then(|reply| Place::parse(reply, &consumer.name));
            let Some(place) = place.filter(|place| place.sequence >= consumer.next) else {
                self.client.close();
                return Err(protocol("a message that is none of its consumer"));
            };
            if place.delivered != consumer.delivered + 1 {
                // One was lost on the way: what came before it counts.
                whole = false;
                break;
            }
            (consumer.next, consumer.delivered) = (place.sequence.saturating_add(1), place.delivered);
            batch.bytes = batch.bytes.saturating_add(message.head.len() + message.payload.len());
            let enough = batch.bytes > most;
            batch.messages.push((place, message));
            if enough {
                whole = batch.messages.len() == count;
                break;
            }
        }
        self.consumer = Some(consumer);
        if !whole {
            self.drop_consumer(until)?;
        }
        if let Some(average) = batch.bytes.checked_div(batch.messages.len()) {
            self.average = (self.average + average) / 2;
        }
        Ok(batch)
    }

    /// The server will not deliver from this consumer any more.
    fn ended(&self, code: u16, says: &str) -> Error {
        let message = format!("stream `{}`: the server says {code} {says}", self.stream);
        Error::Retriable { code: "nats.unavailable".into(), message, after: Some(Duration::from_millis(200)) }
    }

    /// How many messages fit.
    fn count(&self, limits: Limits) -> usize {
        (limits.bytes / self.average.max(1)).clamp(1, limits.messages.clamp(1, BATCH))
    }

    /// The messages that count: those before a gap in which some were purged.
    fn sound(&mut self, start: u64, batch: &mut Batch, until: Instant) -> Result<()> {
        let mut expected = start.max(1);
        let mut gaps = Vec::new();
        for (index, (place, _)) in batch.messages.iter().enumerate() {
            if place.sequence > expected {
                gaps.push((index, expected));
            }
            expected = place.sequence.saturating_add(1);
        }
        // At the beginning of a stream nothing is missing.
        let gaps: Vec<_> = gaps.into_iter().filter(|(index, _)| *index > 0 || start > 0).collect();
        if gaps.is_empty() {
            return Ok(());
        }
        // Asked for after they came: what is there now was there then.
        let stream = self.there(until)?;
        if let Some((index, _)) = gaps.into_iter().find(|(_, at)| *at < stream.state.first_seq) {
            if index == 0 {
                return Err(stream.out_of_range());
            }
            // The next fetch begins at the gap, and sees that it is one.
            batch.messages.truncate(index);
            self.drop_consumer(until)?;
        }
        Ok(())
    }

    fn answer(&mut self, start: &Position, batch: Batch) -> Result<Fetched> {
        let mut messages = Messages::default();
        let (mut next, mut pending) = (start.offset, 0);
        for (place, message) in &batch.messages {
            message.add(place.sequence, *place, &mut messages);
            (next, pending) = (place.sequence.saturating_add(1), place.pending);
        }
        let stream = self.known.as_ref().ok_or_else(|| protocol("a stream"))?;
        let end = if pending > 0 { stream.after().max(next.saturating_add(pending)) } else { next };
        Ok(Fetched { messages, next: stream.at(next), high_watermark: Some(end), progress: Progress::More })
    }

    /// There is nothing: looks at the stream now and then, and moves over what the filter leaves out.
    fn idle(&mut self, start: &Position, limits: Limits, until: Instant) -> Result<Fetched> {
        let nothing = |next: Position| Fetched {
            messages: Messages::default(),
            high_watermark: Some(next.offset),
            next,
            progress: Progress::Idle,
        };
        let due = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if due {
            let stream = self.there(until)?;
            if stream.lost(start) {
                return Err(stream.out_of_range());
            }
            // Whatever the stream had when it was looked at would be delivered now.
            let mut batch = self.pull(self.count(limits), None, limits.bytes, until)?;
            self.sound(start.offset, &mut batch, until)?;
            if !batch.messages.is_empty() {
                return self.answer(start, batch);
            }
            if stream.after() > start.offset.max(1) {
                if let Some(consumer) = &mut self.consumer {
                    consumer.next = stream.after();
                }
                return Ok(nothing(stream.at(stream.after())));
            }
        }
        if limits.timeout.is_zero() {
            return Ok(nothing(start.clone()));
        }
        let mut batch = self.pull(1, Some(limits.timeout), limits.bytes, until)?;
        self.sound(start.offset, &mut batch, until)?;
        if batch.messages.is_empty() { Ok(nothing(start.clone())) } else { self.answer(start, batch) }
    }
}

impl Reader {
    fn fetched(&mut self, start: &Position, limits: Limits) -> Result<Fetched> {
        let until = now() + limits.timeout + PATIENCE;
        self.begin(start, until)?;
        let mut batch = self.pull(self.count(limits), None, limits.bytes, until)?;
        self.sound(start.offset, &mut batch, until)?;
        self.client.well();
        if batch.messages.is_empty() { self.idle(start, limits, until) } else { self.answer(start, batch) }
    }
}

impl spout_guest::Reader for Reader {
    fn fetch(&mut self, start: Position, limits: Limits) -> Result<Fetched> {
        let fetched = self.fetched(&start, limits);
        fetched.map_err(|error| error.of(self.client.address()))
    }
}

fn protocol(what: &str) -> Error {
    Error::retriable("nats.protocol", format!("{what} is none that NATS gives"))
}
