//! The body of a response: how it ends, and its bytes, of which there are only so many.

use std::io::{BufRead, Read as _};

use flate2::bufread::MultiGzDecoder;

use super::{
    HttpError,
    head::{self, Headers},
};

/// Bytes of a line that says how long a chunk is, extensions included.
const CHUNK_LINE: usize = 1 << 10;
/// Bytes after the last chunk.
const TRAILERS: usize = 16 << 10;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// How the body ends that follows these headers, as the answer to a request of this method.
pub(super) fn framing(status: u16, headers: &Headers, method: &str) -> Result<Framing, HttpError> {
    let wrong = |what: &str| Err(HttpError::Protocol(what.into()));
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(Framing::None);
    }
    let (mut encodings, mut lengths) = (all(headers, "transfer-encoding"), all(headers, "content-length"));
    match (encodings.next(), lengths.next()) {
        (Some(_), Some(_)) => wrong("it has both a length and an encoding of its body"),
        (Some(encoding), None) if encoding.eq_ignore_ascii_case("chunked") && encodings.next().is_none() => {
            Ok(Framing::Chunked)
        }
        (Some(_), None) => wrong("its transfer encoding is unknown"),
        (None, Some(length)) => {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            match length.parse() {
                Ok(number) if digits && lengths.all(|other| other == length) => Ok(Framing::Length(number)),
                _ => wrong("its content length is not a number"),
            }
        }
        (None, None) => Ok(Framing::Close),
    }
}

/// The values of every header of this name.
fn all<'a>(headers: &'a Headers, wanted: &'a str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

/// Reads a body of at most `most` bytes.
pub(super) fn read(from: &mut impl BufRead, framing: Framing, most: usize) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    match framing {
        Framing::None => {}
        Framing::Length(length) => take(from, length, most, &mut body)?,
        Framing::Chunked => loop {
            let length = chunk(&head::line(from, &mut { CHUNK_LINE })?)?;
            if length == 0 {
                head::headers(from, &mut { TRAILERS })?;
                break;
            }
            take(from, length, most, &mut body)?;
            if !head::line(from, &mut { CHUNK_LINE })?.is_empty() {
                return Err(HttpError::Protocol("a chunk is longer than it says".into()));
            }
        },
        Framing::Close => {
            let room = u64::try_from(most).unwrap_or(u64::MAX);
            from.by_ref().take(room.saturating_add(1)).read_to_end(&mut body)?;
            if body.len() > most {
                return Err(HttpError::TooLarge(most));
            }
        }
    }
    Ok(body)
}

/// What `packed` with gzip is, at most `most` bytes.
pub(super) fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, HttpError> {
    let (room, mut body) = (u64::try_from(most).unwrap_or(u64::MAX), Vec::new());
    let read = MultiGzDecoder::new(packed).take(room.saturating_add(1)).read_to_end(&mut body);
    read.map_err(|error| HttpError::Protocol(format!("its body cannot be unpacked: {error}")))?;
    if body.len() > most { Err(HttpError::TooLarge(most)) } else { Ok(body) }
}

/// Adds `length` bytes to `body`. Room is made for bytes that are there, not for those that are announced.
fn take(from: &mut impl BufRead, length: u64, most: usize, body: &mut Vec<u8>) -> Result<(), HttpError> {
    let room = most - body.len().min(most);
    if length > u64::try_from(room).unwrap_or(u64::MAX) {
        return Err(HttpError::TooLarge(most));
    }
    let read = from.by_ref().take(length).read_to_end(body)?;
    if u64::try_from(read).ok() == Some(length) {
        Ok(())
    } else {
        Err(HttpError::Protocol("it ends within its body".into()))
    }
}

/// The length in the line before a chunk.
fn chunk(line: &str) -> Result<u64, HttpError> {
    let digits = line.split(';').next().unwrap_or_default().trim_end_matches([' ', '\t']);
    let sound = !digits.is_empty() && digits.len() <= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let length = u64::from_str_radix(digits, 16).ok().filter(|_| sound);
    length.ok_or_else(|| HttpError::Protocol("the length of a chunk is not a number".into()))
}
