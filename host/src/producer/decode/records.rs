//! Takes CSV text apart: records, values, quotes.

/// What separates and quotes values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
}

/// Records of many messages, as bounds over one run of text.
#[derive(Debug, Default)]
pub(super) struct Records {
    text: String,
    /// End of each value in `text`, and whether it was quoted.
    values: Vec<(usize, bool)>,
    /// End of each record in `values`, and its message.
    records: Vec<(usize, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Begin,
    Plain,
    Quoted,
    /// After a quote within quotes.
    Closing,
}

impl Records {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The first record, if there is one.
    pub(super) fn first(&self) -> Option<usize> {
        (!self.records.is_empty()).then_some(0)
    }

    pub(super) fn message(&self, record: usize) -> u32 {
        self.records.get(record).map_or(u32::MAX, |&(_, message)| message)
    }

    fn range(&self, record: usize) -> std::ops::Range<usize> {
        let end = |record: usize| self.records.get(record).map_or(0, |&(end, _)| end);
        if record == 0 { 0..end(0) } else { end(record - 1)..end(record) }
    }

    /// Number of values of `record`.
    pub(super) fn len_of(&self, record: usize) -> usize {
        self.range(record).len()
    }

    /// The values of `record`, and whether they were quoted.
    pub(super) fn values(&self, record: usize) -> impl Iterator<Item = (&str, bool)> {
        self.range(record).map(|value| self.at(value))
    }

    /// The value of column `index` of `record`, and whether it was quoted.
    pub(super) fn value(&self, record: usize, index: usize) -> Option<(&str, bool)> {
        self.range(record).nth(index).map(|value| self.at(value))
    }

    fn at(&self, value: usize) -> (&str, bool) {
        let (end, quoted) = self.values[value];
        let start = value.checked_sub(1).map_or(0, |before| self.values[before].0);
        (&self.text[start..end], quoted)
    }

    /// Adds the records of a message, or none of them.
    ///
    /// # Errors
    /// A quote is not closed.
    pub(super) fn split(&mut self, message: u32, text: &str, style: Style) -> Result<(), String> {
        let before = (self.text.len(), self.values.len(), self.records.len());
        let result = self.append(message, text.strip_prefix('\u{feff}').unwrap_or(text), style);
        if result.is_err() {
            self.text.truncate(before.0);
            self.values.truncate(before.1);
            self.records.truncate(before.2);
        }
        result
    }

    fn append(&mut self, message: u32, text: &str, Style { delimiter, quote }: Style) -> Result<(), String> {
        let (delimiter, quote) = (char::from(delimiter), char::from(quote));
        let (mut state, mut quoted) = (State::Begin, false);
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            let line_end = c == '\n' || c == '\r' && matches!(rest.peek(), Some('\n') | None);
            state = match state {
                State::Quoted if c == quote => State::Closing,
                State::Quoted => self.take(c, State::Quoted),
                State::Closing if c == quote => self.take(c, State::Quoted),
                _ if line_end => {
                    if c == '\r' {
                        rest.next();
                    }
                    self.end_record(message, quoted);
                    quoted = false;
                    State::Begin
                }
                _ if c == delimiter => {
                    self.values.push((self.text.len(), quoted));
                    quoted = false;
                    State::Begin
                }
                State::Begin if c == quote => {
                    quoted = true;
                    State::Quoted
                }
                _ => self.take(c, State::Plain),
            };
        }
        if state == State::Quoted {
            return Err("a quote is not closed; where values have line ends, use `framing: {type: csv}`".into());
        }
        self.end_record(message, quoted);
        Ok(())
    }

    fn take(&mut self, c: char, state: State) -> State {
        self.text.push(c);
        state
    }

    /// Ends a record, unless it is a blank line.
    fn end_record(&mut self, message: u32, quoted: bool) {
        let (before, text) = (self.records.last().map_or(0, |&(end, _)| end), self.text.len());
        let start = self.values.last().map_or(0, |&(end, _)| end);
        if self.values.len() > before || text > start || quoted {
            self.values.push((text, quoted));
            self.records.push((self.values.len(), message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[&[&str]], &str>) {
        let mut records = Records::default();
        records.split(0, "before,1", Style { delimiter: b',', quote: b'"' }).unwrap();
        let result = records.split(1, text, Style { delimiter: b',', quote: b'"' });
        match (result, expected) {
            (Ok(()), Ok(expected)) => {
                let got: Vec<Vec<&str>> =
                    (1..records.len()).map(|record| records.values(record).map(|(text, _)| text).collect()).collect();
                assert_eq!(got, expected, "{text:?}");
            }
            (Err(error), Err(part)) => {
                assert!(error.contains(part), "{error}");
                assert_eq!(records.len(), 1);
            }
            (got, _) => panic!("{text:?}: {got:?}"),
        }
    }

    #[test]
    fn values_are_told_apart() {
        check("a,b", Ok(&[&["a", "b"]]));
        check("a,b\r\n\r\nc,\n", Ok(&[&["a", "b"], &["c", ""]]));
        check("\"a,\n\"\"b\"\"\",c", Ok(&[&["a,\n\"b\"", "c"]]));
        check("\"\"\nx\"y\n", Ok(&[&[""], &["x\"y"]]));
        check("\"a\"b,c", Ok(&[&["ab", "c"]]));
        check("\u{feff}a\rb", Ok(&[&["a\rb"]]));
        check("", Ok(&[]));
        check("a\n\"b", Err("not closed"));
    }
}
