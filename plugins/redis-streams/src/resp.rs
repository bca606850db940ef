//! Replies of RESP2 and RESP3, read as they come, within bounds.
//!
//! **Invariant**: nothing is reserved for what a reply announces, only for what came; what came is not read twice.

use bytes::{Buf as _, Bytes, BytesMut};

/// How deep arrays may lie in each other; those of a stream lie four deep.
const DEPTH: usize = 16;
/// Most values of one reply: each takes some tens of bytes here, and four on the wire.
const VALUES: usize = 1 << 20;
/// Longest line: a type, a number, a text of an error.
const LINE: usize = 64 << 10;

/// A reply, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    /// Simple and bulk strings, numbers that are not whole, verbatim texts.
    Bytes(Bytes),
    /// Arrays and sets; a map is an array of keys and values in turn.
    Array(Vec<Value>),
    Error(String),
}

/// Why a reply is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It has more than it may have.
    TooLarge,
    /// It is not RESP.
    Garbage(String),
}

/// Reads one reply.
#[derive(Debug)]
pub(crate) struct Parser {
    /// Arrays that are not complete.
    open: Vec<Open>,
    /// Bytes and values that this reply may still have.
    bytes: usize,
    values: usize,
    /// Length of the string whose bytes come next.
    string: Option<usize>,
}

#[derive(Debug)]
struct Open {
    items: Vec<Value>,
    left: usize,
    /// Not part of the reply: a push, or attributes.
    aside: bool,
}

/// What a line says.
enum Line {
    Value(Value),
    /// A string of this length follows.
    String(usize),
    Array {
        left: usize,
        aside: bool,
    },
}

impl Parser {
    /// A parser of a reply of at most `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { open: Vec::new(), bytes: most, values: VALUES, string: None }
    }

    /// Takes what it can use from the front of `got`; the reply once it is complete.
    pub(crate) fn advance(&mut self, got: &mut BytesMut) -> Result<Option<Value>, Wrong> {
        loop {
            let value = match self.string {
                Some(length) => {
                    if got.len() < length.saturating_add(2) {
                        return Ok(None);
                    }
                    let text = got.split_to(length).freeze();
                    if got.get(..2) != Some(b"\r\n") {
                        return Err(Wrong::Garbage("a string is longer than it says".into()));
                    }
                    got.advance(2);
                    self.string = None;
                    Value::Bytes(text)
                }
                None => {
                    let Some(line) = line(got)? else { return Ok(None) };
                    self.charge(line.len().saturating_add(2))?;
                    match parse(&line)? {
                        Line::Value(value) => value,
                        Line::String(length) => {
                            self.charge(length.saturating_add(2))?;
                            self.string = Some(length);
                            continue;
                        }
                        Line::Array { left: 0, aside: true } => continue,
                        Line::Array { left: 0, .. } => Value::Array(Vec::new()),
                        Line::Array { left, aside } => {
                            if self.open.len() == DEPTH {
                                return Err(Wrong::Garbage(format!("arrays lie more than {DEPTH} deep")));
                            }
                            self.open.push(Open { items: Vec::new(), left, aside });
                            continue;
                        }
                    }
                }
            };
            if let Some(whole) = self.place(value)? {
                return Ok(Some(whole));
            }
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Wrong> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Wrong::TooLarge)?;
        Ok(())
    }

    /// Puts a value where it belongs; the reply if it is complete now.
    fn place(&mut self, mut value: Value) -> Result<Option<Value>, Wrong> {
        self.values = self.values.checked_sub(1).ok_or(Wrong::TooLarge)?;
        while let Some(open) = self.open.last_mut() {
            open.items.push(value);
            open.left -= 1;
            if open.left > 0 {
                return Ok(None);
            }
            let Some(done) = self.open.pop() else { return Ok(None) };
            if done.aside {
                return Ok(None);
            }
            value = Value::Array(done.items);
        }
        Ok(Some(value))
    }
}

/// Takes a line, without its end.
fn line(got: &mut BytesMut) -> Result<Option<Bytes>, Wrong> {
    let Some(end) = got.iter().take(LINE).position(|byte| *byte == b'\n') else {
        return if got.len() < LINE { Ok(None) } else { Err(Wrong::Garbage("a line has no end".into())) };
    };
    let mut line = got.split_to(end + 1).freeze();
    line.truncate(end);
    if line.last() != Some(&b'\r') {
        return Err(garbage(&line));
    }
    line.truncate(end - 1);
    Ok(Some(line))
}

fn garbage(line: &[u8]) -> Wrong {
    let begins = line.get(..line.len().min(40)).unwrap_or_default();
    Wrong::Garbage(format!("a reply begins with `{}`", String::from_utf8_lossy(begins).escape_debug()))
}

