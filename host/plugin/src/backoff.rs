//! How long to wait before another try.

use std::time::Duration;

use spout_base::clock::{self, Instant};

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);
/// After this long without a failure the next one counts as the first again.
const HEALTHY: Duration = Duration::from_secs(60);

/// Doubling pauses with jitter, from 0.2 s to 30 s; back to the start after a healthy minute.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// The pause before the next try.
    pub fn delay(&mut self) -> Duration {
        let now = clock::now();
        if self.last.is_some_and(|last| now.duration_since(last) > HEALTHY) {
            self.failures = 0;
        }
        self.last = Some(now);
        let pause = FIRST.saturating_mul(1 << self.failures.min(8)).min(LONGEST);
        self.failures += 1;
        clock::jittered(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.delay()).collect();
        assert!(pauses[0] <= FIRST * 3 / 2, "{pauses:?}");
        assert!(pauses[11] >= LONGEST / 2 && pauses[11] <= LONGEST * 3 / 2, "{pauses:?}");
    }
}
