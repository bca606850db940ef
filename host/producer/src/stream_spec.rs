//! How a spec names a stream, its plugin and where to start.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::{ByteSize, Period};
use spout_plugin::Settings;

/// A stream fetched through a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamSpec {
    /// Name of the plugin, `files`; one of several sources that it offers, `weblog/gzipped`; or with its digest,
    /// `files@sha256:…`.
    pub plugin: String,
    /// The topic, as the plugin defines it: a granted directory, a queue, a table.
    #[serde(default)]
    pub topic: String,
    /// By partition, or the whole stream at once.
    #[serde(default, alias = "consumer_type")]
    pub consumer_type: ConsumerType,
    /// Where partitions start that no commit has seen yet. Ones that appear after the first commit start at `earliest`.
    #[serde(default)]
    pub start: Start,
    /// What to do when the source no longer has the offset of the last commit.
    #[serde(default, alias = "on_out_of_range")]
    pub on_out_of_range: OutOfRange,
    /// Settings of the plugin; `spout plugin inspect NAME` lists them.
    #[serde(default)]
    pub settings: Settings,
    /// Limits of one fetch.
    #[serde(default)]
    pub fetch: FetchSpec,
    /// How many readers share the partitions, each with an instance of the plugin; as many as there are cores, unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readers: Option<NonZeroU32>,
    /// How often to look for new partitions.
    #[serde(default = "discover_every", alias = "discover_every")]
    pub discover_every: Period,
    /// Columns added to every row from the message itself.
    #[serde(default)]
    pub metadata: Vec<MetadataColumn>,
}

impl StreamSpec {
    /// How many readers share the partitions.
    #[must_use]
    pub fn readers(&self) -> u32 {
        let cores = || std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok());
        self.readers.map(NonZeroU32::get).or_else(cores).unwrap_or(1)
    }
}

fn discover_every() -> Period {
    Period(Duration::from_secs(5))
}

/// A column added to every row from the message it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetadataColumn {
    /// `__partition`, UInt32.
    Partition,
    /// `__offset`, UInt64.
    Offset,
    /// `__timestamp`, Timestamp(ms, UTC), null where the source gives none.
    Timestamp,
    /// `__key`, Binary, null where the source gives none.
    Key,
    /// `__file`, Utf8: the name of the file that the message is from, null if the source reads no files.
    File,
}

/// How the plugin's stream is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConsumerType {
    /// By partition: a few readers in parallel, each with many partitions.
    #[default]
    Lowlevel,
    /// One consumer for the whole stream.
    Highlevel,
}

/// Where to start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Start {
    /// The oldest message the source still has.
    #[default]
    Earliest,
    /// Only what arrives from now on.
    Latest,
    /// The first message at or after this time.
    Time(#[schemars(with = "String", extend("format" = "date-time"))] jiff::Timestamp),
    /// The first message that is at most this old.
    Ago(Period),
    /// These offsets by partition; partitions not named start at `earliest`.
    Offset(BTreeMap<u32, u64>),
}

/// What to do when the source no longer has our offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutOfRange {
    /// Stop and say which messages are gone.
    #[default]
    Fail,
    /// Continue at the oldest message available.
    Earliest,
    /// Continue with what arrives from now on.
    Latest,
}

/// Limits of one fetch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FetchSpec {
    /// Maximum messages of one fetch.
    pub messages: u32,
    /// Maximum payload bytes of one fetch.
    pub bytes: ByteSize,
    /// Longest wait for messages when there are none.
    pub timeout: Period,
}

impl Default for FetchSpec {
    fn default() -> Self {
        Self { messages: 8192, bytes: ByteSize(4 << 20), timeout: Period(Duration::from_secs(1)) }
    }
}
