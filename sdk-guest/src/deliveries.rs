//! What a source that is acknowledged has returned, until that is committed.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::{BuildHasher as _, Hasher as _},
};

use crate::Checkpoint;

/// What [`StreamConsumer::next`](crate::StreamConsumer::next) has returned and is not acknowledged yet, in that order: how each is
/// acknowledged, and which of them a checkpoint covers.
///
/// ```
/// use spout_guest::Deliveries;
///
/// let mut deliveries = Deliveries::new();
/// deliveries.push("tag 1");
/// let checkpoint = deliveries.checkpoint();                       // `checkpoint`
/// deliveries.push("tag 2");
/// let count = deliveries.covered(&checkpoint);                    // `committed`
/// let tags: Vec<_> = deliveries.first(count).collect();
/// assert_eq!(tags, [&"tag 1"]);                                   // acknowledge them, and then:
/// deliveries.acknowledged(count);
/// assert_eq!((deliveries.covered(&checkpoint), deliveries.next_offset()), (0, 2));
/// ```
#[derive(Debug)]
pub struct Deliveries<T> {
    /// Which instance this is, so that it knows its own checkpoints.
    instance: String,
    returned: VecDeque<T>,
    /// How many were acknowledged before them.
    before: u64,
}

impl<T> Deliveries<T> {
    /// None yet, of an instance like no other.
    #[must_use]
    pub fn new() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self { instance: format!("{:016x}{:016x}", random(), random()), returned: VecDeque::new(), before: 0 }
    }

    /// The offset of the next message that is returned.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.before.saturating_add(u64::try_from(self.returned.len()).unwrap_or(u64::MAX))
    }

    /// How many wait to be acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.returned.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.returned.is_empty()
    }

    /// Notes that a message was returned, and how it is acknowledged.
    pub fn push(&mut self, delivery: T) {
        self.returned.push_back(delivery);
    }

    /// Covers all that was returned so far.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        let place = format!("{} {}", self.instance, self.next_offset());
        Checkpoint { positions: Vec::new(), extra: Some(place.into_bytes()) }
    }

    /// How many of the first ones `upto` covers; none, if another instance made it.
    #[must_use]
    pub fn covered(&self, upto: &Checkpoint) -> usize {
        let place = upto.extra.as_deref().and_then(|place| std::str::from_utf8(place).ok()).unwrap_or_default();
        let offset = match place.split_once(' ') {
            Some((instance, offset)) if instance == self.instance => offset.parse().unwrap_or(0),
            _ => 0_u64,
        };
        usize::try_from(offset.saturating_sub(self.before)).unwrap_or(usize::MAX).min(self.returned.len())
    }

    /// The first `count` of them.
    pub fn first(&self, count: usize) -> impl Iterator<Item = &T> {
        self.returned.iter().take(count)
    }

    /// Forgets the first `count` of them, and returns them.
    pub fn acknowledged(&mut self, count: usize) -> Vec<T> {
        let count = count.min(self.returned.len());
        self.before = self.before.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        self.returned.drain(..count).collect()
    }
}

impl<T> Default for Deliveries<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_covers_what_was_returned_before_it_and_of_this_instance_only() {
        let mut deliveries = Deliveries::new();
        assert_eq!(deliveries.covered(&deliveries.checkpoint()), 0);
        let checkpoints: Vec<Checkpoint> = (0..4)
            .map(|n| {
                deliveries.push(n);
                deliveries.checkpoint()
            })
            .collect();
        let covered = |of: &Deliveries<i32>| checkpoints.iter().map(|one| of.covered(one)).collect::<Vec<_>>();
        assert_eq!(covered(&deliveries), [1, 2, 3, 4]);
        assert_eq!(deliveries.acknowledged(2), [0, 1]);
        assert_eq!((covered(&deliveries), deliveries.next_offset()), (vec![0, 0, 1, 2], 4));
        assert_eq!((deliveries.len(), deliveries.is_empty()), (2, false));
        let other = Deliveries::<i32>::new();
        assert_eq!(covered(&other), [0; 4]);
        let odd =
            |extra: &[u8]| deliveries.covered(&Checkpoint { extra: Some(extra.to_vec()), ..Checkpoint::default() });
        assert_eq!((odd(b"\xff"), odd(b""), deliveries.covered(&Checkpoint::default())), (0, 0, 0));
    }
}
