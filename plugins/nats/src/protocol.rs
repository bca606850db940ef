//! What a server sends: lines, some followed by headers and a payload. Read as it comes, within bounds.

use bytes::{Buf as _, Bytes, BytesMut};
use spout_guest::{Added, Messages};

/// Longest line: an `INFO` of a large cluster has tens of kilobytes.
const LINE: usize = 256 << 10;

/// Something that a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// What it says of itself, as JSON.
    Info(Bytes),
    Message(Message),
    Ping,
    Pong,
    Ok,
    /// An error, without its quotes.
    Error(String),
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) subject: String,
    /// The number of the subscription.
    pub(crate) sid: u64,
    /// Where an answer goes; for messages of a stream, this says which they are.
    pub(crate) reply: Option<String>,
    /// A first line with a status, and headers; empty where there are none.
    pub(crate) head: Bytes,
    pub(crate) payload: Bytes,
}

/// Why what came is no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A message of so many bytes.
    TooLarge(usize),
    Garbage(String),
}

/// Takes a frame from the front of `got`, once it is there whole; a message has at most `most` bytes.
pub(crate) fn frame(got: &mut BytesMut, most: usize) -> Result<Option<Frame>, Wrong> {
    let Some(end) = got.iter().take(LINE).position(|byte| *byte == b'\n') else {
        return if got.len() < LINE { Ok(None) } else { Err(Wrong::Garbage("a line has no end".into())) };
    };
    let line = got.get(..end).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| garbage(line))?.trim_end_matches('\r');
    let (operation, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let message = match operation.to_ascii_uppercase().as_str() {
        "MSG" => Some(Sizes::parse(rest, false)),
        "HMSG" => Some(Sizes::parse(rest, true)),
        _ => None,
    };
    if let Some(sizes) = message {
        let sizes = sizes.ok_or_else(|| garbage(line.as_bytes()))?;
        if sizes.whole > most {
            return Err(Wrong::TooLarge(sizes.whole));
        }
        // The line, what follows it, and the end of that.
        if got.len() < end + 1 + sizes.whole + 2 {
            return Ok(None);
        }
        got.advance(end + 1);
        let mut payload = got.split_to(sizes.whole).freeze();
        if got.get(..2) != Some(b"\r\n") {
            return Err(Wrong::Garbage("a message is longer than it says".into()));
        }
        got.advance(2);
        let head = payload.split_to(sizes.head);
        let Sizes { subject, sid, reply, .. } = sizes;
        return Ok(Some(Frame::Message(Message { subject, sid, reply, head, payload })));
    }
    let frame = match operation.to_ascii_uppercase().as_str() {
        "PING" => Frame::Ping,
        "PONG" => Frame::Pong,
        "+OK" => Frame::Ok,
        "-ERR" => Frame::Error(rest.trim().trim_matches('\'').to_owned()),
        "INFO" => Frame::Info(Bytes::copy_from_slice(rest.trim().as_bytes())),
        _ => return Err(garbage(line.as_bytes())),
    };
    got.advance(end + 1);
    Ok(Some(frame))
}

fn garbage(line: &[u8]) -> Wrong {
    let begins = line.get(..line.len().min(40)).unwrap_or_default();
    Wrong::Garbage(format!("a line begins with `{}`", String::from_utf8_lossy(begins).escape_debug()))
}

/// What the line of a message says.
struct Sizes {
    subject: String,
    sid: u64,
    reply: Option<String>,
    /// Bytes of headers, and of headers and payload.
    head: usize,
    whole: usize,
}

impl Sizes {
    fn parse(rest: &str, headers: bool) -> Option<Self> {
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let (names, sizes) = words.split_at_checked(words.len().checked_sub(if headers { 2 } else { 1 })?)?;
        let size = |at: usize| sizes.get(at)?.parse::<usize>().ok();
        let (head, whole) = if headers { (size(0)?, size(1)?) } else { (0, size(0)?) };
        let (subject, sid, reply) = match names {
            [subject, sid] => (subject, sid, None),
            [subject, sid, reply] => (subject, sid, Some((*reply).to_owned())),
            _ => return None,
        };
        // Headers are a part of the whole.
        whole.checked_sub(head)?;
        Some(Self { subject: (*subject).to_owned(), sid: sid.parse().ok()?, reply, head, whole })
    }
}

impl Message {
    /// The status of a message that the server itself sent, and what it says.
    pub(crate) fn status(&self) -> Option<(u16, &str)> {
        let head = std::str::from_utf8(&self.head).ok()?;
        let line = head.split("\r\n").next()?.strip_prefix("NATS/1.0")?.trim();
        let (code, says) = line.split_once(' ').unwrap_or((line, ""));
        Some((code.parse().ok()?, says))
    }

