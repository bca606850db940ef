//! Keys of the last messages that clients sent with one: the same messages, sent again, are stored once.

use std::{collections::VecDeque, ops::Range};

use sha2::{Digest, Sha256};
use spout_data::Position;

/// What is remembered of a key.
pub(crate) type Key = [u8; 16];

/// Bytes of one entry of a token: the key, the first offset, and how many messages there are.
const ENTRY: usize = 16 + 8 + 4;

/// The last keys with where their messages stand. It travels as the token of the position, so it is committed with them.
#[derive(Debug)]
pub(crate) struct Recent {
    most: usize,
    keys: VecDeque<(Key, Range<u64>)>,
}

/// What is remembered of `text`.
pub(crate) fn key(text: &[u8]) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(&Sha256::digest(text)[..16]);
    key
}

impl Recent {
    /// The keys that `position` holds, at most `most` of them.
    pub(crate) fn read(most: usize, position: &Position) -> Self {
        let mut recent = Self { most, keys: VecDeque::new() };
        for entry in position.token.as_deref().unwrap_or_default().chunks_exact(ENTRY) {
            let Some((key, rest)) = entry.split_first_chunk::<16>() else { continue };
            let Some((first, count)) = rest.split_first_chunk::<8>() else { continue };
            let first = u64::from_le_bytes(*first);
            let count = count.first_chunk::<4>().map_or(0, |count| u32::from_le_bytes(*count));
            recent.remember(*key, first..first + u64::from(count));
        }
        recent
    }

    /// The token of a position that holds them; `None` if there is none.
    pub(crate) fn token(&self) -> Option<Vec<u8>> {
        let entry = |(key, run): &(Key, Range<u64>)| {
            let count = u32::try_from(run.end - run.start).unwrap_or(u32::MAX);
            [&key[..], &run.start.to_le_bytes(), &count.to_le_bytes()].concat()
        };
        (!self.keys.is_empty()).then(|| self.keys.iter().flat_map(entry).collect())
    }

    /// Where the messages of `key` stand.
    pub(crate) fn find(&self, key: Key) -> Option<Range<u64>> {
        self.keys.iter().rev().find(|(known, _)| *known == key).map(|(_, run)| run.clone())
    }

    /// Remembers `key`, and forgets the oldest beyond what is allowed.
    pub(crate) fn remember(&mut self, key: Key, run: Range<u64>) {
        self.keys.push_back((key, run));
        while self.keys.len() > self.most {
            self.keys.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_keys_travel_in_the_token() {
        let mut recent = Recent::read(2, &Position::default());
        assert_eq!(recent.token(), None);
        for (text, run) in [("a", 0..2), ("b", 2..3), ("c", 3..9)] {
            recent.remember(key(text.as_bytes()), run);
        }
        let later = Recent::read(2, &Position { offset: 9, token: recent.token() });
        let find = |text: &str| later.find(key(text.as_bytes()));
        assert_eq!((find("a"), find("b"), find("c")), (None, Some(2..3), Some(3..9)));
        assert_eq!(Recent::read(0, &Position { offset: 9, token: recent.token() }).token(), None);
    }
}
