//! What a spec says about a bucket.

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Error, Result};

/// Settings of the source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    /// Where the service listens: `http://minio:9000`. The bucket is a part of the path.
    pub endpoint: String,
    /// The id of the key that requests are signed with; the key is the secret `key`. Left out, requests are not signed.
    pub key_id: Option<String>,
    /// The region that signatures name.
    #[serde(default = "region")]
    pub region: String,
    /// Which objects come first, and so which ones are new: `name` or `modified`.
    #[serde(default)]
    pub order: Order,
    /// With `order: modified`, how many seconds an object may appear late, after ones that were modified later.
    #[serde(default = "window")]
    pub window: u64,
    /// Only objects whose names end so, such as `.ndjson.gz`.
    #[serde(default)]
    pub suffix: String,
    /// An object is one message, and not its lines.
    #[serde(default)]
    pub whole: bool,
    /// Most bytes of a line, or of an object that is one message. A longer one is a dead letter with its beginning.
    #[serde(default = "max_line")]
    pub max_line: usize,
    /// Seconds between two looks when there is nothing new.
    #[serde(default = "every")]
    pub every: f64,
}

/// Which objects come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// By name: new objects have names that sort after those that were read.
    #[default]
    Name,
    /// By the time at which they were written.
    Modified,
}

fn region() -> String {
    "us-east-1".to_owned()
}

fn window() -> u64 {
    3600
}

fn max_line() -> usize {
    16 << 20
}

fn every() -> f64 {
    5.0
}

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        let host = |scheme| self.endpoint.strip_prefix(scheme).map(|host| host.strip_suffix('/').unwrap_or(host));
        let sound = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@']);
        let wrong = if !host("http://").or(host("https://")).is_some_and(sound) {
            "`endpoint` is an address like http://minio:9000 or https://s3.eu-central-1.amazonaws.com"
        } else if !(0.0..=86_400.0).contains(&self.every) {
            "`every` is from 0 to 86400 seconds"
        } else if self.max_line == 0 || self.max_line > 64 << 20 {
            "`maxLine` is from 1 to 67108864 bytes"
        } else if self.window > 7 * 86_400 {
            "`window` is at most 604800 seconds: the position names the objects that were read in it"
        } else {
            return Ok(());
        };
        Err(Error::invalid_config(wrong))
    }
}
