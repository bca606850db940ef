//! How often something is tried that others may be faster at.

use std::time::Duration;

use spout_base::clock::{self, Instant};

/// Tries, whatever time they take.
const LEAST: u32 = 20;
/// Time within which it is tried again however often: a busy writer takes one slot after the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tries of one attempt to write among others.
#[derive(Debug)]
pub(crate) struct Attempts {
    pub(crate) made: u32,
    until: Instant,
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self { made: 0, until: clock::now() + PATIENCE }
    }

    /// Whether it is tried once more.
    pub(crate) fn another(&mut self) -> bool {
        let more = self.made < LEAST || clock::now() < self.until;
        if more {
            self.made += 1;
        }
        more
    }
}
