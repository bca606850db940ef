//! Random numbers that follow from a seed and an event's number.

/// SplitMix64: small, fast, and good enough to spread bids.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of one event.
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        Self(seed.rotate_left(32) ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// One of `of`.
    pub(crate) fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.get(self.below(of.len() as u64) as usize).copied().unwrap_or_default()
    }

    /// Between 1 and 10^8 cents, small prices more often.
    pub(crate) fn price(&mut self) -> u64 {
        let digits = self.below(6) as u32;
        let size = 10_u64.pow(digits + 2);
        size + self.below(size * 9)
    }

    /// Appends `length` lower-case letters.
    pub(crate) fn letters(&mut self, length: usize, to: &mut Vec<u8>) {
        let mut bits = 0;
        for at in 0..length {
            if at % 8 == 0 {
                bits = self.next();
            }
            to.push(b'a' + (((bits & 0xff) * 26) >> 8) as u8);
            bits >>= 8;
        }
    }
}
