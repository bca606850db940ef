//! What one entry of a spec's `node` list can say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    handlers::{DedupeSpec, DerivativeSpec, FilterSpec, JoinSpec, MapSpec, SampleSpec, ThresholdSpec, ThrottleSpec},
    plugin::PluginSpec,
};

/// One handler of the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum NodeSpec {
    /// Passes the first row of each key and leaves out those that repeat it.
    Dedupe(DedupeSpec),
    /// Adds columns that say how fast others change.
    Derivative(DerivativeSpec),
    /// Keeps the rows for which an expression is true.
    Filter(FilterSpec),
    /// Puts rows together that belong together.
    Join(JoinSpec),
    /// Adds or replaces columns by expressions.
    Map(MapSpec),
    /// A handler from the plugins directory.
    Plugin(PluginSpec),
    /// Passes a part of the rows.
    Sample(SampleSpec),
    /// Adds a level that follows a column.
    Threshold(ThresholdSpec),
    /// Passes so many rows in each interval of time.
    Throttle(ThrottleSpec),
}

impl NodeSpec {
    /// The id the user gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Dedupe(spec) => &spec.id,
            Self::Derivative(spec) => &spec.id,
            Self::Filter(spec) => &spec.id,
            Self::Join(spec) => &spec.id,
            Self::Map(spec) => &spec.id,
            Self::Plugin(spec) => &spec.id,
            Self::Sample(spec) => &spec.id,
            Self::Threshold(spec) => &spec.id,
            Self::Throttle(spec) => &spec.id,
        }
    }

    /// Its word in a spec, and the place of its id.
    pub(crate) fn named(&mut self) -> (&'static str, &mut String) {
        match self {
            Self::Dedupe(spec) => ("dedupe", &mut spec.id),
            Self::Derivative(spec) => ("derivative", &mut spec.id),
            Self::Filter(spec) => ("filter", &mut spec.id),
            Self::Join(spec) => ("join", &mut spec.id),
            Self::Map(spec) => ("map", &mut spec.id),
            Self::Plugin(spec) => ("plugin", &mut spec.id),
            Self::Sample(spec) => ("sample", &mut spec.id),
            Self::Threshold(spec) => ("threshold", &mut spec.id),
            Self::Throttle(spec) => ("throttle", &mut spec.id),
        }
    }

    /// Whether its output depends on earlier batches, or on what a batch is. Such a handler runs where the partitions'
    /// lanes meet, and so do all after it.
    #[must_use]
    pub fn stateful(&self) -> bool {
        match self {
            Self::Filter(_) | Self::Map(_) => false,
            Self::Plugin(spec) => !spec.stateless,
            Self::Sample(spec) => spec.counts(),
            Self::Dedupe(_) | Self::Derivative(_) | Self::Join(_) | Self::Threshold(_) | Self::Throttle(_) => true,
        }
    }
}
