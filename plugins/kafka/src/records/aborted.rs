//! Which batches belong to transactions that were aborted.

use std::collections::{BTreeSet, VecDeque};

use super::batch::Batch;
use crate::{trouble::Malformed, wire::Aborted};

/// The aborted transactions of an answer, as its batches pass.
#[derive(Clone, Debug)]
pub(crate) struct Transactions {
    /// Those that have not begun yet, by their first offset.
    ahead: VecDeque<Aborted>,
    /// Producers of those that have begun and not ended.
    within: BTreeSet<i64>,
}

impl Transactions {
    pub(crate) fn new(mut aborted: Vec<Aborted>) -> Self {
        aborted.sort_by_key(|one| one.first);
        Self { ahead: aborted.into(), within: BTreeSet::new() }
    }

    /// Whether `batch`, the next one, is to be left out. Its marker ends an aborted transaction, and so does nothing else: the
    /// producer may have committed others before and after it.
    pub(crate) fn leaves_out(&mut self, batch: &Batch) -> Result<bool, Malformed> {
        while let Some(begun) = self.ahead.pop_front_if(|one| one.first <= batch.last()) {
            self.within.insert(begun.producer);
        }
        if batch.is_control() {
            if batch.aborts()? {
                self.within.remove(&batch.producer());
            }
            return Ok(true);
        }
        Ok(batch.is_transactional() && self.within.contains(&batch.producer()))
    }
}
