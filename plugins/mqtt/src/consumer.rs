//! The stream: what the session of a broker brings, and how it is acknowledged.
//!
//! Once a connection has ended, the broker sends again what was not acknowledged, and a number may stand for another message by the time
//! one would acknowledge it.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, RandomState},
    time::Instant,
};

use serde::{Deserialize, Serialize};
use spout_guest::{Error, Messages, Progress, Result, now, warn};
use spout_queue::{Came, Given, Link, PATIENCE, Place, Protocol, Queue};

use crate::{
    client::{Client, Open},
    filter::filters,
    packet::{Message, Packet},
    serial::{Serials, Turn},
    settings::{Lost, Numbers, Settings},
    speech::{complete, subscribe, take, unsubscribe},
};

/// The numbers of our own two requests.
const SUBSCRIBE: u16 = 1;
const UNSUBSCRIBE: u16 = 2;

/// The topics of a broker, by a session there.
pub(crate) type Mqtt = Queue<Session>;

/// How a session is read.
#[derive(Debug)]
pub(crate) struct Session {
    settings: Settings,
    filters: BTreeSet<String>,
    client: Client,
    state: State,
    turn: Turn,
    calm: Calm,
    /// The ping that was sent last because somebody waits for its answer.
    asked: u64,
    /// When the topics were asked for, until the broker answers that.
    subscribing: Option<Instant>,
}

/// What checkpoints have besides the place.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// What the broker's numbers stand for; nothing before there was a session.
    serials: Option<Serials>,
    /// What the session is subscribed to.
    filters: BTreeSet<String>,
}

/// How a message is acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    qos: u8,
    number: u16,
}

/// Whether the broker has nothing more for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calm {
    Unknown,
    /// It was asked.
    Asked,
    /// Nothing came before its answer.
    Known,
}

impl Session {
    /// Says what becomes of a session that the broker does not have.
    fn begin(&mut self, present: bool, until: Instant) -> Result<()> {
        if !present && self.state.serials.is_some() {
            if self.settings.lost_session == Lost::Fail {
                // Or the next start would find a session, and not that it is another one.
                self.client.forget(until);
                let what = "the broker does not know the session any more; what was sent meanwhile is lost. To go on with a new one, set `lostSession: continue`";
                return Err(self.client.link.fatal("session", what));
            }
            warn!("{} has lost the session; what was sent meanwhile is lost", self.settings.address);
        }
        if !present || self.state.serials.is_none() {
            let reused = self.state.serials.as_ref().is_some_and(|serials| serials.reused);
            let reused = reused || self.settings.packet_ids == Numbers::Reused;
            self.state.serials = Some(Serials::new(RandomState::new().hash_one(0_u8), reused));
            self.turn.forget();
        }
        Ok(())
    }

    /// Asks for the topics at each connection: only so it is certain that the session has them.
    fn subscribe(&mut self, until: Instant) -> Result<()> {
        let (version, Settings { qos, retained, .. }) = (self.client.version(), &self.settings);
        let long = || Error::invalid_config("the topic is too long");
        let wanted = subscribe(SUBSCRIBE, &self.filters, *qos, *retained, version).ok_or_else(long)?;
        self.client.send(&wanted, until)?;
        self.subscribing = Some(now());
        let mut others = self.state.filters.difference(&self.filters).peekable();
        if others.peek().is_some() {
            let unwanted = unsubscribe(UNSUBSCRIBE, others, version).ok_or_else(long)?;
            self.client.send(&unwanted, until)?;
        }
        self.state.filters.extend(self.filters.iter().cloned());
        Ok(())
    }

    fn subscribed(&mut self, codes: &[u8]) -> Result<()> {
        if codes.len() != self.filters.len() {
            return Err(self.client.link.broken("protocol", "it does not answer as a broker of MQTT does"));
        }
        let refused = self.filters.iter().zip(codes).find(|(_, code)| !matches!(code, 1 | 2));
        let Some((filter, code)) = refused else { return Ok(()) };
        Err(match code {
            0 => {
                let what = format!("it sends `{filter}` with QoS 0 only, which nobody can acknowledge");
                self.client.link.fatal("qos", &what)
            }
            0x83 | 0x91 | 0x97 => {
                let what = format!("it does not take `{filter}` now (code {code})");
                self.client.link.broken("unavailable", &what)
            }
            _ => {
                let what = format!("it refuses `{filter}` (code {code}): it may not be allowed, or not be known there");
                self.client.link.fatal("topic", &what)
            }
        })
    }
}

impl Protocol for Session {
    const NAME: &'static str = "mqtt";
    const COUNTS: bool = false;

