//! Frames of AMQP 0-9-1, and the messages that several of them make.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::{
    method::{Delivery, Method},
    table::{Properties, properties},
};

/// Most bytes of a frame, which we say when we connect, and the eight around its payload.
pub(crate) const LONGEST: usize = 128 << 10;
const AROUND: usize = 8;
const END: u8 = 0xce;
/// What a server says instead of a frame if it speaks another version.
const OTHER: &[u8] = b"AMQP";

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Method(Method),
    /// The size of a message, and what it has besides.
    Header(u64, Box<Properties>),
    Body(Bytes),
    Heartbeat,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) delivery: Delivery,
    pub(crate) properties: Box<Properties>,
    pub(crate) body: Bytes,
}

/// Why what came is none of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A message of so many bytes.
    TooLarge(u64),
    /// Another version of the protocol.
    Version,
    Garbage(&'static str),
}

/// Takes a frame from the front of `got`, once it is there whole.
pub(crate) fn frame(got: &mut BytesMut) -> Result<Option<Frame>, Wrong> {
    if got.len() >= 4 && got.starts_with(OTHER) {
        return Err(Wrong::Version);
    }
    let mut head = &got[..];
    let Ok(kind) = head.try_get_u8() else { return Ok(None) };
    if !matches!(kind, 1 | 2 | 3 | 8 | b'A') {
        return Err(Wrong::Garbage("a frame is of no known kind"));
    }
    let (Ok(channel), Ok(size)) = (head.try_get_u16(), head.try_get_u32()) else { return Ok(None) };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if channel > 1 || size > LONGEST - AROUND {
        return Err(Wrong::Garbage("a frame is larger than agreed, or of a channel that is not open"));
    }
    let Some(end) = head.get(size) else { return Ok(None) };
    if *end != END {
        return Err(Wrong::Garbage("a frame does not end where it says"));
    }
    got.advance(AROUND - 1);
    let body = got.split_to(size).freeze();
    got.advance(1);
    let read = match kind {
        1 => Method::read(body).map(Frame::Method),
        2 => header(body),
        3 => Some(Frame::Body(body)),
        _ => Some(Frame::Heartbeat),
    };
    read.map(Some).ok_or(Wrong::Garbage("a frame has something else in it than it says"))
}

fn header(mut body: Bytes) -> Option<Frame> {
    let (class, weight) = (body.try_get_u16().ok()?, body.try_get_u16().ok()?);
    let size = body.try_get_u64().ok()?;
    let properties = properties(&mut body)?;
    (class == 60 && weight == 0 && body.is_empty()).then(|| Frame::Header(size, Box::new(properties)))
}

/// A message of which not all has come.
#[derive(Debug, Default)]
pub(crate) struct Assembly(Option<Part>);

#[derive(Debug)]
struct Part {
    delivery: Delivery,
    header: Option<(u64, Box<Properties>)>,
    body: BytesMut,
}

impl Assembly {
    /// Takes a frame; the message that is whole with it, or the method that is of no message.
    pub(crate) fn take(&mut self, frame: Frame, most: usize) -> Result<Taken, Wrong> {
        let wrong = Err(Wrong::Garbage("frames of a message come in another order than they may"));
        match (frame, self.0.take()) {
            (Frame::Heartbeat, part) => self.0 = part,
            (Frame::Method(Method::Deliver(delivery)), None) => {
                self.0 = Some(Part { delivery, header: None, body: BytesMut::new() });
            }
            (Frame::Method(method), part) => {
                // Whoever ends a channel or connection does not wait for the end of a message.
                self.0 = part;
                return if self.0.is_some() && !method.ends() { wrong } else { Ok(Taken::Method(method)) };
            }
            (Frame::Header(size, properties), Some(part)) if part.header.is_none() => {
                if size > most as u64 {
                    return Err(Wrong::TooLarge(size));
                }
                return Ok(self.whole(Part { header: Some((size, properties)), ..part }));
            }
            (Frame::Body(bytes), Some(Part { delivery, header: Some((size, properties)), mut body })) => {
                body.extend_from_slice(&bytes);
                if body.len() as u64 > size || bytes.is_empty() {
                    return Err(Wrong::Garbage("a message is longer than it says"));
                }
                return Ok(self.whole(Part { delivery, header: Some((size, properties)), body }));
            }
            _ => return wrong,
        }
        Ok(Taken::Nothing)
    }

    fn whole(&mut self, part: Part) -> Taken {
        match part {
            Part { delivery, header: Some((size, properties)), body } if body.len() as u64 == size => {
                Taken::Message(Message { delivery, properties, body: body.freeze() })
            }
            part => {
                self.0 = Some(part);
                Taken::Nothing
            }
        }
    }
}

