//! Which keys a run certainly does not have: a Bloom filter whose bits for one key are all in one word.

use std::hash::{DefaultHasher, Hasher as _};

/// Keys in one word of 64 bits: at 4 bits a key, one lookup in fifty of an absent key goes on to the run.
const KEYS: usize = 6;

/// A hash of a key, for any number of filters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) fn of(key: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(key);
        Self(hasher.finish())
    }

    /// The four bits that stand for the key in its word.
    fn bits(self) -> u64 {
        (0..4).fold(0, |bits, at| bits | 1 << (self.0 >> (6 * at) & 63))
    }
}

/// A filter over a fixed number of keys.
#[derive(Debug)]
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// A filter for `keys` keys.
    pub(super) fn new(keys: usize) -> Self {
        Self { words: vec![0; keys.div_ceil(KEYS).next_power_of_two()] }
    }

    pub(super) fn add(&mut self, hash: Hash) {
        let at = self.word(hash);
        if let Some(word) = self.words.get_mut(at) {
            *word |= hash.bits();
        }
    }

    /// False if the key was never added.
    pub(super) fn may_have(&self, hash: Hash) -> bool {
        self.words.get(self.word(hash)).is_some_and(|word| word & hash.bits() == hash.bits())
    }

    pub(super) fn bytes(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }

    fn word(&self, hash: Hash) -> usize {
        (hash.0 >> 32) as usize & (self.words.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_and_little_else() {
        let hash = |n: u64| Hash::of(&n.to_be_bytes());
        for keys in [0, 1, 100, 10_000] {
            let mut filter = Filter::new(keys);
            (0..keys as u64).for_each(|n| filter.add(hash(n)));
            assert!((0..keys as u64).all(|n| filter.may_have(hash(n))));
            let wrong = (1 << 32..(1 << 32) + 10_000).filter(|&n| filter.may_have(hash(n))).count();
            assert!(wrong < 800, "{wrong} of 10,000 for {keys} keys");
        }
    }
}
