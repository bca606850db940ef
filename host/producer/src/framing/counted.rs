//! Lengths in ASCII: `netstring`, `digits` (ten of them) and `octet` counting (RFC 6587).

use std::ops::Range;

use super::{
    Cut, Step, cut_short,
    length::counted,
    lines::{Lines, line},
};

/// `5:hello,`; holds the largest message.
#[derive(Debug)]
pub(super) struct Netstring(pub(super) usize);

impl Cut for Netstring {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, String> {
        let Some((length, head)) = number(bytes, b':')? else { return Ok(Step::More) };
        let step = counted(bytes, head, length, 1, self.0)?;
        match &step {
            Step::Frame(_, next) if bytes[next - 1] != b',' => {
                Err("a netstring ends in a comma, and this one does not".into())
            }
            _ => Ok(step),
        }
    }

    fn end(&mut self, _: &[u8]) -> Result<Option<Range<usize>>, String> {
        Err(cut_short())
    }
}

/// Ten digits, then the message; holds the largest message.
#[derive(Debug)]
pub(super) struct Digits(pub(super) usize);

impl Cut for Digits {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, String> {
        let mut length = 0;
        for &byte in bytes.iter().take(10) {
            length = length * 10 + digit(byte)?;
        }
        if bytes.len() < 10 { Ok(Step::More) } else { counted(bytes, 10, length, 0, self.0) }
    }

    fn end(&mut self, _: &[u8]) -> Result<Option<Range<usize>>, String> {
        Err(cut_short())
    }
}

/// `5 hello`, or a line that begins with `<`.
#[derive(Debug)]
pub(super) struct Octet {
    max: usize,
    lines: Lines,
}

impl Octet {
    pub(super) fn new(max: usize) -> Self {
        Self { max, lines: Lines::new(max) }
    }
}

impl Cut for Octet {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, String> {
        match bytes.first() {
            Some(b'<') => self.lines.step(bytes),
            // What some senders put between counted messages.
            Some(b'\n') => Ok(Step::Frame(None, 1)),
            _ => match number(bytes, b' ') {
                Ok(Some((length, head))) => counted(bytes, head, length, 0, self.max),
                Ok(None) => Ok(Step::More),
                // Where the next message would begin, nobody knows: going on would lose good ones without a word.
                Err(reason) => Err(format!("{reason}; or the length of the message before is wrong")),
            },
        }
    }

    fn end(&mut self, bytes: &[u8]) -> Result<Option<Range<usize>>, String> {
        match bytes.first() {
            Some(b'<') => line(bytes, self.max),
            _ => Err(cut_short()),
        }
    }
}

/// The number in front of `end`, and where the bytes after it begin; nothing as long as `end` is not there.
fn number(bytes: &[u8], end: u8) -> Result<Option<(u64, usize)>, String> {
    let mut length = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte == end && index > 0 {
            return Ok(Some((length, index + 1)));
        }
        length = length * 10 + digit(byte)?;
        if index == 10 {
            return Err("the length has more than ten digits".into());
        }
        if index > 0 && length < 10 {
            return Err("the length begins with a zero".into());
        }
    }
    Ok(None)
}

fn digit(byte: u8) -> Result<u64, String> {
    if byte.is_ascii_digit() {
        Ok(u64::from(byte - b'0'))
    } else {
        Err(format!(
            "the length has the character `{}`, which is not a digit; set the framing that the sender uses",
            byte.escape_ascii()
        ))
    }
}
