//! Bits in Arrow's layout: validity, and booleans.

/// Bits, least significant first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    bytes: Vec<u8>,
    len: usize,
    set: usize,
}

impl Bits {
    /// Appends a bit.
    #[inline]
    pub fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (self.len % 8);
        }
        self.len += 1;
        self.set += usize::from(bit);
    }

    /// Appends `count` equal bits.
    pub fn extend(&mut self, bit: bool, count: usize) {
        let end = self.len + count;
        if bit {
            while self.len < end && !self.len.is_multiple_of(8) {
                self.push(true);
            }
            let whole = (end - self.len) / 8;
            if whole > 0 {
                self.bytes.resize(self.bytes.len() + whole, u8::MAX);
                self.len += whole * 8;
                self.set += whole * 8;
            }
            while self.len < end {
                self.push(true);
            }
        } else {
            // Bits behind the end are not set already.
            self.bytes.resize(end.div_ceil(8), 0);
            self.len = end;
        }
    }

    /// Reserves space for `count` more bits.
    ///
    /// # Errors
    /// Out of memory.
    pub fn try_reserve(&mut self, count: usize) -> Result<(), std::collections::TryReserveError> {
        self.bytes.try_reserve(count.div_ceil(8))
    }

    /// The bit at `at`; false if out of range.
    #[must_use]
    #[inline]
    pub fn get(&self, at: usize) -> bool {
        at < self.len && self.bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    /// Number of bits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of bits that are not set.
    #[must_use]
    pub fn unset(&self) -> usize {
        self.len - self.set
    }

    /// Removes all bits from `len` on, at a cost proportional to their number.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.set -= (len..self.len).filter(|&at| self.get(at)).count();
        self.len = len;
        self.bytes.truncate(len.div_ceil(8));
        if let (Some(last), true) = (self.bytes.last_mut(), !len.is_multiple_of(8)) {
            *last &= (1 << (len % 8)) - 1;
        }
    }

    /// `len` bits from `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>, len: usize) -> Self {
        let mut bits = Self { bytes, len, set: 0 };
        bits.set = (0..len).filter(|&at| bits.get(at)).count();
        bits
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
