//! Windows of rows that are held until they close: any alignment, sessions, and aggregates that need all rows.

use std::collections::BTreeMap;

use arrow::{
    array::{Array as _, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array},
    buffer::BooleanBuffer,
};
use bytes::Bytes;
use spout_data::Part;

use super::{
    grid::{Ends, Grid, Kind, lateness},
    look::{Entry, Look},
    whole::{Whole, of_one_pane},
};
use crate::{
    Error, Source,
    arrival::{Arrived, NEVER},
    state::{Groups, Held, Limits, Segments, TIME, column},
};

/// Column of the watermark before a row.
pub(super) const PASSED: &str = "__passed";
const NUMBER: &str = "__group";
const FIRST: &str = "__first";

/// Rows of windows that are not closed.
#[derive(Debug)]
pub(super) struct HeldWindows {
    handler: String,
    kind: Kind,
    columns: Vec<String>,
    limits: Limits,
    rows: Held,
    /// Groups with a first row, and where their first window ends.
    groups: Groups,
    firsts: Vec<Option<i64>>,
    decided: Segments,
    /// No window that ends later can close before this time.
    due: i64,
}

/// Windows that close: rows of `batches`, by window, group and their own order.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// Windows of which the rows come in the order in which they are held, with these; the other fields are of none of them.
    pub(super) whole: Vec<(Closed, Vec<RecordBatch>)>,
    /// All rows held, with the columns that were added.
    pub(super) batches: Vec<RecordBatch>,
    pub(super) windows: Vec<Closed>,
    /// Batch and row of each row of each window.
    pub(super) places: Vec<(usize, usize)>,
    /// The keys of the windows' groups.
    pub(super) keys: Vec<ArrayRef>,
    /// Rows of which it turned out that no window counts them.
    pub(super) late: Vec<RecordBatch>,
}

/// One window of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) start: i64,
    pub(super) end: i64,
    /// How many of the places are its rows.
    pub(super) rows: usize,
}

impl HeldWindows {
    pub(super) fn new(handler: &str, kind: Kind, columns: &[String], limits: &Limits) -> Self {
        Self {
            handler: handler.to_owned(),
            kind,
            columns: columns.to_vec(),
            limits: limits.clone(),
            rows: Held::new(handler, "rows"),
            groups: Groups::new(handler, "groups", columns, limits.clone()),
            firsts: Vec::new(),
            decided: Segments::new(handler, "firsts"),
            due: i64::MAX,
        }
    }

    /// The rows that it holds.
    pub(super) fn rows(&self) -> &Held {
        &self.rows
    }

    /// For each row whether it is too late, and none if no window can ever count it; nothing if all are counted.
    pub(super) fn late(&mut self, arrived: &Arrived) -> Result<Option<Vec<Option<bool>>>, Error> {
        let (times, passed) = (arrived.times.values(), arrived.passed.values());
        if let Kind::Epoch(grid) = self.kind {
            return Ok(lateness(&grid.runs(times, passed)));
        }
        let grids = self.grids(arrived)?;
        let late = |((&time, &passed), grid): ((&i64, &i64), Option<Grid>)| match (grid, self.kind) {
            (Some(grid), _) => match grid.ends(time, passed) {
                Ends::Between => None,
                ends => Some(ends == Ends::Late),
            },
            (None, Kind::Session { .. }) => Some(time < passed),
            (None, Kind::Epoch(Grid { period, .. }) | Kind::First { period, .. }) => {
                Some(time.saturating_add(period) <= passed)
            }
        };
        let late: Vec<Option<bool>> = times.iter().zip(passed).zip(grids).map(late).collect();
        Ok(late.iter().any(|late| *late != Some(false)).then_some(late))
    }

    /// The windows of each row's group, as far as they are known.
    fn grids(&mut self, arrived: &Arrived) -> Result<Vec<Option<Grid>>, Error> {
        let rows = arrived.records.num_rows();
        match self.kind {
            Kind::Epoch(grid) => Ok(vec![Some(grid); rows]),
            Kind::Session { .. } => Ok(vec![None; rows]),
            Kind::First { period, every, .. } => {
                let ids = self.groups.ids(&arrived.records)?;
                let first = |id: u32| self.firsts.get(id as usize).copied().flatten();
                Ok(ids.into_iter().map(|id| first(id).map(|end| Grid::from(end, period, every))).collect())
            }
        }
    }

