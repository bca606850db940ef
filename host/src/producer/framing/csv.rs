//! `csv`: one record a message; line ends within quotes belong to it.

use std::ops::Range;

use super::{Cut, FramingSpec, Step, cut_short, lines::line};

/// Records, told apart as the `csv` decoder does: a quote counts only where a value begins.
#[derive(Debug)]
pub(super) struct Records {
    delimiter: u8,
    quote: u8,
    max: usize,
    seen: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Begin,
    Plain,
    Quoted,
    /// After a quote within quotes: the end of the value, or the first half of a doubled one.
    Closing,
}

impl Records {
    pub(super) fn new(spec: &FramingSpec, max: usize) -> Self {
        let byte = |given: Option<char>, default: u8| given.and_then(|c| u8::try_from(c).ok()).unwrap_or(default);
        Self { delimiter: byte(spec.delimiter, b','), quote: byte(spec.quote, b'"'), max, seen: 0, state: State::Begin }
    }
}

impl Cut for Records {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, String> {
        for (index, &byte) in bytes.iter().enumerate().skip(self.seen) {
            self.state = match (self.state, byte) {
                (State::Quoted, byte) if byte == self.quote => State::Closing,
                (State::Quoted, _) => State::Quoted,
                (_, b'\n') => {
                    (self.seen, self.state) = (0, State::Begin);
                    return Ok(Step::Frame(line(&bytes[..index], self.max)?, index + 1));
                }
                (_, byte) if byte == self.delimiter => State::Begin,
                (State::Begin | State::Closing, byte) if byte == self.quote => State::Quoted,
                (State::Begin, b'\r') => State::Begin,
                _ => State::Plain,
            };
        }
        self.seen = bytes.len();
        line(bytes, self.max)?;
        Ok(Step::More)
    }

    fn end(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, String> {
        match self.state {
            State::Quoted => Err(cut_short()),
            _ => line(bytes, self.max),
        }
    }
}
