//! What a broker sends: packets of MQTT 3.1.1 and 5, read as they come, within bounds.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::property::{Properties, properties};

/// Most bytes of a packet that is no message.
const SMALL: usize = 64 << 10;
/// Most bytes that a message may have besides its payload: its topic, and what MQTT 5 adds.
const AROUND: usize = 512 << 10;

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V3,
    V5,
}

/// Something that a broker sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Connected(Connected),
    Message(Message),
    /// The broker lets go of the message with this id.
    Release(u16),
    /// What became of each filter that was subscribed to.
    Subscribed(u16, Vec<u8>),
    Unsubscribed,
    Pong,
    /// The broker ends the connection, for this reason.
    Disconnected(u8, String),
}

/// The answer to a hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connected {
    /// The broker knows this client.
    pub(crate) present: bool,
    pub(crate) code: u8,
    /// How often the broker wants to hear of us, in seconds, if it is not what we said.
    pub(crate) keep_alive: Option<u16>,
    pub(crate) reason: String,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) topic: String,
    /// None with QoS 0.
    pub(crate) id: Option<u16>,
    pub(crate) properties: Properties,
    pub(crate) payload: Bytes,
}

/// Why what came is no packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A message of so many bytes.
    TooLarge(usize),
    Garbage(&'static str),
}

/// Takes a packet from the front of `got`, once it is there whole; the payload of a message has at most `most` bytes.
pub(crate) fn packet(got: &mut BytesMut, version: Version, most: usize) -> Result<Option<Packet>, Wrong> {
    let Some((kind, rest)) = got.split_first() else { return Ok(None) };
    let kind = *kind;
    if !matches!(kind >> 4, 2 | 3 | 6 | 9 | 11 | 13 | 14) || (kind >> 4 != 3 && kind & 15 != flags(kind >> 4)) {
        return Err(Wrong::Garbage("a packet is none that a broker sends"));
    }
    let Some((length, taken)) = varint(rest)? else { return Ok(None) };
    let largest = if kind >> 4 == 3 { most.saturating_add(AROUND) } else { SMALL };
    if length > largest {
        let garbage = Wrong::Garbage("a packet is larger than any of its kind");
        return Err(if kind >> 4 == 3 { Wrong::TooLarge(length) } else { garbage });
    }
    if got.len() < 1 + taken + length {
        return Ok(None);
    }
    got.advance(1 + taken);
    let body = got.split_to(length).freeze();
    let read = match kind >> 4 {
        2 => connected(body, version),
        3 => message(kind, body, version),
        6 => acknowledged(body).map(Packet::Release),
        9 => subscribed(body, version),
        11 => Some(Packet::Unsubscribed),
        13 => Some(Packet::Pong),
        _ => disconnected(body, version),
    };
    let read = read.ok_or(Wrong::Garbage("a packet is not as long as it says, or has something else in it"))?;
    match &read {
        Packet::Message(message) if message.payload.len() > most => Err(Wrong::TooLarge(message.payload.len())),
        _ => Ok(Some(read)),
    }
}

/// The lower half of the first byte, where it is fixed.
fn flags(kind: u8) -> u8 {
    if kind == 6 { 2 } else { 0 }
}

/// A number of at most four bytes, seven bits each, and how many it has; `None` if it is not there whole.
pub(crate) fn varint(bytes: &[u8]) -> Result<Option<(usize, usize)>, Wrong> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 127) << (7 * at);
        if byte & 128 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Wrong::Garbage("a length has more than four bytes")) }
}

/// Bytes with their length in front.
pub(crate) fn blob(body: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(body.try_get_u16().ok()?);
    (length <= body.len()).then(|| body.split_to(length))
}

pub(crate) fn text(body: &mut Bytes) -> Option<String> {
    let bytes = blob(body)?;
    std::str::from_utf8(&bytes).ok().map(str::to_owned)
}

/// What stands there of properties: nothing, in MQTT 3.1.1 and at the end of a packet.
fn rest(body: &mut Bytes, version: Version) -> Option<Properties> {
    if version == Version::V3 || body.is_empty() { Some(Properties::default()) } else { properties(body) }
}

fn connected(mut body: Bytes, version: Version) -> Option<Packet> {
    let (flags, code) = (body.try_get_u8().ok()?, body.try_get_u8().ok()?);
    // A broker that does not speak version 5 says so as one of 3.1.1 does.
    let properties = rest(&mut body, version)?;
    let connected = Connected {
        present: flags & 1 == 1,
        code,
        keep_alive: properties.keep_alive,
        reason: properties.reason.unwrap_or_default(),
    };
    (flags < 2 && body.is_empty()).then_some(Packet::Connected(connected))
}

fn message(kind: u8, mut body: Bytes, version: Version) -> Option<Packet> {
    let qos = kind >> 1 & 3;
    let topic = text(&mut body)?;
    let id = if qos == 0 { None } else { Some(body.try_get_u16().ok().filter(|id| *id > 0)?) };
    // A message always has properties in MQTT 5, if only that there are none.
    let properties = if version == Version::V5 { properties(&mut body)? } else { Properties::default() };
    let (dup, retain) = (kind & 8 > 0, kind & 1 > 0);
    // A name for a topic was never agreed on.
    let sound = qos < 3 && !topic.is_empty();
    sound.then_some(Packet::Message(Message { dup, qos, retain, topic, id, properties, payload: body }))
}

