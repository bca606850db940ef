//! Strings: found by a few instructions for 16 bytes, decoded only where somebody wants them.

use super::{Scanned, Scanner};

/// The inside of a string.
#[derive(Clone, Copy, Debug)]
pub(in crate::json) struct Text<'a> {
    pub(in crate::json) inside: &'a [u8],
    pub(in crate::json) escaped: bool,
}

/// One bit for each of 16 bytes: set for a quote, a backslash or a control character.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
fn special(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let all = u128::from_le_bytes(*chunk);
    // SAFETY: these instructions are SSE2, which every target has that this function is built for.
    unsafe {
        let bytes = _mm_set_epi64x((all >> 64) as i64, all as i64);
        let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control)) as u32
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
fn special(chunk: &[u8; 16]) -> u32 {
    use std::arch::wasm32::{i8x16_bitmask, i8x16_eq, i8x16_splat, u8x16_lt, u8x16_splat, u64x2, v128_or};
    let all = u128::from_le_bytes(*chunk);
    let bytes = u64x2(all as u64, (all >> 64) as u64);
    let quote = i8x16_eq(bytes, i8x16_splat(b'"' as i8));
    let slash = i8x16_eq(bytes, i8x16_splat(b'\\' as i8));
    let control = u8x16_lt(bytes, u8x16_splat(0x20));
    i8x16_bitmask(v128_or(v128_or(quote, slash), control)).into()
}

#[cfg(not(any(
    all(target_arch = "x86_64", target_feature = "sse2"),
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
#[inline(always)]
fn special(chunk: &[u8; 16]) -> u32 {
    let is = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    chunk.iter().enumerate().fold(0, |bits, (at, byte)| bits | u32::from(is(byte)) << at)
}

impl<'a> Scanner<'a> {
    /// The first quote, backslash or control character from `at` on, within the message.
    #[inline(always)]
    fn find_special(&self, mut at: usize) -> usize {
        while let Some(chunk) = self.wide.get(at..).and_then(|rest| rest.first_chunk()) {
            let found = special(chunk);
            if found != 0 {
                return at + found.trailing_zeros() as usize;
            }
            at += 16;
        }
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|&&byte| byte >= b' ' && byte != b'"' && byte != b'\\').count()
    }

    /// Reads the string whose quote is next.
    #[inline]
    pub(in crate::json) fn string(&mut self) -> Scanned<Text<'a>> {
        if self.peek() != b'"' {
            return self.wrong("expected a string");
        }
        let from = self.at + 1;
        let end = self.find_special(from);
        match self.bytes.get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Ok(Text { inside: self.bytes.get(from..end).unwrap_or_default(), escaped: false })
            }
            _ => self.string_far(from, end),
        }
    }

    /// The rest of a string with a special character at `at` before its closing quote.
    fn string_far(&mut self, from: usize, at: usize) -> Scanned<Text<'a>> {
        let mut escaped = false;
        self.at = at;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let inside = self.since(from);
                    self.at += 1;
                    return Ok(Text { inside, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    let (_, length) = match escape(self.rest()) {
                        Ok(found) => found,
                        Err(what) => return self.wrong(what),
                    };
                    self.at += length;
                }
                Some(0..0x20) => return self.wrong("a control character in a string, which must be escaped"),
                Some(_) => self.at += 1,
                None => {
                    self.at = self.bytes.len();
                    return self.wrong("a string without an end");
                }
            }
            self.at = self.find_special(self.at).min(self.bytes.len());
        }
    }

    /// Skips the string whose quote is next.
    #[inline(always)]
    pub(super) fn pass_string(&mut self) -> Scanned<()> {
        let from = self.at + 1;
        let end = self.find_special(from);
        match self.bytes.get(end) {
            Some(b'"') => {
                self.at = end + 1;
                Ok(())
            }
            _ => self.string_far(from, end).map(|_| ()),
        }
    }
}

/// The character that an escape stands for, and the escape's length.
fn escape(text: &[u8]) -> Result<(char, usize), &'static str> {
    let simple = match text.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(text),
        _ => return Err("an unknown escape in a string"),
    };
    Ok((simple, 2))
}

/// The character of `\uXXXX`, or of a surrogate pair.
fn unicode(text: &[u8]) -> Result<(char, usize), &'static str> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 4)?;
        digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
    };
    let code = unit(2).ok_or("a broken \\u escape in a string")?;
    let pair = match code {
        0xd800..=0xdbff if text.get(6..8) == Some(b"\\u") => match unit(8) {
            Some(low @ 0xdc00..=0xdfff) => Some((0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00), 12)),
            _ => None,
        },
        0xd800..=0xdfff => None,
        code => Some((code, 6)),
    };
    let found = pair.and_then(|(code, length)| Some((char::from_u32(code)?, length)));
    found.ok_or("half of a surrogate pair in a string, which is no character")
}

impl<'a> Text<'a> {
    /// Appends the decoded text.
    pub(in crate::json) fn unescape(self, out: &mut Vec<u8>) {
        let mut rest = self.inside;
        while let Some(next) = memchr::memchr(b'\\', rest) {
            let (plain, from) = rest.split_at(next);
            out.extend_from_slice(plain);
            // The string was taken, so that all its escapes are sound.
            let (c, length) = escape(from).unwrap_or(('\u{fffd}', 2));
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = from.get(length..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
    }

    /// The decoded text; `room` holds it if it has escapes.
    pub(in crate::json) fn plain<'b>(self, room: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        if !self.escaped {
            return self.inside;
        }
        room.clear();
        self.unescape(room);
        room
    }
}
