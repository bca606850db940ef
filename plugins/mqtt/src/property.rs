//! What MQTT 5 adds to a packet: a list of properties, each with a number that says what it is and how it is written.

use bytes::{Buf as _, Bytes};

use crate::packet::{blob, text, varint};

/// Those that matter here. The others are read over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) keep_alive: Option<u16>,
    pub(crate) reason: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation: Option<Bytes>,
    /// Names and values that the sender chose, in their order.
    pub(crate) user: Vec<(String, String)>,
}

/// Takes a list of properties from the front; `None` if it is none.
pub(crate) fn properties(body: &mut Bytes) -> Option<Properties> {
    let (length, taken) = varint(body).ok()??;
    if length > body.len() - taken {
        return None;
    }
    body.advance(taken);
    let (mut list, mut found) = (body.split_to(length), Properties::default());
    while !list.is_empty() {
        one(&mut list, &mut found)?;
    }
    Some(found)
}

fn one(list: &mut Bytes, found: &mut Properties) -> Option<()> {
    match list.try_get_u8().ok()? {
        0x03 => found.content_type = Some(text(list)?),
        0x08 => found.response_topic = Some(text(list)?),
        0x09 => found.correlation = Some(blob(list)?),
        0x13 => found.keep_alive = Some(list.try_get_u16().ok()?),
        0x1f => found.reason = Some(text(list)?),
        0x26 => found.user.push((text(list)?, text(list)?)),
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => drop(list.try_get_u8().ok()?),
        0x21..=0x23 => drop(list.try_get_u16().ok()?),
        0x02 | 0x11 | 0x18 | 0x27 => drop(list.try_get_u32().ok()?),
        0x12 | 0x15 | 0x16 | 0x1a | 0x1c => drop(blob(list)?),
        0x0b => {
            let (_, taken) = varint(list).ok()??;
            list.advance(taken);
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_kept_and_the_rest_read_over() {
        let list =
            b"\x34\x01\x01\x02\0\0\0\x09\x0b\x80\x01\x21\0\x05\x12\0\x01c\x03\0\x02ct\x08\0\x01r\x09\0\x02\xff\0\
            \x26\0\x01a\0\x01b\x26\0\x01a\0\0\x1f\0\x02no\x13\0\x3ctail";
        let mut body = Bytes::from_static(list);
        let found = properties(&mut body).unwrap();
        assert_eq!(&body[..], b"tail");
        assert_eq!((found.content_type.as_deref(), found.response_topic.as_deref()), (Some("ct"), Some("r")));
        assert_eq!((found.correlation.as_deref(), found.keep_alive), (Some(&b"\xff\0"[..]), Some(60)));
        assert_eq!((found.reason.as_deref(), found.user.len()), (Some("no"), 2));
        for wrong in [&b""[..], b"\x02\x13", b"\x01\x00", b"\x03\x26\0\x01", b"\x02\x0b\x80", b"\x05\x03\0\x02\xff\xff"]
        {
            assert_eq!(properties(&mut Bytes::from_static(wrong)), None, "{wrong:?}");
        }
    }
}
