//! The stream: what a queue delivers, and how it is acknowledged.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use spout_guest::{Error, Messages, Progress, Result, warn};
use spout_queue::{Came, Given, Link, Place, Protocol, Queue};

use crate::{
    client::{Client, Open},
    frame::{Message, Taken},
    method::{Method, STREAM_OFFSET},
    settings::Settings,
};

/// A queue of a server.
pub(crate) type Amqp = Queue<Classic>;

/// How a queue is read.
#[derive(Debug)]
pub(crate) struct Classic {
    settings: Settings,
    client: Client,
    /// Questions for the length of the queue that were not answered, and the last answer since something came.
    asked: u64,
    length: Option<u32>,
    /// It was said that messages have no ids.
    told: bool,
    state: Stateless,
}

/// What checkpoints have besides the place: nothing.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stateless {}

impl Protocol for Classic {
    const NAME: &'static str = "amqp";
    const COUNTS: bool = true;

    type Settings = Settings;
    type State = Stateless;
    type Open = Open;
    type Message = Message;
    type Tag = u64;

    fn open(topic: &str, _: &str, settings: Settings, state: Stateless) -> Result<Self> {
        settings.check()?;
        if topic.is_empty() || topic.len() > 255 {
            return Err(Error::invalid_config("the topic is the name of a queue, of 1 to 255 bytes"));
        }
        let client = Client::new(settings.clone(), topic.to_owned());
        Ok(Self { settings, client, asked: 0, length: None, told: false, state })
    }

    fn state(&self) -> &Stateless {
        &self.state
    }

    fn link(&self) -> &Link<Open> {
        &self.client.link
    }

    fn link_mut(&mut self) -> &mut Link<Open> {
        &mut self.client.link
    }

    fn connect(&mut self) -> Result<Option<u64>> {
        (self.asked, self.length) = (0, None);
        self.client.connect(None, self.settings.prefetch).map(|count| Some(count.into()))
    }

    fn receive(&mut self, until: Instant) -> Result<Came<Message>> {
        Ok(match self.client.receive(until)? {
            None => Came::Nothing,
            Some(Taken::Message(message)) => {
                self.length = None;
                let bytes = message.body.len();
                Came::Message(message, bytes)
            }
            Some(Taken::Method(Method::Declared(length))) if self.asked > 0 => {
                self.asked -= 1;
                self.length = Some(length);
                Came::Count(length.into())
            }
            Some(Taken::Nothing | Taken::Method(Method::Noted)) => Came::Other,
            Some(Taken::Method(_)) => {
                self.client.link.close();
                return Err(self.client.unexpected());
            }
        })
    }

    fn add(&mut self, message: &Message, at: Place, messages: &mut Messages) -> Result<Given<u64>> {
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
                format!("{:x}-{}", at.instance, at.count).into_bytes()
            }
        };
        let added = messages.add(at.count, &message.body).partition(0).id(&id);
        message.describe(added, self.settings.routing_key_as_key);
        Ok(Given::Added(Some(message.delivery.tag)))
    }

    fn acknowledge(&mut self, tags: &[u64]) -> Result<()> {
        // Tags rise, and what came between was returned before.
        tags.last().map_or(Ok(()), |tag| self.client.acknowledge(*tag))
    }

    fn ask(&mut self) -> Result<()> {
        self.client.look()?;
        self.asked += 1;
        Ok(())
    }

    fn is_answered(&self) -> bool {
        self.asked == 0
    }

    fn keep(&mut self) -> Result<()> {
        self.client.keep()
    }

    fn live(&mut self) -> Result<()> {
        self.client.live()
    }

    fn progress(&mut self) -> Result<Progress> {
        if self.length.take() == Some(0) {
            return Ok(Progress::Idle);
        }
        if self.is_answered() {
            self.ask()?;
        }
        Ok(Progress::More)
    }
}
