//! What a spec says about a broker and the session there.

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Error, Result};

/// Settings of the stream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Where the broker listens, as in `broker:1883`, or the name of an endpoint of the spec.
    pub address: String,
    /// The name of the session, which no other client of the broker may have. Left out, it is `spout-` and the name of the pipeline.
    pub client_id: Option<String>,
    /// The user whose password is the secret `password`.
    pub username: Option<String>,
    /// The version of the protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// The quality of service that is asked for: 1 or 2. The broker takes the lower one of this and what the sender chose.
    #[serde(default = "one")]
    pub qos: u8,
    /// Whether to take what the broker has retained of a topic when it is subscribed to. With MQTT 3.1.1 that comes again with each
    /// connection.
    #[serde(default)]
    pub retained: bool,
    /// How many messages the broker may send before one of them is acknowledged, with MQTT 5. A broker has a limit of its own.
    #[serde(default = "inflight")]
    pub inflight: u16,
    /// For how many seconds the broker keeps the session when nobody is connected, with MQTT 5. Left out, for ever.
    pub session_expiry: Option<u32>,
    /// What to do where the broker does not know the session any more: what was sent meanwhile is lost.
    #[serde(default)]
    pub lost_session: Lost,
    /// After how many seconds without a word the broker ends the connection; 0 for never.
    #[serde(default = "minute")]
    pub keep_alive: u16,
    /// How the broker chooses the numbers of messages that wait to be acknowledged.
    #[serde(default)]
    pub packet_ids: Numbers,
    /// The user property of MQTT 5 that tells messages apart, where senders set one. A message without it is known by its place.
    pub id: Option<String>,
    /// Whether a message's topic is its key.
    #[serde(default = "yes")]
    pub topic_as_key: bool,
    /// Most bytes of a payload; a larger one stops the pipeline.
    #[serde(default = "max_message")]
    pub max_message: usize,
}

/// The version of the protocol.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// MQTT 5, or 3.1.1 if the broker says that it does not know that.
    #[default]
    Auto,
    /// MQTT 5.
    V5,
    /// MQTT 3.1.1.
    V3,
}

/// What to do where the broker has lost the session.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lost {
    /// Stop the pipeline.
    #[default]
    Fail,
    /// Go on with a new session.
    Continue,
}

/// How a broker chooses numbers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    /// In turn, from 1 to 65535 and then anew. A broker that does otherwise is noticed.
    #[default]
    Counted,
    /// Any that is free.
    Reused,
}

fn one() -> u8 {
    1
}

fn yes() -> bool {
    true
}

fn minute() -> u16 {
    60
}

fn inflight() -> u16 {
    10_000
}

fn max_message() -> usize {
    16 << 20
}

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        if self.qos != 1 && self.qos != 2 {
            return Err(Error::invalid_config("`qos` is 1 or 2: with 0 there is nothing to acknowledge"));
        }
        if self.max_message == 0 || self.max_message > 255 << 20 {
            return Err(Error::invalid_config("`maxMessage` is from 1 to 267386880 bytes"));
        }
        if self.inflight == 0 || self.inflight > 40_000 {
            return Err(Error::invalid_config("`inflight` is from 1 to 40000 messages"));
        }
        if self.client_id.as_deref().is_some_and(str::is_empty) {
            return Err(Error::invalid_config("`clientId` is empty: the session needs a name"));
        }
        Ok(())
    }
}
