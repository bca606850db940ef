//! What stands in front of an encoded value, or in a header beside it: which schema it was written with.

use std::fmt;

use bytes::Buf as _;
use spout_data::Messages;

/// Header that names the schema of a value.
const HEADER: &str = "__value_schema_id";
/// An id of four bytes follows.
const ID: u8 = 0;
/// A GUID of sixteen bytes follows.
const GUID: u8 = 1;
/// Deepest nesting of Protobuf messages that is named by indexes.
const DEPTH: usize = 32;

/// What a schema is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SchemaId {
    /// By its number in the registry.
    Number(u32),
    /// By what is the same in all registries.
    Guid(u128),
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Guid(guid) => {
                let part = |from: u32, bits: u32| (guid >> from) & ((1 << bits) - 1);
                let (a, b, c) = (part(96, 32), part(80, 16), part(64, 16));
                write!(f, "{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", part(48, 16), part(0, 48))
            }
        }
    }
}

/// A value and its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) id: SchemaId,
    /// What follows the id in a header.
    header: Option<&'a [u8]>,
    /// What follows the id in the value, or all of it where the id is in a header.
    pub(super) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// That of the message at `index`.
    ///
    /// # Errors
    /// The message names no schema.
    pub(super) fn of(messages: &'a Messages, index: usize) -> Result<Self, String> {
        let value = messages.values.get(index);
        match messages.headers_of(index).iter().find(|header| header.name == HEADER) {
            Some(header) => {
                let (id, rest) = id(&header.value).ok_or_else(|| {
                    format!("the header {HEADER} is neither 0 and an id of 4 bytes nor 1 and a GUID of 16 bytes")
                })?;
                Ok(Self { id, header: Some(rest), body: value })
            }
            None => {
                let (id, body) = id(value).ok_or(
                    "the message names no schema: it does not begin with 0 and an id of 4 bytes, as producers with a registry write it",
                )?;
                Ok(Self { id, header: None, body })
            }
        }
    }

    /// Which message of its file a Protobuf value is, and what is left of the value.
    ///
    /// # Errors
    /// The indexes are cut short or lie.
    pub(super) fn indexes(self) -> Result<(Vec<u32>, &'a [u8])> {
        match self.header {
            Some([]) => Ok((vec![0], self.body)),
            Some(mut header) => Ok((indexes(&mut header)?, self.body)),
            None => {
                let mut body = self.body;
                let indexes = indexes(&mut body)?;
                Ok((indexes, body))
            }
        }
    }
}

type Result<T, E = String> = std::result::Result<T, E>;

fn id(mut bytes: &[u8]) -> Option<(SchemaId, &[u8])> {
    let id = match bytes.try_get_u8().ok()? {
        ID => SchemaId::Number(bytes.try_get_u32().ok()?),
        GUID => SchemaId::Guid(bytes.try_get_u128().ok()?),
        _ => return None,
    };
    Some((id, bytes))
}

/// A count and as many numbers; none stand for the first message.
fn indexes(bytes: &mut &[u8]) -> Result<Vec<u32>> {
    let wrong = |what: &str| format!("the message indexes {what}");
    let mut number = || -> Result<u32> {
        let mut number = 0_u64;
        for at in 0..5 {
            let byte = bytes.try_get_u8().map_err(|_| wrong("are cut short"))?;
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                // Zigzag: an odd one is negative.
                return u32::try_from(number >> 1)
                    .ok()
                    .filter(|_| number & 1 == 0)
                    .ok_or_else(|| wrong("have a negative number"));
            }
        }
        Err(wrong("have a number of more than 32 bits"))
    };
    match number()? as usize {
        0 => Ok(vec![0]),
        count if count > DEPTH => Err(wrong(&format!("are {count}, and may be {DEPTH}"))),
        count => (0..count).map(|_| number()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use spout_data::Header;

    use super::*;

    fn message(value: &[u8], header: Option<&[u8]>) -> Messages {
        let mut messages = Messages::default();
        messages.values.push(value);
        messages.headers.extend(header.map(|value| Header { message: 0, name: HEADER.into(), value: value.to_vec() }));
        messages
    }

    #[test]
    fn a_schema_is_named_in_front_or_in_a_header() {
        let check = |value: &[u8], header: Option<&[u8]>, expected: Option<(&str, &[u8])>| {
            let messages = message(value, header);
            let found = Frame::of(&messages, 0).ok();
            assert_eq!(
                found.map(|found| (found.id.to_string(), found.body)),
                expected.map(|(id, b)| (id.to_owned(), b))
            );
        };
        check(b"\0\0\0\x01\x02rest", None, Some(("258", b"rest")));
        check(b"\0\xff\xff\xff\xff", None, Some(("4294967295", b"")));
        check(b"\0\0\0\x01", None, None);
        check(b"{\"a\":1}", None, None);
        check(b"", None, None);
        let guid: Vec<u8> = [1].into_iter().chain(0x10..0x20).collect();
        check(b"rest", Some(&guid), Some(("10111213-1415-1617-1819-1a1b1c1d1e1f", b"rest")));
        check(b"rest", Some(&guid[..16]), None);
        check(b"\0\0\0\x01\x02", Some(b"\0\0\0\0\x07"), Some(("7", b"\0\0\0\x01\x02")));
    }

    #[test]
    fn indexes_say_which_message_of_a_file() {
        let check = |bytes: &[u8], header: Option<&[u8]>, expected: Result<(&[u32], &[u8]), &str>| {
            let value = [&b"\0\0\0\0\x01"[..], bytes].concat();
            let messages = message(if header.is_some() { bytes } else { &value }, header);
            let found = Frame::of(&messages, 0).unwrap().indexes();
            match (found, expected) {
                (Ok((found, rest)), Ok(expected)) => assert_eq!((&found[..], rest), expected),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (found, _) => panic!("{found:?}"),
            }
        };
        check(b"\0x", None, Ok((&[0], b"x")));
        check(b"\x02\x02x", None, Ok((&[1], b"x")));
        check(b"\x04\x02\x80\x01x", None, Ok((&[1, 64], b"x")));
        check(b"\x04\x02", None, Err("cut short"));
        check(b"\x03", None, Err("negative"));
        check(b"\x80\x01", None, Err("are 64"));
        check(b"\xff\xff\xff\xff\xff\x01", None, Err("more than 32 bits"));
        check(b"x", Some(b"\0\0\0\0\x07"), Ok((&[0], b"x")));
        check(b"x", Some(b"\0\0\0\0\x07\x02\x04"), Ok((&[2], b"x")));
    }
}
