//! Reads JSON tokens from one message, strictly by RFC 8259, without building anything.

mod number;
mod text;

pub(super) use self::text::Text;
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
