//! The stream: what a queue delivers, and what of it is acknowledged.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, RandomState},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use spout_guest::{Checkpoint, Error, Limits, Messages, Progress, Result, Start, StreamConsumer, now, warn};

use crate::{
    client::{Client, LINGER, PATIENCE},
    frame::{Message, Taken},
    method::{Method, STREAM_OFFSET},
    settings::Settings,
};

/// Most bytes of messages that may come while the server takes acknowledgments.
const AHEAD: usize = 32 << 20;

/// Where the stream is, as its checkpoints say it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Place {
    /// Which instance wrote it.
    instance: u64,
    /// How many messages were returned.
    count: u64,
}

/// A message that waits to be acknowledged.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// How many messages were returned, with it.
    count: u64,
    connection: u64,
    tag: u64,
}

/// A queue of a server.
#[derive(Debug)]
pub struct Amqp {
    settings: Settings,
    client: Client,
    place: Place,
    entries: VecDeque<Entry>,
    /// Messages that came and were not returned yet, and their bytes.
    ready: VecDeque<Message>,
    ready_bytes: usize,
    /// Questions for the length of the queue that were not answered, and the last answer since something came.
    asked: u64,
    length: Option<u32>,
    /// It was said that messages have no ids.
    told: bool,
}

impl Amqp {
    fn join(&mut self) -> Result<()> {
        if self.client.connection().is_some() {
            return Ok(());
        }
        // What was not returned comes again.
        self.ready.clear();
        (self.ready_bytes, self.asked, self.length) = (0, 0, None);
        self.client.connect(None, self.settings.prefetch)
    }

    /// Takes in what comes next; whether something did.
    fn step(&mut self, until: Instant) -> Result<bool> {
        match self.client.receive(until)? {
            None => return Ok(false),
            Some(Taken::Message(message)) => {
                self.ready_bytes += message.body.len();
                self.length = None;
                self.ready.push_back(message);
            }
            Some(Taken::Method(Method::Declared(length))) if self.asked > 0 => {
                self.asked -= 1;
                self.length = Some(length);
            }
            Some(Taken::Nothing | Taken::Method(Method::Noted)) => {}
            Some(Taken::Method(_)) => {
                self.client.close();
                return Err(self.client.unexpected());
            }
        }
        Ok(true)
    }

    /// Adds what came and fits; whether there is room for more.
    fn drain(&mut self, messages: &mut Messages, limits: Limits) -> Result<bool> {
        while messages.len() < limits.messages && (messages.is_empty() || messages.bytes() < limits.bytes) {
            let Some(message) = self.ready.pop_front() else { return Ok(true) };
            self.ready_bytes = self.ready_bytes.saturating_sub(message.body.len());
            self.add(&message, messages)?;
        }
        Ok(false)
    }

    fn add(&mut self, message: &Message, messages: &mut Messages) -> Result<()> {
        let Some(connection) = self.client.connection() else {
            return Err(self.client.again("amqp.io", "the connection has ended"));
        };
        let properties = &message.properties;
        let header = |wanted: &str| properties.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        if header(STREAM_OFFSET).is_some() {
            // Its messages are not handed out again: what was not committed at a crash would be lost.
            return Err(Error::fatal(
                "amqp.stream",
                "the queue is a stream, which cannot be acknowledged; leave `consumerType: acked` out",
            ));
        }
        let said = match &self.settings.id {
            None => properties.message_id.as_ref().map(|id| id.as_bytes()),
            Some(name) => header(name).map(Vec::as_slice),
        };
        let id = match said.filter(|id| !id.is_empty()) {
            Some(id) => [b"id-", id].concat(),
            None => {
                if !self.told {
                    warn!(
                        "messages come without an id: after a crash, those that were not acknowledged are there twice"
                    );
                    self.told = true;
                }
                format!("{:x}-{}", self.place.instance, self.place.count).into_bytes()
            }
        };
        let added = messages.add(self.place.count, &message.body).partition(0).id(&id);
        message.describe(added, self.settings.routing_key_as_key);
        self.place.count += 1;
        self.entries.push_back(Entry { count: self.place.count, connection, tag: message.delivery.tag });
        Ok(())
    }

