//! Record batches of the third kind (magic 2): from the bytes of an answer to messages, whatever they are compressed with, and
//! without those of transactions that were aborted.
//!
//! **Invariant**: an offset that was passed over (a marker, an aborted message, one that compaction removed) still moves `next`.

mod aborted;
mod batch;
mod compression;
mod crc;
mod record;

pub(crate) use self::batch::Taken;
#[cfg(test)]
pub(crate) use self::crc::checksum;

use bytes::Bytes;
use spout_guest::Messages;

use self::{
    aborted::Transactions,
    batch::{Batch, Open},
};
use crate::{trouble::Malformed, wire::Aborted};

/// How much may still be returned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    /// Nothing was returned yet: the first message may have any size.
    pub(crate) first: bool,
}

impl Budget {
    fn allows(&self, bytes: usize) -> bool {
        self.messages > 0 && (self.first || bytes <= self.bytes)
    }

    fn take(&mut self, bytes: usize) {
        self.first = false;
        self.messages -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Why records cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Malformed(Malformed),
    /// They are written in an old way.
    Magic(i8),
}

impl From<Malformed> for Unreadable {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Records of one partition that were fetched and not yet returned.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    /// Batches that are not opened yet.
    rest: Bytes,
    open: Option<Open>,
    transactions: Option<Transactions>,
    next: u64,
    check: bool,
    /// Whether there was a batch at all.
    any: bool,
}

impl Records {
    /// The records of an answer, which are wanted from `next` on. With `aborted`, those of these transactions are left out.
    pub(crate) fn new(rest: Bytes, next: u64, aborted: Option<Vec<Aborted>>, check: bool) -> Self {
        Self { rest, open: None, transactions: aborted.map(Transactions::new), next, check, any: false }
    }

    /// The offset of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.open.is_none()
    }

    /// Bytes that they take in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.rest.len() + self.open.as_ref().map_or(0, Open::bytes)
    }

    /// Moves messages into `messages`, as many as `budget` allows, of `partition` if it is said.
    pub(crate) fn drain(
        &mut self,
        messages: &mut Messages,
        budget: &mut Budget,
        partition: Option<u32>,
    ) -> Result<(), Unreadable> {
        loop {
            let Some(open) = &mut self.open else {
                if self.advance()? {
                    continue;
                }
                return Ok(());
            };
            let after = open.next_offset();
            while let Some(placed) = open.peek()? {
                let wanted = placed.offset >= self.next;
                if wanted {
                    if !budget.allows(placed.record.bytes()) {
                        return Ok(());
                    }
                    budget.take(placed.record.bytes());
                    push(messages, &placed, partition)?;
                    self.next = placed.offset + 1;
                }
                let (offset, end) = placed.place();
                open.taken(offset, end);
            }
            self.open = None;
            self.next = self.next.max(after);
        }
    }

    /// Opens the next batch, or passes over it; whether there was one.
    fn advance(&mut self) -> Result<bool, Unreadable> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        let batch = match Batch::take(&mut self.rest, self.check)? {
            Taken::Batch(batch) => batch,
            Taken::Magic(magic) => return Err(Unreadable::Magic(magic)),
            // It is fetched again, from its beginning.
            Taken::Cut if self.any => {
                self.rest.clear();
                return Ok(false);
            }
            Taken::Cut => return Err(Malformed("a batch goes beyond the end of the answer").into()),
        };
        self.any = true;
        let after = batch.last().unsigned_abs() + 1;
        let aborted = match &mut self.transactions {
            Some(transactions) => transactions.leaves_out(&batch)?,
            None => false,
        };
        if aborted || batch.is_control() || after <= self.next {
            self.next = self.next.max(after);
        } else {
            self.open = Some(batch.open()?);
        }
        Ok(true)
    }
}

fn push(messages: &mut Messages, placed: &batch::Placed<'_>, partition: Option<u32>) -> Result<(), Malformed> {
    let record = &placed.record;
    let mut added = match record.value {
        Some(value) => messages.add(placed.offset, value),
        None => messages.add_null(placed.offset),
    };
    if let Some(key) = record.key {
        added = added.key(key);
    }
    if let Some(time) = placed.time {
        added = added.timestamp_ms(time);
    }
    if let Some(partition) = partition {
        added = added.partition(partition);
    }
    for header in record.headers() {
        let (name, value) = header?;
        added = added.header(&String::from_utf8_lossy(name), value.unwrap_or_default());
    }
    Ok(())
}
