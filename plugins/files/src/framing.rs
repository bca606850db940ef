//! Where messages begin and end in the bytes of a file. No IO: the verdict about a message depends on its own bytes, never
//! on how they arrive.

use std::ops::Range;

use spout_guest::{Limits, Messages};

/// What UTF-8 files from Windows begin with.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Bytes of a message that is too long that its dead letter keeps.
const KEPT: usize = 64 << 10;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A line.
    Lines,
    /// A CSV record: line ends between quotes are part of it.
    Csv {
        /// What encloses fields.
        quote: u8,
        /// What stands between fields.
        delimiter: u8,
    },
}

/// Cuts bytes into messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framer {
    pub(crate) framing: Framing,
    /// Longest message.
    pub(crate) max: usize,
}

/// What the framer remembers between two pieces of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// In the middle of a line that is too long: passed over up to its end.
    pub(crate) skipping: bool,
    /// NUL bytes that were passed over.
    pub(crate) nuls: u64,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) bytes: &'a [u8],
    /// Its first byte is the first of the file.
    pub(crate) first: bool,
    /// Nothing follows: what has no end ends here.
    pub(crate) last: bool,
    /// The offset of its first byte.
    pub(crate) offset: u64,
}

/// Messages, and which of them are set aside.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) messages: Messages,
    faulty: bool,
}

impl Out {
    fn push(&mut self, offset: u64, message: &[u8]) {
        if self.faulty {
            self.messages.attribute("fault", b"");
            self.faulty = false;
        }
        self.messages.push(offset, message);
    }

    /// A message that is set aside by the host: its first bytes, and why.
    pub(crate) fn fault(&mut self, offset: u64, message: &[u8], code: &str, reason: &str) {
        self.messages.attribute("fault", format!("{code} {reason}").as_bytes());
        self.faulty = true;
        self.messages.push(offset, message);
    }

    /// A whole file.
    pub(crate) fn whole(&mut self, offset: u64, file: &[u8]) {
        self.push(offset, file);
    }

    fn full(&self, limits: Limits, next: usize) -> bool {
        let messages = &self.messages;
        messages.len() >= limits.messages || !messages.is_empty() && messages.bytes() + next > limits.bytes
    }
}

/// How the next record ends.
enum End {
    /// With the line end at this index.
    At(usize),
    /// Not yet; whether a quote is open.
    Open(bool),
}

impl Framer {
    /// Puts the messages of `piece` out, as many as fit; how many bytes are done with.
    pub(crate) fn frame(&self, state: &mut State, piece: Piece<'_>, limits: Limits, out: &mut Out) -> usize {
        let Piece { bytes, first, last, .. } = piece;
        let mut begin = if first { start(bytes) } else { 0 };
        if first && begin == 0 && !last && BOM.starts_with(bytes) {
            return 0;
        }
        if state.skipping {
            match memchr::memchr(b'\n', bytes.get(begin..).unwrap_or_default()) {
                Some(end) => begin += end + 1,
                None => return bytes.len(),
            }
            state.skipping = false;
        }
        match self.framing {
            Framing::Lines => self.lines(state, piece, begin, limits, out),
            Framing::Csv { quote, delimiter } => self.records(state, piece, begin, (quote, delimiter), limits, out),
        }
    }