    /// There is nothing just now: whether that is all.
    fn progress(&mut self) -> Result<Progress> {
        self.client.keep()?;
        if !self.entries.is_empty() {
            // The server may wait for acknowledgments, as we do for the commit.
            return Ok(Progress::More);
        }
        if self.length == Some(0) {
            self.length = None;
            return Ok(Progress::Idle);
        }
        if self.asked == 0 {
            self.asked += 1;
            self.client.look()?;
        }
        Ok(Progress::More)
    }

    /// Acknowledges, and waits until the server has taken it.
    fn acknowledge(&mut self, tag: u64) -> Result<()> {
        let until = now() + PATIENCE;
        self.client.acknowledge(tag)?;
        self.client.look()?;
        self.asked += 1;
        while self.asked > 0 {
            if self.ready_bytes > AHEAD {
                return Err(self.client.again("amqp.ack", "it sends more than it takes"));
            }
            if !self.step(until)? {
                self.client.close();
                return Err(self.client.again("amqp.io", "it does not answer in time"));
            }
        }
        self.length = None;
        Ok(())
    }
}

impl StreamConsumer for Amqp {
    type Settings = Settings;
    const ACKED: bool = true;

    fn open(topic: &str, _: &str, start: Start, settings: Settings) -> Result<Self> {
        settings.check()?;
        if topic.is_empty() || topic.len() > 255 {
            return Err(Error::invalid_config("the topic is the name of a queue, of 1 to 255 bytes"));
        }
        let before: Place = match start {
            Start::Checkpoint(Checkpoint { extra: Some(extra), .. }) => serde_json::from_slice(&extra)
                .map_err(|error| Error::fatal("amqp.checkpoint", format!("the checkpoint is not readable: {error}")))?,
            _ => Place::default(),
        };
        let instance = RandomState::new().hash_one(0_u8);
        Ok(Self {
            client: Client::new(settings.clone(), topic.to_owned()),
            settings,
            place: Place { instance, ..before },
            entries: VecDeque::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            asked: 0,
            length: None,
            told: false,
        })
    }

    fn next(&mut self, limits: Limits) -> Result<(Messages, Progress)> {
        self.join()?;
        let (until, mut messages) = (now() + limits.timeout.max(LINGER), Messages::default());
        while self.drain(&mut messages, limits)? {
            let soon = now() + LINGER;
            if !messages.is_empty() && soon > until {
                break;
            }
            match self.step(if messages.is_empty() { until } else { soon }) {
                Ok(true) => {}
                Ok(false) => break,
                // What has come is good; the next call finds that there is no connection.
                Err(Error::Retriable { .. }) if !messages.is_empty() => self.client.close(),
                Err(error) => return Err(error),
            }
            if self.client.connection().is_none() {
                break;
            }
        }
        if messages.is_empty() {
            let progress = self.progress()?;
            return Ok((messages, progress));
        }
        self.client.well();
        // Whether that went well, the next call finds out.
        drop(self.client.live());
        Ok((messages, Progress::More))
    }

    fn checkpoint(&mut self) -> Result<Checkpoint> {
        let extra = serde_json::to_vec(&self.place);
        let extra = extra.map_err(|error| Error::fatal("amqp.checkpoint", error.to_string()))?;
        Ok(Checkpoint { extra: Some(extra), ..Checkpoint::default() })
    }

    fn committed(&mut self, upto: Checkpoint) -> Result<()> {
        let unreadable = |error| Error::fatal("amqp.checkpoint", format!("the checkpoint is not readable: {error}"));
        let upto: Place = serde_json::from_slice(&upto.extra.unwrap_or_default()).map_err(unreadable)?;
        if upto.instance != self.place.instance {
            return Ok(());
        }
        let (mut tag, mut gone, connection) = (None, 0_u64, self.client.connection());
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.count <= upto.count) {
            if Some(entry.connection) == connection {
                // Tags rise, and what came between was returned before.
                tag = Some(entry.tag);
            } else {
                gone += 1;
            }
        }
        if let Some(tag) = tag {
            self.acknowledge(tag)?;
        }
        if gone > 0 {
            let what = format!("{gone} messages came by a connection that has ended; the server hands them out again");
            return Err(Error::retriable("amqp.ack", what));
        }
        Ok(())
    }
}
