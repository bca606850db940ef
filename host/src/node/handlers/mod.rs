//! The native handlers, one file each.
//!
//! **Invariant**: no loop over rows here where an Arrow kernel or a DataFusion expression does the same.

mod default;
mod dispatch;
pub(super) mod filter;
mod group;
mod log;
mod map;
mod members;
mod sort;
mod sql;

pub use default::{DefaultSpec, Defaults};
pub use dispatch::{Dispatch, DispatchLimits, DispatchSpec};
pub use filter::{Filter, FilterSpec};
pub use group::{Group, GroupSpec};
pub use log::{Level, Log, LogSpec};
pub use map::{Columns, Map, MapSpec};
pub use sort::{KeySpec, Nulls, Order, Sort, SortKey, SortSpec};
pub use sql::{Sql, SqlSpec};
