//! What a pipeline spec can say, composed from what each component's own spec can say.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_consumer::ConsumerSpec;
use spout_data::{ByteSize, Period};
use spout_format::Format;
use spout_node::{NodeSpec, TimeSpec};
use spout_plugin::{GrantSpec, LimitsSpec};
use spout_producer::{Guarantee, InputSpec, OnExit, OnFailedFile, ProducerSpec, ServiceSpec, Source, TransformSpec};

use super::TestSpec;

/// One pipeline: Producer → Node → Consumers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PipelineSpec {
    /// Its name.
    pub pipeline: NameSpec,
    /// A description for people.
    #[serde(default)]
    pub description: String,
    /// How commits relate to each other.
    #[serde(default)]
    pub spout: SpoutSpec,
    /// Where messages come from.
    #[serde(default)]
    pub producer: ProducerSpec,
    /// With a `transform`: files of another repo. Its plugin is run for each that was added or changed, and makes files of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputSpec>,
    /// Instead of `producer`: a spout that drives itself. It decides what belongs into a commit, and when one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<TransformSpec>,
    /// Instead of `producer`: several, each with a name. Their rows go through one chain, with the columns of all of them and
    /// `__producer`, which says where a row comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub producers: Vec<ProducerSpec>,
    /// The event time of rows, for handlers that need it and do not name one of their own.
    #[serde(default)]
    pub time: Option<TimeSpec>,
    /// The chain of handlers, in order.
    #[serde(default)]
    pub node: Vec<NodeSpec>,
    /// When commits are cut, and what they look like.
    #[serde(default)]
    pub commit: CommitSpec,
    /// Where batches go besides the repo.
    #[serde(default)]
    pub consumers: Vec<ConsumerSpec>,
    /// What happens to messages that cannot be processed.
    #[serde(default)]
    pub errors: ErrorsSpec,
    /// What each plugin may reach, by plugin name. Nothing, unless named here.
    #[serde(default)]
    pub grants: BTreeMap<String, GrantSpec>,
    /// What each plugin instance may use.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// Which processes of a cluster read its partitions, where several share the work.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cluster: ClusterSpec,
    /// The weakest guarantee that the producer may give.
    #[serde(default)]
    pub guarantee: Option<Guarantee>,
    /// Input rows and the rows expected from them; `spout test` runs them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestSpec>,
}

/// Which processes of a cluster read the partitions of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Those alone of which all of this is said (`spout worker --label zone=a`); without it all of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The name of a pipeline, which is also the name of its output repo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameSpec {
    /// Letters, digits, `-`, `_` and `.`; at most 63.
    pub name: String,
}

/// How commits relate to each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SpoutSpec {
    /// `false`: same-named files grow. `true`: they are replaced.
    pub overwrite: bool,
    /// Shows the marker as a file of this name in every commit.
    pub marker: Option<String>,
    /// What to do when the `transform` has ended by itself: `end` the pipeline, or `restart` it.
    #[serde(alias = "on_exit", skip_serializing_if = "is_default")]
    pub on_exit: OnExit,
    /// A port of this host whose connections reach the plugin that is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl PipelineSpec {
    /// Its producers, each with where it is written.
    pub fn producers(&self) -> impl Iterator<Item = (String, &ProducerSpec)> {
        let only = self.producers.is_empty().then(|| ("producer".to_owned(), &self.producer));
        let several = self.producers.iter().enumerate();
        only.into_iter().chain(several.map(|(index, producer)| (format!("producers[{index}]"), producer)))
    }

    /// The key of a source in the producer at `at`, as users write it: a `transform` stands beside the producer that is made of it.
    pub(crate) fn written_at(at: &str, key: &str) -> String {
        match (at, key.strip_prefix("transform.input")) {
            ("producer", Some(rest)) => format!("input{rest}"),
            ("producer", None) if key.split('.').next() == Some("transform") => key.to_owned(),
            _ => format!("{at}.{key}"),
        }
    }

    /// What it reads, each with where the producer is written.
    pub fn sources(&self) -> impl Iterator<Item = (String, Source)> {
        self.producers().filter_map(|(at, producer)| Some((at, producer.source()?)))
    }
}

/// When commits are cut, and what they look like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CommitSpec {
    /// Branch that the commits go to.
    pub branch: String,
    /// Directory of the data files, or a template with `{commit}` and `{part}`.
    pub path: String,
    /// Format of the data files.
    pub format: Format,
    /// Flush thresholds; the first one reached cuts the commit.
    pub flush: FlushSpec,
    /// What other programs find in the store besides the repo.
    pub publish: Publish,
}

impl Default for CommitSpec {
    fn default() -> Self {
        Self {
            branch: "master".into(),
            path: "/".into(),
            format: Format::Parquet,
            flush: FlushSpec::default(),
            publish: Publish::default(),
        }
    }
}

/// What other programs find in the store besides the repo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Publish {
    /// Every directory of Parquet files is a Delta table too, soon after each commit.
    #[default]
    Delta,
    /// Nothing, until someone runs `spout publish`.
    None,
}

/// Flush thresholds; the first one reached cuts the commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FlushSpec {
    /// About how many rows make a commit; dead letters and late rows count too. It can be cut only where a fetch ends, because only there is the position in the
    /// source known; no fetch returns more messages than this. With one partition and one row per message it is exact,
    /// unless another threshold cuts first.
    pub rows: u64,
    /// Bytes of one commit, in memory: Arrow's of its rows, and those of what is set aside.
    pub bytes: ByteSize,
    /// Time since the first row of the commit.
    pub time: Period,
}

impl Default for FlushSpec {
    fn default() -> Self {
        Self { rows: 1_000_000, bytes: ByteSize(128 << 20), time: Period(std::time::Duration::from_secs(5)) }
    }
}

/// What happens to messages that cannot be processed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ErrorsSpec {
    /// Messages that the decoder cannot decode.
    pub decode: OnError,
    /// Rows that a handler cannot process.
    pub node: OnError,
    /// Files of the `input` that the plugin fails at.
    #[serde(skip_serializing_if = "is_default")]
    pub file: OnFailedFile,
}

/// What happens to a message that cannot be processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The pipeline stops before committing it.
    Fail,
    /// It is committed as it arrived, with the reason, under `/dead-letter/`.
    #[default]
    DeadLetter,
    /// It is counted and dropped.
    Drop,
}
