//! Numbers: short ones by their digits at once, others as their text.

use super::{Scanned, Scanner};

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

impl<'a> Scanner<'a> {
    /// Reads a number; returns its text.
    #[inline]
    pub(in crate::json) fn number(&mut self) -> Scanned<&'a str> {
        let from = self.at;
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        let leading = self.bytes.get(self.at) == Some(&b'0');
        let whole = self.digits();
        if whole == 0 || (leading && whole > 1) {
            return self.wrong(if leading { "a number with a leading zero" } else { "expected a digit" });
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return self.wrong("expected a digit");
            }
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return self.wrong("expected a digit");
            }
        }
        Ok(std::str::from_utf8(self.since(from)).unwrap_or_default())
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - from
    }

    /// Reads a plain integer of at most 18 digits; `None` for anything else.
    #[inline(always)]
    pub(in crate::json) fn short_integer(&mut self) -> Option<i64> {
        let negative = self.bytes.get(self.at) == Some(&b'-');
        let from = self.at + usize::from(negative);
        let mut at = from;
        let mut value = 0_i64;
        if let Some(word) = self.word(at)
            && at + 8 <= self.bytes.len()
            && let Some(eight) = eight_digits(word)
        {
            value = eight;
            at += 8;
        }
        while let Some(digit) = self.bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
            at += 1;
        }
        let digits = at - from;
        let other = matches!(self.bytes.get(at), Some(b'.' | b'e' | b'E'));
        let leading = digits > 1 && self.bytes.get(from) == Some(&b'0');
        if digits == 0 || digits > 18 || other || leading {
            return None;
        }
        self.at = at;
        Some(if negative { -value } else { value })
    }

    /// Reads a number whose digits fit 53 bits and whose exponent is small: its nearest float is one division away.
    /// `None` for anything else.
    #[inline(always)]
    pub(in crate::json) fn short_float(&mut self) -> Option<f64> {
        let negative = self.bytes.get(self.at) == Some(&b'-');
        let from = self.at + usize::from(negative);
        let mut at = from;
        let mut value = 0_u64;
        let digit = |at: usize| self.bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9);
        while let Some(digit) = digit(at) {
            value = value.wrapping_mul(10).wrapping_add(digit.into());
            at += 1;
        }
        let whole = at - from;
        let mut fraction = 0;
        if self.bytes.get(at) == Some(&b'.') {
            at += 1;
            let point = at;
            while let Some(digit) = digit(at) {
                value = value.wrapping_mul(10).wrapping_add(digit.into());
                at += 1;
            }
            fraction = at - point;
            if fraction == 0 {
                return None;
            }
        }
        let leading = whole > 1 && self.bytes.get(from) == Some(&b'0');
        let far = whole + fraction > 19 || value > 1 << 53 || matches!(self.bytes.get(at), Some(b'e' | b'E'));
        if whole == 0 || leading || far {
            return None;
        }
        self.at = at;
        let value = value as f64 / POWERS.get(fraction).copied()?;
        Some(if negative { -value } else { value })
    }
}

/// Powers of ten that are exact.
const POWERS: [f64; 20] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19];

/// Parses eight digits at once, if all eight are digits.
#[inline(always)]
fn eight_digits(word: u64) -> Option<i64> {
    let digits = word.wrapping_sub(LOW * b'0' as u64);
    // Each byte is at most 9 if neither it nor it plus 118 has the high bit.
    if (digits | digits.wrapping_add(LOW * 118) | word) & HIGH != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    let eight = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff;
    i64::try_from(eight).ok()
}
