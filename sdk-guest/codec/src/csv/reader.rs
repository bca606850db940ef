//! Splits a message into records and values: strictly, in linear time, and without copying, except for doubled quotes.

use super::{BOM, Style};

/// The records of one message. Reused from message to message, so that reading one allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    style: Style,
    cells: Vec<Cell>,
    /// Where each record ends in `cells`.
    ends: Vec<usize>,
    /// Values with doubled quotes, undoubled.
    undoubled: Vec<u8>,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Where it begins in the message, including its quote.
    at: u32,
    from: u32,
    to: u32,
    quoted: bool,
    undoubled: bool,
}

impl Cell {
    /// Where its text is in the input bytes, if it is there unchanged.
    #[must_use]
    #[inline]
    pub fn place(self) -> Option<(usize, usize)> {
        (!self.undoubled).then_some((self.from as usize, self.to as usize))
    }
}

/// The bytes of a value, and whether it was quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Its text.
    pub bytes: &'a [u8],
    /// Whether it was quoted.
    pub quoted: bool,
}

/// What is wrong with a message, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The kind of error.
    pub kind: WrongKind,
    /// Byte offset.
    pub at: usize,
    /// Where the value containing it begins.
    pub from: usize,
    /// Index of the value in its record.
    pub column: usize,
}

/// The errors a record can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongKind {
    /// A quote is not closed.
    OpenQuote,
    /// Something other than a delimiter or a line end follows a closing quote.
    AfterQuote,
    /// A carriage return outside quotes without a line feed after it, also at the end: who cuts at line ends cuts both.
    LoneReturn,
}

impl Reader {
    /// A reader of this style.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { style, ..Self::default() }
    }

    /// Splits the message in `bytes[from..to]`. `bytes` is at most 4 GiB.
    ///
    /// # Errors
    /// The message is malformed; then there are no records.
    pub fn read(&mut self, bytes: &[u8], from: usize, to: usize) -> Result<(), Wrong> {
        self.cells.clear();
        self.ends.clear();
        self.undoubled.clear();
        let to = to.min(bytes.len());
        let mut at = from;
        while at < to {
            let marked = bytes.get(at..to).is_some_and(|rest| rest.starts_with(BOM));
            let begin = if marked { at + BOM.len() } else { at };
            at = match (bytes.get(begin), bytes.get(begin + 1)) {
                _ if begin == to => to,
                (Some(b'\n'), _) => begin + 1,
                (Some(b'\r'), Some(b'\n')) if begin + 1 < to => begin + 2,
                _ => self.record(bytes, begin, to).inspect_err(|_| self.ends.clear())?,
            };
        }
        Ok(())
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none: all lines are blank.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The cells of a record.
    #[must_use]
    pub fn cells(&self, record: usize) -> &[Cell] {
        let from = record.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let to = self.ends.get(record).copied().unwrap_or(from);
        self.cells.get(from..to).unwrap_or_default()
    }

    /// The value in a cell; `bytes` are the ones last read.
    #[must_use]
    #[inline]
    pub fn value<'a>(&'a self, bytes: &'a [u8], cell: Cell) -> Value<'a> {
        let held: &'a [u8] = if cell.undoubled { &self.undoubled } else { bytes };
        Value { bytes: held.get(cell.from as usize..cell.to as usize).unwrap_or_default(), quoted: cell.quoted }
    }

    /// The values of a record.
    pub fn values<'a>(&'a self, bytes: &'a [u8], record: usize) -> impl Iterator<Item = Value<'a>> + Clone {
        self.cells(record).iter().map(move |&cell| self.value(bytes, cell))
    }

    /// Where a value begins in the bytes last read, including its quote.
    #[must_use]
    pub fn start(&self, record: usize, column: usize) -> Option<usize> {
        self.cells(record).get(column).map(|cell| cell.at as usize)
    }

    /// Reads the record that begins at `at`; returns where the next one begins.
    fn record(&mut self, bytes: &[u8], mut at: usize, to: usize) -> Result<usize, Wrong> {
        let first = self.cells.len();
        let (delimiter, quote) = (self.style.delimiter(), self.style.quote());
        loop {
            let from = at;
            if at < to && bytes.get(at) == Some(&quote) {
                at = self.quoted(bytes, at + 1, to).map_err(|at| Wrong {
                    kind: WrongKind::OpenQuote,
                    at,
                    from,
                    column: self.cells.len() - first,
                })?;
            } else {
                at = end_of_plain(bytes, at, to, delimiter);
                self.push(Cell { at: place(from), from: place(from), to: place(at), quoted: false, undoubled: false });
            }
            let column = self.cells.len() - first - 1;
            let wrong = |kind| Wrong { kind, at, from, column };
            let next = if at < to { bytes.get(at).copied() } else { None };
            match next {
                Some(byte) if byte == delimiter => at += 1,
                None => break,
                Some(b'\n') => {
                    at += 1;
                    break;
                }
                Some(b'\r') if at + 1 < to && bytes.get(at + 1) == Some(&b'\n') => {
                    at += 2;
                    break;
                }
                Some(b'\r') => return Err(wrong(WrongKind::LoneReturn)),
                Some(_) => return Err(wrong(WrongKind::AfterQuote)),
            }
        }
        self.ends.push(self.cells.len());
        Ok(at)
    }

    /// Reads a value whose opening quote is just before `from`: returns where it ends, after the closing quote, or the
    /// position of the unclosed quote.
    fn quoted(&mut self, bytes: &[u8], from: usize, to: usize) -> Result<usize, usize> {
        let (start, begin, mut at, mut doubled) = (place(from - 1), self.undoubled.len(), from, false);
        let within = bytes.get(..to).unwrap_or_default();
        loop {
            let length = memchr::memchr(self.style.quote(), within.get(at..).unwrap_or_default()).ok_or(from - 1)?;
            let close = at + length;
            if within.get(close + 1) == Some(&self.style.quote()) {
                doubled = true;
                self.undoubled.extend_from_slice(within.get(at..=close).unwrap_or_default());
                at = close + 2;
                continue;
            }
            let cell = if doubled {
                self.undoubled.extend_from_slice(within.get(at..close).unwrap_or_default());
                Cell { at: start, from: place(begin), to: place(self.undoubled.len()), quoted: true, undoubled: true }
            } else {
                Cell { at: start, from: place(from), to: place(close), quoted: true, undoubled: false }
            };
            self.push(cell);
            return Ok(close + 1);
        }
    }

    #[inline]
    fn push(&mut self, cell: Cell) {
        self.cells.push(cell);
    }
}

