//! `length`: each message has its length in front, in binary.

use std::ops::Range;

use super::{
    Cut, FramingSpec, Step, cut_short,
    spec::{ByteOrder, LengthPrefix},
    too_large,
};

/// Length-prefixed messages.
#[derive(Debug)]
pub(super) struct Prefixed {
    prefix: LengthPrefix,
    order: ByteOrder,
    max: usize,
}

impl Prefixed {
    pub(super) fn new(spec: &FramingSpec, max: usize) -> Self {
        Self { prefix: spec.prefix.unwrap_or_default(), order: spec.order.unwrap_or_default(), max }
    }

    fn fixed<const N: usize>(&self, bytes: &[u8]) -> Option<(u64, usize)> {
        let prefix: &[u8; N] = bytes.first_chunk()?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let length = match self.order {
            ByteOrder::Big => prefix.iter().fold(0, add),
            ByteOrder::Little => prefix.iter().rev().fold(0, add),
        };
        Some((length, N))
    }
}

impl Cut for Prefixed {
    fn step(&mut self, bytes: &[u8]) -> Result<Step, String> {
        let head = match self.prefix {
            LengthPrefix::U16 => self.fixed::<2>(bytes),
            LengthPrefix::U32 => self.fixed::<4>(bytes),
            LengthPrefix::U64 => self.fixed::<8>(bytes),
            LengthPrefix::Varint => varint(bytes)?,
        };
        head.map_or(Ok(Step::More), |(length, head)| counted(bytes, head, length, 0, self.max))
    }

    fn end(&mut self, _: &[u8]) -> Result<Option<Range<usize>>, String> {
        Err(cut_short())
    }
}

/// The frame of `length` bytes after a head of `head` bytes, followed by `tail` more.
pub(super) fn counted(bytes: &[u8], head: usize, length: u64, tail: usize, max: usize) -> Result<Step, String> {
    if length > max as u64 {
        return Err(too_large(length, max));
    }
    let end = head + length as usize;
    Ok(if bytes.len() >= end + tail { Step::Frame(Some(head..end), end + tail) } else { Step::More })
}

fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, String> {
    let mut length = 0_u64;
    for (index, &byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && byte > 1 {
            return Err("the length is a varint of more than 64 bits; set the framing that the sender uses".into());
        }
        length |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 1)));
        }
    }
    Ok(None)
}
