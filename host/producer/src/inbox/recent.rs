//! Keys of the last messages that clients sent with one: the same messages, sent again, are stored once.

use std::{collections::VecDeque, ops::Range};

use sha2::{Digest, Sha256};
use spout_data::{Blobs, Position};

/// What is remembered of a key, and of the messages that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    name: [u8; 16],
    messages: [u8; 8],
}

/// Bytes of one entry of a token: the key, its messages, the first offset, and how many messages there are.
const ENTRY: usize = 16 + 8 + 8 + 4;

/// The last keys with where their messages stand. It travels as the token of the position, so it is committed with them.
#[derive(Debug)]
pub(crate) struct Recent {
    most: usize,
    keys: VecDeque<(Key, Range<u64>)>,
}

impl Key {
    /// What is remembered of the key `text` and its messages, the `first` record of their body among them.
    pub(crate) fn of(text: &[u8], first: &[u8], messages: &Blobs) -> Self {
        let mut key = Self { name: [0; 16], messages: [0; 8] };
        key.name.copy_from_slice(&Sha256::digest(text)[..16]);
        let mut hash = Sha256::new();
        messages.bounds.iter().for_each(|bound| hash.update(bound.to_le_bytes()));
        hash.update(&messages.bytes);
        hash.update(first);
        key.messages.copy_from_slice(&hash.finalize()[..8]);
        key
    }
}

/// What is known of a key that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    New,
    /// With the same messages, which stand here.
    Repeated(Range<u64>),
    /// With other messages.
    Taken,
}

impl Recent {
    /// The keys that `position` holds, at most `most` of them.
    pub(crate) fn read(most: usize, position: &Position) -> Self {
        let mut recent = Self { most, keys: VecDeque::new() };
        for entry in position.token.as_deref().unwrap_or_default().chunks_exact(ENTRY) {
            let Some((name, rest)) = entry.split_first_chunk::<16>() else { continue };
            let Some((messages, rest)) = rest.split_first_chunk::<8>() else { continue };
            let Some((first, count)) = rest.split_first_chunk::<8>() else { continue };
            let first = u64::from_le_bytes(*first);
            let count = count.first_chunk::<4>().map_or(0, |count| u32::from_le_bytes(*count));
            recent.remember(Key { name: *name, messages: *messages }, first..first + u64::from(count));
        }
        recent
    }

    /// The token of a position that holds them; `None` if there is none.
    pub(crate) fn token(&self) -> Option<Vec<u8>> {
        let entry = |(key, run): &(Key, Range<u64>)| {
            let count = u32::try_from(run.end - run.start).unwrap_or(u32::MAX);
            [&key.name[..], &key.messages, &run.start.to_le_bytes(), &count.to_le_bytes()].concat()
        };
        (!self.keys.is_empty()).then(|| self.keys.iter().flat_map(entry).collect())
    }

    /// Whether `key` came before.
    pub(crate) fn find(&self, key: Key) -> Known {
        match self.keys.iter().rev().find(|(known, _)| known.name == key.name) {
            None => Known::New,
            Some((known, run)) if *known == key => Known::Repeated(run.clone()),
            Some(_) => Known::Taken,
        }
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
        let key = |text: &str, message: &str| {
            let mut messages = Blobs::default();
            messages.push(message.as_bytes());
            Key::of(text.as_bytes(), &[], &messages)
        };
        for (text, run) in [("a", 0..2), ("b", 2..3), ("c", 3..9)] {
            recent.remember(key(text, text), run);
        }
        let later = Recent::read(2, &Position { offset: 9, token: recent.token() });
        let find = |text: &str| later.find(key(text, text));
        let repeated = Known::Repeated;
        assert_eq!([find("a"), find("b"), find("c")], [Known::New, repeated(2..3), repeated(3..9)]);
        assert_eq!(later.find(key("c", "other")), Known::Taken);
        assert_eq!(Recent::read(0, &Position { offset: 9, token: recent.token() }).token(), None);
    }
}
