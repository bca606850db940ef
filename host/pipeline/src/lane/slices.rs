//! Large runs of messages are decoded in slices, so that memory is taken for what is there and not for as many messages and
//! columns as a sender likes. They stay one run: its position moves on with the last slice, and nothing is cut in between.

use std::{collections::VecDeque, ops::Range};

use spout_data::{Batch, Messages, Position, Span};
use tokio::sync::mpsc;

use crate::Error;

/// Most messages of a slice: those of one fetch.
const MESSAGES: usize = 8192;
/// Most messages times columns.
const CELLS: usize = 1 << 20;
/// Bytes after which a slice ends: twice those of one fetch.
const BYTES: usize = 8 << 20;

/// Slices that are kept until the run is known to be whole; of one that has more the rest is passed on slice by slice.
pub(super) const KEPT: usize = 8;

/// The slices of a run that are passed on one by one, behind its first batches.
pub(crate) type More = mpsc::Receiver<Slice>;

/// What follows the first batches of a run.
#[derive(Debug)]
pub(crate) enum Slice {
    /// More of its batches.
    Batches(Vec<Batch>),
    /// That was all of it.
    End,
    /// There is no more: the run cannot be taken.
    Failed(Box<Error>),
}

/// A run of messages and where it is cut.
#[derive(Debug)]
pub(super) struct Slices {
    messages: Messages,
    span: Span,
    left: VecDeque<Range<usize>>,
}

impl Slices {
    /// Cuts `messages`, which are those of `span`, for rows of `columns`; gives them back if they are one slice.
    pub(super) fn cut(messages: Messages, span: &Span, columns: usize) -> Result<Self, Messages> {
        let left = ranges(&messages, columns);
        if left.len() < 2 { Err(messages) } else { Ok(Self { messages, span: span.clone(), left }) }
    }

    /// Whether `messages` are one slice.
    pub(super) fn is_one(messages: &Messages, columns: usize) -> bool {
        ranges(messages, columns).len() < 2
    }

    /// The next slice, and its part of the run: all but the last have an empty one at its start.
    pub(super) fn next(&mut self) -> Option<(Messages, Span)> {
        let range = self.left.pop_front()?;
        let next = if self.left.is_empty() { self.span.next.clone() } else { Position::at(self.span.start) };
        Some((self.messages.slice(range), Span { next, ..self.span.clone() }))
    }

    /// Whether there is no slice left.
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// All messages, for looking at them.
    pub(super) fn messages(&self) -> &Messages {
        &self.messages
    }

    /// All messages, to be decoded again.
    pub(super) fn into_messages(self) -> Messages {
        self.messages
    }

    /// The same from slice `kept` on, however many have been looked at.
    pub(super) fn from(mut self, kept: usize, columns: usize) -> Self {
        self.left = ranges(&self.messages, columns).split_off(kept);
        self
    }
}

fn ranges(messages: &Messages, columns: usize) -> VecDeque<Range<usize>> {
    let most = (CELLS / columns.max(1)).clamp(1, MESSAGES);
    let bounds = &messages.values.bounds;
    let at = |index: usize| bounds.get(index).copied().unwrap_or_default() as usize;
    let (mut ranges, mut from) = (VecDeque::new(), 0);
    while from < messages.len() {
        let fits = |end: &usize| at(*end) - at(from) <= BYTES;
        // One message at least, however large it is.
        let end = (from + 1..=messages.len().min(from + most)).take_while(fits).last().unwrap_or(from + 1);
        ranges.push_back(from..end);
        from = end;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(sizes: impl IntoIterator<Item = usize>) -> Messages {
        let mut messages = Messages::default();
        for (offset, size) in (0..).zip(sizes) {
            messages.values.push(&vec![b'x'; size]);
            messages.offsets.push(offset);
        }
        messages
    }

    fn sizes(messages: Messages, columns: usize) -> Vec<usize> {
        let span = Span { partition: 0.into(), start: 0, next: Position::at(messages.len() as u64) };
        let mut slices = match Slices::cut(messages, &span, columns) {
            Ok(slices) => slices,
            Err(whole) => return vec![whole.len()],
        };
        let (mut sizes, mut offset) = (Vec::new(), 0);
        while let Some((slice, part)) = slices.next() {
            assert_eq!(part.next.offset, if slices.is_empty() { span.next.offset } else { 0 });
            assert_eq!(slice.offsets.first(), Some(&offset));
            offset += slice.len() as u64;
            sizes.push(slice.len());
        }
        assert_eq!(offset, span.next.offset);
        sizes
    }

    #[test]
    fn a_run_is_cut_by_messages_cells_and_bytes() {
        let small = |count| messages(std::iter::repeat_n(1, count));
        assert_eq!(sizes(small(MESSAGES), 10), [MESSAGES]);
        assert_eq!(sizes(small(MESSAGES + 1), 10), [MESSAGES, 1]);
        assert_eq!(sizes(small(5000), 512), [2048, 2048, 904]);
        assert_eq!(sizes(small(3), 4 * CELLS), [1, 1, 1]);
        assert_eq!(sizes(messages([BYTES, 1, BYTES - 1, BYTES + 1, 1]), 1), [1, 2, 1, 1]);
        assert_eq!(sizes(messages([0, BYTES + 1, 0]), 1), [1, 1, 1]);
        assert_eq!(sizes(messages([]), 1), [0]);
    }
}
