//! What is known of one partition: from where on it is wanted, and what was fetched of it and not yet returned.

use std::time::Instant;

use spout_guest::{Error, Fetched, Messages, Position, Progress};

use crate::{
    records::{Budget, Records, Unreadable},
    wire::TopicId,
};

/// One partition.
#[derive(Debug)]
pub(crate) struct Stock {
    /// The offset that comes next.
    pub(crate) next: u64,
    records: Option<Records>,
    /// Up to where messages may be read now, once a broker said so.
    pub(crate) end: Option<u64>,
    /// What a fetch said, which the host is told next.
    pub(crate) error: Option<Error>,
    /// When it was last wanted.
    pub(crate) wanted: Instant,
    /// It is not asked for before then.
    pub(crate) pause: Option<Instant>,
}

impl Stock {
    pub(crate) fn new(next: u64, wanted: Instant) -> Self {
        Self { next, records: None, end: None, error: None, wanted, pause: None }
    }

    /// It is wanted from `offset` on: what was fetched for another offset is dropped.
    pub(crate) fn want(&mut self, offset: u64, at: Instant) {
        self.wanted = at;
        if self.next != offset {
            *self = Self { end: self.end, pause: self.pause, ..Self::new(offset, at) };
        }
    }

    /// Takes what was fetched from `asked` on, unless it is wanted from elsewhere now.
    pub(crate) fn fill(&mut self, asked: u64, records: Records, end: Option<u64>) {
        self.end = end;
        self.pause = None;
        if asked == self.next && !records.is_empty() {
            self.records = Some(records);
        }
    }

    /// Whether there is nothing to return.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_none() && self.error.is_none()
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.records.as_ref().map_or(0, Records::bytes)
    }

    /// Drops what was fetched.
    pub(crate) fn clear(&mut self) {
        self.records = None;
    }

    /// Moves what there is into `messages`, within `budget`; whether that moves `next`.
    pub(crate) fn drain(
        &mut self,
        messages: &mut Messages,
        budget: &mut Budget,
        partition: Option<u32>,
    ) -> Result<bool, Unreadable> {
        let Some(records) = &mut self.records else { return Ok(false) };
        let before = self.next;
        let drained = records.drain(messages, budget, partition);
        self.next = records.next();
        if records.is_empty() || drained.is_err() {
            self.records = None;
        }
        // What came before that which cannot be read is returned first; it is met again.
        match drained {
            Err(wrong) if self.next == before => Err(wrong),
            _ => Ok(self.next != before),
        }
    }

    /// An answer with these messages.
    pub(crate) fn answer(&self, messages: Messages, id: Option<TopicId>) -> Fetched {
        // A broker that takes its time, or has no room left in an answer, has told nothing: there is more as long as the end is ahead.
        let more = self.records.is_some() || self.end.is_some_and(|end| end > self.next);
        Fetched {
            messages,
            next: position(self.next, id),
            high_watermark: self.end.map(|end| end.max(self.next)),
            progress: if more { Progress::More } else { Progress::Idle },
        }
    }
}

/// A position, which remembers which topic of this name it is of.
pub(crate) fn position(offset: u64, id: Option<TopicId>) -> Position {
    Position { offset, token: id.map(|id| id.to_vec()) }
}

/// Whether `position` is of another topic than the one with this id.
pub(crate) fn is_of_another(position: &Position, id: Option<TopicId>) -> bool {
    match (&position.token, id) {
        (Some(token), Some(id)) => token.as_slice() != id,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_has_told_nothing_has_not_told_that_there_is_nothing() {
        let mut stock = Stock::new(5, spout_guest::now());
        for (end, progress) in [(Some(9), Progress::More), (Some(5), Progress::Idle), (Some(4), Progress::Idle)] {
            stock.end = end;
            assert_eq!(stock.answer(Messages::default(), None).progress, progress, "{end:?}");
        }
    }
}