#[inline]
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Where the unquoted value at `at` ends: at a delimiter, at a line end, or at `to`.
///
/// Eight bytes at a time: values are short, so a search that needs setup for each costs more than it saves. Bytes after
/// `to` may be read, but are never the answer.
#[inline]
fn end_of_plain(bytes: &[u8], mut at: usize, to: usize, delimiter: u8) -> usize {
    while let Some(eight) = bytes.get(at..at + 8).and_then(|eight| <[u8; 8]>::try_from(eight).ok()) {
        let word = u64::from_le_bytes(eight);
        let stops = equal(word, delimiter) | equal(word, b'\n') | equal(word, b'\r');
        if stops != 0 {
            return (at + stops.trailing_zeros() as usize / 8).min(to);
        }
        at += 8;
        if at >= to {
            return to;
        }
    }
    let stops = |byte: &u8| *byte == delimiter || matches!(byte, b'\n' | b'\r');
    bytes.get(at..to).unwrap_or_default().iter().position(stops).map_or(to, |stop| at + stop)
}

/// The highest bit of every byte in `word` equal to `byte`, and no other.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_le_bytes([0x7f; 8]);
    let zero = word ^ u64::from_le_bytes([byte; 8]);
    !(((zero & LOW) + LOW) | zero | LOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Record<'a> = &'a [&'a str];

    fn read(text: &[u8]) -> Result<Vec<Vec<String>>, Wrong> {
        let mut reader = Reader::new(Style::default());
        // A message among others, and alone: what lies around it is not looked at.
        let around = [b"\"x\",\n\"".as_slice(), text, b"\",\"y\"\n,,,,,,,".as_slice()].concat();
        let told = |reader: &Reader, bytes: &[u8]| -> Vec<Vec<String>> {
            let shown = |value: Value<'_>| {
                let mark = if value.quoted { "'" } else { "" };
                format!("{mark}{}{mark}", String::from_utf8_lossy(value.bytes))
            };
            (0..reader.len()).map(|record| reader.values(bytes, record).map(shown).collect()).collect()
        };
        let among = reader.read(&around, 6, 6 + text.len()).map(|()| told(&reader, &around));
        let alone = reader.read(text, 0, text.len()).map(|()| told(&reader, text));
        let moved = |wrong: Wrong| Wrong { at: wrong.at - 6, from: wrong.from - 6, ..wrong };
        assert_eq!(among.map_err(moved), alone, "{text:?}");
        alone
    }

    fn check(text: &str, expected: &[Record<'_>]) {
        assert_eq!(read(text.as_bytes()).unwrap(), expected, "{text:?}");
    }

    fn wrong(text: &str, kind: WrongKind, at: usize, column: usize) {
        let wrong = read(text.as_bytes()).unwrap_err();
        assert_eq!((wrong.kind, wrong.at, wrong.column), (kind, at, column), "{text:?}");
    }

    #[test]
    fn values_are_told_apart() {
        check("a,b", &[&["a", "b"]]);
        check("a,b\r\n\r\nc,\n", &[&["a", "b"], &["c", ""]]);
        check("\"a,\n\"\"b\"\"\",c", &[&["'a,\n\"b\"'", "c"]]);
        check("\"\"\n,\n", &[&["''"], &["", ""]]);
        check("x\"y,5\"\n", &[&["x\"y", "5\""]]);
        check(" \"a\" , b", &[&[" \"a\" ", " b"]]);
        check("\u{feff}\"id\",a\n\u{feff}b", &[&["'id'", "a"], &["b"]]);
        check("", &[]);
        check("\n\r\n", &[]);
        check(
            "long value without an end,another long one,\"and a quoted one\"",
            &[&["long value without an end", "another long one", "'and a quoted one'"]],
        );
        check("a\0b,\0", &[&["a\0b", "\0"]]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        wrong("a,\"b", WrongKind::OpenQuote, 2, 1);
        wrong("a,b\nc,\"d\"\"", WrongKind::OpenQuote, 6, 1);
        wrong("\"a\"b,c", WrongKind::AfterQuote, 3, 0);
        wrong("x,\"a\" ,c", WrongKind::AfterQuote, 5, 1);
        wrong("a\rb", WrongKind::LoneReturn, 1, 0);
        wrong("\"a\"\rb", WrongKind::LoneReturn, 3, 0);
        wrong("a,b\r\r\n", WrongKind::LoneReturn, 3, 1);
        wrong("a,b\r", WrongKind::LoneReturn, 3, 1);
        wrong("a,\"b\"\r", WrongKind::LoneReturn, 5, 1);
        wrong("\n\r", WrongKind::LoneReturn, 1, 0);
    }
}
