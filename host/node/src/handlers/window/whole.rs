//! Windows whose rows are held in the order in which they come out, in batches of one pane each: nothing is looked at row by row.

use std::collections::BTreeMap;

use arrow::{
    array::{Int64Array, RecordBatch},
    compute::{max, min},
};

use super::{
    grid::{Ends, Grid},
    held::{Closed, PASSED},
};
use crate::state::{ORDER, SOURCE, TIME, column};

/// What closes, if all that does is of this kind.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) windows: Vec<(Closed, Vec<RecordBatch>)>,
    /// Which of the batches no window to come counts.
    pub(super) gone: Vec<bool>,
    /// When the next window may close.
    pub(super) due: i64,
}

impl Whole {
    /// The windows that end at or before `upto`, and after `closed`; none if the rows of one have to be put in order.
    pub(super) fn of<'a>(
        batches: impl Iterator<Item = &'a RecordBatch>,
        grid: Grid,
        upto: i64,
        closed: i64,
    ) -> Option<Self> {
        let mut whole = Self { windows: Vec::new(), gone: Vec::new(), due: i64::MAX };
        let mut ends: BTreeMap<i64, Vec<Held<'_>>> = BTreeMap::new();
        let open = grid.after(closed);
        for batch in batches {
            let (first, last) = of_one_pane(batch, grid)?;
            let mut end = first.max(open);
            whole.gone.push(last <= upto);
            if end <= last.min(upto) {
                let held = Held::of(batch)?;
                while end <= last.min(upto) {
                    ends.entry(end).or_default().push(held);
                    // Time has an end too.
                    let Some(next) = end.checked_add(grid.every) else { break };
                    end = next;
                }
            }
            if last > upto {
                whole.due = whole.due.min(end);
            }
        }
        for (end, mut held) in ends {
            held.sort_unstable_by_key(|held| held.first);
            if held.windows(2).any(|two| two[0].last >= two[1].first) {
                return None;
            }
            let rows = held.iter().map(|held| held.batch.num_rows()).sum();
            let batches = held.into_iter().map(|held| held.batch.clone()).collect();
            whole.windows.push((Closed { start: end.saturating_sub(grid.period), end, rows }, batches));
        }
        Some(whole)
    }
}

/// A batch whose rows are in their order, with the places of the first and the last.
#[derive(Clone, Copy, Debug)]
struct Held<'a> {
    batch: &'a RecordBatch,
    first: (i64, i64, i64),
    last: (i64, i64, i64),
}

impl<'a> Held<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let [times, sources, orders] = [TIME, SOURCE, ORDER].map(|name| column(batch, name).values());
        let place = |row: usize| Some((*times.get(row)?, *sources.get(row)?, *orders.get(row)?));
        let one = sources.first() == sources.last() && sources.windows(2).all(|two| two[0] == two[1]);
        let sorted = one && times.is_sorted() && orders.is_sorted();
        let (first, last) = (place(0)?, place(batch.num_rows() - 1)?);
        sorted.then_some(Self { batch, first, last })
    }
}

/// The first and the last end of the windows that count the rows, if it is the same for all of them.
pub(super) fn of_one_pane(batch: &RecordBatch, grid: Grid) -> Option<(i64, i64)> {
    let (times, passed): (&Int64Array, &Int64Array) = (column(batch, TIME), column(batch, PASSED));
    let (earliest, latest, passed) = (min(times)?, max(times)?, max(passed)?);
    match (grid.ends(earliest, passed), grid.ends(latest, i64::MIN)) {
        (Ends::Some { first, last }, ends) if ends == (Ends::Some { first, last }) && passed < first => {
            Some((first, last))
        }
        _ => None,
    }
}
