//! Reads JSON tokens from one message, strictly by RFC 8259, without building anything.

use super::Wrong;

type Scanned<T> = Result<T, Wrong>;

/// The deepest nesting that can be set; one bit per level says whether it is an object.
pub(super) const DEEPEST: usize = 1024;

/// A position in one message, which is part of a longer run of bytes: words are loaded across its end, but not used.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    /// Up to the end of the message.
    bytes: &'a [u8],
    /// Past the end of the message too.
    wide: &'a [u8],
    pub(super) at: usize,
    /// Where the message begins.
    start: usize,
    /// How deeply objects and lists may nest.
    depth: usize,
}

/// A key as it usually appears in a message, ready to be compared: `"name":`.
#[derive(Debug, Default)]
pub(super) struct Likely {
    /// Empty if it cannot be compared like that.
    text: Box<[u8]>,
    /// Its first eight bytes, or fewer if it is shorter.
    first: u64,
    mask: u64,
    /// Its last eight bytes, or all if it has fewer, and where they begin.
    last: u64,
    last_at: usize,
}

impl Likely {
    pub(super) fn new(name: &[u8]) -> Self {
        // A name with something to escape could look like more than one key.
        if name.iter().any(|&byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            return Self::default();
        }
        let text = [b"\"", name, b"\":"].concat();
        let mut first = [0; 8];
        first.iter_mut().zip(&text).for_each(|(to, from)| *to = *from);
        let mask = if text.len() < 8 { (1 << (8 * text.len())) - 1 } else { u64::MAX };
        let first = u64::from_le_bytes(first);
        let last = text.last_chunk().map_or(first, |last| u64::from_le_bytes(*last));
        let last_at = text.len().saturating_sub(8);
        Self { text: text.into(), first, mask, last, last_at }
    }

    /// Resets the key, so that it never matches the next one.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// The inside of a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) inside: &'a [u8],
    pub(super) escaped: bool,
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

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
    /// The message at `from..to` of `all`.
    #[inline]
    pub(super) fn new(all: &'a [u8], from: usize, to: usize, depth: usize) -> Self {
        let bytes = all.get(..to).unwrap_or(all);
        let bom = bytes.get(from..).is_some_and(|rest| rest.starts_with(b"\xEF\xBB\xBF"));
        Self { bytes, wide: all, at: from + if bom { 3 } else { 0 }, start: from, depth: depth.min(DEEPEST) }
    }

    /// A byte of the message, by its offset in the message.
    pub(super) fn offset(&self, at: usize) -> usize {
        at - self.start
    }

    #[cold]
    pub(super) fn wrong<T>(&self, what: &'static str) -> Scanned<T> {
        Err(Wrong::syntax(what, self.offset(self.at)))
    }

