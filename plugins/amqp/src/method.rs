//! Methods: what a server says with them, and those that a client sends.

use bytes::{Buf as _, Bytes};

use crate::table::{long, short, skip_table};

/// What a server says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Method {
    /// Hello, and the ways in which a client can say who it is.
    Start(Vec<String>),
    /// The longest frame, and the seconds between signs of life; zero is no limit.
    Tune(u32, u16),
    Opened,
    ChannelOpened,
    /// The queue is there and has so many messages that are with no consumer.
    Declared(u32),
    Limited,
    Consuming,
    Deliver(Delivery),
    /// The server delivers no more: the queue was deleted, or its node is gone.
    Cancelled,
    /// The end of the channel, or of the connection.
    Closed(Closed),
    /// Anything that needs no answer.
    Noted,
}

/// Why a server ends something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) text: String,
    pub(crate) whole: bool,
}

/// Which message comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) tag: u64,
    /// It was sent before, to us or to somebody else.
    pub(crate) again: bool,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
}

impl Method {
    /// Reads a method; `None` if it is none that a server sends.
    pub(crate) fn read(mut body: Bytes) -> Option<Self> {
        let body = &mut body;
        let (class, method) = (body.try_get_u16().ok()?, body.try_get_u16().ok()?);
        Some(match (class, method) {
            (10, 10) => {
                body.try_get_u16().ok()?;
                skip_table(body)?;
                let mechanisms = long(body)?;
                long(body)?;
                let text = String::from_utf8_lossy(&mechanisms);
                Self::Start(text.split_ascii_whitespace().map(str::to_owned).collect())
            }
            (10, 30) => {
                body.try_get_u16().ok()?;
                Self::Tune(body.try_get_u32().ok()?, body.try_get_u16().ok()?)
            }
            (10, 41) => Self::Opened,
            (10, 50) | (20, 40) => {
                let (code, text) = (body.try_get_u16().ok()?, short(body)?);
                Self::Closed(Closed { code, text, whole: class == 10 })
            }
            (10, 60 | 61) | (20, 20) => Self::Noted,
            (20, 11) => Self::ChannelOpened,
            (50, 11) => {
                short(body)?;
                Self::Declared(body.try_get_u32().ok()?)
            }
            (60, 11) => Self::Limited,
            (60, 21) => Self::Consuming,
            (60, 30) => Self::Cancelled,
            (60, 60) => {
                short(body)?;
                let (tag, again) = (body.try_get_u64().ok()?, body.try_get_u8().ok()? & 1 == 1);
                Self::Deliver(Delivery { tag, again, exchange: short(body)?, routing_key: short(body)? })
            }
            _ => return None,
        })
    }

    /// Whether it may come before a message is whole.
    pub(crate) fn ends(&self) -> bool {
        matches!(self, Self::Closed(Closed { whole: true, .. }) | Self::Noted)
    }
}

/// Where messages of a stream are asked for from, and the header that says where they are.
pub(crate) const STREAM_OFFSET: &str = "x-stream-offset";
/// The first bytes of a connection: the version.
pub(crate) const GREETING: &[u8] = b"AMQP\0\0\x09\x01";
/// A sign of life.
pub(crate) const HEARTBEAT: &[u8] = b"\x08\0\0\0\0\0\0\xce";

/// Who we are: all but the password, which stands between both parts.
pub(crate) fn start_ok(mechanism: &str, response: &str, password: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut body = method(10, 11);
    // That a consumer is told of the end of its queue, and a client of a wrong password.
    let mut abilities = Vec::new();
    for ability in ["consumer_cancel_notify", "authentication_failure_close", "basic.nack"] {
        put_short(&mut abilities, ability)?;
        abilities.extend([b't', 1]);
    }
    let mut properties = Vec::new();
    put_short(&mut properties, "product")?;
    properties.push(b'S');
    put_long(&mut properties, b"spout")?;
    put_short(&mut properties, "capabilities")?;
    properties.push(b'F');
    put_long(&mut properties, &abilities)?;
    put_long(&mut body, &properties)?;
    put_short(&mut body, mechanism)?;
    body.extend(u32::try_from(response.len() + password).ok()?.to_be_bytes());
    body.extend(response.as_bytes());
    let locale = b"\x05en_US";
    let size = u32::try_from(body.len() + password + locale.len()).ok()?;
    let mut head = vec![1, 0, 0];
    head.extend(size.to_be_bytes());
    head.extend(body);
    Some((head, [&locale[..], &[0xce]].concat()))
}

pub(crate) fn tune_ok(longest: u32, heartbeat: u16) -> Option<Vec<u8>> {
    let mut body = method(10, 31);
    body.extend(1_u16.to_be_bytes());
    body.extend(longest.to_be_bytes());
    body.extend(heartbeat.to_be_bytes());
    framed(0, &body)
}

pub(crate) fn open(vhost: &str) -> Option<Vec<u8>> {
    let mut body = method(10, 40);
    put_short(&mut body, vhost)?;
    body.extend([0, 0]);
    framed(0, &body)
}

pub(crate) fn open_channel() -> Option<Vec<u8>> {
    framed(1, &[&method(20, 10)[..], &[0]].concat())
}

/// Asks whether the queue is there; makes none.
pub(crate) fn look(queue: &str) -> Option<Vec<u8>> {
    let mut body = method(50, 10);
    body.extend([0, 0]);
    put_short(&mut body, queue)?;
    body.extend([1, 0, 0, 0, 0]);
    framed(1, &body)
}

