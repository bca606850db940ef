//! Several sorted sequences of entries as one, in which the newest entry of a key counts.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::Entry;

type Source<'a> = Box<dyn Iterator<Item = Entry<'a>> + 'a>;

/// An entry of a source: ordered by key, then by source, the newest first.
type Head<'a> = (&'a [u8], usize, Option<&'a [u8]>);

/// Entries of several sources, by key, each key once.
pub(super) struct Merged<'a> {
    sources: Vec<Source<'a>>,
    /// The next entry of each source.
    heads: BinaryHeap<Reverse<Head<'a>>>,
}

impl<'a> Merged<'a> {
    /// The entries of `sources`, the newest first, each with rising keys.
    pub(super) fn new(sources: Vec<Source<'a>>) -> Self {
        let mut merged = Self { heads: BinaryHeap::with_capacity(sources.len()), sources };
        (0..merged.sources.len()).for_each(|source| merged.advance(source));
        merged
    }

    fn advance(&mut self, source: usize) {
        if let Some((key, value)) = self.sources.get_mut(source).and_then(Iterator::next) {
            self.heads.push(Reverse((key, source, value)));
        }
    }
}

impl<'a> Iterator for Merged<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let Reverse((key, source, value)) = self.heads.pop()?;
        self.advance(source);
        while let Some(older) = self.heads.peek().filter(|older| older.0.0 == key).map(|older| older.0.1) {
            self.heads.pop();
            self.advance(older);
        }
        Some((key, value))
    }
}
