//! Trying again: with waits that grow, and chance in them, so that many do not come together.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

use crate::{Error, Result, pause};

/// Waits that double, up to a longest; each is between half of that and all of it.
///
/// A source that answers [`Error::Retriable`] is called again by the host, which waits by itself. This is for what a plugin tries within
/// one call.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Default for Backoff {
    /// Waits of a reader that has lost its server: from a tenth of a second up to five seconds.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }
}

impl Backoff {
    /// Waits from `first` up to `most`.
    #[must_use]
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first.min(most) }
    }

    /// The next wait.
    pub fn delay(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.most);
        // Every state begins with another key.
        let chance = (RandomState::new().hash_one(0_u8) >> 40) as f64 / f64::from(1_u32 << 24);
        whole.mul_f64(0.5 + chance / 2.0)
    }

    /// Begins again with the first wait: something has succeeded.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.most);
    }

    /// An error of which the host is told to wait a little longer each time, if it passes; another one is as it was.
    pub fn again(&mut self, error: Error) -> Error {
        match error {
            Error::Retriable { code, message, .. } => Error::Retriable { code, message, after: Some(self.delay()) },
            error => error,
        }
    }

    /// What `attempt` comes to, which is tried again as long as its errors are [`Error::Retriable`], there is time left `within` which the
    /// next wait is over, and the host does not want the plugin to finish. Stay well below `limits.call`.
    ///
    /// # Errors
    /// The last error of `attempt`.
    pub fn retry<T>(&mut self, within: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        loop {
            let error = match attempt() {
                Ok(value) => {
                    self.reset();
                    return Ok(value);
                }
                Err(error) => error,
            };
            let Error::Retriable { after, .. } = &error else { return Err(error) };
            let wait = after.unwrap_or_else(|| self.delay());
            if begun.elapsed().saturating_add(wait) >= within || !pause(wait) {
                return Err(error);
            }
        }
    }
}

/// When a source is asked again that has to be asked: at once as long as it has something, and else after a while.
#[derive(Clone, Debug)]
pub struct Every {
    every: Duration,
    idle: Option<Instant>,
}

impl Every {
    /// Asks every so many seconds while there is nothing.
    #[must_use]
    pub fn seconds(seconds: f64) -> Self {
        Self { every: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX), idle: None }
    }

    /// Whether it had nothing just now.
    pub fn set_idle(&mut self, idle: bool) {
        self.idle = idle.then(Instant::now);
    }

    /// Whether it is time to ask; waits for that up to `timeout`.
    #[must_use]
    pub fn due(&self, timeout: Duration) -> bool {
        let left = self.idle.map_or(Duration::ZERO, |idle| self.every.saturating_sub(idle.elapsed()));
        left.is_zero() || (pause(left.min(timeout)) && left <= timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_never_the_same() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for whole in [100, 200, 400, 800, 1000, 1000] {
            let delay = backoff.delay();
            assert!(delay >= Duration::from_millis(whole / 2) && delay <= Duration::from_millis(whole), "{delay:?}");
        }
        backoff.reset();
        assert!(backoff.delay() <= Duration::from_millis(100));
        let delays: std::collections::BTreeSet<Duration> =
            (0..20).map(|_| Backoff::new(Duration::from_secs(1), Duration::MAX).delay()).collect();
        assert!(delays.len() > 10, "{delays:?}");
    }

    #[test]
    fn a_source_that_has_nothing_is_left_alone_for_a_while() {
        let mut every = Every::seconds(3600.0);
        assert!(every.due(Duration::ZERO));
        every.set_idle(true);
        assert!(!every.due(Duration::from_millis(1)));
        every.set_idle(false);
        assert!(every.due(Duration::ZERO));
        assert!(matches!(
            Backoff::default().again(Error::retriable("x", "y")),
            Error::Retriable { after: Some(_), .. }
        ));
        assert_eq!(Backoff::default().again(Error::fatal("x", "y")), Error::fatal("x", "y"));
    }

    #[test]
    fn what_passes_is_tried_again_and_nothing_else() {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
        let mut tries = 0;
        let mut run = |errors: u32, error: fn() -> Error| {
            tries = 0;
            let outcome = backoff.retry(Duration::from_secs(60), || {
                tries += 1;
                if tries > errors { Ok(tries) } else { Err(error()) }
            });
            (outcome.ok(), tries)
        };
        assert_eq!(run(3, || Error::retriable("x", "y")), (Some(4), 4));
        assert_eq!(run(1, || Error::fatal("x", "y")), (None, 1));
        let hour =
            || Error::Retriable { code: "x".into(), message: "y".into(), after: Some(Duration::from_secs(3600)) };
        assert_eq!(run(1, hour), (None, 1), "longer than there is time");
    }
}
