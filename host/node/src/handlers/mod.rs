//! The handlers by their word in a spec, one file or folder each.
//!
//! To add one, write its file, with its [`HandlerSpec`](crate::spec::HandlerSpec), and name it here.
//!
//! **Invariant**: no loop over rows here where an Arrow kernel or a DataFusion expression does the same.

mod aggregate;
mod dedupe;
mod default;
mod derivative;
mod dispatch;
pub(super) mod filter;
mod group;
mod join;
mod log;
pub(super) mod lookup;
mod map;
mod sample;
mod sort;
mod sql;
mod threshold;
mod throttle;
mod window;

pub(crate) use map::Columns;

crate::spec::handlers! {
    "aggregate" => Aggregate(aggregate::AggregateSpec), "Makes one row of each group of a window or a commit.",
    "dedupe" => Dedupe(dedupe::DedupeSpec), "Passes the first row of each key and leaves out those that repeat it.",
    "default" => Default(default::DefaultSpec), "Gives values to columns that are missing, and to nulls if asked.",
    "derivative" => Derivative(derivative::DerivativeSpec), "Adds columns that say how fast others change.",
    "dispatch" => Dispatch(dispatch::DispatchSpec), "Runs another chain of handlers for each group.",
    "dynamic-window" => DynamicWindow(window::DynamicWindowSpec), "Puts rows into windows whose length and pace are columns.",
    "filter" => Filter(filter::FilterSpec), "Keeps the rows for which an expression is true.",
    "group" => Group(group::GroupSpec), "Names the columns that the handlers behind it group by.",
    "join" => Join(join::JoinSpec), "Puts rows together that belong together.",
    "log" => Log(log::LogSpec), "Writes columns and rows to the host's log.",
    "lookup" => Lookup(lookup::LookupSpec), "Adds columns of a table that is kept in a repo.",
    "map" => Map(map::MapSpec), "Adds or replaces columns by expressions.",
    "plugin" => Plugin(crate::plugin::PluginSpec), "A handler from the plugins directory.",
    "sample" => Sample(sample::SampleSpec), "Passes a part of the rows.",
    "sort" => Sort(sort::SortSpec), "Orders the rows of a window or a commit.",
    "sql" => Sql(sql::SqlSpec), "Answers a SQL query over each batch, commit or window.",
    "threshold" => Threshold(threshold::ThresholdSpec), "Adds a level that follows a column.",
    "throttle" => Throttle(throttle::ThrottleSpec), "Passes so many rows in each interval of time.",
    "window" => Window(window::WindowSpec), "Puts rows into windows of event time, and aggregates them if asked.",
}
