//! The native handlers, one file each.
//!
//! **Invariant**: no loop over rows here where an Arrow kernel or a DataFusion expression does the same.

pub(super) mod filter;
mod map;
mod window;

pub use filter::{Filter, FilterSpec};
pub use map::{Columns, Map, MapSpec};
pub use window::{Align, Window, WindowSpec};
