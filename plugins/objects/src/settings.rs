//! What a spec says about a bucket, or a directory.

use schemars::JsonSchema;
use serde::Deserialize;
use spout_guest::{Error, Result};

/// Settings of the source.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where the service listens: `http://minio:9000`. The bucket is a part of the path.
    pub(crate) endpoint: String,
    /// The id of the key that requests are signed with; the key is the secret `key`. Left out, requests are not signed.
    pub(crate) key_id: Option<String>,
    /// The region that signatures name.
    #[serde(default = "region")]
    pub(crate) region: String,
    /// Which objects come first, and so which ones are new: `name` or `modified`.
    #[serde(default)]
    pub(crate) order: Order,
    /// With `order: modified`, how many seconds an object may appear late, after ones that were modified later.
    #[serde(default = "window")]
    pub(crate) window: u64,
    /// Only objects whose names end so, such as `.ndjson.gz`.
    #[serde(default)]
    pub(crate) suffix: String,
    /// An object is one message, and not its lines.
    #[serde(default)]
    pub(crate) whole: bool,
    /// Most bytes of a line, or of an object that is one message. A longer one is a dead letter with its beginning.
    #[serde(default = "max_line")]
    pub(crate) max_line: usize,
    /// Seconds between two looks when there is nothing new.
    #[serde(default = "every")]
    pub(crate) every: f64,
}

/// Settings of the source of files.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DirectorySettings {
    /// Which files come first, and so which ones are new: `modified` or `name`.
    #[serde(default = "by_time")]
    pub(crate) order: Order,
    /// Seconds after which a file that was not written is complete. `0`: files are moved into place when they are.
    #[serde(default = "settle")]
    pub(crate) settle: f64,
    /// What becomes of a file that is written after it was read: `dead-letter` names it, `again` reads it again, whole.
    #[serde(default)]
    pub(crate) changed: Changed,
    /// Only files whose names end so, such as `.ndjson.gz`.
    #[serde(default)]
    pub(crate) suffix: String,
    /// A file is one message, and not its lines.
    #[serde(default)]
    pub(crate) whole: bool,
    /// Most bytes of a line, or of a file that is one message. A longer one is a dead letter with its beginning.
    #[serde(default = "max_line")]
    pub(crate) max_line: usize,
    /// Seconds between two looks when there is nothing new.
    #[serde(default = "second")]
    pub(crate) every: f64,
}

/// What becomes of a file that is written after it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Changed {
    /// A dead letter names it.
    #[default]
    DeadLetter,
    /// It is read again.
    Again,
}

/// What is read of objects, whatever they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) whole: bool,
    pub(crate) max_line: usize,
    pub(crate) every: f64,
}

/// Which objects come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
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

fn by_time() -> Order {
    Order::Modified
}

fn settle() -> f64 {
    5.0
}

fn second() -> f64 {
    1.0
}

impl Reading {
    /// Why it cannot be so.
    fn wrong(self) -> Option<&'static str> {
        if !(0.0..=86_400.0).contains(&self.every) {
            Some("`every` is from 0 to 86400 seconds")
        } else if self.max_line == 0 || self.max_line > 64 << 20 {
            Some("`maxLine` is from 1 to 67108864 bytes")
        } else {
            None
        }
    }
}

impl DirectorySettings {
    pub(crate) fn check(&self) -> Result<()> {
        let sound = (0.0..=86_400.0).contains(&self.settle);
        let wrong = if sound { self.reading().wrong() } else { Some("`settle` is from 0 to 86400 seconds") };
        wrong.map_or(Ok(()), |wrong| Err(Error::invalid_config(wrong)))
    }

    pub(crate) fn reading(&self) -> Reading {
        Reading { whole: self.whole, max_line: self.max_line, every: self.every }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<()> {
        let host = |scheme| self.endpoint.strip_prefix(scheme).map(|host| host.strip_suffix('/').unwrap_or(host));
        let sound = |host: &str| !host.is_empty() && !host.contains(['/', '?', '#', '@']);
        let wrong = if !host("http://").or(host("https://")).is_some_and(sound) {
            "`endpoint` is an address like http://minio:9000 or https://s3.eu-central-1.amazonaws.com"
        } else if let Some(wrong) = self.reading().wrong() {
            wrong
        } else if self.window > 7 * 86_400 {
            "`window` is at most 604800 seconds: the position names the objects that were read in it"
        } else {
            return Ok(());
        };
        Err(Error::invalid_config(wrong))
    }

    pub(crate) fn reading(&self) -> Reading {
        Reading { whole: self.whole, max_line: self.max_line, every: self.every }
    }
}
