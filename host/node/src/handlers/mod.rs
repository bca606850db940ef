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
mod map;
mod members;
mod sample;
mod seen;
mod sort;
mod sql;
mod threshold;
mod throttle;
mod window;

pub(crate) use map::Columns;

crate::spec::handlers! {
    "aggregate" => Aggregate(aggregate::AggregateSpec),
    "dedupe" => Dedupe(dedupe::DedupeSpec),
    "default" => Default(default::DefaultSpec),
    "derivative" => Derivative(derivative::DerivativeSpec),
    "dispatch" => Dispatch(dispatch::DispatchSpec),
    "dynamic-window" => DynamicWindow(window::DynamicWindowSpec),
    "filter" => Filter(filter::FilterSpec),
    "group" => Group(group::GroupSpec),
    "join" => Join(join::JoinSpec),
    "log" => Log(log::LogSpec),
    "map" => Map(map::MapSpec),
    "plugin" => Plugin(crate::plugin::PluginSpec),
    "sample" => Sample(sample::SampleSpec),
    "sort" => Sort(sort::SortSpec),
    "sql" => Sql(sql::SqlSpec),
    "threshold" => Threshold(threshold::ThresholdSpec),
    "throttle" => Throttle(throttle::ThrottleSpec),
    "window" => Window(window::WindowSpec),
}
