//! How many messages a source has for a consumer, between the times at which it says so.

use std::time::{Duration, Instant};

use crate::now;

/// How long a figure is good.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is good where more was returned than the source had then.
const SOON: Duration = Duration::from_millis(500);

/// How many messages a source has that [`StreamConsumer::next`](crate::StreamConsumer::next) has not returned: for
/// [`StreamConsumer::waiting`](crate::StreamConsumer::waiting), without a question to the source at each call.
///
/// ```
/// use spout_guest::Waiting;
///
/// let mut waiting = Waiting::default();
/// assert_eq!((waiting.count(), waiting.is_due()), (None, true));
/// waiting.measured(Some(5));                                      // the source says so
/// waiting.returned(3);                                            // `next` returns so many
/// assert_eq!((waiting.count(), waiting.is_due()), (Some(2), false));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    count: Option<u64>,
    measured: Option<Instant>,
    /// More was returned since.
    used_up: bool,
}

impl Waiting {
    /// How many there are by now, as far as the source says it.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        self.count
    }

    /// Whether it is time to ask the source: twice a second at most.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.is_due_at(now())
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let good = if self.used_up { SOON } else { LOOK };
        self.measured.is_none_or(|measured| now.saturating_duration_since(measured) >= good)
    }

    /// The source has so many that were not returned, or does not say it.
    pub fn measured(&mut self, count: Option<u64>) {
        *self = Self { count, measured: Some(now()), used_up: false };
    }

    /// So many were returned.
    pub fn returned(&mut self, messages: usize) {
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        if let Some(count) = &mut self.count {
            self.used_up |= messages > *count;
            *count = count.saturating_sub(messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_good_for_a_second_and_less_long_where_more_came() {
        let mut waiting = Waiting::default();
        assert!(waiting.is_due());
        let mut after = |count: Option<u64>, returned: usize| {
            waiting.measured(count);
            waiting.returned(returned);
            let at = waiting.measured.unwrap();
            let due = [499, 500, 999, 1000].map(|ms| waiting.is_due_at(at + Duration::from_millis(ms)));
            (waiting.count(), due)
        };
        assert_eq!(after(Some(5), 3), (Some(2), [false, false, false, true]));
        assert_eq!(after(Some(5), 5), (Some(0), [false, false, false, true]));
        assert_eq!(after(Some(5), 6), (Some(0), [false, true, true, true]));
        assert_eq!(after(None, 6), (None, [false, false, false, true]));
    }
}
