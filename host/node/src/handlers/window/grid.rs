//! Where windows of one length end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::Period;

use super::{Align, WindowSpec};
use crate::Error;

/// Windows of `period` that end every `every`, in nanoseconds.
///
/// A window is `[end - period, end)`. Ends are at whole multiples of `every` after `base`, and nowhere before it if it is the
/// first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) period: i64,
    pub(super) every: i64,
    base: i64,
    first: bool,
}

impl Grid {
    /// Windows that begin at multiples of `every` since 1970.
    pub(super) fn epoch(period: i64, every: i64) -> Self {
        Self { period, every, base: period, first: false }
    }

    /// Windows of which the first ends at `end`.
    pub(super) fn from(end: i64, period: i64, every: i64) -> Self {
        Self { period, every, base: end, first: true }
    }

    /// The first end after `time`.
    pub(super) fn after(&self, time: i64) -> i64 {
        let steps = time.saturating_sub(self.base).div_euclid(self.every).saturating_add(1);
        let end = self.base.saturating_add(steps.saturating_mul(self.every));
        if self.first { end.max(self.base) } else { end }
    }

    /// The end of the last window that counts a row at `time`; none if it is before the first window.
    pub(super) fn last(&self, time: i64) -> Option<i64> {
        let steps = time.saturating_add(self.period).saturating_sub(self.base).div_euclid(self.every);
        (!self.first || steps >= 0).then(|| self.base.saturating_add(steps.saturating_mul(self.every)))
    }

    /// The ends of the windows that count a row at `time` and are after `passed`: the first and the last.
    pub(super) fn ends(&self, time: i64, passed: i64) -> Ends {
        let Some(last) = self.last(time) else { return Ends::Late };
        if self.after(time) <= last {
            match self.after(time.max(passed)) {
                first if first <= last => Ends::Some { first, last },
                _ => Ends::Late,
            }
        } else {
            Ends::Between
        }
    }
}

/// The windows that count a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Those from the first to the last end.
    Some { first: i64, last: i64 },
    /// None any more.
    Late,
    /// None: it lies between two windows.
    Between,
}

/// Which rows make a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All groups have the same windows.
    Epoch(Grid),
    /// The windows of a group begin with its first row; the first ends after `span`.
    First { period: i64, every: i64, span: i64 },
    /// Rows that are less than `gap` apart.
    Session { gap: i64 },
}

impl Kind {
    /// What the spec says, if it makes windows.
    pub(super) fn of(spec: &WindowSpec) -> Result<Self, Error> {
        let refused = |reason: &str| Err(Error::spec(&spec.id, reason));
        match (spec.period, spec.session) {
            (Some(_), Some(_)) => {
                refused("`period` and `session` cannot both be the length of a window; leave one out")
            }
            (None, None) => {
                refused("it has no length; set `period: 1m`, or `session: 30s` for windows that end after a pause")
            }
            (None, Some(_)) if spec.every.is_some() || spec.align == Align::First || spec.fill_period => {
                refused("`every`, `align` and `fillPeriod` are for windows with a `period`, not for sessions")
            }
            (None, Some(gap)) => Ok(Self::Session { gap: nanoseconds(&spec.id, "session", gap)? }),
            (Some(period), None) => {
                let every = nanoseconds(&spec.id, "every", spec.every.unwrap_or(period))?;
                let period = nanoseconds(&spec.id, "period", period)?;
                match spec.align {
                    Align::Epoch if spec.fill_period => refused("`fillPeriod` is for `align: first`"),
                    Align::Epoch => Ok(Self::Epoch(Grid::epoch(period, every))),
                    Align::First => {
                        let span = if spec.fill_period { period } else { every };
                        Ok(Self::First { period, every, span })
                    }
                }
            }
        }
    }
}

/// What a column of whole numbers counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LengthUnit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanosecond,
    /// Microseconds.
    #[serde(rename = "us")]
    Microsecond,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Millisecond,
    /// Seconds.
    #[default]
    #[serde(rename = "s")]
    Second,
    /// Minutes.
    #[serde(rename = "m")]
    Minute,
    /// Hours.
    #[serde(rename = "h")]
    Hour,
    /// Days.
    #[serde(rename = "d")]
    Day,
    /// Weeks.
    #[serde(rename = "w")]
    Week,
}

impl LengthUnit {
    /// One of them in nanoseconds.
    pub(super) fn nanoseconds(self) -> i64 {
        const SECOND: i64 = 1_000_000_000;
        match self {
            Self::Nanosecond => 1,
            Self::Microsecond => 1_000,
            Self::Millisecond => 1_000_000,
            Self::Second => SECOND,
            Self::Minute => 60 * SECOND,
            Self::Hour => 3600 * SECOND,
            Self::Day => 86_400 * SECOND,
            Self::Week => 7 * 86_400 * SECOND,
        }
    }
}

/// A length of time in nanoseconds.
fn nanoseconds(handler: &str, what: &str, period: Period) -> Result<i64, Error> {
    i64::try_from(period.0.as_nanos()).ok().filter(|length| *length > 0).ok_or_else(|| {
        Error::spec(handler, format!("`{what}: {period}` cannot be the length of a window; write it like 5s or 10m"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_of_length_is_so_long() {
        let second = 1_000_000_000;
        let units = [("ns", 1), ("us", 1000), ("ms", second / 1000), ("s", second), ("m", 60 * second)];
        let long = [("h", 3600 * second), ("d", 86_400 * second), ("w", 604_800 * second)];
        for (word, nanoseconds) in units.into_iter().chain(long) {
            let unit: LengthUnit = serde_json::from_value(word.into()).unwrap();
            assert_eq!(unit.nanoseconds(), nanoseconds, "{word}");
        }
    }

    #[test]
    fn a_row_counts_where_its_time_is_from_the_start_up_to_before_the_end() {
        let check = |grid: Grid, time: i64, passed: i64, expected: Ends| {
            assert_eq!(grid.ends(time, passed), expected, "{time} of {grid:?}, passed {passed}");
        };
        let never = i64::MIN;
        let hopping = Grid::epoch(10, 5);
        check(hopping, 0, never, Ends::Some { first: 5, last: 10 });
        check(hopping, 4, never, Ends::Some { first: 5, last: 10 });
        check(hopping, 5, never, Ends::Some { first: 10, last: 15 });
        check(hopping, -1, never, Ends::Some { first: 0, last: 5 });
        check(hopping, 4, 5, Ends::Some { first: 10, last: 10 });
        check(hopping, 4, 10, Ends::Late);
        let apart = Grid::epoch(2, 5);
        check(apart, 6, never, Ends::Some { first: 7, last: 7 });
        check(apart, 7, never, Ends::Between);
        check(apart, 6, 7, Ends::Late);
        let from = Grid::from(13, 5, 3);
        check(from, 10, never, Ends::Some { first: 13, last: 13 });
        check(from, 12, never, Ends::Some { first: 13, last: 16 });
        check(from, 7, never, Ends::Late);
        check(from, 8, never, Ends::Some { first: 13, last: 13 });
    }
}
