//! How long to wait before the next try.

use std::{collections::hash_map::RandomState, hash::BuildHasher as _, time::Duration};

/// The first wait, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Waits that double with each failure, up to five seconds, and are drawn between a half and the whole of that: many readers
/// that lost one server do not come back to it all at once.
#[derive(Debug, Default)]
pub struct Backoff {
    last: Duration,
}

impl Backoff {
    /// It went well.
    pub fn reset(&mut self) {
        self.last = Duration::ZERO;
    }

    /// It failed again: how long to wait now.
    pub fn next(&mut self) -> Duration {
        self.last = (self.last * 2).clamp(WAITS.0, WAITS.1);
        // Every `RandomState` hashes with other keys.
        let dice = RandomState::new().hash_one(self.last) % 1000;
        let half = self.last / 2;
        half + half * u32::try_from(dice).unwrap_or(0) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_differ() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next()).collect();
        for (index, wait) in waits.iter().enumerate() {
            let whole = (WAITS.0 * (1 << index)).min(WAITS.1);
            assert!((whole / 2..=whole).contains(wait), "{waits:?}");
        }
        let capped: std::collections::BTreeSet<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(capped.len() > 1, "they are all {capped:?}");
        backoff.reset();
        assert!(backoff.next() <= WAITS.0);
    }
}