    fn lines(&self, state: &mut State, piece: Piece<'_>, from: usize, limits: Limits, out: &mut Out) -> usize {
        let rest = piece.bytes.get(from..).unwrap_or_default();
        out.messages.reserve(limits.messages.min(rest.len() / 32), rest.len().min(limits.bytes));
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', rest) {
            let line = rest.get(begin..end).unwrap_or_default();
            if out.full(limits, line.len()) {
                return from + begin;
            }
            self.give(state, piece.offset + (from + begin) as u64, without_return(line), out);
            begin = end + 1;
        }
        self.rest(state, piece, from + begin, None, limits, out)
    }

    fn records(
        &self,
        state: &mut State,
        piece: Piece<'_>,
        from: usize,
        marks: (u8, u8),
        limits: Limits,
        out: &mut Out,
    ) -> usize {
        let mut begin = from;
        loop {
            let rest = piece.bytes.get(begin..).unwrap_or_default();
            // The end of a line may have two bytes.
            let window = rest.get(..self.max.saturating_add(2)).unwrap_or(rest);
            match record_end(window, marks) {
                End::At(end) => {
                    let record = window.get(..end).unwrap_or_default();
                    if out.full(limits, record.len()) {
                        return begin;
                    }
                    self.give(state, piece.offset + begin as u64, without_return(record), out);
                    begin += end + 1;
                }
                // Suspect as a whole, but the lines that follow may be sound.
                End::Open(true) if window.len() > self.max.saturating_add(1) || piece.last => {
                    let line = memchr::memchr(b'\n', window);
                    let Some(end) = line else { return self.rest(state, piece, begin, Some(true), limits, out) };
                    if out.full(limits, end) {
                        return begin;
                    }
                    let line = without_return(window.get(..end).unwrap_or_default());
                    open_quote(out, piece.offset + begin as u64, line);
                    begin += end + 1;
                }
                End::Open(quoted) => return self.rest(state, piece, begin, Some(quoted), limits, out),
            }
        }
    }

    /// One message, without its line end.
    fn give(&self, state: &mut State, offset: u64, line: &[u8], out: &mut Out) {
        let nuls = if line.first() == Some(&0) { nuls(line) } else { 0 };
        state.nuls += nuls as u64;
        let line = line.get(nuls..).unwrap_or_default();
        if line.len() > self.max {
            self.too_long(offset + nuls as u64, line, out);
        } else if !line.is_empty() {
            out.push(offset + nuls as u64, line);
        }
    }

    /// What has no end yet.
    fn rest(
        &self,
        state: &mut State,
        piece: Piece<'_>,
        begin: usize,
        quoted: Option<bool>,
        limits: Limits,
        out: &mut Out,
    ) -> usize {
        let rest = piece.bytes.get(begin..).unwrap_or_default();
        let hole = if rest.first() == Some(&0) { nuls(rest) } else { 0 };
        if hole == rest.len() && !piece.last {
            return begin;
        }
        state.nuls += hole as u64;
        let (begin, rest) = (begin + hole, rest.get(hole..).unwrap_or_default());
        let offset = piece.offset + begin as u64;
        if out.full(limits, rest.len()) && !rest.is_empty() {
            return begin;
        }
        // The end of a line may have two bytes.
        if rest.len() > self.max.saturating_add(1) {
            state.skipping = true;
            self.too_long(offset, rest, out);
        } else if !piece.last {
            return begin;
        } else if quoted == Some(true) {
            open_quote(out, offset, rest);
        } else {
            self.give(state, offset, rest, out);
        }
        piece.bytes.len()
    }

    fn too_long(&self, offset: u64, line: &[u8], out: &mut Out) {
        let reason = format!("the line is longer than maxLine ({} bytes); its first bytes are kept", self.max);
        out.fault(offset, line.get(..self.max.min(KEPT)).unwrap_or(line), "line.too-long", &reason);
    }

    /// The first message of a file that is no blank line: where it ends, and where the next one begins. `None` while it has
    /// no end.
    pub(crate) fn first(&self, bytes: &[u8], last: bool) -> Option<(Range<usize>, usize)> {
        let mut begin = start(bytes);
        loop {
            let rest = bytes.get(begin..)?;
            let end = match self.framing {
                Framing::Csv { quote, delimiter } => record_end(rest, (quote, delimiter)),
                Framing::Lines => memchr::memchr(b'\n', rest).map_or(End::Open(false), End::At),
            };
            match end {
                End::At(end) => {
                    let record = without_return(rest.get(..end)?);
                    if !record.is_empty() {
                        return Some((begin..begin + record.len(), begin + end + 1));
                    }
                    begin += end + 1;
                }
                End::Open(false) if last => return Some((begin..bytes.len(), bytes.len())),
                End::Open(_) => return None,
            }
        }
    }

    /// Whether a record has a carriage return outside quotes.
    pub(crate) fn has_return(&self, record: &[u8]) -> bool {
        let Framing::Csv { quote, delimiter } = self.framing else { return false };
        let (mut quoted, mut before) = (false, delimiter);
        for &byte in record {
            match byte {
                b'\r' if !quoted => return true,
                // A doubled quote closes and opens again.
                _ if byte == quote => quoted = !quoted && (before == delimiter || before == quote),
                _ => {}
            }
            before = byte;
        }
        false
    }
}

/// A line that a line feed follows, without the carriage return before that.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn open_quote(out: &mut Out, offset: u64, line: &[u8]) {
    out.fault(
        offset,
        line,
        "csv.syntax",
        "a quote is open to the end of the file, or over maxLine; reading goes on at the next line",
    );
}

/// Bytes before the first message.
fn start(bytes: &[u8]) -> usize {
    if bytes.starts_with(BOM) { BOM.len() } else { 0 }
}

