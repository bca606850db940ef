//! What happens again and again, said once in a while with how often it happened.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use spout_base::clock::{self, Instant};

/// Pause between two lines of the log about the same thing.
const PAUSE: Duration = Duration::from_secs(10);

/// Counts what happens, and says when it is time to speak of it.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// It happened once more: how often since that was last said, if it is to be said now.
    pub(crate) fn happened(&self) -> Option<u64> {
        self.happened_at(clock::now())
    }

    fn happened_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, times) = &mut *state;
        *times += 1;
        if said.is_some_and(|said| now.duration_since(said) < PAUSE) {
            return None;
        }
        *said = Some(now);
        Some(std::mem::take(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_in_a_while_how_often_it_happened() {
        let (seldom, now) = (Seldom::default(), clock::now());
        assert_eq!(seldom.happened_at(now), Some(1));
        assert_eq!((seldom.happened_at(now), seldom.happened_at(now)), (None, None));
        assert_eq!((seldom.happened_at(now + PAUSE), seldom.happened_at(now + PAUSE)), (Some(3), None));
    }
}
