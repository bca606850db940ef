//! How open windows are kept: as rows, or as what these add up to.

use std::collections::BTreeMap;

use arrow::array::{BooleanArray, RecordBatch};
use bytes::Bytes;
use spout_data::Part;

use super::{
    grid::{Run, lateness},
    held::HeldWindows,
    output::{self, Output},
    partial::PartialWindows,
    sessions::SessionWindows,
};
use crate::{
    Error, Handled, Source,
    arrival::{Arrivals, Arrived},
};

/// Windows that are open.
#[derive(Debug)]
pub(super) enum Engine {
    Held(Box<HeldWindows>),
    Partial(Box<PartialWindows>),
    Sessions(Box<SessionWindows>),
}

impl Engine {
    /// Takes rows; late ones are in the answer.
    pub(super) fn accept(&mut self, arrivals: &Arrivals, mut arrived: Arrived, from: Source) -> Result<Handled, Error> {
        let runs: Vec<Run> = match self {
            Self::Partial(windows) => windows.runs(&arrived),
            Self::Held(_) | Self::Sessions(_) => Vec::new(),
        };
        let late = match self {
            Self::Held(windows) => windows.late(&arrived)?,
            Self::Partial(_) => lateness(&runs),
            Self::Sessions(_) => SessionWindows::late(&arrived),
        };
        let handled = match &late {
            Some(late) => leave_out(arrivals, &mut arrived, late)?,
            None => arrived.in_time(),
        };
        match self {
            Self::Held(windows) => windows.append(&arrived, from)?,
            Self::Partial(windows) if late.is_some() => {
                let runs = windows.runs(&arrived);
                windows.append(&arrived, &runs, from)?;
            }
            Self::Partial(windows) => windows.append(&arrived, &runs, from)?,
            Self::Sessions(windows) => windows.append(&arrived, from)?,
        }
        Ok(handled)
    }

    /// Whether a window may close when all sources have reached `upto`.
    pub(super) fn is_due(&self, upto: i64) -> bool {
        match self {
            Self::Held(windows) => windows.is_due(upto),
            Self::Partial(windows) => windows.is_due(upto),
            Self::Sessions(windows) => windows.is_due(upto),
        }
    }

    /// What the windows give that end at or before `upto`, and after `closed`; they are as long as `period` says. Rows of
    /// which it turns out that they are late are in `handled`.
    pub(super) fn close(
        &mut self,
        upto: i64,
        closed: i64,
        period: i64,
        (arrivals, output): (&Arrivals, &mut Output),
        handled: &mut Handled,
    ) -> Result<Vec<RecordBatch>, Error> {
        let event = arrivals.event();
        match self {
            Self::Held(windows) => {
                let closing = windows.close(upto, closed, output.is_plain())?;
                for late in &closing.late {
                    output::late(arrivals, late, handled)?;
                }
                output.held(event, closing)
            }
            Self::Partial(windows) => {
                let made = windows.close(upto)?;
                made.into_iter().map(|sums| output.sums(event, windows.plan(), period, sums)).collect()
            }
            Self::Sessions(windows) => {
                let ended = windows.close(upto)?;
                output.sessions(event, windows.plan(), ended)
            }
        }
    }

    /// A time at which all windows have ended.
    pub(super) fn last_end(&mut self) -> Result<i64, Error> {
        match self {
            Self::Held(windows) => Ok(windows.last_end()),
            Self::Partial(windows) => windows.last_end(),
            Self::Sessions(windows) => Ok(windows.last_end()),
        }
    }

    pub(super) fn snapshot(&mut self) -> Result<BTreeMap<String, Part>, Error> {
        match self {
            Self::Held(windows) => windows.snapshot(),
            Self::Partial(windows) => windows.snapshot(),
            Self::Sessions(windows) => windows.snapshot(),
        }
    }

    /// Takes its parts; windows up to `closed` are closed already.
    pub(super) fn restore(&mut self, parts: &mut BTreeMap<String, Bytes>, closed: i64) -> Result<(), Error> {
        match self {
            Self::Held(windows) => windows.restore(parts, closed),
            Self::Partial(windows) => windows.restore(parts, closed),
            Self::Sessions(windows) => windows.restore(parts, closed),
        }
    }
}

/// Leaves out late rows, and those between windows.
fn leave_out(arrivals: &Arrivals, arrived: &mut Arrived, late: &[Option<bool>]) -> Result<Handled, Error> {
    if late.contains(&None) {
        let rows = late.len();
        let counted: BooleanArray = late.iter().map(|late| Some(late.is_some())).collect();
        arrived.keep(&counted).map_err(Error::kernel(arrivals.handler(), rows))?;
    }
    arrivals.sort_out(arrived, &late.iter().flatten().map(|late| Some(*late)).collect())
}
