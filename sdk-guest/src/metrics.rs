//! Metrics that the host keeps for a plugin, by name; it shows them with `spout run --json` and when a pipeline stops.
//!
//! At most 64 names of 64 bytes each per task; further names are ignored. They count what this process did: a restart begins
//! at zero, and what is read again is counted again.

#[cfg(target_arch = "wasm32")]
use crate::wit::base::spout::plugin::metrics;

/// Adds `by` to a counter.
pub fn add(counter: &str, by: u64) {
    #[cfg(target_arch = "wasm32")]
    metrics::add(counter, by);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::measured(counter, by as f64);
}

/// Sets a gauge.
pub fn set(gauge: &str, to: f64) {
    #[cfg(target_arch = "wasm32")]
    metrics::set(gauge, to);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::measured(gauge, to);
}

/// Adds a value to a histogram, of which the host keeps count, sum, minimum and maximum.
pub fn observe(histogram: &str, value: f64) {
    #[cfg(target_arch = "wasm32")]
    metrics::observe(histogram, value);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::measured(histogram, value);
}
