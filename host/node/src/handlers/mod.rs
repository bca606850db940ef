//! The native handlers, one file each.
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

pub use aggregate::{Aggregate, AggregateSpec, Per};
pub use dedupe::DedupeSpec;
pub use default::{DefaultSpec, Defaults};
pub use derivative::{Derivative, DerivativeSpec, Derived};
pub use dispatch::{Dispatch, DispatchLimits, DispatchSpec};
pub use filter::{Filter, FilterSpec};
pub use group::{Group, GroupSpec};
pub use join::{JoinKind, JoinSpec, On, SideSettings, SideSpec};
pub use log::{Level, Log, LogSpec};
pub use map::{Columns, Map, MapSpec};
pub use sample::{Sample, SampleSpec};
pub use sort::{KeySpec, Nulls, Order, Sort, SortKey, SortSpec};
pub use sql::{Sql, SqlSpec};
pub use threshold::{Decrease, Increase, Threshold, ThresholdSpec};
pub use throttle::{Keep, Throttle, ThrottleSpec};
pub use window::{Align, DynamicWindow, DynamicWindowSpec, LengthUnit, Window, WindowSpec};
