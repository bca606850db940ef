//! What a spec says about a server and its streams.

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Error, Result};

/// Settings of the source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Where the server listens, as in `redis:6379`, or the name of an endpoint of the spec.
    pub address: String,
    /// The user whose password is the secret `password`. Left out, the password is that of the default user.
    pub username: Option<String>,
    /// The number of the database that has the streams.
    #[serde(default)]
    pub database: u32,
    /// The field of an entry that is the message. Without it, a message is a JSON object of all fields, whose values are texts.
    pub value: Option<String>,
    /// The field of an entry that is the message's key.
    pub key: Option<String>,
    /// Most bytes of an entry; a larger one stops the pipeline.
    #[serde(default = "max_entry")]
    pub max_entry: usize,
}

fn max_entry() -> usize {
    16 << 20
}

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_entry == 0 || self.max_entry > 256 << 20 {
            return Err(Error::invalid_config("`maxEntry` is from 1 to 268435456 bytes"));
        }
        Ok(())
    }
}
