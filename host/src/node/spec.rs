//! What one entry of a spec's `node` list can say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    handlers::{FilterSpec, MapSpec},
    plugin::PluginSpec,
};

/// One handler of the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum NodeSpec {
    /// Keeps the rows for which an expression is true.
    Filter(FilterSpec),
    /// Adds or replaces columns by expressions.
    Map(MapSpec),
    /// A handler from the plugins directory.
    Plugin(PluginSpec),
}

impl NodeSpec {
    /// The id the user gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Filter(spec) => &spec.id,
            Self::Map(spec) => &spec.id,
            Self::Plugin(spec) => &spec.id,
        }
    }
}
