//! The native handlers, one file each.
//!
//! **Invariant**: no loop over rows here where an Arrow kernel or a DataFusion expression does the same.

pub(super) mod filter;
mod map;

pub use filter::{Filter, FilterSpec};
pub use map::{Columns, Map, MapSpec};
