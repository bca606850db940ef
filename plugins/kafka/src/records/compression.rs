//! What a batch was compressed with, and how it becomes what it was.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};

use crate::trouble::Malformed;

/// Bytes that a batch may have once it is no longer compressed.
pub(crate) const MOST: usize = 64 << 20;

/// What the blocks of Snappy are framed with by Kafka's Java clients, before two numbers of four bytes.
const XERIAL: &[u8] = b"\x82SNAPPY\0";

const TOO_LARGE: Malformed = Malformed("a batch has more than 64 MiB once it is no longer compressed");

/// The records of a batch, whose attributes say how they are compressed.
pub(crate) fn decompressed(attributes: i16, payload: Bytes) -> Result<Bytes, Malformed> {
    match attributes & 7 {
        0 => Ok(payload),
        1 => read(flate2::read::MultiGzDecoder::new(payload.as_ref()), "gzip of a batch is broken"),
        2 => snappy(&payload),
        3 => read(lz4_flex::frame::FrameDecoder::new(payload.as_ref()), "LZ4 of a batch is broken"),
        4 => zstd(&payload),
        _ => Err(Malformed("a batch is compressed in a way that Kafka does not have")),
    }
}

/// All of it, unless that is too much. Nothing is reserved at what its head says.
fn read(from: impl Read, broken: &'static str) -> Result<Bytes, Malformed> {
    let mut out = Vec::new();
    let read = from.take(MOST as u64 + 1).read_to_end(&mut out).map_err(|_: io::Error| Malformed(broken))?;
    if read > MOST { Err(TOO_LARGE) } else { Ok(out.into()) }
}

/// Frames of Zstandard, one after the other.
fn zstd(payload: &[u8]) -> Result<Bytes, Malformed> {
    const BROKEN: &str = "Zstandard of a batch is broken";
    let (mut rest, mut out) = (payload, Vec::new());
    while !rest.is_empty() {
        let frame = ruzstd::decoding::StreamingDecoder::new(&mut rest).map_err(|_| Malformed(BROKEN))?;
        let left = (MOST - out.len()) as u64 + 1;
        frame.take(left).read_to_end(&mut out).map_err(|_: io::Error| Malformed(BROKEN))?;
        if out.len() > MOST {
            return Err(TOO_LARGE);
        }
    }
    Ok(out.into())
}

/// One block, or a run of blocks with their lengths.
fn snappy(payload: &[u8]) -> Result<Bytes, Malformed> {
    let mut out = Vec::new();
    let Some(mut rest) = payload.strip_prefix(XERIAL) else {
        block(payload, &mut out)?;
        return Ok(out.into());
    };
    rest.try_get_u64()?;
    while rest.has_remaining() {
        let length = usize::try_from(rest.try_get_i32()?).map_err(|_| Malformed("a length is negative"))?;
        let (one, after) = rest.split_at_checked(length).ok_or(Malformed("a block of Snappy goes beyond the end"))?;
        block(one, &mut out)?;
        rest = after;
    }
    Ok(out.into())
}

fn block(block: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    /// No block becomes more than this many times as large: a copy of 64 bytes takes three.
    const MOST_TIMES: usize = 22;
    let length = snap::raw::decompress_len(block).map_err(|_| Malformed("Snappy of a batch is broken"))?;
    if length > block.len().saturating_mul(MOST_TIMES) {
        return Err(Malformed("a block of Snappy says that it is longer than it can be"));
    }
    let from = out.len();
    if from + length > MOST {
        return Err(TOO_LARGE);
    }
    out.resize(from + length, 0);
    let room = out.get_mut(from..).unwrap_or_default();
    match snap::raw::Decoder::new().decompress(block, room) {
        Ok(written) if written == length => Ok(()),
        _ => Err(Malformed("Snappy of a batch is broken")),
    }
}
