//! `lines`, and `none`: the whole stream as one message.

use std::ops::Range;

use super::{Cut, Step, too_large};

/// Lines, without their `\n` or `\r\n`.
#[derive(Debug)]
pub(super) struct Lines {
    max: usize,
    /// Bytes of this line already looked at.
    seen: usize,
}

impl Lines {
    pub(super) fn new(max: usize) -> Self {
        Self { max, seen: 0 }
    }
}

impl Cut for Lines {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, String> {
        match bytes[self.seen..].iter().position(|&byte| byte == b'\n') {
            Some(found) => {
                let end = self.seen + found;
                self.seen = 0;
                Ok(Step::Frame(line(without_return(&bytes[..end]), self.max)?, end + 1))
            }
            None => {
                self.seen = bytes.len();
                // A line feed may follow.
                line(without_return(bytes), self.max)?;
                Ok(Step::More)
            }
        }
    }

    fn end(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, String> {
        line(bytes, self.max)
    }
}

/// A line that a line feed follows, without the carriage return before that. Alone, one is data.
pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The line `bytes`; nothing if it is blank.
pub(super) fn line(bytes: &[u8], max: usize) -> Result<Option<Range<usize>>, String> {
    let length = bytes.len();
    if length <= max { Ok((length > 0).then_some(0..length)) } else { Err(too_large(max as u64 + 1, max)) }
}

/// All bytes as one message.
#[derive(Debug)]
pub(super) struct Whole(pub(super) usize);

impl Cut for Whole {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, String> {
        if bytes.len() <= self.0 { Ok(Step::More) } else { Err(too_large(self.0 as u64 + 1, self.0)) }
    }

    fn end(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, String> {
        Ok(Some(0..bytes.len()))
    }
}
