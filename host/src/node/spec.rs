//! What one entry of a spec's `node` list can say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    handlers::{AggregateSpec, DynamicWindowSpec, FilterSpec, MapSpec, WindowSpec},
    plugin::PluginSpec,
};

/// One handler of the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum NodeSpec {
    /// Makes one row of each group of a window or a commit.
    Aggregate(AggregateSpec),
    /// Puts rows into windows whose length and pace are columns.
    DynamicWindow(DynamicWindowSpec),
    /// Keeps the rows for which an expression is true.
    Filter(FilterSpec),
    /// Adds or replaces columns by expressions.
    Map(MapSpec),
    /// A handler from the plugins directory.
    Plugin(PluginSpec),
    /// Puts rows into windows of event time, and aggregates them if asked.
    Window(WindowSpec),
}

impl NodeSpec {
    /// The id the user gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Aggregate(spec) => &spec.id,
            Self::DynamicWindow(spec) => &spec.id,
            Self::Filter(spec) => &spec.id,
            Self::Map(spec) => &spec.id,
            Self::Plugin(spec) => &spec.id,
            Self::Window(spec) => &spec.id,
        }
    }

    /// Its word in a spec, and the place of its id.
    pub(crate) fn named(&mut self) -> (&'static str, &mut String) {
        match self {
            Self::Aggregate(spec) => ("aggregate", &mut spec.id),
            Self::DynamicWindow(spec) => ("dynamic-window", &mut spec.id),
            Self::Filter(spec) => ("filter", &mut spec.id),
            Self::Map(spec) => ("map", &mut spec.id),
            Self::Plugin(spec) => ("plugin", &mut spec.id),
            Self::Window(spec) => ("window", &mut spec.id),
        }
    }

    /// Whether its output depends on earlier batches, or on what a batch is. Such a handler runs where the partitions'
    /// lanes meet, and so do all after it.
    #[must_use]
    pub fn stateful(&self) -> bool {
        match self {
            Self::Filter(_) | Self::Map(_) => false,
            Self::Plugin(spec) => !spec.stateless,
            Self::Aggregate(_) | Self::DynamicWindow(_) | Self::Window(_) => true,
        }
    }
}
