//! How a message falls into fields.

use memchr::memchr_iter;
use spout_guest::{Error, Result};

use crate::Wrong;

/// The fields of one message. Kept from message to message, so that reading one allocates nothing.
#[derive(Debug)]
pub(crate) struct Record {
    delimiter: u8,
    quote: u8,
    parts: Vec<Part>,
    /// Fields in which a quote was doubled, without the doubling.
    plain: Vec<u8>,
}

/// One field: a range of the message, or of what was made of it.
#[derive(Clone, Copy, Debug)]
struct Part {
    from: usize,
    to: usize,
    quoted: bool,
    plain: bool,
}

/// The text of one field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) quoted: bool,
}

impl Value<'_> {
    /// Whether there is no value: nothing, or what stands for it; never in quotes.
    pub(crate) fn is_null(&self, null: Option<&str>) -> bool {
        !self.quoted && (self.bytes.is_empty() || null.is_some_and(|null| null.as_bytes() == self.bytes))
    }
}

impl Record {
    pub(crate) fn new(delimiter: &str, quote: char) -> Result<Self> {
        let byte = |name: &str, c: char| {
            u8::try_from(c).ok().filter(u8::is_ascii).ok_or_else(|| {
                Error::invalid_config(format!("setting `{name}` is `{c}`; it must be one plain character"))
            })
        };
        let mut chars = delimiter.chars();
        let delimiter = match (delimiter, chars.next(), chars.next()) {
            ("tab" | "\\t", ..) => b'\t',
            (_, Some(one), None) => byte("delimiter", one)?,
            _ => {
                let what = format!("setting `delimiter` is `{delimiter}`; it must be one character, or `tab`");
                return Err(Error::invalid_config(what));
            }
        };
        let quote = byte("quote", quote)?;
        match delimiter == quote {
            true => Err(Error::invalid_config("settings `delimiter` and `quote` are the same character")),
            false => Ok(Self { delimiter, quote, parts: Vec::new(), plain: Vec::new() }),
        }
    }

    /// Takes `message` apart.
    pub(crate) fn read(&mut self, message: &[u8]) -> std::result::Result<(), Wrong> {
        self.parts.clear();
        self.plain.clear();
        if let Err(error) = std::str::from_utf8(message) {
            return Err(Wrong("csv.utf8", format!("byte {} is not UTF-8", error.valid_up_to())));
        }
        let line = message.strip_suffix(b"\n").unwrap_or(message);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match memchr::memchr(self.quote, line) {
            None => self.unquoted(line),
            Some(_) => self.quoted(line)?,
        }
        let split = |part: &&Part| {
            !part.quoted && memchr::memchr(b'\n', message.get(part.from..part.to).unwrap_or_default()).is_some()
        };
        match memchr::memchr(b'\n', line).and_then(|_| self.parts.iter().find(split)) {
            Some(part) => Err(Wrong("csv.syntax", format!("a line ends within the field at byte {}", part.from))),
            None => Ok(()),
        }
    }

    /// Number of fields.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The fields of `message`, which is the one read last.
    pub(crate) fn values<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = Value<'a>> {
        self.parts.iter().map(move |part| Value {
            bytes: if part.plain { &self.plain } else { message }.get(part.from..part.to).unwrap_or_default(),
            quoted: part.quoted,
        })
    }

    /// The same as texts.
    pub(crate) fn texts<'a>(&'a self, message: &'a [u8]) -> impl Iterator<Item = String> {
        self.values(message).map(|value| String::from_utf8_lossy(value.bytes).into_owned())
    }

    fn unquoted(&mut self, line: &[u8]) {
        let mut from = 0;
        let ends = memchr_iter(self.delimiter, line).chain([line.len()]);
        for to in ends {
            self.parts.push(Part { from, to, quoted: false, plain: false });
            from = to + 1;
        }
    }

    fn quoted(&mut self, line: &[u8]) -> std::result::Result<(), Wrong> {
        let mut at = 0;
        loop {
            at = match line.get(at) {
                Some(&first) if first == self.quote => self.within_quotes(line, at + 1)?,
                _ => {
                    let rest = line.get(at..).unwrap_or_default();
                    let to = memchr::memchr(self.delimiter, rest).map_or(line.len(), |length| at + length);
                    self.parts.push(Part { from: at, to, quoted: false, plain: false });
                    to
                }
            };
            match line.get(at) {
                None => return Ok(()),
                Some(_) => at += 1,
            }
        }
    }

    /// Reads a field whose opening quote stands before `from`; where its delimiter stands, or the line ends.
    fn within_quotes(&mut self, line: &[u8], from: usize) -> std::result::Result<usize, Wrong> {
        let (begin, mut at, mut doubled) = (self.plain.len(), from, false);
        loop {
            let Some(length) = memchr::memchr(self.quote, line.get(at..).unwrap_or_default()) else {
                return Err(Wrong(
                    "csv.syntax",
                    format!("the quote at byte {} is not closed in this message", from - 1),
                ));
            };
            let close = at + length;
            if line.get(close + 1) == Some(&self.quote) {
                doubled = true;
                self.plain.extend_from_slice(line.get(at..=close).unwrap_or_default());
                at = close + 2;
                continue;
            }
            if line.get(close + 1).is_some_and(|&next| next != self.delimiter) {
                return Err(Wrong("csv.syntax", format!("something follows the closing quote at byte {close}")));
            }
            if doubled {
                self.plain.extend_from_slice(line.get(at..close).unwrap_or_default());
                self.parts.push(Part { from: begin, to: self.plain.len(), quoted: true, plain: true });
            } else {
                self.parts.push(Part { from, to: close, quoted: true, plain: false });
            }
            return Ok(close + 1);
        }
    }
}
