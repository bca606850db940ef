//! The native handlers, one file each.

mod filter;
mod map;

pub use filter::FilterSpec;
pub use map::MapSpec;
