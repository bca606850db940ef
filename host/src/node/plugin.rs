//! `plugin`: a handler from the plugins directory.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plugin::Settings;

/// A handler from the plugins directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginSpec {
    /// Name of this handler within the chain.
    #[serde(default)]
    pub id: String,
    /// Name of the plugin, or with its digest, `redact@sha256:…`.
    pub plugin: String,
    /// Which of the plugin's handlers, where it has several.
    #[serde(default)]
    pub name: String,
    /// Settings of the plugin; `spout plugin inspect NAME` lists them.
    #[serde(default)]
    pub settings: Settings,
    /// The handler keeps nothing between batches, so it may run in each partition's lane, in parallel.
    #[serde(default)]
    pub stateless: bool,
}