/// The encoding that a file's first bytes say it is in, if it is one that has no lines for us.
pub(crate) fn foreign(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        _ => None,
    }
}

/// NUL bytes at the start.
pub(crate) fn nuls(bytes: &[u8]) -> usize {
    let wide = bytes.chunks_exact(16).take_while(|chunk| chunk.iter().all(|&byte| byte == 0)).count() * 16;
    wide + bytes.iter().skip(wide).take_while(|&&byte| byte == 0).count()
}

/// Where the record that begins with `bytes` ends. A quote opens a field only where one begins.
fn record_end(bytes: &[u8], (quote, delimiter): (u8, u8)) -> End {
    let (mut quoted, mut from) = (false, 0);
    while let Some(found) = memchr::memchr2(b'\n', quote, bytes.get(from..).unwrap_or_default()) {
        let at = from + found;
        from = at + 1;
        match (bytes.get(at) == Some(&b'\n'), quoted) {
            (true, false) => return End::At(at),
            (true, true) => {}
            (false, true) if bytes.get(at + 1) == Some(&quote) => from = at + 2,
            (false, true) => quoted = false,
            (false, false) => {
                let before = at.checked_sub(1).and_then(|before| bytes.get(before));
                quoted = before.is_none_or(|&before| before == delimiter || before == 0);
            }
        }
    }
    End::Open(quoted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALL: Limits = Limits { messages: 1000, bytes: 1 << 20, timeout: Duration::ZERO };
    const CSV: Framing = Framing::Csv { quote: b'"', delimiter: b',' };

    fn texts(out: &Out) -> Vec<String> {
        let input = out.messages.input();
        let text = |index| {
            let text = String::from_utf8_lossy(out.messages.value(index)).into_owned();
            let fault = input.attribute(index, "fault").map(|fault| String::from_utf8_lossy(fault).into_owned());
            let code = fault.map(|fault| format!("!{} ", fault.split(' ').next().unwrap_or_default()));
            format!("{}:{}{text}", out.messages.offsets()[index], code.unwrap_or_default())
        };
        (0..out.messages.len()).map(text).collect()
    }

    /// The messages of `bytes`, which have to be the same in one piece, byte by byte, and one message a call.
    fn check(framing: Framing, max: usize, bytes: &[u8], last: bool, expected: &[&str]) {
        let framer = Framer { framing, max };
        for step in [bytes.len().max(1), 1, 2, 3, 7] {
            for messages in [1, 1000] {
                let (mut out, mut state, mut done) = (Out::default(), State::default(), 0);
                let mut told = Vec::new();
                for end in (0..=bytes.len()).step_by(step).chain([bytes.len()]) {
                    let ends = last && end == bytes.len();
                    loop {
                        let piece =
                            Piece { bytes: &bytes[done..end], first: done == 0, last: ends, offset: done as u64 };
                        let limits = Limits { messages, ..ALL };
                        let consumed = framer.frame(&mut state, piece, limits, &mut out);
                        told.extend(texts(&std::mem::take(&mut out)));
                        done += consumed;
                        if consumed == 0 {
                            break;
                        }
                    }
                }
                assert_eq!(told, expected, "{:?} in steps of {step}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[test]
    fn lines_end_where_they_end() {
        check(Framing::Lines, 100, b"one\ntwo\r\n\nthr", false, &["0:one", "4:two"]);
        check(Framing::Lines, 100, b"one\ntwo\r\n\nthr", true, &["0:one", "4:two", "10:thr"]);
        // Alone it is data: what reads the line knows what it means there.
        check(Framing::Lines, 100, b"one\r", true, &["0:one\r"]);
        check(CSV, 100, b"a,b\n1,x\r\r\n2,y\r", true, &["0:a,b", "4:1,x\r", "10:2,y\r"]);
        check(Framing::Lines, 100, b"", true, &[]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_message() {
        check(Framing::Lines, 100, b"\xef\xbb\xbfone\ntwo\n", false, &["3:one", "7:two"]);
        check(Framing::Lines, 100, b"one\n\xef\xbb\xbftwo\n", false, &["0:one", "4:\u{feff}two"]);
        check(CSV, 100, b"\xef\xbb\xbf\"a\nb\",c\n", false, &["3:\"a\nb\",c"]);
        check(Framing::Lines, 100, b"\xef\xbb", true, &["0:\u{fffd}"]);
        assert_eq!(foreign(b"\xff\xfeo\0"), Some("UTF-16"));
        assert_eq!(foreign(b"\xff\xfe\0\0"), Some("UTF-32"));
        assert_eq!(foreign("ÿþ".as_bytes()), None);
    }

    #[test]
    fn holes_are_passed_over() {
        let mut bytes = vec![0; 100];
        bytes.extend(b"one\n");
        bytes.extend([0; 40]);
        bytes.extend(b"\ntwo\0x\n");
        check(Framing::Lines, 10, &bytes, false, &["100:one", "145:two\0x"]);
        bytes.extend([0; 33]);
        check(Framing::Lines, 10, &bytes, true, &["100:one", "145:two\0x"]);
        check(CSV, 10, b"\0\0\"a\n\",1\n", false, &["2:\"a\n\",1"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_set_aside_and_costs_no_neighbour() {
        check(Framing::Lines, 5, b"12345\n123456\n1\n", false, &["0:12345", "6:!line.too-long 12345", "13:1"]);
        check(Framing::Lines, 5, b"12345\r\n1\n", false, &["0:12345", "7:1"]);
        check(Framing::Lines, 5, b"123456", true, &["0:!line.too-long 12345"]);
    }

    #[test]
    fn the_first_bytes_of_a_long_line_are_kept() {
        let framer = Framer { framing: Framing::Lines, max: 100_000 };
        let (mut state, mut out) = (State::default(), Out::default());
        let bytes = [vec![b'x'; 200_000], b"\nnext\n".to_vec()].concat();
        let piece = Piece { bytes: &bytes[..150_000], first: true, last: false, offset: 0 };
        assert_eq!(framer.frame(&mut state, piece, ALL, &mut out), 150_000);
        assert!(state.skipping && out.messages.value(0).len() == KEPT);
        let piece = Piece { bytes: &bytes[150_000..], first: false, last: false, offset: 150_000 };
        assert_eq!(framer.frame(&mut state, piece, ALL, &mut out), 50_006);
        assert_eq!((out.messages.len(), out.messages.value(1)), (2, &b"next"[..]));
        assert!(out.messages.input().attribute(1, "fault").is_none() && !state.skipping);
    }

    #[test]
    fn records_end_outside_quotes() {
        check(CSV, 100, b"a,b\n1,\"x\ny\"\n2,\"z\"\r\n", false, &["0:a,b", "4:1,\"x\ny\"", "12:2,\"z\""]);
        check(CSV, 100, b"1,\"say \"\"hi\n\"\"\"\n2,x\n", false, &["0:1,\"say \"\"hi\n\"\"\"", "16:2,x"]);
        check(CSV, 100, b"1,5\" disk\n2,x\n", false, &["0:1,5\" disk", "10:2,x"]);
        check(CSV, 100, b"1,\"open\n2,x\n", false, &[]);
        check(CSV, 100, b"1,\"open\n2,x\n3,y", true, &["0:!csv.syntax 1,\"open", "8:2,x", "12:3,y"]);
        check(CSV, 100, b"1,\"open", true, &["0:!csv.syntax 1,\"open"]);
        check(CSV, 12, b"1,\"open\n2,x\n3,y\n4,z\n", false, &["0:!csv.syntax 1,\"open", "8:2,x", "12:3,y", "16:4,z"]);
        let tabs = Framing::Csv { quote: b'\'', delimiter: b'\t' };
        check(tabs, 100, b"1\t'a\nb'\n2\t\"\n", false, &["0:1\t'a\nb'", "8:2\t\""]);
    }

    #[test]
    fn the_first_record_is_the_header() {
        let framer = Framer { framing: CSV, max: 100 };
        let check = |bytes: &[u8], last, expected: Option<(&str, usize)>| {
            let found = framer.first(bytes, last);
            let found = found.map(|(range, next)| (String::from_utf8_lossy(&bytes[range]).into_owned(), next));
            assert_eq!(found, expected.map(|(text, next)| (text.to_owned(), next)));
        };
        check(b"\xef\xbb\xbf\"a\nb\",c\r\n1,2\n", false, Some(("\"a\nb\",c", 12)));
        check(b"\n\na\n", false, Some(("a", 4)));
        check(b"a,b", false, None);
        check(b"a,b", true, Some(("a,b", 3)));
        check(b"id,name\r1,Ann\r", true, Some(("id,name\r1,Ann\r", 14)));
        let returns = |record: &str| framer.has_return(record.as_bytes());
        assert!(returns("a\rb") && returns("\"a\",\"\"\r") && returns("a\"b,\"\"\"\"\r") && returns("5\"\r"));
        assert!(!returns("a,\"b\r\"\"\r\"") && !returns("a,b"));
    }
}
