//! When a handler plugin is called by event time: at instants that depend only on the times of rows.

use serde::{Deserialize, Serialize};
use spout_data::Period;

const MS: i64 = 1_000_000;

/// The instants, multiples of a period. All times are nanoseconds since 1970.
///
/// After rows, the next instant is the first multiple after the newest of them; after a tick, the first that is not before
/// the time the plugin asked for. Rows at and after an instant are handed over after its tick, so the sequence of ticks and
/// rows is the same however rows arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticks {
    #[serde(skip)]
    period: i64,
    next: Option<i64>,
}

impl Ticks {
    pub(super) fn new(period: Period) -> Self {
        Self { period: i64::try_from(period.0.as_nanos()).unwrap_or(i64::MAX).max(MS), next: None }
    }

    /// Goes on where `stored` was, at the instants of this period.
    pub(super) fn restore(&mut self, stored: &Self) {
        self.next = stored.next.map(|next| self.from(next));
    }

    /// The next instant, if it is not after `reached`.
    pub(super) fn due(&self, reached: i64) -> Option<i64> {
        self.next.filter(|next| *next <= reached)
    }

    /// How many of these rows, which are in order, come before the instant after the first.
    pub(super) fn together(&self, times: &[i64]) -> usize {
        let end = times.first().map_or(i64::MIN, |first| self.after(*first));
        times.partition_point(|time| *time < end).max(1)
    }

    /// Rows up to `newest` were handed over.
    pub(super) fn rows(&mut self, newest: i64) {
        self.next = Some(self.after(newest));
    }

    /// The tick at `instant` was answered.
    pub(super) fn ticked(&mut self, instant: i64, next_ms: Option<i64>) {
        self.next = next_ms.map(|ms| self.from(ms.saturating_mul(MS)).max(self.after(instant)));
    }

    /// The first multiple after `time`.
    fn after(&self, time: i64) -> i64 {
        time.div_euclid(self.period).saturating_add(1).saturating_mul(self.period)
    }

    /// The first multiple that is not before `time`.
    fn from(&self, time: i64) -> i64 {
        if time.rem_euclid(self.period) == 0 { time } else { self.after(time) }
    }
}

/// An instant as plugins count time.
pub(super) fn milliseconds(instant: i64) -> i64 {
    instant.div_euclid(MS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn instants_follow_rows_and_what_the_plugin_asks_for() {
        let mut ticks = Ticks::new(Period(Duration::from_millis(10)));
        assert_eq!(ticks.due(i64::MAX), None, "nothing before the first row");
        let times = [3, 9, 10, 10, 35].map(|ms| ms * MS);
        assert_eq!((ticks.together(&times), ticks.together(&times[2..]), ticks.together(&times[4..])), (2, 2, 1));
        ticks.rows(9 * MS);
        assert_eq!((ticks.due(9 * MS), ticks.due(10 * MS)), (None, Some(10 * MS)));
        ticks.ticked(10 * MS, Some(41));
        assert_eq!((ticks.due(49 * MS), ticks.due(50 * MS)), (None, Some(50 * MS)));
        ticks.ticked(50 * MS, Some(i64::MIN));
        assert_eq!(ticks.due(60 * MS), Some(60 * MS), "time goes on, whatever is asked for");
        ticks.ticked(60 * MS, None);
        assert_eq!(ticks.due(i64::MAX), None);
        ticks.rows(-MS);
        assert_eq!(ticks.due(0), Some(0), "time before 1970 is time");
        let mut other = Ticks::new(Period(Duration::from_millis(7)));
        other.restore(&Ticks { period: 0, next: Some(50 * MS) });
        assert_eq!(other.due(i64::MAX), Some(56 * MS));
    }
}
