//! The stream: what the session of a broker brings, and what of it is acknowledged.
//!
//! What a connection delivered is acknowledged on that connection or not at all: once it has ended, the broker sends all of that
//! again, and a number may stand for another message by the time one would acknowledge it.

use std::{
    collections::{BTreeSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use spout_guest::{Checkpoint, Error, Limits, Messages, Progress, Result, Start, StreamConsumer, now, warn};

use crate::{
    client::{Client, PATIENCE},
    filter::filters,
    packet::{Message, Packet},
    serial::{Serials, Turn},
    settings::{Lost, Numbers, Settings},
    speech::{complete, subscribe, take, unsubscribe},
};

/// How long more messages are waited for once there is one.
const LINGER: Duration = Duration::from_millis(2);
/// Most bytes of messages that may come while the broker takes acknowledgments.
const AHEAD: usize = 32 << 20;
/// The numbers of our own two requests.
const SUBSCRIBE: u16 = 1;
const UNSUBSCRIBE: u16 = 2;

/// Where the stream is, as its checkpoints say it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    /// Which instance wrote it.
    instance: u64,
    /// How many messages were returned.
    count: u64,
    /// What the broker's numbers stand for; nothing before there was a session.
    serials: Option<Serials>,
    /// What the session is subscribed to.
    filters: BTreeSet<String>,
}

/// A message that waits to be acknowledged.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// How many messages were returned, with it.
    count: u64,
    connection: u64,
    qos: u8,
    number: u16,
}

/// A session of a broker.
#[derive(Debug)]
pub struct Mqtt {
    settings: Settings,
    filters: BTreeSet<String>,
    client: Client,
    place: Place,
    turn: Turn,
    entries: VecDeque<Entry>,
    /// Messages that came and were not returned yet, and their bytes.
    ready: VecDeque<Message>,
    ready_bytes: usize,
    calm: Calm,
    /// When the topics were asked for, until the broker answers that.
    subscribing: Option<Instant>,
}

/// Whether the broker has nothing more for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calm {
    Unknown,
    /// It was asked by the ping with this number.
    Asked(u64),
    /// Nothing came before its answer.
    Known,
}

impl Mqtt {
    /// Sees to it that there is a connection, and that the session is subscribed.
    fn join(&mut self) -> Result<()> {
        if self.client.connection().is_some() {
            return Ok(());
        }
        let until = now() + PATIENCE;
        let connected = self.client.connect(false, until)?;
        // What was not returned comes again.
        self.ready.clear();
        (self.ready_bytes, self.calm) = (0, Calm::Unknown);
        self.turn.connected();
        if !connected.present && self.place.serials.is_some() {
            if self.settings.lost_session == Lost::Fail {
                // Or the next start would find a session, and not that it is another one.
                self.client.forget(until);
                let what = "the broker does not know the session any more; what was sent meanwhile is lost. To go on with a new one, set `lostSession: continue`";
                return Err(self.client.fatal("mqtt.session", what));
            }
            warn!("{} has lost the session; what was sent meanwhile is lost", self.settings.address);
        }
        if !connected.present || self.place.serials.is_none() {
            let reused = self.place.serials.as_ref().is_some_and(|serials| serials.reused);
            let reused = reused || self.settings.packet_ids == Numbers::Reused;
            self.place.serials = Some(Serials::new(random(), reused));
            self.turn.forget();
        }
        self.subscribe(until)
    }

    /// Asks for the topics at each connection: only so it is certain that the session has them.
    fn subscribe(&mut self, until: Instant) -> Result<()> {
        let (version, Settings { qos, retained, .. }) = (self.client.version(), &self.settings);
        let long = || Error::invalid_config("the topic is too long");
        let wanted = subscribe(SUBSCRIBE, &self.filters, *qos, *retained, version).ok_or_else(long)?;
        self.client.send(&wanted, until)?;
        self.subscribing = Some(now());
        let mut others = self.place.filters.difference(&self.filters).peekable();
        if others.peek().is_some() {
            let unwanted = unsubscribe(UNSUBSCRIBE, others, version).ok_or_else(long)?;
            self.client.send(&unwanted, until)?;
        }
        self.place.filters.extend(self.filters.iter().cloned());
        Ok(())
    }

