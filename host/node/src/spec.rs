//! What one entry of a spec's `node` list can say.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    handlers::{
        AggregateSpec, DedupeSpec, DefaultSpec, DerivativeSpec, DispatchSpec, DynamicWindowSpec, FilterSpec, GroupSpec,
        JoinSpec, LogSpec, MapSpec, SampleSpec, SortSpec, SqlSpec, ThresholdSpec, ThrottleSpec, WindowSpec,
    },
    held::Per,
    plugin::PluginSpec,
};

/// One handler of the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum NodeSpec {
    /// Makes one row of each group of a window or a commit.
    Aggregate(AggregateSpec),
    /// Passes the first row of each key and leaves out those that repeat it.
    Dedupe(DedupeSpec),
    /// Gives values to columns that are missing, and to nulls if asked.
    Default(DefaultSpec),
    /// Adds columns that say how fast others change.
    Derivative(DerivativeSpec),
    /// Runs another chain of handlers for each group.
    Dispatch(DispatchSpec),
    /// Puts rows into windows whose length and pace are columns.
    DynamicWindow(DynamicWindowSpec),
    /// Keeps the rows for which an expression is true.
    Filter(FilterSpec),
    /// Names the columns that the handlers behind it group by.
    Group(GroupSpec),
    /// Puts rows together that belong together.
    Join(JoinSpec),
    /// Writes columns and rows to the host's log.
    Log(LogSpec),
    /// Adds or replaces columns by expressions.
    Map(MapSpec),
    /// A handler from the plugins directory.
    Plugin(PluginSpec),
    /// Passes a part of the rows.
    Sample(SampleSpec),
    /// Orders the rows of a window or a commit.
    Sort(SortSpec),
    /// Answers a SQL query over each batch, commit or window.
    Sql(SqlSpec),
    /// Adds a level that follows a column.
    Threshold(ThresholdSpec),
    /// Passes so many rows in each interval of time.
    Throttle(ThrottleSpec),
    /// Puts rows into windows of event time, and aggregates them if asked.
    Window(WindowSpec),
}

impl NodeSpec {
    /// The id the user gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Aggregate(spec) => &spec.id,
            Self::Dedupe(spec) => &spec.id,
            Self::Default(spec) => &spec.id,
            Self::Derivative(spec) => &spec.id,
            Self::Dispatch(spec) => &spec.id,
            Self::DynamicWindow(spec) => &spec.id,
            Self::Filter(spec) => &spec.id,
            Self::Group(spec) => &spec.id,
            Self::Join(spec) => &spec.id,
            Self::Log(spec) => &spec.id,
            Self::Map(spec) => &spec.id,
            Self::Plugin(spec) => &spec.id,
            Self::Sample(spec) => &spec.id,
            Self::Sort(spec) => &spec.id,
            Self::Sql(spec) => &spec.id,
            Self::Threshold(spec) => &spec.id,
            Self::Throttle(spec) => &spec.id,
            Self::Window(spec) => &spec.id,
        }
    }

    /// Its word in a spec, and the place of its id.
    pub fn named(&mut self) -> (&'static str, &mut String) {
        match self {
            Self::Aggregate(spec) => ("aggregate", &mut spec.id),
            Self::Dedupe(spec) => ("dedupe", &mut spec.id),
            Self::Default(spec) => ("default", &mut spec.id),
            Self::Derivative(spec) => ("derivative", &mut spec.id),
            Self::Dispatch(spec) => ("dispatch", &mut spec.id),
            Self::DynamicWindow(spec) => ("dynamic-window", &mut spec.id),
            Self::Filter(spec) => ("filter", &mut spec.id),
            Self::Group(spec) => ("group", &mut spec.id),
            Self::Join(spec) => ("join", &mut spec.id),
            Self::Log(spec) => ("log", &mut spec.id),
            Self::Map(spec) => ("map", &mut spec.id),
            Self::Plugin(spec) => ("plugin", &mut spec.id),
            Self::Sample(spec) => ("sample", &mut spec.id),
            Self::Sort(spec) => ("sort", &mut spec.id),
            Self::Sql(spec) => ("sql", &mut spec.id),
            Self::Threshold(spec) => ("threshold", &mut spec.id),
            Self::Throttle(spec) => ("throttle", &mut spec.id),
            Self::Window(spec) => ("window", &mut spec.id),
        }
    }

    /// The plugins it runs: its own, and those of handlers within it.
    #[must_use]
    pub fn plugins(&self) -> Vec<&PluginSpec> {
        match self {
            Self::Plugin(spec) => vec![spec],
            other => other.within().iter().flat_map(Self::plugins).collect(),
        }
    }

    /// The handlers within it.
    #[must_use]
    pub fn within(&self) -> &[Self] {
        match self {
            Self::Dispatch(spec) => &spec.nodes,
            _ => &[],
        }
    }

    /// The same, to give them ids.
    pub fn within_mut(&mut self) -> &mut [Self] {
        match self {
            Self::Dispatch(spec) => &mut spec.nodes,
            _ => &mut [],
        }
    }

    /// Whether every row that comes out is one that went in, or was made of one, in order.
    pub(super) fn row_by_row(&self) -> bool {
        matches!(self, Self::Default(_) | Self::Filter(_) | Self::Group(_) | Self::Log(_) | Self::Map(_))
    }

    /// Whether its output depends on earlier batches, or on what a batch is. Such a handler runs where the partitions'
    /// lanes meet, and so do all after it.
    #[must_use]
    pub fn stateful(&self) -> bool {
        match self {
            Self::Default(_) | Self::Filter(_) | Self::Group(_) | Self::Log(_) | Self::Map(_) => false,
            Self::Dispatch(spec) => spec.nodes.iter().any(Self::stateful),
            Self::Plugin(spec) => !spec.stateless,
            // Without a word about it they are told what a batch is by a handler before them, or look at none.
            Self::Sort(SortSpec { per, .. }) | Self::Sql(SqlSpec { per, .. }) => {
                matches!(per, Some(Per::Commit | Per::Window))
            }
            Self::Sample(spec) => spec.counts(),
            Self::Dedupe(_) | Self::Derivative(_) | Self::Join(_) | Self::Threshold(_) | Self::Throttle(_) => true,
            Self::Aggregate(_) | Self::DynamicWindow(_) | Self::Window(_) => true,
        }
    }
}
