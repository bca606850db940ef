//! What comes of trying a spec by its tests, or a plugin by its promises: the answers of a server, in the words of `spout test` and
//! `spout plugin test`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::TextFormat;

/// How the tests of a spec went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpecTested {
    /// The pipeline.
    pub pipeline: String,
    /// Each of its tests, in the order of the spec; none where it has no `tests`.
    pub tests: Vec<TestVerdict>,
}

/// How one test went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestVerdict {
    /// What it shows.
    pub test: String,
    /// Whether everything was as expected.
    pub passed: bool,
    /// What was not.
    pub problems: Vec<TestProblem>,
}

/// Something that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestProblem {
    /// What, in words.
    pub what: String,
    /// Expected rows that did not come.
    pub missing: Vec<Map<String, Value>>,
    /// Rows that came and were not expected.
    pub unexpected: Vec<Map<String, Value>>,
    /// Both with the rows around them, a line each: `-` is missing, `+` unexpected.
    pub diff: Vec<String>,
}

/// How a plugin is to be tried. It is granted nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PluginTrial {
    /// `sha256:…` of the version; without it, the one that the name stands for, or the last one.
    pub digest: Option<String>,
    /// Only what is used as this: `decoder`, `handler`, `partition-consumer`, `stream-consumer`.
    pub interface: Option<String>,
    /// Only the offer of this name.
    pub offer: Option<String>,
    /// Its settings.
    pub settings: BTreeMap<String, Value>,
    /// What a decoder or a handler is tried over: lines for a decoder, a table for a handler.
    pub input: Option<String>,
    /// What format the input has if it is a table. Without it, a handler is tried over what the plugin itself decodes.
    pub table: Option<TextFormat>,
    /// Whether the input is one message instead of one a line.
    pub whole: bool,
    /// The topic that a source reads.
    pub topic: Option<String>,
}

/// How a plugin kept its promises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginTested {
    /// Its name.
    pub name: String,
    /// `sha256:…` of the version that was tried.
    pub digest: String,
    /// Its promises, in the order in which they were tried.
    pub findings: Vec<PluginFinding>,
}

/// A promise of a plugin, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginFinding {
    /// What it was used as.
    pub interface: String,
    /// Which of several that it offers.
    pub offer: String,
    /// What is promised.
    pub promise: String,
    /// Whether it is kept.
    pub kept: bool,
    /// What was seen: a measure where it is kept, the smallest difference where it is not.
    pub seen: String,
}