    /// Takes a packet in, if one comes; whether one did.
    fn step(&mut self, until: Instant) -> Result<bool> {
        let Some(packet) = self.client.receive(until)? else { return Ok(false) };
        match packet {
            Packet::Message(message) => {
                self.ready_bytes += message.payload.len();
                self.ready.push_back(message);
            }
            Packet::Release(number) => self.client.send(&complete(number), now() + PATIENCE)?,
            Packet::Subscribed(SUBSCRIBE, codes) => {
                self.subscribing = None;
                self.subscribed(&codes)?;
            }
            Packet::Unsubscribed => self.place.filters.clone_from(&self.filters),
            Packet::Pong => {}
            Packet::Connected(_) | Packet::Subscribed(..) | Packet::Disconnected(..) => {
                self.client.close();
                return Err(self.client.again("mqtt.protocol", "it answers what nobody asked"));
            }
        }
        Ok(true)
    }

    fn subscribed(&mut self, codes: &[u8]) -> Result<()> {
        if codes.len() != self.filters.len() {
            self.client.close();
            return Err(self.client.again("mqtt.protocol", "it does not answer as a broker of MQTT does"));
        }
        let refused = self.filters.iter().zip(codes).find(|(_, code)| !matches!(code, 1 | 2));
        let Some((filter, code)) = refused else { return Ok(()) };
        Err(match code {
            0 => {
                let what = format!("it sends `{filter}` with QoS 0 only, which nobody can acknowledge");
                self.client.fatal("mqtt.qos", &what)
            }
            0x83 | 0x91 | 0x97 => {
                let what = format!("it does not take `{filter}` now (code {code})");
                self.client.close();
                self.client.again("mqtt.unavailable", &what)
            }
            _ => {
                let what = format!("it refuses `{filter}` (code {code}): it may not be allowed, or not be known there");
                self.client.fatal("mqtt.topic", &what)
            }
        })
    }

    /// Adds what came and fits; whether there is room for more.
    fn drain(&mut self, messages: &mut Messages, limits: Limits) -> Result<bool> {
        while messages.len() < limits.messages && (messages.is_empty() || messages.bytes() < limits.bytes) {
            let Some(message) = self.ready.pop_front() else { return Ok(true) };
            self.ready_bytes = self.ready_bytes.saturating_sub(message.payload.len());
            self.add(&message, messages)?;
        }
        Ok(false)
    }

    fn add(&mut self, message: &Message, messages: &mut Messages) -> Result<()> {
        self.calm = Calm::Unknown;
        let (Some(serials), Some(connection)) = (&mut self.place.serials, self.client.connection()) else {
            return Err(self.client.again("mqtt.io", "the connection has ended"));
        };
        let was = serials.reused;
        let serial = match message.id {
            Some(number) => serials.of(number, message.dup, &mut self.turn),
            None => serials.unnumbered(),
        };
        if serials.reused && !was {
            warn!(
                "{} gives numbers again before their turn: after a crash, messages may be there twice",
                self.settings.address
            );
        }
        let session = serials.session;
        // MQTT 3.1.1 sends what is retained whether one wants it or not.
        let wanted = self.settings.retained || !message.retain;
        if wanted {
            let named = self.settings.id.as_ref().and_then(|name| {
                message.properties.user.iter().find(|(user, _)| user == name).map(|(_, value)| value.clone())
            });
            let id = named.unwrap_or_else(|| serial.id(session, &message.topic, &message.payload));
            write(message, self.place.count, &id, self.settings.topic_as_key, messages);
            self.place.count += 1;
        }
        let Some(number) = message.id else { return Ok(()) };
        let entry = Entry { count: self.place.count, connection, qos: message.qos, number };
        if wanted || !self.entries.is_empty() {
            self.entries.push_back(entry);
            return Ok(());
        }
        let mut taken = Vec::new();
        self.turn.acknowledged(number);
        take(entry.qos, number, &mut taken);
        self.client.send(&taken, now() + PATIENCE)
    }

    /// There is nothing just now: whether that is all.
    fn progress(&mut self) -> Result<Progress> {
        if self.subscribing.is_some_and(|since| now().saturating_duration_since(since) > PATIENCE) {
            self.client.close();
            return Err(self.client.again("mqtt.io", "it does not answer whether it takes the topics"));
        }
        self.client.keep()?;
        if !self.entries.is_empty() {
            // The broker may wait for acknowledgments, as we do for the commit.
            return Ok(Progress::More);
        }
        self.calm = match self.calm {
            Calm::Unknown => Calm::Asked(self.client.ping(now() + PATIENCE)?),
            Calm::Asked(ping) if self.client.answered(ping) => Calm::Known,
            calm => calm,
        };
        Ok(if self.calm == Calm::Known { Progress::Idle } else { Progress::More })
    }

