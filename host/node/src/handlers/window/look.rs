//! One look at all rows that are held: which windows they are in, and which no window to come counts.

use arrow::array::RecordBatch;

use super::{
    grid::{Ends, Grid},
    held::PASSED,
};
use crate::state::{ORDER, SOURCE, TIME, column};

/// A row in a window; entries sort as rows come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) end: i64,
    /// Number of the group, later its place among all groups.
    pub(super) rank: u32,
    pub(super) start: i64,
    pub(super) time: i64,
    pub(super) source: i64,
    pub(super) order: i64,
    pub(super) batch: u32,
    pub(super) row: u32,
}

/// One look at all rows.
pub(super) struct Look<'a> {
    pub(super) upto: i64,
    pub(super) closed: i64,
    pub(super) batches: &'a [RecordBatch],
    pub(super) ids: &'a [Vec<u32>],
    pub(super) entries: Vec<Entry>,
    pub(super) gone: Vec<Vec<bool>>,
    pub(super) late: Vec<(usize, usize)>,
    pub(super) due: i64,
}

/// All rows of batches that [`Held`] marked, with the numbers of their groups.
pub(super) fn entries(batches: &[RecordBatch], ids: &[Vec<u32>]) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for (number, batch) in batches.iter().enumerate() {
        let (times, sources, orders) = (column(batch, TIME), column(batch, SOURCE), column(batch, ORDER));
        entries.extend(ids[number].iter().enumerate().map(|(row, &group)| Entry {
            end: 0,
            rank: group,
            start: 0,
            time: times.value(row),
            source: sources.value(row),
            order: orders.value(row),
            batch: number as u32,
            row: row as u32,
        }));
    }
    entries
}

impl Look<'_> {
    pub(super) fn each(&self, mut row: impl FnMut(i64, i64, u32)) {
        for (batch, ids) in self.batches.iter().zip(self.ids) {
            let (times, passed) = (column(batch, TIME), column(batch, PASSED));
            for (index, &id) in ids.iter().enumerate() {
                row(times.value(index), passed.value(index), id);
            }
        }
    }

    /// Puts rows into the windows of their groups; a group without a grid waits.
    pub(super) fn windows(&mut self, grid: impl Fn(u32) -> Option<Grid>) {
        for entry in entries(self.batches, self.ids) {
            let Some(grid) = grid(entry.rank) else { continue };
            let (batch, row) = (entry.batch as usize, entry.row as usize);
            let (first, last) = match grid.ends(entry.time, column(&self.batches[batch], PASSED).value(row)) {
                Ends::Some { first, last } => (first, last),
                ends => {
                    self.gone[batch][row] = true;
                    if ends == Ends::Late {
                        self.late.push((batch, row));
                    }
                    continue;
                }
            };
            let mut end = first.max(grid.after(self.closed));
            while end <= last.min(self.upto) {
                self.entries.push(Entry { end, start: end.saturating_sub(grid.period), ..entry });
                // Time has an end too.
                let Some(next) = end.checked_add(grid.every) else { break };
                end = next;
            }
            self.gone[batch][row] = last <= self.upto;
            if last > self.upto {
                self.due = self.due.min(end);
            }
        }
    }

    /// Puts rows into sessions: each goes on as long as the next row of its group comes before its end.
    pub(super) fn sessions(&mut self, gap: i64) {
        let mut rows = entries(self.batches, self.ids);
        rows.sort_unstable();
        let together = |one: &Entry, next: &Entry| one.rank == next.rank && next.time < one.time.saturating_add(gap);
        for session in rows.chunk_by(together) {
            let (start, end) = (session[0].time, session[session.len() - 1].time.saturating_add(gap));
            if end > self.upto {
                self.due = self.due.min(end);
                continue;
            }
            session.iter().for_each(|entry| self.gone[entry.batch as usize][entry.row as usize] = true);
            if end > self.closed {
                self.entries.extend(session.iter().map(|entry| Entry { start, end, ..*entry }));
            }
        }
    }
}
