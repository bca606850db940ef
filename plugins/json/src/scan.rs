//! Reads JSON tokens out of one message, without building anything.

use memchr::memchr2;

use crate::Wrong;

/// Objects and lists deeper than this are refused.
const DEPTH: u32 = 128;

/// A place in one message.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

type Scanned<T> = Result<T, Wrong>;

impl<'a> Scanner<'a> {
    /// The beginning of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn wrong<T>(&self, what: &'static str) -> Scanned<T> {
        Err(Wrong::Syntax(what, self.at))
    }

    /// The next byte after white space, not taken.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes `byte` after white space, if it is next.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    /// Takes `text` if it is next.
    #[inline]
    pub(crate) fn take_all(&mut self, text: &[u8]) -> bool {
        let is = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(text));
        if is {
            self.at += text.len();
        }
        is
    }

    /// After a value: whether another one follows before `end`.
    #[inline]
    pub(crate) fn more(&mut self, end: u8) -> Scanned<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ => self.wrong("expected a comma or an end"),
        }
    }

    /// The inside of a string whose opening quote is next, and whether it has escapes.
    #[inline]
    pub(crate) fn string(&mut self) -> Scanned<(&'a [u8], bool)> {
        if !self.take(b'"') {
            return self.wrong("expected a string");
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(next) = memchr2(b'"', b'\\', rest) else { return self.wrong("a string without an end") };
            self.at += next + 1;
            if rest.get(next) == Some(&b'"') {
                let inside = self.bytes.get(start..self.at - 1).unwrap_or_default();
                if inside.iter().any(|&byte| byte < 0x20) {
                    return self.wrong("a control character in a string");
                }
                return Ok((inside, escaped));
            }
            escaped = true;
            self.at += 1;
        }
    }

    /// Appends the text of a string with escapes.
    pub(crate) fn unescape(&self, inside: &[u8], out: &mut Vec<u8>) -> Scanned<()> {
        let mut rest = inside;
        while let Some(next) = memchr::memchr(b'\\', rest) {
            let (plain, escape) = rest.split_at(next);
            out.extend_from_slice(plain);
            let simple = match escape.get(1) {
                Some(b'"') => b'"',
                Some(b'\\') => b'\\',
                Some(b'/') => b'/',
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'u') => {
                    let (c, length) = self.unicode(escape)?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = escape.get(length..).unwrap_or_default();
                    continue;
                }
                _ => return self.wrong("an unknown escape in a string"),
            };
            out.push(simple);
            rest = escape.get(2..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
        Ok(())
    }

    /// The character of `\uXXXX`, or of two such for one beyond the first plane, and the bytes it takes.
    fn unicode(&self, escape: &[u8]) -> Scanned<(char, usize)> {
        let unit = |at: usize| {
            let digits = escape.get(at..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
            digits.filter(|digits| !digits.starts_with('+')).and_then(|digits| u32::from_str_radix(digits, 16).ok())
        };
        let pair = match unit(2) {
            Some(high @ 0xD800..=0xDBFF) if escape.get(6..8) == Some(b"\\u") => match unit(8) {
                Some(low @ 0xDC00..=0xDFFF) => Some((0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), 12)),
                _ => None,
            },
            Some(one) => Some((one, 6)),
            None => None,
        };
        match pair.and_then(|(code, length)| Some((char::from_u32(code)?, length))) {
            Some(found) => Ok(found),
            None => self.wrong("a broken \\u escape in a string"),
        }
    }

    /// A number as text, and whether it is whole.
    #[inline]
    pub(crate) fn number(&mut self) -> Scanned<(&'a str, bool)> {
        let start = self.at;
        let mut whole = true;
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        let leading = self.at;
        let first = self.digits();
        if first == 0 || (first > 1 && self.bytes.get(leading) == Some(&b'0')) {
            return self.wrong("a broken number");
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            (whole, self.at) = (false, self.at + 1);
            if self.digits() == 0 {
                return self.wrong("a broken number");
            }
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            (whole, self.at) = (false, self.at + 1);
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return self.wrong("a broken number");
            }
        }
        let text = self.bytes.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok());
        Ok((text.unwrap_or_default(), whole))
    }

    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        self.at - start
    }

    /// Passes over one value and checks it; its text.
    pub(crate) fn skip(&mut self) -> Scanned<&'a [u8]> {
        self.peek();
        let start = self.at;
        self.pass(DEPTH)?;
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    fn pass(&mut self, depth: u32) -> Scanned<()> {
        let Some(depth) = depth.checked_sub(1) else { return self.wrong("nested too deep") };
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                if self.take(b'}') {
                    return Ok(());
                }
                loop {
                    self.string()?;
                    if !self.take(b':') {
                        return self.wrong("expected a colon");
                    }
                    self.pass(depth)?;
                    if !self.more(b'}')? {
                        return Ok(());
                    }
                }
            }
            Some(b'[') => {
                self.at += 1;
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    self.pass(depth)?;
                    if !self.more(b']')? {
                        return Ok(());
                    }
                }
            }
            Some(b'"') => self.string().and_then(|(inside, escaped)| match escaped {
                true => self.unescape(inside, &mut Vec::new()),
                false => Ok(()),
            }),
            Some(b't') if self.take_all(b"true") => Ok(()),
            Some(b'f') if self.take_all(b"false") => Ok(()),
            Some(b'n') if self.take_all(b"null") => Ok(()),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ => self.wrong("expected a value"),
        }
    }
}
