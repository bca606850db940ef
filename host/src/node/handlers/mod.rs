//! The native handlers, one file each.
//!
//! **Invariant**: no loop over rows here where an Arrow kernel or a DataFusion expression does the same.

mod aggregate;
pub(super) mod filter;
mod map;
mod window;

pub use aggregate::{Aggregate, AggregateSpec, Per};
pub use filter::{Filter, FilterSpec};
pub use map::{Columns, Map, MapSpec};
pub use window::{Align, DynamicWindow, DynamicWindowSpec, LengthUnit, Window, WindowSpec};