    pub(super) fn append(&mut self, arrived: &Arrived, from: Source) -> Result<(), Error> {
        let passed: ArrayRef = std::sync::Arc::new(arrived.passed.clone());
        let marked = self.rows.mark(&arrived.records, &arrived.times, from, &[(PASSED, passed)])?;
        let rows = marked.num_rows();
        if let Kind::Epoch(grid) = self.kind {
            let runs = grid.runs(arrived.times.values(), arrived.passed.values());
            let firsts = runs.iter().filter_map(|run| match run.ends {
                Ends::Some { first, .. } => Some(first),
                Ends::Late | Ends::Between => None,
            });
            self.due = firsts.min().unwrap_or(i64::MAX).min(self.due);
            // Rows of one pane by themselves can go as they are.
            if runs.len() <= 2.max(rows / 1024) {
                runs.into_iter().for_each(|run| self.rows.push(marked.slice(run.rows.start, run.rows.len())));
            } else {
                self.rows.push(marked);
            }
            return self.limits.bytes(self.rows.bytes() + self.groups.bytes());
        }
        let grids = self.grids(arrived)?;
        let length = match self.kind {
            Kind::Epoch(grid) => grid.period,
            Kind::First { span, .. } => span,
            Kind::Session { gap } => gap,
        };
        let least = |(&time, grid): (&i64, Option<Grid>)| {
            grid.map_or_else(|| time.saturating_add(length), |grid| grid.after(time))
        };
        self.due = arrived.times.values().iter().zip(grids).map(least).min().unwrap_or(i64::MAX).min(self.due);
        self.rows.push(marked);
        self.limits.bytes(self.rows.bytes() + self.groups.bytes())
    }

    /// Whether a window may close when all sources have reached `upto`.
    pub(super) fn is_due(&self, upto: i64) -> bool {
        self.due <= upto
    }

    /// The windows that end at or before `upto`, and after `closed`; rows may be in batches as they are held if they are
    /// wanted `plain`.
    pub(super) fn close(&mut self, upto: i64, closed: i64, plain: bool) -> Result<Closing, Error> {
        if let (Kind::Epoch(grid), true, true) = (self.kind, plain, self.columns.is_empty())
            && let Some(whole) = Whole::of(self.rows.batches(), grid, upto, closed)
        {
            self.due = whole.due;
            let mut gone = whole.gone.into_iter();
            self.rows.take_batches(|_| gone.next().unwrap_or_default());
            return Ok(Closing { whole: whole.windows, ..Closing::default() });
        }
        // Of batches of which no row is in a window that closes nothing changes.
        let due = |batch: &RecordBatch| match self.kind {
            Kind::Epoch(grid) => {
                of_one_pane(batch, grid).is_none_or(|(first, _)| first.max(grid.after(closed)) <= upto)
            }
            Kind::First { .. } | Kind::Session { .. } => true,
        };
        let stays: Vec<bool> = self.rows.batches().map(|batch| !due(batch)).collect();
        let first = |(batch, stays): (&RecordBatch, &bool)| match self.kind {
            Kind::Epoch(grid) if *stays => of_one_pane(batch, grid).map(|(first, _)| first),
            _ => None,
        };
        let later = self.rows.batches().zip(&stays).filter_map(first).min();
        let batches: Vec<RecordBatch> =
            self.rows.batches().zip(&stays).filter(|(_, stays)| !**stays).map(|(batch, _)| batch.clone()).collect();
        if !matches!(self.kind, Kind::First { .. }) {
            self.groups = Groups::new(&self.handler, "groups", &self.columns, self.limits.clone());
        }
        let ids: Vec<Vec<u32>> = batches.iter().map(|batch| self.groups.ids(batch)).collect::<Result<_, _>>()?;
        let gone = batches.iter().map(|batch| vec![false; batch.num_rows()]).collect();
        let mut look = Look {
            upto,
            closed,
            batches: &batches,
            ids: &ids,
            entries: Vec::new(),
            gone,
            late: Vec::new(),
            due: later.unwrap_or(i64::MAX),
        };
        match self.kind {
            Kind::Epoch(grid) => look.windows(|_| Some(grid)),
            Kind::Session { gap } => look.sessions(gap),
            Kind::First { period, every, span } => {
                self.decide(&mut look, period, span)?;
                let firsts = &self.firsts;
                look.windows(|group| firsts[group as usize].map(|end| Grid::from(end, period, every)));
            }
        }
        self.due = look.due;
        let Look { entries, gone, late, .. } = look;
        let (mut gone, mut stays) = (gone.into_iter(), stays.into_iter());
        self.rows.take(|batch| {
            Ok(match stays.next() {
                Some(true) => BooleanArray::new(BooleanBuffer::new_unset(batch.num_rows()), None),
                _ => BooleanArray::from(gone.next().unwrap_or_default()),
            })
        })?;
        let late = late.into_iter().map(|(batch, row)| batches[batch].slice(row, 1)).collect();
        Ok(Closing { late, ..Closing::of(batches, entries, &self.groups)? })
    }