/// What a frame came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Taken {
    Nothing,
    Method(Method),
    Message(Message),
}

#[cfg(test)]
pub(crate) mod tests {
    use spout_guest::testing::in_pieces;

    use super::*;

    pub(crate) fn framed(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(channel.to_be_bytes());
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(body);
        bytes.push(END);
        bytes
    }

    /// A message with the property `message-id` if there is one, in bodies of at most `size` bytes.
    pub(crate) fn message(tag: u64, again: bool, id: Option<&str>, payload: &[u8], size: usize) -> Vec<u8> {
        let mut deliver = b"\0\x3c\0\x3c\x01c".to_vec();
        deliver.extend(tag.to_be_bytes());
        deliver.extend([u8::from(again), 1, b'x', 1, b'k']);
        let mut header = b"\0\x3c\0\0".to_vec();
        header.extend((payload.len() as u64).to_be_bytes());
        header.extend(if id.is_some() { [0, 0x80] } else { [0, 0] });
        if let Some(id) = id {
            header.push(id.len() as u8);
            header.extend(id.as_bytes());
        }
        let mut bytes = [framed(1, 1, &deliver), framed(2, 1, &header)].concat();
        payload.chunks(size).for_each(|piece| bytes.extend(framed(3, 1, piece)));
        bytes
    }

    pub(crate) fn taken(bytes: &[u8], size: usize, most: usize) -> (Vec<Taken>, Option<Wrong>) {
        let mut assembly = Assembly::default();
        let (all, wrong) = in_pieces(bytes, size, |got| match frame(got)? {
            Some(frame) => assembly.take(frame, most).map(Some),
            None => Ok(None),
        });
        (all.into_iter().filter(|one| *one != Taken::Nothing).collect(), wrong)
    }

    #[test]
    fn messages_are_the_same_however_they_come() {
        let bytes = [
            message(1, false, Some("id-1"), b"hello world", 4),
            framed(8, 0, b""),
            message(2, true, None, b"", 4),
            framed(1, 0, b"\0\x0a\0\x3c\x03mem"),
            message(3, false, None, b"x", 1),
        ]
        .concat();
        let (whole, wrong) = taken(&bytes, bytes.len(), 100);
        assert_eq!((whole.len(), wrong), (4, None));
        let Taken::Message(first) = &whole[0] else { panic!("{whole:?}") };
        assert_eq!((&first.body[..], first.properties.message_id.as_deref()), (&b"hello world"[..], Some("id-1")));
        assert_eq!((first.delivery.tag, first.delivery.routing_key.as_str()), (1, "k"));
        let Taken::Message(second) = &whole[1] else { panic!("{whole:?}") };
        assert!(second.delivery.again && second.body.is_empty());
        for size in 1..bytes.len() {
            assert_eq!(taken(&bytes, size, 100).0, whole, "in pieces of {size}");
        }
        assert_eq!(taken(&bytes, 9, 10).1, Some(Wrong::TooLarge(11)));
        for at in 0..bytes.len() {
            for byte in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = byte;
                drop(taken(&changed, bytes.len(), 100));
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_and_costs_nothing() {
        let deliver = || framed(1, 1, b"\0\x3c\0\x3c\0\0\0\0\0\0\0\0\x01\0\0\0");
        let header = |size: u64| framed(2, 1, &[&b"\0\x3c\0\0"[..], &size.to_be_bytes(), &[0, 0]].concat());
        for wrong in [
            b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
            b"\x01\0\0\xff\xff\xff\xff".to_vec(),
            b"\x01\0\x02\0\0\0\x04".to_vec(),
            b"\x08\0\0\0\0\0\0x".to_vec(),
            framed(1, 1, b"\0"),
            framed(1, 1, b"\0\x3c\0\x3c\x09c"),
            framed(2, 1, b"\0\x3c\0\0\0\0\0\0\0\0\0\0\0\x01"),
            framed(3, 1, b"x"),
            header(1),
            [deliver(), deliver()].concat(),
            [deliver(), framed(3, 1, b"x")].concat(),
            [deliver(), header(1), header(1)].concat(),
            [deliver(), header(1), framed(3, 1, b"xy")].concat(),
            [deliver(), header(5), framed(3, 1, b"")].concat(),
            [deliver(), framed(1, 1, b"\0\x3c\0\x0b")].concat(),
        ] {
            let said = taken(&wrong, wrong.len(), 100).1;
            assert!(matches!(said, Some(Wrong::Garbage(_))), "{wrong:?}: {said:?}");
        }
        assert_eq!(taken(b"AMQP\0\x01\0\0", 8, 9).1, Some(Wrong::Version));
        assert_eq!(taken(&[deliver(), header(u64::MAX)].concat(), 99, 100).1, Some(Wrong::TooLarge(u64::MAX)));
    }
}
