//! Medians of alternating runs, so that a machine whose speed drifts slows all candidates alike.

use std::time::{Duration, Instant};

/// Runs of each candidate.
pub(crate) const RUNS: usize = 7;

/// The time that `work` takes.
///
/// # Errors
/// What `work` says.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed())
}

/// The middle one of `times`.
pub(crate) fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The one of `times` that so many in a hundred are below.
pub(crate) fn at_percent(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

/// How many of `count` things a second.
pub(crate) fn rate(count: f64, time: Duration) -> f64 {
    count / time.as_secs_f64()
}
