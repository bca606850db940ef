//! Messages of PostgreSQL's protocol 3.0: a kind, a length, a body.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::Lsn;

/// What the peer sent is not what the protocol says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong(pub String);

/// One message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it is.
    pub(crate) kind: u8,
    /// What it says.
    pub(crate) body: Bytes,
}

/// Bytes before the body: the kind, and the length, which counts itself.
const HEAD: usize = 5;

/// Takes the first message out of `buffer`, if it is whole, and of at most `most` bytes.
///
/// # Errors
/// No message begins so.
pub(crate) fn take(buffer: &mut BytesMut, most: u32) -> Result<Option<Frame>, Wrong> {
    let mut head = buffer.chunk();
    let Some((kind, length)) = head.try_get_u8().ok().zip(head.try_get_u32().ok()) else { return Ok(None) };
    if !kind.is_ascii_alphanumeric() || length < 4 {
        return Err(Wrong(format!("a message of kind {kind:#04x} and length {length}")));
    }
    if length > most {
        return Err(Wrong(format!("a message of {length} bytes, more than the {most} of `maxMessage`")));
    }
    let whole = (length as usize).saturating_add(1);
    if buffer.len() < whole {
        return Ok(None);
    }
    let mut frame = buffer.split_to(whole).freeze();
    frame.advance(HEAD);
    Ok(Some(Frame { kind, body: frame }))
}

/// Largest message that PostgreSQL makes.
const LARGEST: u32 = 1 << 30;

/// How long the row is that begins in `buffer`, if one does.
pub(crate) fn row_length(buffer: &BytesMut) -> Option<u32> {
    let mut head = buffer.chunk();
    let (kind, length) = head.try_get_u8().ok().zip(head.try_get_u32().ok())?;
    Some(length).filter(|length| matches!(kind, b'D' | b'd') && *length <= LARGEST)
}

/// Reads a text that ends with a zero byte.
pub(crate) fn text(body: &mut Bytes) -> Result<String, Wrong> {
    let end = body.iter().position(|byte| *byte == 0).ok_or_else(|| Wrong("a text without an end".into()))?;
    let text = body.split_to(end);
    body.advance(1);
    String::from_utf8(text.to_vec()).map_err(|_| Wrong("a name that is no UTF-8".into()))
}

/// Reads `length` bytes.
pub(crate) fn bytes(body: &mut Bytes, length: usize) -> Result<Bytes, Wrong> {
    if body.len() < length {
        return Err(Wrong(format!("{length} bytes announced where {} are left", body.len())));
    }
    Ok(body.split_to(length))
}

pub(crate) fn short(_: bytes::TryGetError) -> Wrong {
    Wrong("a message that ends too early".into())
}

/// The values of a `DataRow`, as text; `None` for null.
///
/// # Errors
/// It is not one.
pub(crate) fn row(body: &Bytes) -> Result<Vec<Option<Bytes>>, Wrong> {
    let mut body = body.clone();
    let count = body.try_get_u16().map_err(short)?;
    let mut values = Vec::new();
    for _ in 0..count {
        let length = body.try_get_i32().map_err(short)?;
        values.push(match usize::try_from(length) {
            Ok(length) => Some(bytes(&mut body, length)?),
            Err(_) if length == -1 => None,
            Err(_) => return Err(Wrong(format!("a value of length {length}"))),
        });
    }
    if body.is_empty() { Ok(values) } else { Err(Wrong("bytes after the last value of a row".into())) }
}

fn framed(kind: Option<u8>, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut body = BytesMut::new();
    write(&mut body);
    let mut frame = BytesMut::with_capacity(body.len() + HEAD);
    kind.into_iter().for_each(|kind| frame.put_u8(kind));
    frame.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    frame.extend_from_slice(&body);
    frame.freeze()
}

fn put_text(body: &mut BytesMut, text: &str) {
    body.extend_from_slice(text.as_bytes());
    body.put_u8(0);
}

/// The first message of a session.
#[must_use]
pub(crate) fn startup(parameters: &[(&str, &str)]) -> Bytes {
    framed(None, |body| {
        body.put_u32(3 << 16);
        for (name, value) in parameters {
            put_text(body, name);
            put_text(body, value);
        }
        body.put_u8(0);
    })
}

/// Asks for TLS.
pub(crate) fn tls() -> [u8; 8] {
    [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]
}

/// What comes before a password of so many bytes and a zero byte.
pub(crate) fn password_head(length: usize) -> Bytes {
    let mut head = BytesMut::with_capacity(HEAD);
    head.put_u8(b'p');
    head.put_u32(u32::try_from(length).unwrap_or(u32::MAX).saturating_add(5));
    head.freeze()
}

/// The first message of a mechanism of SASL.
pub(crate) fn sasl_first(mechanism: &str, message: &str) -> Bytes {
    framed(Some(b'p'), |body| {
        put_text(body, mechanism);
        body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        body.extend_from_slice(message.as_bytes());
    })
}

/// A further one.
pub(crate) fn sasl_last(message: &str) -> Bytes {
    framed(Some(b'p'), |body| body.extend_from_slice(message.as_bytes()))
}

/// A statement, or several.
#[must_use]
pub(crate) fn query(sql: &str) -> Bytes {
    framed(Some(b'Q'), |body| put_text(body, sql))
}

/// The end of a session.
#[must_use]
pub(crate) fn terminate() -> Bytes {
    framed(Some(b'X'), |_| {})
}

/// A standby's status: what was written and flushed. Zero for `flushed` confirms nothing.
#[must_use]
pub(crate) fn status(written: Lsn, flushed: Lsn, clock: i64, answer: bool) -> Bytes {
    framed(Some(b'd'), |body| {
        body.put_u8(b'r');
        for lsn in [written, flushed, flushed] {
            body.put_u64(lsn.0);
        }
        body.put_i64(clock);
        body.put_u8(u8::from(answer));
    })
}

/// What a replication stream carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Replicated {
    /// A logical message.
    Data {
        /// The end of the log as far as it is written.
        end: Lsn,
        /// The message.
        message: Bytes,
    },
    /// Everything before `end` was sent.
    Alive {
        /// How far the server has come.
        end: Lsn,
        /// Whether it wants a status at once.
        answer: bool,
    },
}

/// Reads the body of a `CopyData`.
///
/// # Errors
/// It is not one of a replication stream.
pub(crate) fn replicated(mut body: Bytes) -> Result<Replicated, Wrong> {
    match body.try_get_u8().map_err(short)? {
        b'w' => {
            body.try_get_u64().map_err(short)?;
            let end = Lsn(body.try_get_u64().map_err(short)?);
            body.try_get_i64().map_err(short)?;
            Ok(Replicated::Data { end, message: body })
        }
        b'k' => {
            let end = Lsn(body.try_get_u64().map_err(short)?);
            body.try_get_i64().map_err(short)?;
            Ok(Replicated::Alive { end, answer: body.try_get_u8().map_err(short)? != 0 })
        }
        other => Err(Wrong(format!("a replication message of kind {other:#04x}"))),
    }
}
