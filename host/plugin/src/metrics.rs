//! Counters that plugins keep with the host, by name, in the registry of their task.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

/// Names one task may use; further ones are not kept.
const NAMES: usize = 64;
/// Longest name.
const NAME: usize = 64;

/// The gauge by which a stream consumer says how many messages its source has that it has not returned; anything below zero, or no
/// number, is that it does not know. It is a lag, not a metric.
pub(super) const WAITING: &str = "stream-consumer.waiting";

/// What that gauge says.
pub(super) fn waiting(to: f64) -> Option<u64> {
    (to >= 0.0).then_some(to as u64)
}

/// What one plugin task counted. Clones share the same counters.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<String, Metric>>>);

/// One named value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Metric {
    /// A sum that only rises.
    Counter(u64),
    /// The newest value.
    Gauge(f64),
    /// What was observed: how often, the sum, the smallest and the largest.
    Histogram {
        /// Observations.
        count: u64,
        /// Their sum.
        sum: f64,
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(sum) => write!(f, "{sum}"),
            Self::Gauge(value) => write!(f, "{value}"),
            Self::Histogram { count, sum, min, max } => {
                write!(f, "mean {} of {count} ({min} to {max})", sum / *count as f64)
            }
        }
    }
}

impl Metrics {
    /// All values by name.
    #[must_use]
    pub fn values(&self) -> BTreeMap<String, Metric> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add(&self, name: &str, by: u64) {
        self.update(name, Metric::Counter(by), |metric| match metric {
            Metric::Counter(sum) => Metric::Counter(sum.saturating_add(by)),
            other => other,
        });
    }

    pub(super) fn set(&self, name: &str, to: f64) {
        self.update(name, Metric::Gauge(to), |metric| match metric {
            Metric::Gauge(_) => Metric::Gauge(to),
            other => other,
        });
    }

    pub(super) fn observe(&self, name: &str, value: f64) {
        let first = Metric::Histogram { count: 1, sum: value, min: value, max: value };
        self.update(name, first, |metric| match metric {
            Metric::Histogram { count, sum, min, max } => Metric::Histogram {
                count: count.saturating_add(1),
                sum: sum + value,
                min: min.min(value),
                max: max.max(value),
            },
            other => other,
        });
    }

    fn update(&self, name: &str, first: Metric, next: impl FnOnce(Metric) -> Metric) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = all.get_mut(name) {
            *metric = next(*metric);
        } else if all.len() < NAMES && name.len() <= NAME {
            all.insert(name.to_owned(), first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_a_number_or_not_known() {
        let said = [0.0, 5.0, 5.9, f64::INFINITY, -1.0, f64::NAN, f64::NEG_INFINITY].map(waiting);
        assert_eq!(said, [Some(0), Some(5), Some(5), Some(u64::MAX), None, None, None]);
    }

    #[test]
    fn names_are_capped_and_kinds_do_not_mix() {
        let metrics = Metrics::default();
        metrics.add("rows", 2);
        metrics.add("rows", 3);
        metrics.set("rows", 9.0);
        metrics.observe("size", 4.0);
        metrics.observe("size", 2.0);
        (0..1000).for_each(|index| metrics.add(&format!("n{index}"), 1));
        metrics.add(&"x".repeat(65), 1);
        let all = metrics.values();
        assert_eq!(all.len(), NAMES);
        assert_eq!(all["rows"], Metric::Counter(5));
        assert_eq!(all["size"], Metric::Histogram { count: 2, sum: 6.0, min: 2.0, max: 4.0 });
    }
}