    /// Acknowledges, and waits until the broker has taken it: a ping is answered after what came before it.
    fn acknowledge(&mut self, taken: &[u8]) -> Result<()> {
        let until = now() + PATIENCE;
        self.client.send(taken, until)?;
        let ping = self.client.ping(until)?;
        while !self.client.answered(ping) {
            if self.ready_bytes > AHEAD {
                return Err(self.client.again("mqtt.ack", "it sends more than it takes"));
            }
            if !self.step(until)? {
                self.client.close();
                return Err(self.client.again("mqtt.io", "it does not answer in time"));
            }
        }
        self.calm = Calm::Unknown;
        Ok(())
    }
}

/// Adds a message with all that it has.
fn write(message: &Message, offset: u64, id: &str, topic_as_key: bool, messages: &mut Messages) {
    let mut added = messages.add(offset, &message.payload).partition(0).id(id.as_bytes());
    if topic_as_key {
        added = added.key(message.topic.as_bytes());
    }
    added = added.header("topic", message.topic.as_bytes());
    if message.retain {
        added = added.header("retained", b"true");
    }
    let properties = &message.properties;
    for (name, value) in [("content-type", &properties.content_type), ("response-topic", &properties.response_topic)] {
        if let Some(value) = value {
            added = added.header(name, value.as_bytes());
        }
    }
    if let Some(value) = &properties.correlation {
        added = added.header("correlation-data", value);
    }
    for (name, value) in &properties.user {
        added = added.header(name, value.as_bytes());
    }
}

impl StreamConsumer for Mqtt {
    type Settings = Settings;
    const ACKED: bool = true;

    fn open(topic: &str, group: &str, start: Start, settings: Settings) -> Result<Self> {
        settings.check()?;
        let filters = filters(topic)?;
        let before = match start {
            Start::Checkpoint(Checkpoint { extra: Some(extra), .. }) => serde_json::from_slice(&extra)
                .map_err(|error| Error::fatal("mqtt.checkpoint", format!("the checkpoint is not readable: {error}")))?,
            _ => Place::default(),
        };
        let client_id = settings.client_id.clone().unwrap_or_else(|| format!("spout-{group}"));
        Ok(Self {
            client: Client::new(settings.clone(), client_id),
            settings,
            filters,
            place: Place { instance: random(), ..before },
            turn: Turn::default(),
            entries: VecDeque::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            calm: Calm::Unknown,
            subscribing: None,
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
        let extra = extra.map_err(|error| Error::fatal("mqtt.checkpoint", error.to_string()))?;
        Ok(Checkpoint { extra: Some(extra), ..Checkpoint::default() })
    }

    fn committed(&mut self, upto: Checkpoint) -> Result<()> {
        let unreadable = |error| Error::fatal("mqtt.checkpoint", format!("the checkpoint is not readable: {error}"));
        let upto: Place = serde_json::from_slice(&upto.extra.unwrap_or_default()).map_err(unreadable)?;
        if upto.instance != self.place.instance {
            return Ok(());
        }
        let (mut taken, mut gone, connection) = (Vec::new(), 0_u64, self.client.connection());
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.count <= upto.count) {
            if Some(entry.connection) == connection {
                self.turn.acknowledged(entry.number);
                take(entry.qos, entry.number, &mut taken);
            } else {
                gone += 1;
            }
        }
        if !taken.is_empty() {
            self.acknowledge(&taken)?;
        }
        if gone > 0 {
            let what = format!("{gone} messages came by a connection that has ended; the broker sends them again");
            return Err(Error::retriable("mqtt.ack", what));
        }
        Ok(())
    }
}

/// A number that nobody else has.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place =
            Place { instance: 1, count: 2, serials: Some(Serials::new(3, true)), filters: ["a".to_owned()].into() };
        let text = serde_json::to_string(&place).unwrap();
        let again: Place = serde_json::from_str(&text).unwrap();
        assert_eq!((again.instance, again.count, again.serials, again.filters), (1, 2, place.serials, place.filters));
    }
}
