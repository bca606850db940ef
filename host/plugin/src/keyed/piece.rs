//! A piece of a sorted run: entries in one sequence of bytes, written once and found by binary search where they lie.
//!
//! ```text
//! "run" 1 │ count │ end of each key │ end of each value │ a bit for each removed key │ keys │ values
//! ```
//!
//! Numbers are 32 bits, little-endian. Given entries have one form only.

use bytes::Bytes;
use spout_base::spill::{self, Unspilled};

use super::{
    Entry,
    filter::{Filter, Hash},
};

const MAGIC: &[u8; 4] = b"run\x01";
const HEAD: usize = MAGIC.len() + WORD;
const WORD: usize = 4;

/// Entries that never change.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    count: usize,
    filter: Filter,
}

impl Piece {
    /// The piece that `bytes` are.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn open(bytes: Bytes) -> Result<Self, String> {
        let count = bytes.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk()).ok_or("it is no piece of a run")?;
        let count = u32::from_le_bytes(*count) as usize;
        let fixed = count.checked_mul(2 * WORD).and_then(|ends| ends.checked_add(HEAD + count.div_ceil(8)));
        if fixed.is_none_or(|fixed| fixed > bytes.len()) {
            return Err(format!("it is too short for {count} entries"));
        }
        let piece = Self { bytes, count, filter: Filter::new(0) };
        let rising = |end: fn(&Self, usize) -> usize| (1..count).all(|at| end(&piece, at - 1) <= end(&piece, at));
        if !rising(Self::key_end) || !rising(Self::value_end) || piece.values_at() + piece.values() != piece.bytes.len()
        {
            return Err("the ends of its entries do not fit its bytes".into());
        }
        if (1..count).any(|at| piece.key(at - 1) >= piece.key(at)) {
            return Err("its keys do not rise".into());
        }
        Ok(Self::filtered(piece.bytes, count))
    }

    fn filtered(bytes: Bytes, count: usize) -> Self {
        let mut piece = Self { bytes, count, filter: Filter::new(count) };
        for at in 0..count {
            let hash = Hash::of(piece.key(at));
            piece.filter.add(hash);
        }
        piece
    }

    /// The key of its first entry; empty if it has none.
    pub(super) fn first(&self) -> &[u8] {
        if self.count == 0 { &[] } else { self.key(0) }
    }

    /// The key of its last entry; empty if it has none.
    pub(super) fn last(&self) -> &[u8] {
        self.count.checked_sub(1).map_or(&[], |last| self.key(last))
    }

    /// As it is stored.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it takes, in memory or not.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.filter.bytes()
    }

    /// The value of `key`, whose hash is `hash`: `None` if this piece does not have the key, `Some(None)` if it was removed.
    pub(super) fn get(&self, key: &[u8], hash: Hash) -> Option<Option<&[u8]>> {
        if !self.filter.may_have(hash) {
            return None;
        }
        let at = self.first_from(key);
        (at < self.count && self.key(at) == key).then(|| self.value(at))
    }

    /// Its entries from `key` on.
    pub(super) fn from(&self, key: &[u8]) -> impl Iterator<Item = Entry<'_>> + use<'_> {
        (self.first_from(key)..self.count).map(|at| (self.key(at), self.value(at)))
    }

    /// Index of the first entry whose key is not before `key`.
    fn first_from(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn key(&self, at: usize) -> &[u8] {
        let from = at.checked_sub(1).map_or(0, |before| self.key_end(before));
        self.slice(self.keys_at() + from, self.keys_at() + self.key_end(at))
    }

    fn value(&self, at: usize) -> Option<&[u8]> {
        let gone = self.bytes.get(HEAD + 2 * WORD * self.count + at / 8).is_some_and(|bits| bits >> (at % 8) & 1 == 1);
        let from = at.checked_sub(1).map_or(0, |before| self.value_end(before));
        (!gone).then(|| self.slice(self.values_at() + from, self.values_at() + self.value_end(at)))
    }

    fn key_end(&self, at: usize) -> usize {
        self.word(HEAD + WORD * at)
    }

    fn value_end(&self, at: usize) -> usize {
        self.word(HEAD + WORD * (self.count + at))
    }

    fn keys_at(&self) -> usize {
        HEAD + 2 * WORD * self.count + self.count.div_ceil(8)
    }

    fn values_at(&self) -> usize {
        self.keys_at() + self.count.checked_sub(1).map_or(0, |last| self.key_end(last))
    }

    fn values(&self) -> usize {
        self.count.checked_sub(1).map_or(0, |last| self.value_end(last))
    }

    fn word(&self, at: usize) -> usize {
        self.bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word) as usize)
    }

    fn slice(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }
}

/// A piece that is being put together.
#[derive(Default)]
pub(super) struct Columns {
    key_ends: Vec<u8>,
    value_ends: Vec<u8>,
    gone: Vec<u8>,
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Columns {
    /// Adds an entry, whose key is behind all that are there. Together they have fewer than 4 GiB.
    pub(super) fn push(&mut self, (key, value): Entry<'_>) {
        let at = self.count();
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value.unwrap_or_default());
        self.key_ends.extend_from_slice(&(self.keys.len() as u32).to_le_bytes());
        self.value_ends.extend_from_slice(&(self.values.len() as u32).to_le_bytes());
        if at.is_multiple_of(8) {
            self.gone.push(0);
        }
        if let (None, Some(bits)) = (value, self.gone.last_mut()) {
            *bits |= 1 << (at % 8);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.key_ends.len() / WORD
    }

    /// Bytes so far, about.
    pub(super) fn size(&self) -> usize {
        2 * self.key_ends.len() + self.keys.len() + self.values.len()
    }

    /// The piece, in a file if it is large.
    pub(super) fn piece(self) -> Result<Piece, Unspilled> {
        let count = self.count();
        let head = (count as u32).to_le_bytes();
        let parts = [MAGIC, &head, &*self.key_ends, &self.value_ends, &self.gone, &self.keys, &self.values];
        Ok(Piece::filtered(spill::spilled(&parts)?, count))
    }
}
