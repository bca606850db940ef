//! What a spec says about a server and a queue there.

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Error, Result};

/// Settings of the stream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Where the server listens, as in `rabbit:5672`, or the name of an endpoint of the spec.
    pub address: String,
    /// The virtual host that has the queue.
    #[serde(default = "root")]
    pub vhost: String,
    /// The user whose password is the secret `password`. Left out, it is `guest`.
    pub username: Option<String>,
    /// How to say who we are.
    #[serde(default)]
    pub mechanism: Mechanism,
    /// How many messages the server may send before one of them is acknowledged.
    #[serde(default = "prefetch")]
    pub prefetch: u16,
    /// After how many seconds of silence either side gives the other up; 0 for never.
    #[serde(default = "minute")]
    pub heartbeat: u16,
    /// The header that is a message's id. Left out, it is the property `message-id`. A message without it is taken for new whenever it comes.
    pub id: Option<String>,
    /// Whether a message's routing key is its key.
    #[serde(default = "yes")]
    pub routing_key_as_key: bool,
    /// Most bytes of a message; a larger one stops the pipeline.
    #[serde(default = "max_message")]
    pub max_message: usize,
}

/// How to say who we are.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mechanism {
    /// By user and password.
    #[default]
    Plain,
    /// By the certificate of the endpoint.
    External,
}

fn root() -> String {
    "/".to_owned()
}

fn prefetch() -> u16 {
    5000
}

fn minute() -> u16 {
    60
}

fn yes() -> bool {
    true
}

fn max_message() -> usize {
    16 << 20
}

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_message == 0 || self.max_message > 256 << 20 {
            return Err(Error::invalid_config("`maxMessage` is from 1 to 268435456 bytes"));
        }
        if self.prefetch == 0 {
            return Err(Error::invalid_config(
                "`prefetch` is 1 message or more: without it, the server sends all it has",
            ));
        }
        let texts = [Some(&self.vhost), self.username.as_ref()];
        if texts.into_iter().flatten().any(|text| text.len() > 255 || text.contains('\0')) {
            return Err(Error::invalid_config("`vhost` and `username` have at most 255 bytes, none of them zero"));
        }
        Ok(())
    }
}