    /// Decides where the first windows of groups end: `span` after the earliest row, as soon as no earlier one can come.
    ///
    /// A row counts for that unless its own source was `span` further already, so that it does not matter which source is first.
    fn decide(&mut self, look: &mut Look<'_>, period: i64, span: i64) -> Result<(), Error> {
        self.firsts.resize(self.groups.len(), None);
        let mut earliest = vec![i64::MAX; self.groups.len()];
        look.each(|time, passed, group| {
            if time.saturating_add(span) > passed {
                earliest[group as usize] = earliest[group as usize].min(time);
            }
        });
        let mut new = (Vec::new(), Vec::new());
        for (group, earliest) in earliest.into_iter().enumerate().filter(|(_, earliest)| *earliest < i64::MAX) {
            let end = earliest.saturating_add(span);
            if self.firsts[group].is_some() {
                continue;
            }
            if end <= look.upto {
                self.firsts[group] = Some(end);
                new.0.push(group as u32);
                new.1.push(end);
            } else {
                look.due = look.due.min(end);
            }
        }
        for (number, batch) in look.batches.iter().enumerate() {
            let times = column(batch, TIME);
            for (row, &group) in look.ids[number].iter().enumerate() {
                let over = times.value(row).saturating_add(period) <= look.upto;
                if self.firsts[group as usize].is_none() && over {
                    look.gone[number][row] = true;
                    look.late.push((number, row));
                }
            }
        }
        if new.0.is_empty() {
            return Ok(());
        }
        let columns: [(&str, ArrayRef); 2] = [
            (NUMBER, std::sync::Arc::new(UInt32Array::from(new.0))),
            (FIRST, std::sync::Arc::new(Int64Array::from(new.1))),
        ];
        let rows = columns[0].1.len();
        let batch = RecordBatch::try_from_iter(columns);
        self.decided.push(batch.map_err(Error::kernel(&self.handler, rows))?);
        Ok(())
    }

    /// A time at which all windows have ended.
    pub(super) fn last_end(&self) -> i64 {
        let times = self.rows.batches().flat_map(|batch| column(batch, TIME).values().iter().copied());
        let longest = match self.kind {
            Kind::Epoch(grid) => grid.period,
            Kind::First { period, span, .. } => period.max(span),
            Kind::Session { gap } => gap,
        };
        times.max().map_or(NEVER, |time| time.saturating_add(longest))
    }

    pub(super) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        let mut parts = self.rows.snapshot()?;
        if matches!(self.kind, Kind::First { .. }) {
            parts.extend(self.groups.snapshot()?);
            let handler = self.handler.clone();
            parts.extend(self.decided.snapshot(&mut |batches| crate::state::concat(&handler, batches))?);
        }
        Ok(parts)
    }

    /// Takes its parts; windows up to `closed` are closed already.
    pub(super) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>, closed: i64) -> Result<(), Error> {
        self.rows.restore(parts)?;
        self.groups.restore(parts)?;
        self.decided.restore(parts)?;
        self.firsts = vec![None; self.groups.len()];
        for batch in self.decided.batches() {
            let numbers = batch.column(0).as_any().downcast_ref::<UInt32Array>();
            let numbers = numbers.map(|numbers| numbers.values().to_vec()).unwrap_or_default();
            for (number, &end) in numbers.into_iter().zip(column(batch, FIRST).values()) {
                if let Some(first) = self.firsts.get_mut(number as usize) {
                    *first = Some(end);
                }
            }
        }
        // Rows that were let go of since they were written are there again: nothing closes now, they only go.
        self.close(closed, closed, true).map(drop)
    }
}

/// The windows in sorted entries, and the group of each.
fn runs(entries: &[Entry], ranks: &[u32]) -> (Vec<Closed>, Vec<u32>) {
    let mut groups = vec![0; ranks.len()];
    ranks.iter().enumerate().for_each(|(id, &rank)| groups[rank as usize] = id as u32);
    let same = |one: &Entry, other: &Entry| (one.end, one.rank, one.start) == (other.end, other.rank, other.start);
    let run = |run: &[Entry]| {
        (Closed { start: run[0].start, end: run[0].end, rows: run.len() }, groups[run[0].rank as usize])
    };
    entries.chunk_by(same).map(run).unzip()
}

impl Closing {
    /// Windows of the rows of `batches`.
    pub(super) fn of(batches: Vec<RecordBatch>, mut entries: Vec<Entry>, groups: &Groups) -> Result<Self, Error> {
        let ranks = ranks(groups);
        entries.iter_mut().for_each(|entry| entry.rank = ranks[entry.rank as usize]);
        entries.sort_unstable();
        let (windows, ids) = runs(&entries, &ranks);
        let places = entries.iter().map(|entry| (entry.batch as usize, entry.row as usize)).collect();
        Ok(Self { whole: Vec::new(), batches, windows, places, keys: groups.keys(&ids)?, late: Vec::new() })
    }
}

/// The place of each group among all, by key.
fn ranks(groups: &Groups) -> Vec<u32> {
    let mut sorted: Vec<u32> = (0..groups.len() as u32).collect();
    sorted.sort_unstable_by_key(|&id| groups.key(id));
    let mut ranks = vec![0; sorted.len()];
    sorted.iter().enumerate().for_each(|(rank, &id)| ranks[id as usize] = rank as u32);
    ranks
}
