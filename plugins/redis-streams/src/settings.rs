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
    /// With `consumerType: acked`, the consumer group; the name of the pipeline, if left out.
    pub group: Option<String>,
    /// With `consumerType: acked`, the name of this consumer in the group; `spout`, if left out. No two may have the same.
    pub consumer: Option<String>,
    /// With `consumerType: acked`, whether to create the group in streams that do not have it, at `start`.
    #[serde(default)]
    pub create: bool,
    /// With `consumerType: acked`, milliseconds after which entries of other consumers that did not acknowledge them are taken over. Left
    /// out, none are.
    pub min_idle: Option<u64>,
}

fn max_entry() -> usize {
    16 << 20
}

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_entry == 0 || self.max_entry > 256 << 20 {
            return Err(Error::invalid_config("`maxEntry` is from 1 to 268435456 bytes"));
        }
        for (name, given) in [("group", &self.group), ("consumer", &self.consumer)] {
            if given.as_deref() == Some("") {
                return Err(Error::invalid_config(format!("`{name}` is empty; leave it out, or name one")));
            }
        }
        if self.min_idle == Some(0) {
            return Err(Error::invalid_config(
                "`minIdle` is 1 or more: at 0, entries are taken from whoever reads them",
            ));
        }
        Ok(())
    }

    /// Refuses what is for consumers of a group.
    pub(crate) fn without_group(&self) -> Result<()> {
        if self.group.is_some() || self.consumer.is_some() || self.create || self.min_idle.is_some() {
            let what = "`group`, `consumer`, `create` and `minIdle` are for consumers of a group; add `consumerType: acked` to the stream";
            return Err(Error::invalid_config(what));
        }
        Ok(())
    }
}
