//! The windows of one group whose length and pace change as it goes.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::look::Entry;
use crate::arrival::NEVER;

/// The windows of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    period: i64,
    every: i64,
    /// Where the open window ends; nothing before the first row.
    pub(super) next: Option<i64>,
    /// Whether a window has ended.
    ended: bool,
    /// Rows before this time are in no window to come.
    pub(super) floor: i64,
}

/// All rows of a group, in order, and the windows that close.
pub(super) struct Group<'a> {
    pub(super) rows: &'a [Entry],
    /// The rows that may be in the open window, by place.
    pub(super) open: Range<usize>,
    pub(super) closed: &'a mut Vec<Entry>,
}

impl Default for Running {
    fn default() -> Self {
        Self { period: 0, every: 0, next: None, ended: false, floor: NEVER }
    }
}

impl Running {
    /// A row at `time` says how long windows are, and how often they end.
    pub(super) fn length_at(&mut self, time: i64, period: i64, every: i64, fill: bool) {
        let next = match self.next {
            None => time.saturating_add(if fill { period } else { every }),
            Some(next) => {
                let whole = fill && !self.ended;
                let moved = next.saturating_add(if whole { period - self.period } else { every - self.every });
                if moved >= time { moved } else { next }
            }
        };
        (self.next, self.period, self.every) = (Some(next.min(i64::MAX - 1)), period, every);
    }

    /// Closes the windows that end before `until`.
    pub(super) fn close(&mut self, until: i64, group: &mut Group<'_>) {
        while let Some(next) = self.next.filter(|next| *next < until) {
            if group.open.is_empty() {
                // No row is left to be in a window: those up to there are empty.
                let steps = (until - 1).saturating_sub(next) / self.every + 1;
                self.next = Some(next.saturating_add(steps.saturating_mul(self.every)));
                self.ended = true;
                continue;
            }
            let start = next.saturating_sub(self.period);
            let counted = group.rows[group.open.clone()].iter().filter(|row| (start..next).contains(&row.time));
            group.closed.extend(counted.map(|row| Entry { start, end: next, ..*row }));
            let Some(following) = next.checked_add(self.every).filter(|following| *following < i64::MAX) else {
                // Time has an end too: no window comes after this one.
                (self.ended, self.floor) = (true, i64::MAX);
                group.open.start = group.open.end;
                return;
            };
            (self.next, self.ended) = (Some(following), true);
            // Whatever is told later, no window reaches back before where the next one would begin now, or this one ends.
            self.floor = self.floor.max(following.saturating_sub(self.period).min(next));
            while group.open.start < group.open.end && group.rows[group.open.start].time < self.floor {
                group.open.start += 1;
            }
        }
    }
}