fn parse(line: &Bytes) -> Result<Line, Wrong> {
    let (kind, rest) = line.split_first().ok_or_else(|| garbage(line))?;
    let text = || std::str::from_utf8(rest).map_err(|_| garbage(line));
    let number = || text()?.parse::<i64>().map_err(|_| garbage(line));
    // Minus one is the null of RESP2.
    let length = || match number()? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| garbage(line)),
    };
    let array = |factor: usize, aside| match length()? {
        None => Ok(Line::Value(Value::Null)),
        Some(left) => left.checked_mul(factor).map(|left| Line::Array { left, aside }).ok_or_else(|| garbage(line)),
    };
    Ok(match kind {
        b'+' | b',' | b'(' => Line::Value(Value::Bytes(line.slice(1..))),
        b'-' => Line::Value(Value::Error(String::from_utf8_lossy(rest).into_owned())),
        b':' => Line::Value(Value::Integer(number()?)),
        b'#' => Line::Value(Value::Integer(i64::from(rest == b"t"))),
        b'_' => Line::Value(Value::Null),
        b'$' | b'=' | b'!' => match length()? {
            None => Line::Value(Value::Null),
            Some(length) => Line::String(length),
        },
        b'*' | b'~' => array(1, false)?,
        b'%' => array(2, false)?,
        b'>' => array(1, true)?,
        b'|' => array(2, true)?,
        _ => return Err(garbage(line)),
    })
}

/// A command, as servers of either version read it.
pub(crate) fn command(words: &[impl AsRef<[u8]>], into: &mut Vec<u8>) {
    into.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words.iter().map(AsRef::as_ref) {
        into.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        into.extend_from_slice(word);
        into.extend_from_slice(b"\r\n");
    }
}

impl Value {
    /// Its text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn items(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// A number, if it is not negative.
    pub(crate) fn count(&self) -> Option<u64> {
        if let Self::Integer(number) = self { u64::try_from(*number).ok() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn whole(reply: &[u8], most: usize) -> Result<Option<Value>, Wrong> {
        Parser::new(most).advance(&mut BytesMut::from(reply))
    }

    #[test]
    fn replies_are_the_same_however_they_come() {
        let reply =
            b"*5\r\n$3\r\na\r\n\r\n:-7\r\n|1\r\n+x\r\n+y\r\n%1\r\n+k\r\n*2\r\n_\r\n#t\r\n$-1\r\n$0\r\n\r\n+more\r\n";
        let inner = Value::Array(vec![Value::Null, Value::Integer(1)]);
        let map = Value::Array(vec![text("k"), inner]);
        let expected = Value::Array(vec![text("a\r\n"), Value::Integer(-7), map, Value::Null, text("")]);
        for size in 1..reply.len() {
            let (mut parser, mut got, mut found) = (Parser::new(1000), BytesMut::new(), None);
            for piece in reply.chunks(size) {
                got.extend_from_slice(piece);
                if found.is_none() {
                    found = parser.advance(&mut got).unwrap();
                }
            }
            assert_eq!(found.as_ref(), Some(&expected), "in pieces of {size}");
            assert!(got.starts_with(b"+more\r\n"), "{got:?}");
        }
        let pushed = whole(b">1\r\n+news\r\n-ERR no\r\n", 100).unwrap();
        assert_eq!(pushed, Some(Value::Error("ERR no".into())));
    }

    #[test]
    fn what_is_no_reply_is_refused_and_costs_nothing() {
        let refused = |reply: &[u8]| matches!(whole(reply, 1000), Err(Wrong::Garbage(_)));
        for reply in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"*-2\r\n",
            b":1x\r\n",
            b"+no return\n",
            b"$1\r\nab\r\n",
            b"*99999999999999999999\r\n",
            &vec![b'+'; LINE],
            &b"*1\r\n".repeat(DEPTH + 1),
        ] {
            assert!(refused(reply), "{:?}", String::from_utf8_lossy(reply));
        }
        // Lengths that nobody sends the bytes of.
        assert_eq!(whole(b"$9223372036854775807\r\n", 1000), Err(Wrong::TooLarge));
        assert_eq!(whole(b"*9223372036854775807\r\n", 1000), Ok(None));
        assert_eq!(whole(&[b"*1000000\r\n".as_slice(), &b":1\r\n".repeat(300)].concat(), 1000), Err(Wrong::TooLarge));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_answer() {
        let reply = b"*2\r\n*2\r\n$3\r\nkey\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:5\r\n".to_vec();
        for at in 0..reply.len() {
            assert_eq!(whole(&reply[..at], 1000), Ok(None));
            for byte in 0..=255 {
                let mut changed = reply.clone();
                changed[at] = byte;
                drop(whole(&changed, 1000));
            }
        }
    }

    #[test]
    fn commands_are_arrays_of_strings() {
        let mut into = Vec::new();
        command(&["PING", "a\r\nb"], &mut into);
        assert_eq!(into, b"*2\r\n$4\r\nPING\r\n$4\r\na\r\nb\r\n");
    }
}