    /// What was read since `from`.
    #[inline]
    pub(super) fn since(&self, from: usize) -> &'a [u8] {
        self.bytes.get(from..self.at).unwrap_or_default()
    }

    /// A part of the message.
    pub(super) fn at(&self, range: &std::ops::Range<usize>) -> &'a [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The unread rest.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The bytes from `at` on, past the end of the message.
    #[inline]
    pub(super) fn wide(&self, at: usize) -> &'a [u8] {
        self.wide.get(at..).unwrap_or_default()
    }

    #[inline(always)]
    fn word(&self, at: usize) -> Option<u64> {
        self.wide.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
    }

    /// The next byte after white space, not consumed; 0 at the end, which begins nothing either.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> u8 {
        match self.bytes.get(self.at) {
            Some(&byte) if byte > b' ' => byte,
            _ => self.peek_far(),
        }
    }

    fn peek_far(&mut self) -> u8 {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(&byte) => return byte,
                None => return 0,
            }
        }
    }

    /// Whether nothing but white space is left.
    pub(super) fn is_done(&mut self) -> bool {
        self.peek() == 0 && self.at == self.bytes.len()
    }

    /// Consumes `byte` after white space, if it is next.
    #[inline(always)]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        // An `if`, not `+= usize::from(is)`: rustc 1.95 loses a boolean that is both cast and branched on
        // (rust-lang/rust#158206).
        let is = self.peek() == byte;
        if is {
            self.at += 1;
        }
        is
    }

    /// Consumes `text` if it is next.
    #[inline]
    pub(super) fn take_all(&mut self, text: &[u8]) -> bool {
        let is = self.rest().starts_with(text);
        self.at += if is { text.len() } else { 0 };
        is
    }

    /// Consumes a key as it usually appears in a message, if it is next.
    #[inline(always)]
    pub(super) fn take_key(&mut self, key: &Likely) -> bool {
        let length = key.text.len();
        let is = match (self.word(self.at), self.word(self.at + key.last_at)) {
            // One branch for both words: keys differ in length, so that more would be guessed wrong.
            (Some(first), Some(last)) => {
                ((first ^ key.first) | (last ^ key.last)) & key.mask == 0
                    && self.at + length <= self.bytes.len()
                    && (length <= 16
                        || self.bytes.get(self.at + 8..self.at + length - 8) == key.text.get(8..length - 8))
            }
            _ => self.rest().starts_with(&key.text),
        };
        let is = is && length > 0;
        self.at += if is { length } else { 0 };
        is
    }

    /// After a value: whether another one follows before `end`.
    #[inline(always)]
    pub(super) fn more(&mut self, end: u8) -> Scanned<bool> {
        let byte = self.peek();
        if byte == b',' {
            self.at += 1;
            Ok(true)
        } else if byte == end {
            self.at += 1;
            Ok(false)
        } else if end == b'}' {
            self.wrong("expected `,` or `}`")
        } else {
            self.wrong("expected `,` or `]`")
        }
    }

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
    pub(super) fn string(&mut self) -> Scanned<Text<'a>> {
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

    /// Reads a number; returns its text.
    #[inline]
    pub(super) fn number(&mut self) -> Scanned<&'a str> {
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
    pub(super) fn short_integer(&mut self) -> Option<i64> {
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
    pub(super) fn short_float(&mut self) -> Option<f64> {
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

    /// Skips and checks one value at nesting `level`; returns its text.
    #[inline]
    pub(super) fn skip(&mut self, level: usize) -> Scanned<&'a [u8]> {
        let first = self.peek();
        let from = self.at;
        match first {
            b'{' | b'[' => self.pass(level)?,
            first => self.pass_scalar(first)?,
        }
        Ok(self.since(from))
    }

    /// Skips the next string, number or word.
    #[inline(always)]
    fn pass_scalar(&mut self, first: u8) -> Scanned<()> {
        match first {
            b'"' => self.pass_string(),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b't' if self.take_all(b"true") => Ok(()),
            b'f' if self.take_all(b"false") => Ok(()),
            b'n' if self.take_all(b"null") => Ok(()),
            _ => self.wrong("expected a value"),
        }
    }

    /// Skips the string whose quote is next.
    #[inline(always)]
    fn pass_string(&mut self) -> Scanned<()> {
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

    /// Skips a key and its colon.
    #[inline(always)]
    fn pass_key(&mut self) -> Scanned<()> {
        if self.peek() != b'"' {
            return self.wrong("expected a string");
        }
        self.pass_string()?;
        if self.take(b':') { Ok(()) } else { self.wrong("expected `:`") }
    }

    /// Skips one value without recursion, which a sender could exploit.
    fn pass(&mut self, level: usize) -> Scanned<()> {
        let mut kinds = [0_u64; DEEPEST / 64];
        let mut depth = 0;
        'value: loop {
            match self.peek() {
                open @ (b'{' | b'[') => {
                    let object = open == b'{';
                    if level + depth >= self.depth {
                        return self.wrong("nested too deep");
                    }
                    self.at += 1;
                    if !self.take(if object { b'}' } else { b']' }) {
                        if let Some(word) = kinds.get_mut(depth / 64) {
                            *word = *word & !(1 << (depth % 64)) | u64::from(object) << (depth % 64);
                        }
                        depth += 1;
                        if object {
                            self.pass_key()?;
                        }
                        continue 'value;
                    }
                }
                first => self.pass_scalar(first)?,
            }
            // A value is over, and with it as many of those around it as end here.
            while depth > 0 {
                let object = kinds.get((depth - 1) / 64).is_some_and(|word| word >> ((depth - 1) % 64) & 1 == 1);
                if self.more(if object { b'}' } else { b']' })? {
                    if object {
                        self.pass_key()?;
                    }
                    continue 'value;
                }
                depth -= 1;
            }
            return Ok(());
        }
    }

    /// Reads a key and its colon.
    #[inline]
    pub(super) fn key(&mut self) -> Scanned<Text<'a>> {
        let key = self.string()?;
        if self.take(b':') { Ok(key) } else { self.wrong("expected `:`") }
    }

    /// Enters an object or list at nesting `level`.
    #[inline(always)]
    pub(super) fn enter(&mut self, level: usize) -> Scanned<()> {
        if level >= self.depth {
            return self.wrong("nested too deep");
        }
        self.at += 1;
        Ok(())
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
    pub(super) fn unescape(self, out: &mut Vec<u8>) {
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
    pub(super) fn plain<'b>(self, room: &'b mut Vec<u8>) -> &'b [u8]
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