pub(crate) fn limit(prefetch: u16) -> Option<Vec<u8>> {
    let mut body = method(60, 10);
    body.extend([0; 4]);
    body.extend(prefetch.to_be_bytes());
    body.push(0);
    framed(1, &body)
}

/// Where messages of a stream are asked for from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The first that there is.
    First,
    /// The first of those that were written last, together.
    Last,
    /// The one with this offset, or the next that there is.
    Offset(u64),
    /// The first of those that were written together at or after this second since 1970.
    Second(u64),
}

/// Asks for the messages of the queue, each to be acknowledged; those of a stream from there on.
pub(crate) fn consume(queue: &str, from: Option<Begin>) -> Option<Vec<u8>> {
    let mut arguments = Vec::new();
    if let Some(from) = from {
        put_short(&mut arguments, STREAM_OFFSET)?;
        match from {
            Begin::First | Begin::Last => {
                arguments.push(b'S');
                put_long(&mut arguments, if from == Begin::First { b"first" } else { b"last" })?;
            }
            Begin::Offset(offset) => {
                arguments.push(b'l');
                arguments.extend(i64::try_from(offset).ok()?.to_be_bytes());
            }
            Begin::Second(second) => {
                arguments.push(b'T');
                arguments.extend(second.to_be_bytes());
            }
        }
    }
    let mut body = method(60, 20);
    body.extend([0, 0]);
    put_short(&mut body, queue)?;
    put_short(&mut body, "spout")?;
    body.push(0);
    put_long(&mut body, &arguments)?;
    framed(1, &body)
}

/// Ends the connection; nothing is wrong.
pub(crate) fn close() -> Option<Vec<u8>> {
    framed(0, &[&method(10, 50)[..], &200_u16.to_be_bytes(), &[0; 5]].concat())
}

/// Acknowledges the message with this tag and all before it.
pub(crate) fn acknowledge(tag: u64) -> Option<Vec<u8>> {
    let mut body = method(60, 80);
    body.extend(tag.to_be_bytes());
    body.push(1);
    framed(1, &body)
}

fn method(class: u16, method: u16) -> Vec<u8> {
    [class.to_be_bytes(), method.to_be_bytes()].concat()
}

fn framed(channel: u16, body: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = vec![1];
    bytes.extend(channel.to_be_bytes());
    put_long(&mut bytes, body)?;
    bytes.push(0xce);
    Some(bytes)
}

fn put_short(into: &mut Vec<u8>, text: &str) -> Option<()> {
    into.push(u8::try_from(text.len()).ok()?);
    into.extend(text.as_bytes());
    Some(())
}

fn put_long(into: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    into.extend(u32::try_from(bytes.len()).ok()?.to_be_bytes());
    into.extend(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_and_written() {
        let read = |bytes: &'static [u8]| Method::read(Bytes::from_static(bytes));
        let start = b"\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x0ePLAIN AMQPLAIN\0\0\0\x05en_US";
        assert_eq!(read(start), Some(Method::Start(vec!["PLAIN".into(), "AMQPLAIN".into()])));
        assert_eq!(read(b"\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c"), Some(Method::Tune(131_072, 60)));
        let closed = |whole| Some(Method::Closed(Closed { code: 404, text: "no".into(), whole }));
        assert_eq!(read(b"\0\x0a\0\x32\x01\x94\x02no\0\0\0\0"), closed(true));
        assert_eq!(read(b"\0\x14\0\x28\x01\x94\x02no\0\0\0\0"), closed(false));
        assert_eq!(read(b"\0\x32\0\x0b\x01q\0\0\0\x07\0\0\0\0"), Some(Method::Declared(7)));
        for wrong in [&b"\0\x0a\0\x28"[..], b"\0\x3c\0\x47", b"\0", b"\0\x0a\0\x1e\0", b"\0\x14\0\x32\0\0\0"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        assert_eq!(acknowledge(258).unwrap(), b"\x01\0\x01\0\0\0\x0d\0\x3c\0\x50\0\0\0\0\0\0\x01\x02\x01\xce");
        assert_eq!(look("q").unwrap(), b"\x01\0\x01\0\0\0\x0d\0\x32\0\x0a\0\0\x01q\x01\0\0\0\0\xce");
        assert_eq!(consume(&"q".repeat(256), None), None);
        let ask = |from| consume("q", from).unwrap()[7..].escape_ascii().to_string();
        let head = r"\x00<\x00\x14\x00\x00\x01q\x05spout\x00\x00\x00\x00";
        assert_eq!(ask(None), format!(r"{head}\x00\xce"));
        for (from, size, rest) in [
            (Begin::First, r"\x1a", r"S\x00\x00\x00\x05first"),
            (Begin::Last, r"\x19", r"S\x00\x00\x00\x04last"),
            (Begin::Offset(258), r"\x19", r"l\x00\x00\x00\x00\x00\x00\x01\x02"),
            (Begin::Second(3), r"\x19", r"T\x00\x00\x00\x00\x00\x00\x00\x03"),
        ] {
            assert_eq!(ask(Some(from)), format!(r"{head}{size}\x0fx-stream-offset{rest}\xce"));
        }
        assert_eq!(consume("q", Some(Begin::Offset(u64::MAX))), None);
        let (head, tail) = start_ok("PLAIN", "\0me\0", 3).unwrap();
        let size = u32::from_be_bytes(head[3..7].try_into().unwrap()) as usize;
        assert_eq!(size, head.len() - 7 + 3 + tail.len() - 1);
        assert!(head.ends_with(b"\x05PLAIN\0\0\0\x07\0me\0"), "{head:?}");
    }
}
