//! Where the records of an input end, while it is read.

use std::io;

use serde::de::IgnoredAny;
use spout_codec::csv::{RecordFinder, Style};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use super::SplitBy;

/// The longest record.
const LONGEST: usize = 64 << 20;

/// Records of an input, one after the other.
#[derive(Debug)]
pub(super) struct Records<R> {
    from: R,
    by: SplitBy,
    finder: RecordFinder,
}

/// Why there is no next record.
#[derive(Debug)]
pub(super) enum Fault {
    /// The input cannot be read.
    Unread(io::Error),
    /// It is not made of such records.
    Broken(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

fn long() -> Fault {
    Fault::Broken(format!("it is longer than {} MiB; is a quote or a bracket not closed?", LONGEST >> 20))
}

impl<R: AsyncBufRead + Unpin> Records<R> {
    pub(super) fn new(from: R, by: SplitBy) -> Self {
        Self { from, by, finder: RecordFinder::new(Style::default()) }
    }

    /// Appends the next record; whether there was one.
    pub(super) async fn next(&mut self, into: &mut Vec<u8>) -> Result<bool, Fault> {
        match self.by {
            SplitBy::Line => Ok(self.line(into, into.len()).await? > 0),
            SplitBy::Csv => self.csv(into).await,
            SplitBy::Json => self.json(into).await,
        }
    }

    /// Appends a line with its end, of a record that begins at `begin`; how many bytes it has.
    async fn line(&mut self, into: &mut Vec<u8>, begin: usize) -> Result<usize, Fault> {
        let from = into.len();
        loop {
            let there = self.from.fill_buf().await?;
            let end = there.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(there.len());
            into.extend_from_slice(&there[..taken]);
            self.from.consume(taken);
            if into.len() - begin > LONGEST {
                return Err(long());
            }
            if end.is_some() || taken == 0 {
                return Ok(into.len() - from);
            }
        }
    }

    /// Blank lines between records are none, as in every reader of CSV.
    async fn csv(&mut self, into: &mut Vec<u8>) -> Result<bool, Fault> {
        let begin = into.len();
        loop {
            let from = into.len();
            let read = self.line(into, begin).await?;
            if self.finder.find(&into[from..]).is_none() && read > 0 && into.ends_with(b"\n") {
                continue;
            }
            if read == 0 || !into[begin..].trim_ascii().is_empty() {
                return Ok(into.len() > begin);
            }
            into.truncate(begin);
        }
    }

    /// A value, checked, with a line end behind it.
    async fn json(&mut self, into: &mut Vec<u8>) -> Result<bool, Fault> {
        let begin = into.len();
        let mut value = Value::default();
        loop {
            let there = self.from.fill_buf().await?;
            if there.is_empty() {
                break;
            }
            let end = there.iter().position(|byte| value.ends_before(*byte));
            let taken = end.unwrap_or(there.len());
            let blank = if into.len() == begin { there[..taken].trim_ascii_start().len() } else { taken };
            into.extend_from_slice(&there[taken - blank..taken]);
            self.from.consume(taken);
            if into.len() - begin > LONGEST {
                return Err(long());
            }
            if end.is_some() {
                break;
            }
        }
        while into.len() > begin && into.last().is_some_and(u8::is_ascii_whitespace) {
            into.pop();
        }
        if into.len() == begin {
            return Ok(false);
        }
        let checked = serde_json::from_slice::<IgnoredAny>(&into[begin..]);
        checked.map_err(|error| Fault::Broken(format!("it is no JSON: {error}")))?;
        into.push(b'\n');
        Ok(true)
    }
}

/// How far into a JSON value an input was read.
#[derive(Debug, Default)]
struct Value {
    depth: usize,
    within: Within,
    /// It ends before the next byte, whatever that is.
    over: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    Text,
    Escape,
    /// A number or a word.
    Bare,
}

impl Value {
    /// Takes in `byte`, unless the value ends before it.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.over {
            return true;
        }
        match (self.within, byte) {
            (Within::Escape, _) => self.within = Within::Text,
            (Within::Text, b'\\') => self.within = Within::Escape,
            (Within::Text, b'"') => self.close(),
            (Within::Text, _) => {}
            (Within::Bare, b' ' | b'\t' | b'\r' | b'\n' | b'{' | b'[' | b'"') if self.depth == 0 => return true,
            (_, b'"') => self.within = Within::Text,
            (_, b'{' | b'[') => self.depth += 1,
            (_, b'}' | b']') => {
                self.depth = self.depth.saturating_sub(1);
                self.close();
            }
            (_, byte) if byte.is_ascii_whitespace() => {}
            _ if self.depth == 0 => self.within = Within::Bare,
            _ => {}
        }
        false
    }

    /// A part of it has ended, and if that is all of it, so has the value.
    fn close(&mut self) {
        self.within = Within::Nothing;
        self.over = self.depth == 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn cut(by: SplitBy, text: &str, buffer: usize) -> Result<Vec<String>, String> {
        let mut records = Records::new(tokio::io::BufReader::with_capacity(buffer, text.as_bytes()), by);
        let mut all = Vec::new();
        loop {
            let mut record = Vec::new();
            match records.next(&mut record).await {
                Ok(true) => all.push(String::from_utf8(record).unwrap()),
                Ok(false) => return Ok(all),
                Err(Fault::Broken(why)) => return Err(why),
                Err(Fault::Unread(error)) => return Err(error.to_string()),
            }
        }
    }

    #[tokio::test]
    async fn records_end_where_they_do_however_bytes_arrive() {
        use SplitBy::{Csv, Json, Line};
        for (by, text, expected) in [
            (Line, "", &[] as &[&str]),
            (Line, "a\n\nb", &["a\n", "\n", "b"]),
            (Csv, "a,b\n\n1,\"x\n\"\"y\"\n2,3", &["a,b\n", "1,\"x\n\"\"y\"\n", "2,3"]),
            (Json, "", &[]),
            (Json, " \n", &[]),
            (Json, "1 2\n\"a b\"null", &["1\n", "2\n", "\"a b\"\n", "null\n"]),
            (
                Json,
                "{\"a\":\n [1, {\"b\": \"}\\\"]\"}]} {}[]",
                &["{\"a\":\n [1, {\"b\": \"}\\\"]\"}]}\n", "{}\n", "[]\n"],
            ),
            (Json, "{\"a\": 1}\n{\"a\": 2}\n", &["{\"a\": 1}\n", "{\"a\": 2}\n"]),
        ] {
            for buffer in [1, 2, 7, 4096] {
                assert_eq!(cut(by, text, buffer).await.unwrap(), expected, "{text} by {buffer}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_json_is_refused() {
        for text in ["{", "{\"a\":1", "]", "nul", "{} x", "1,2", "\"a"] {
            for buffer in [1, 4096] {
                assert!(cut(SplitBy::Json, text, buffer).await.is_err(), "{text}");
            }
        }
    }
}
