//! What passes through one handler of a chain: rows and time, counted a batch at a time, over all lanes that run it.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::Handled;

/// Rows into and out of a handler, and the time in it.
#[derive(Debug, Default)]
pub struct Tally {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    busy_ns: AtomicU64,
}

impl Tally {
    /// Rows that it was given.
    #[must_use]
    pub fn rows_in(&self) -> u64 {
        self.rows_in.load(Relaxed)
    }

    /// Rows that it has passed on.
    #[must_use]
    pub fn rows_out(&self) -> u64 {
        self.rows_out.load(Relaxed)
    }

    /// Time in it, with what it waited for; lanes that run it at the same time add up.
    #[must_use]
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_ns.load(Relaxed))
    }

    /// Takes in what it made of so many rows, and how long that took.
    pub(super) fn count(&self, rows: usize, handled: &Handled, took: Duration) {
        let out: usize = handled.outputs.iter().map(|(records, _)| records.num_rows()).sum();
        self.rows_in.fetch_add(rows as u64, Relaxed);
        self.rows_out.fetch_add(out as u64, Relaxed);
        self.worked(took);
    }

    /// Takes in time that it took for something else than rows.
    pub(super) fn worked(&self, took: Duration) {
        self.busy_ns.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}