    type Settings = Settings;
    type State = State;
    type Open = Open;
    type Message = Message;
    type Tag = Tag;

    fn open(topic: &str, group: &str, settings: Settings, state: State) -> Result<Self> {
        settings.check()?;
        let client_id = settings.client_id.clone().unwrap_or_else(|| format!("spout-{group}"));
        Ok(Self {
            client: Client::new(settings.clone(), client_id),
            settings,
            filters: filters(topic)?,
            state,
            turn: Turn::default(),
            calm: Calm::Unknown,
            asked: 0,
            subscribing: None,
        })
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn link(&self) -> &Link<Open> {
        &self.client.link
    }

    fn link_mut(&mut self) -> &mut Link<Open> {
        &mut self.client.link
    }

    fn connect(&mut self) -> Result<Option<u64>> {
        let until = now() + PATIENCE;
        let connected = self.client.connect(false, until)?;
        (self.calm, self.asked) = (Calm::Unknown, 0);
        self.turn.connected();
        self.begin(connected.present, until)?;
        self.subscribe(until)?;
        Ok(None)
    }

    fn receive(&mut self, until: Instant) -> Result<Came<Message>> {
        match self.client.receive(until)? {
            None => return Ok(Came::Nothing),
            Some(Packet::Message(message)) => {
                self.calm = Calm::Unknown;
                let bytes = message.payload.len();
                return Ok(Came::Message(message, bytes));
            }
            Some(Packet::Release(number)) => self.client.send(&complete(number), now() + PATIENCE)?,
            Some(Packet::Subscribed(SUBSCRIBE, codes)) => {
                self.subscribing = None;
                self.subscribed(&codes)?;
            }
            Some(Packet::Unsubscribed) => self.state.filters.clone_from(&self.filters),
            Some(Packet::Pong) => {}
            Some(Packet::Connected(_) | Packet::Subscribed(..) | Packet::Disconnected(..)) => {
                return Err(self.client.link.broken("protocol", "it answers what nobody asked"));
            }
        }
        Ok(Came::Other)
    }

    fn add(&mut self, message: &Message, at: Place, messages: &mut Messages) -> Result<Given<Tag>> {
        let Some(serials) = &mut self.state.serials else { return Err(self.client.link.ended()) };
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
        let tag = message.id.map(|number| Tag { qos: message.qos, number });
        // MQTT 3.1.1 sends what is retained whether one wants it or not.
        if message.retain && !self.settings.retained {
            return Ok(Given::Left(tag));
        }
        let named = self.settings.id.as_ref().and_then(|name| {
            message.properties.user.iter().find(|(user, _)| user == name).map(|(_, value)| value.clone())
        });
        let id = named.unwrap_or_else(|| serial.id(session, &message.topic, &message.payload));
        write(message, at.count, &id, self.settings.topic_as_key, messages);
        Ok(Given::Added(tag))
    }

    fn acknowledge(&mut self, tags: &[Tag]) -> Result<()> {
        let mut taken = Vec::new();
        for tag in tags {
            self.turn.acknowledged(tag.number);
            take(tag.qos, tag.number, &mut taken);
        }
        self.calm = Calm::Unknown;
        self.client.send(&taken, now() + PATIENCE)
    }

    /// A ping is answered after what came before it.
    fn ask(&mut self) -> Result<()> {
        self.asked = self.client.ping(now() + PATIENCE)?;
        Ok(())
    }

    fn is_answered(&self) -> bool {
        self.client.answered(self.asked)
    }

    fn keep(&mut self) -> Result<()> {
        if self.subscribing.is_some_and(|since| now().saturating_duration_since(since) > PATIENCE) {
            return Err(self.client.link.broken("io", "it does not answer whether it takes the topics"));
        }
        self.client.keep()
    }

    fn live(&mut self) -> Result<()> {
        self.client.live()
    }

    fn progress(&mut self) -> Result<Progress> {
        match self.calm {
            Calm::Unknown => {
                self.ask()?;
                self.calm = Calm::Asked;
            }
            Calm::Asked if self.is_answered() => self.calm = Calm::Known,
            Calm::Asked | Calm::Known => {}
        }
        Ok(if self.calm == Calm::Known { Progress::Idle } else { Progress::More })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let state = State { serials: Some(Serials::new(3, true)), filters: ["a".to_owned()].into() };
        let text = serde_json::to_string(&state).unwrap();
        let again: State = serde_json::from_str(&text).unwrap();
        assert_eq!((again.serials, again.filters), (state.serials, state.filters));
    }
}