    /// Adds it to `messages`.
    pub(crate) fn add<'a>(&self, offset: u64, place: Place, messages: &'a mut Messages) -> Added<'a> {
        let mut added = messages.add(offset, &self.payload).key(self.subject.as_bytes());
        added = added.timestamp_ms(place.time_ns.div_euclid(1_000_000));
        for (name, value) in self.headers() {
            added = added.header(&name, value);
        }
        added
    }

    /// Its headers, in their order.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (String, &[u8])> {
        self.head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            Some((String::from_utf8_lossy(name).into_owned(), value.get(1..)?.trim_ascii()))
        })
    }
}

/// Which message of a stream something is, as its reply subject says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its number in the stream.
    pub(crate) sequence: u64,
    /// Its number among those that the consumer got.
    pub(crate) delivered: u64,
    pub(crate) time_ns: i64,
    /// How many messages the consumer has still to get.
    pub(crate) pending: u64,
}

impl Place {
    /// Reads `$JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE.DELIVERED.TIME.PENDING`, or the longer form with a domain and an account; `None` if it
    /// is neither, or of another consumer.
    pub(crate) fn parse(reply: &str, consumer: &str) -> Option<Self> {
        let words: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let at = if words.len() == 7 { 0 } else { 2 };
        let number = |index: usize| words.get(at + index)?.parse::<u64>().ok();
        if words.len() < at + 7 || words.get(at + 1) != Some(&consumer) {
            return None;
        }
        let (sequence, delivered, pending) = (number(3)?, number(4)?, number(6)?);
        Some(Self { sequence, delivered, time_ns: words.get(at + 5)?.parse().ok()?, pending })
    }
}

#[cfg(test)]
mod tests {
    use spout_guest::testing::in_pieces;

    use super::*;

    const ALL: &[u8] = b"INFO {\"a\":1} \r\nPING\r\npong\r\n+OK\r\n-ERR 'no'\r\nMSG a.b 7 5\r\nhi\r\nx\r\nMSG a 7 _R.1 0\r\n\r\nHMSG a 1 r 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n";

    /// All frames, if nothing is wrong.
    fn frames(bytes: &[u8], size: usize) -> Result<Vec<Frame>, Wrong> {
        let (found, wrong) = in_pieces(bytes, size, |got| frame(got, 1000));
        wrong.map_or(Ok(found), Err)
    }

    #[test]
    fn frames_are_the_same_however_they_come() {
        let whole = frames(ALL, ALL.len()).unwrap();
        assert_eq!(whole.len(), 8);
        assert_eq!(whole[0], Frame::Info(Bytes::from_static(b"{\"a\":1}")));
        assert_eq!((&whole[2], &whole[4]), (&Frame::Pong, &Frame::Error("no".into())));
        let Frame::Message(plain) = &whole[5] else { panic!("{whole:?}") };
        assert_eq!((plain.subject.as_str(), plain.sid, &plain.payload[..]), ("a.b", 7, &b"hi\r\nx"[..]));
        let Frame::Message(headed) = &whole[7] else { panic!("{whole:?}") };
        assert_eq!(headed.headers().collect::<Vec<_>>(), [("A".to_owned(), &b"b"[..])]);
        assert_eq!((&headed.payload[..], headed.status()), (&b"hi"[..], None));
        for size in 1..ALL.len() {
            assert_eq!(frames(ALL, size), Ok(whole.clone()), "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for wrong in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"MSG a 1\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a x 1\r\n",
            b"MSG a 1 r s 1\r\n",
            b"MSG a 1 1\r\nabc",
            b"HMSG a 1 5 4\r\n",
            b"HMSG a 1 4\r\n",
            b"\xff\r\n",
            &vec![b'+'; LINE],
        ] {
            assert!(
                matches!(frames(wrong, wrong.len()), Err(Wrong::Garbage(_))),
                "{:?}",
                String::from_utf8_lossy(wrong)
            );
        }
        assert_eq!(frames(b"MSG a 1 9999999\r\n", 99), Err(Wrong::TooLarge(9_999_999)));
        for at in 0..ALL.len() {
            for byte in 0..=255 {
                let mut changed = ALL.to_vec();
                changed[at] = byte;
                drop(frames(&changed, ALL.len()));
            }
        }
    }

    #[test]
    fn a_reply_subject_says_which_message_it_is() {
        let place = Place { sequence: 5, delivered: 4, time_ns: 1_795_749_326_425_698_129, pending: 1 };
        assert_eq!(Place::parse("$JS.ACK.S.c.1.5.4.1795749326425698129.1", "c"), Some(place));
        assert_eq!(Place::parse("$JS.ACK.hub.acc.S.c.1.5.4.1795749326425698129.1.x", "c"), Some(place));
        for other in
            ["$JS.ACK.S.d.1.5.4.1.1", "$JS.ACK.S.c.1.5.4.1", "$JS.ACK.S.c.1.a.4.1.1", "x", "$JS.ACK.S.c.1.5.4.1.1.1"]
        {
            assert_eq!(Place::parse(other, "c"), None, "{other}");
        }
    }
}
