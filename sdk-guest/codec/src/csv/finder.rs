//! Where records end in a stream of bytes that arrives in pieces.

use super::{BOM, Style};

/// Finds the ends of records, whatever pieces the bytes arrive in.
///
/// A quote counts only at the start of a value, as in [`super::Reader`]: both agree on where a record ends. A malformed
/// record ends where its line does once its quotes are closed, so it does not affect its neighbours.
#[derive(Clone, Debug)]
pub struct RecordFinder {
    style: Style,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a record, after this many bytes of a byte order mark.
    Start(usize),
    /// At the start of a value.
    Begin,
    /// Within an unquoted value.
    Plain,
    Quoted,
    /// After a quote within quotes: the end of the value, or the first half of a doubled one.
    Closing,
}

impl RecordFinder {
    /// A finder at the start of a record.
    #[must_use]
    pub fn new(style: Style) -> Self {
        Self { style, state: State::Start(0) }
    }

    /// Where the record that continues in `bytes` ends: after its line feed. `None` if it continues past them; the next
    /// call gets the bytes that follow, none twice. After an end the next call begins a record.
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Start(matched) if BOM.get(matched) == Some(&byte) => {
                    self.state = State::Start(matched + 1);
                    at += 1;
                }
                State::Start(0 | 3) => self.state = State::Begin,
                State::Start(_) => self.state = State::Plain,
                State::Quoted => {
                    let close = memchr::memchr(self.style.quote(), bytes.get(at..)?)?;
                    self.state = State::Closing;
                    at += close + 1;
                }
                State::Begin | State::Closing if byte == self.style.quote() => {
                    self.state = State::Quoted;
                    at += 1;
                }
                State::Begin | State::Plain | State::Closing => match self.unquoted(bytes, at) {
                    Ok(end) => return Some(end),
                    Err(next) => at = next,
                },
            }
        }
        None
    }

    /// Whether the bytes so far end within quotes.
    #[must_use]
    pub fn is_quoted(&self) -> bool {
        self.state == State::Quoted
    }

    /// Continues from `at`, which is outside quotes and opens none: the end of the record, or where to continue.
    fn unquoted(&mut self, bytes: &[u8], at: usize) -> Result<usize, usize> {
        let rest = bytes.get(at..).unwrap_or_default();
        let opens = |stop: usize| stop > 0 && rest.get(stop - 1) == Some(&self.style.delimiter());
        for stop in memchr::memchr2_iter(b'\n', self.style.quote(), rest) {
            if rest.get(stop) == Some(&b'\n') {
                self.state = State::Start(0);
                return Ok(at + stop + 1);
            }
            if opens(stop) {
                self.state = State::Quoted;
                return Err(at + stop + 1);
            }
        }
        self.state = if opens(rest.len()) { State::Begin } else { State::Plain };
        Err(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &[u8], cuts: &[usize]) -> (Vec<usize>, bool) {
        let mut finder = RecordFinder::new(Style::default());
        let (mut ends, mut from) = (Vec::new(), 0);
        for &cut in cuts.iter().chain([&text.len()]) {
            while let Some(end) = finder.find(&text[from..cut]) {
                from += end;
                ends.push(from);
            }
            from = cut;
        }
        (ends, finder.is_quoted())
    }

    fn check(text: &str, expected: &[&str], open: bool) {
        let text = text.as_bytes();
        let (found, quoted) = ends(text, &[]);
        let records: Vec<&str> = std::iter::once(0)
            .chain(found.iter().copied())
            .zip(&found)
            .map(|(from, &to)| std::str::from_utf8(&text[from..to]).unwrap())
            .collect();
        assert_eq!((records.as_slice(), quoted), (expected, open), "{text:?}");
        for first in 0..=text.len() {
            for second in first..=text.len() {
                assert_eq!(
                    ends(text, &[first, second]),
                    (found.clone(), quoted),
                    "{text:?} cut at {first} and {second}"
                );
            }
        }
        let every: Vec<usize> = (0..text.len()).collect();
        assert_eq!(ends(text, &every), (found, quoted), "{text:?} byte by byte");
    }

    #[test]
    fn records_end_outside_quotes_whatever_the_cuts() {
        check("a,b\r\nc", &["a,b\r\n"], false);
        check("a,\"x\ny\"\n\"\"\"\n\"\"\",c\n", &["a,\"x\ny\"\n", "\"\"\"\n\"\"\",c\n"], false);
        check("5\" pipe,\"\n\n\"\n", &["5\" pipe,\"\n\n\"\n"], false);
        check(" \"a\nb\"\n", &[" \"a\n", "b\"\n"], false);
        check("\"a\"b\"\nc\n", &["\"a\"b\"\n", "c\n"], false);
        check("\u{feff}\"i\nd\";b\n\u{feff}\"i\nd\";b\n", &["\u{feff}\"i\nd\";b\n", "\u{feff}\"i\nd\";b\n"], false);
        check("a\n\"open\nto the end\n", &["a\n"], true);
        check("\u{fefe}\"\n\n", &["\u{fefe}\"\n", "\n"], false);
    }
}
