//! `stream`: messages fetched through a plugin, by partition or from the stream as a whole.

mod discover;
mod out_of_range;
mod partitions;
mod readers;
mod redelivered;
mod whole;

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_base::reach::Reach;
use spout_data::{ByteSize, Period};
use spout_plugin::{PluginRef, Settings, World};

use self::discover::StreamProducer;
pub use self::readers::{Readers, Twice};
pub(super) use self::redelivered::DedupeSpec;
use crate::{
    CsvStyle, Error, MetadataColumn, OutOfRange, Peek, Producer, Promise, SourceContext, SourcePlugin, SourceSpec,
};

/// A stream fetched through a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamSpec {
    /// Name of the plugin, `files`, or of one of its sources, `weblog/gzipped`; `files@sha256:…` pins its digest too.
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
    /// Which messages are recognized when the source sends them again; with `consumerType: acked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<DedupeSpec>,
    /// How many readers share the partitions, each with an instance of the plugin; as many as there are cores, unless set. With
    /// `consumerType: acked`, how many consumers share the stream, each message of which the source gives to one of them; one, unless set.
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

    /// How many consumers share the stream, where it is read as one.
    fn consumers(&self) -> u32 {
        let acked = self.consumer_type == ConsumerType::Acked;
        self.readers.filter(|_| acked).map_or(1, NonZeroU32::get)
    }
}

impl SourceSpec for StreamSpec {
    fn reach(&self) -> Option<Reach> {
        None
    }

    fn reads(&self) -> String {
        let how = match self.consumer_type {
            ConsumerType::Lowlevel => "by partition",
            ConsumerType::Highlevel => "as one stream",
            ConsumerType::Acked => "as one stream that is acknowledged",
        };
        let shared = match self.consumers() {
            1 => String::new(),
            consumers => format!(", by {consumers} readers"),
        };
        let start = match &self.start {
            Start::Earliest => "earliest".into(),
            Start::Latest => "latest".into(),
            Start::Time(time) => time.to_string(),
            Start::Ago(period) => format!("{period} ago"),
            Start::Offset(offsets) => format!("the offsets of {} partitions", offsets.len()),
        };
        let plugin = PluginRef::parse(&self.plugin).label;
        format!("topic `{}` of {plugin}, {how}{shared}, from {start} or the last commit", self.topic)
    }

    fn passes_over(&self) -> bool {
        self.consumer_type == ConsumerType::Lowlevel
    }

    fn peek(&self) -> Peek {
        let (name, creates) = (PluginRef::parse(&self.plugin).plugin, self.settings.0.get("create"));
        let creates = creates.is_some_and(|create| create.to_string() == "true");
        match self.consumer_type {
            // The only one of those that come with this tree that makes something that stays before anything is committed.
            _ if name == "postgres" => Peek::Harmful(
                "the replication slot is created if it is not there, and keeps the server's log from then on".into(),
            ),
            ConsumerType::Acked if creates => Peek::Harmful(
                "what it consumes through is created at the server if it is not there (`create: true`)".into(),
            ),
            ConsumerType::Acked => Peek::Passing(
                "its messages are handed out, not acknowledged, and handed out again later, which the server may count"
                    .into(),
            ),
            ConsumerType::Lowlevel | ConsumerType::Highlevel => Peek::Harmless,
        }
    }

    fn promise(&self) -> Promise {
        if self.consumer_type == ConsumerType::Acked { Promise::ACKED } else { Promise::REPLAYABLE }
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        let zero = [
            ("fetch.messages", self.fetch.messages == 0),
            ("fetch.bytes", self.fetch.bytes.0 == 0),
            ("discoverEvery", self.discover_every.0.is_zero()),
        ];
        if let Some((key, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
            return Some((key, format!("`{key}` must be more than 0; leave it out for the default")));
        }
        let acked = self.consumer_type == ConsumerType::Acked;
        if let Some(dedupe) = &self.dedupe {
            if !acked {
                let what = "`dedupe` is for sources that are acknowledged (consumerType: acked); others bring no message twice";
                return Some(("dedupe", what.to_owned()));
            }
            if dedupe.unacknowledged == 0 {
                let what = "`dedupe.unacknowledged` must be more than 0; leave it out for the default";
                return Some(("dedupe.unacknowledged", what.to_owned()));
            }
        }
        let by_time = matches!(self.start, Start::Time(_) | Start::Ago(_) | Start::Offset(_));
        (self.consumer_type != ConsumerType::Lowlevel && by_time).then(|| {
            let how = self.consumer_type.name();
            let what = format!(
                "a stream read as a whole (consumerType: {how}) can start at earliest or latest only; \
                 read it by partition (lowlevel) to start at a time or an offset"
            );
            ("start", what)
        })
    }

    fn topic(&self) -> Option<&str> {
        Some(&self.topic)
    }

    fn metadata(&self) -> &[MetadataColumn] {
        &self.metadata
    }

    /// The plugin `files` finds CSV records itself.
    fn csv(&self) -> Option<(&'static str, CsvStyle)> {
        let framing = self.settings.0.get("framing").map(ToString::to_string);
        let is_csv = PluginRef::parse(&self.plugin).plugin == "files" && framing.as_deref() == Some("csv");
        is_csv.then(|| CsvStyle::of(&self.settings)).flatten().map(|style| ("settings", style))
    }

    fn unended(&self) -> String {
        format!(
            "plugin `{}` has not reported the end of its partitions; see its settings (`files` follows its files unless `follow: false`)",
            PluginRef::parse(&self.plugin).label
        )
    }

    fn plugin(&self) -> Option<SourcePlugin<'_>> {
        let world = match self.consumer_type {
            ConsumerType::Lowlevel => World::Source,
            ConsumerType::Highlevel | ConsumerType::Acked => World::StreamSource,
        };
        Some(SourcePlugin {
            reference: &self.plugin,
            world,
            settings: &self.settings,
            topic: &self.topic,
            env: None,
            acked: self.consumer_type == ConsumerType::Acked,
        })
    }

    fn producer(&self, context: SourceContext<'_>) -> Result<Box<dyn Producer>, Error> {
        let task = context.task.cloned().ok_or_else(|| Error::NotLoaded { plugin: self.plugin.clone() })?;
        Ok(Box::new(StreamProducer::new(self.clone(), task, context.standings)))
    }
}

fn discover_every() -> Period {
    Period(Duration::from_secs(5))
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
    /// The same, of a source that forgets messages once they are acknowledged: that is done after the commit that holds them.
    Acked,
}

impl ConsumerType {
    fn name(self) -> &'static str {
        match self {
            Self::Lowlevel => "lowlevel",
            Self::Highlevel => "highlevel",
            Self::Acked => "acked",
        }
    }
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
