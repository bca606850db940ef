//! Pauses between tries: they double, with jitter, up to the longest.

use std::time::Duration;

use spout_base::clock;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The pauses of one run of failures.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
}

impl Retry {
    /// Waits before the next try; at least `least`, which a receiver may have asked for.
    pub(super) async fn pause(&mut self, least: Option<Duration>) {
        let pause = self.next();
        tokio::time::sleep(clock::jittered(pause).max(least.unwrap_or_default())).await;
    }

    /// The next failure is the first again.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
    }

    fn next(&mut self) -> Duration {
        let pause = FIRST.saturating_mul(1 << self.failures.min(7)).min(LONGEST);
        self.failures += 1;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_something_works() {
        let mut retry = Retry::default();
        let pauses: Vec<_> = (0..10).map(|_| retry.next()).collect();
        assert!(pauses.is_sorted() && pauses[0] == FIRST && pauses[9] == LONGEST, "{pauses:?}");
        retry.worked();
        assert_eq!(retry.next(), FIRST);
    }
}
