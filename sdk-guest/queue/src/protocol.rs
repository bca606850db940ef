//! What a protocol says of a queue.

use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use spout_guest::{Messages, Progress, Result};

use crate::Link;

/// How messages of a server come, and how they are acknowledged.
pub trait Protocol: Sized + 'static {
    /// What codes of errors begin with.
    const NAME: &'static str;
    /// Whether the server says how many messages wait, in answers to [`Protocol::ask`].
    const COUNTS: bool;

    /// The spec's `settings`.
    type Settings: DeserializeOwned + JsonSchema;
    /// What checkpoints have besides the place.
    type State: Default + Serialize + DeserializeOwned;
    /// What is known of a connection.
    type Open;
    /// A message as it came.
    type Message;
    /// How a message is acknowledged on the connection that brought it.
    type Tag: Copy;

    /// Opens the topic on behalf of `group`; `state` is that of the checkpoint to go on from.
    ///
    /// # Errors
    /// The settings are wrong.
    fn open(topic: &str, group: &str, settings: Self::Settings, state: Self::State) -> Result<Self>;

    /// What checkpoints have besides the place.
    fn state(&self) -> &Self::State;

    /// The connection.
    fn link(&self) -> &Link<Self::Open>;

    /// The same.
    fn link_mut(&mut self) -> &mut Link<Self::Open>;

    /// Connects, and asks for messages; how many there are, if the server says so.
    ///
    /// # Errors
    /// As the server or the connection says.
    fn connect(&mut self) -> Result<Option<u64>>;

    /// What comes next, until then.
    ///
    /// # Errors
    /// As the server or the connection says.
    fn receive(&mut self, until: Instant) -> Result<Came<Self::Message>>;

    /// Adds a message at this place.
    ///
    /// # Errors
    /// It cannot be read at all.
    fn add(&mut self, message: &Self::Message, at: Place, messages: &mut Messages) -> Result<Given<Self::Tag>>;

    /// Acknowledges messages, in the order in which they came.
    ///
    /// # Errors
    /// The connection fails.
    fn acknowledge(&mut self, tags: &[Self::Tag]) -> Result<()>;

    /// Asks for a word of the server, which comes after it has taken what was sent, and after what it has sent.
    ///
    /// # Errors
    /// The connection fails.
    fn ask(&mut self) -> Result<()>;

    /// Whether all these questions were answered.
    fn is_answered(&self) -> bool;

    /// Finds out whether the server lives, and says that we do. Only after nothing came.
    ///
    /// # Errors
    /// It does not.
    fn keep(&mut self) -> Result<()>;

    /// Says that we live, when it is time to.
    ///
    /// # Errors
    /// The connection fails.
    fn live(&mut self) -> Result<()>;

    /// Nothing came, and nothing waits to be acknowledged: whether that is all.
    ///
    /// # Errors
    /// The connection fails.
    fn progress(&mut self) -> Result<Progress>;
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came<M> {
    /// Nothing, in time.
    Nothing,
    /// A message, of so many bytes.
    Message(M, usize),
    /// How many messages the server has that it has not sent.
    Count(u64),
    /// Something else.
    Other,
}

/// What becomes of a message, and how it is acknowledged if it is at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<T> {
    /// It was added.
    Added(Option<T>),
    /// Nobody wants it.
    Left(Option<T>),
}

/// Where a queue is, as its checkpoints say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which instance wrote it.
    pub instance: u64,
    /// How many messages were returned.
    pub count: u64,
}
