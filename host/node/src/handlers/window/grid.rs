//! Where windows of one length end.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spout_data::Period;

use super::{Align, WindowSpec};
use crate::{Error, arrival::NEVER};

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

impl Grid {
    /// The ends of each row's windows, for rows that are beside each other and have the same.
    pub(super) fn runs(&self, times: &[i64], passed: &[i64]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut cell = Cell::default();
        for (row, (&time, &passed)) in times.iter().zip(passed).enumerate() {
            let ends = match cell.ends(time, passed) {
                Some(ends) => ends,
                None => {
                    cell = self.cell(time);
                    self.ends(time, passed)
                }
            };
            match runs.last_mut() {
                Some(run) if run.ends == ends => run.rows.end = row + 1,
                _ => runs.push(Run { rows: row..row + 1, ends }),
            }
        }
        runs
    }

    /// What is the same for times close to `time`; nothing at the end of time, and before a first window.
    fn cell(&self, time: i64) -> Cell {
        let (first, last) = (self.after(time), self.last(time));
        let Some(last) = last.filter(|last| !self.first && *last < i64::MAX && first < i64::MAX) else {
            return Cell::default();
        };
        let from = first.saturating_sub(self.every).max(last.saturating_sub(self.period));
        let until = first.min(last.saturating_sub(self.period).saturating_add(self.every));
        Cell { from, until, first, ends: if first <= last { Ends::Some { first, last } } else { Ends::Between } }
    }
}

/// Rows that are beside each other and that the same windows count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) rows: Range<usize>,
    pub(super) ends: Ends,
}

/// For each row of these runs whether it is too late, and none if no window can ever count it; nothing if all are counted.
pub(super) fn lateness(runs: &[Run]) -> Option<Vec<Option<bool>>> {
    let late = |ends: Ends| match ends {
        Ends::Some { .. } => Some(false),
        Ends::Late => Some(true),
        Ends::Between => None,
    };
    let all = runs.iter().all(|run| late(run.ends) == Some(false));
    (!all).then(|| runs.iter().flat_map(|run| std::iter::repeat_n(late(run.ends), run.rows.len())).collect())
}

/// Times that the same windows count as long as none of these is closed.
struct Cell {
    from: i64,
    until: i64,
    first: i64,
    ends: Ends,
}

impl Default for Cell {
    /// No time is in it.
    fn default() -> Self {
        Self { from: 0, until: 0, first: 0, ends: Ends::Late }
    }
}

impl Cell {
    fn ends(&self, time: i64, passed: i64) -> Option<Ends> {
        (self.from <= time && time < self.until && (passed < self.first || self.ends == Ends::Between))
            .then_some(self.ends)
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
    /// When all windows have ended that count a row at `newest` or before; never, if each group has its own.
    pub(super) fn ended_after(self, newest: i64) -> i64 {
        match self {
            Self::Epoch(grid) => newest.saturating_add(grid.period),
            Self::Session { gap } => newest.saturating_add(gap),
            Self::First { .. } => NEVER,
        }
    }

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
    fn runs_say_of_each_row_what_it_alone_says() {
        let mut dice = 1_u64;
        let mut number = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((dice >> 33) % below) as i64
        };
        let never = i64::MIN;
        for round in 0..2_000 {
            let (period, every) = (number(30) + 1, number(30) + 1);
            let long = i64::MAX / 3 + number(9);
            let grid = match round % 4 {
                0 => Grid::from(number(40) - 20, period, every),
                1 => Grid::epoch(long, long),
                _ => Grid::epoch(period, every),
            };
            let far = [0, 0, 0, i64::MAX - 100, i64::MIN + 100, long][number(6) as usize];
            let times: Vec<i64> = (0..20).map(|row| far.saturating_add(number(8) + row * 3 - 20)).collect();
            let passed: Vec<i64> = times
                .iter()
                .map(|time| if number(3) == 0 { never } else { time.saturating_add(number(40) - 30) })
                .collect();
            let runs = grid.runs(&times, &passed);
            assert!(runs.windows(2).all(|two| two[0].rows.end == two[1].rows.start && two[0].ends != two[1].ends));
            let each: Vec<Ends> = runs.iter().flat_map(|run| run.rows.clone().map(|_| run.ends)).collect();
            let alone: Vec<Ends> = times.iter().zip(&passed).map(|(&time, &passed)| grid.ends(time, passed)).collect();
            assert_eq!(each, alone, "{grid:?} {times:?} {passed:?}");
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
