//! The native handlers, one file each.
//!
//! **Invariant**: no loop over rows here where an Arrow kernel or a DataFusion expression does the same.

mod dedupe;
mod derivative;
pub(super) mod filter;
mod join;
mod map;
mod sample;
mod seen;
mod threshold;
mod throttle;

pub use dedupe::DedupeSpec;
pub use derivative::{Derivative, DerivativeSpec, Derived};
pub use filter::{Filter, FilterSpec};
pub use join::{JoinKind, JoinSpec, On, SideSettings, SideSpec};
pub use map::{Columns, Map, MapSpec};
pub use sample::{Sample, SampleSpec};
pub use threshold::{Decrease, Increase, Threshold, ThresholdSpec};
pub use throttle::{Keep, Throttle, ThrottleSpec};