/// The id of an acknowledgment; what MQTT 5 says besides changes nothing.
fn acknowledged(mut body: Bytes) -> Option<u16> {
    body.try_get_u16().ok().filter(|id| *id > 0)
}

fn subscribed(mut body: Bytes, version: Version) -> Option<Packet> {
    let id = body.try_get_u16().ok()?;
    if version == Version::V5 {
        properties(&mut body)?;
    }
    Some(Packet::Subscribed(id, body.to_vec()))
}

fn disconnected(mut body: Bytes, version: Version) -> Option<Packet> {
    if version == Version::V3 {
        return None;
    }
    let code = body.try_get_u8().unwrap_or(0);
    let properties = rest(&mut body, version)?;
    Some(Packet::Disconnected(code, properties.reason.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use spout_guest::testing::in_pieces;

    use super::*;

    /// Packets of version 5.
    const ALL: &[u8] = b"\x20\x09\x01\x00\x06\x13\x00\x05\x21\x00\x09\xd0\x00\x62\x02\x00\x07\
        \x90\x05\x00\x01\x00\x01\x80\xb0\x04\x00\x02\x00\x00\xe0\x00\xe0\x02\x8b\x00\
        \x3b\x15\x00\x03a/b\x01\x02\x08\x26\x00\x01k\x00\x02vv hi!!";

    /// All packets, if nothing is wrong.
    fn packets(bytes: &[u8], size: usize, version: Version) -> Result<Vec<Packet>, Wrong> {
        let (found, wrong) = in_pieces(bytes, size, |got| packet(got, version, 1000));
        wrong.map_or(Ok(found), Err)
    }

    #[test]
    fn packets_are_the_same_however_they_come() {
        let whole = packets(ALL, ALL.len(), Version::V5).unwrap();
        let connected = Connected { present: true, keep_alive: Some(5), ..Connected::default() };
        assert_eq!(whole[..3], [Packet::Connected(connected), Packet::Pong, Packet::Release(7)]);
        assert_eq!(whole[3..5], [Packet::Subscribed(1, vec![1, 128]), Packet::Unsubscribed]);
        assert_eq!(whole[5..7], [Packet::Disconnected(0, String::new()), Packet::Disconnected(0x8b, String::new())]);
        let Packet::Message(message) = &whole[7] else { panic!("{whole:?}") };
        assert_eq!((message.topic.as_str(), message.id, &message.payload[..]), ("a/b", Some(258), &b" hi!!"[..]));
        assert_eq!((message.dup, message.qos, message.retain), (true, 1, true));
        assert_eq!(message.properties.user, [("k".to_owned(), "vv".to_owned())]);
        for size in 1..ALL.len() {
            assert_eq!(packets(ALL, size, Version::V5), Ok(whole.clone()), "in pieces of {size}");
        }
        let old = b"\x20\x02\x00\x05\x30\x05\x00\x01axy\x34\x06\x00\x01a\x00\x09z";
        let old = packets(old, 3, Version::V3).unwrap();
        assert_eq!(old[0], Packet::Connected(Connected { code: 5, ..Connected::default() }));
        let [_, Packet::Message(none), Packet::Message(two)] = &old[..] else { panic!("{old:?}") };
        assert_eq!((none.qos, none.id, &none.payload[..]), (0, None, &b"xy"[..]));
        assert_eq!((two.qos, two.id, &two.payload[..]), (2, Some(9), &b"z"[..]));
    }

    #[test]
    fn what_is_no_packet_is_refused_and_costs_nothing() {
        for wrong in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\x00\x00",
            b"\x10\x00",
            b"\x21\x02\x00\x00",
            b"\x20\x01\x00",
            b"\x20\x02\x02\x00",
            b"\x20\x03\x00\x00\x09",
            b"\x20\x05\x00\x00\x02\x13\x00",
            b"\x20\x05\x00\x00\x02\x7f\x00",
            b"\x60\x02\x00\x01",
            b"\x62\x02\x00\x00",
            b"\x36\x06\x00\x01a\x00\x01\x00",
            b"\x32\x06\x00\x01a\x00\x00\x00",
            b"\x32\x04\x00\x00\x00\x01",
            b"\x32\x06\x00\x05a\x00\x01\x00",
            b"\x32\x06\x00\x01\xff\x00\x01\x00",
            b"\x32\x06\x00\x01a\x00\x01\x05",
            b"\xd0\xff\xff\xff\xff",
            b"\xd0\x80\x80\x80\x01",
        ] {
            let said = packets(wrong, wrong.len(), Version::V5);
            assert!(matches!(said, Err(Wrong::Garbage(_))), "{wrong:?}: {said:?}");
        }
        assert_eq!(packets(b"\x32\xff\xff\xff\x7f", 5, Version::V5), Err(Wrong::TooLarge(268_435_455)));
        let long = [&[0x30, 0xec, 0x07, 0, 1, b'a', 0][..], &[0; 1000]].concat();
        assert!(packets(&long, 9, Version::V5).is_ok());
        let long = [&[0x30, 0xed, 0x07, 0, 1, b'a', 0][..], &[0; 1001]].concat();
        assert_eq!(packets(&long, 9, Version::V5), Err(Wrong::TooLarge(1001)));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_answer() {
        for at in 0..ALL.len() {
            for byte in 0..=255 {
                let mut changed = ALL.to_vec();
                changed[at] = byte;
                drop(packets(&changed, ALL.len(), Version::V5));
                drop(packets(&changed, ALL.len(), Version::V3));
            }
        }
    }
}
