//! What a broker answered, taken apart from its front.

use bytes::{Buf as _, Bytes};

use crate::{trouble::Malformed, wire::TopicId};

type Result<T> = std::result::Result<T, Malformed>;

/// An answer, or what is left of it.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    bytes: Bytes,
    flexible: bool,
}

impl Input {
    pub(crate) fn new(bytes: Bytes, flexible: bool) -> Self {
        Self { bytes, flexible }
    }

    pub(crate) fn i8(&mut self) -> Result<i8> {
        Ok(self.bytes.try_get_i8()?)
    }

    pub(crate) fn i16(&mut self) -> Result<i16> {
        Ok(self.bytes.try_get_i16()?)
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        Ok(self.bytes.try_get_i32()?)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        Ok(self.bytes.try_get_i64()?)
    }

    pub(crate) fn topic_id(&mut self) -> Result<TopicId> {
        let mut id = TopicId::default();
        self.bytes.try_copy_to_slice(&mut id)?;
        Ok(id)
    }

    fn varint(&mut self) -> Result<u32> {
        let mut value = 0_u32;
        for shift in (0..35).step_by(7) {
            let byte = self.bytes.try_get_u8()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed("a varint is too long"))
    }

    /// A length; none for null.
    fn length(&mut self, plain: impl FnOnce(&mut Self) -> Result<i32>) -> Result<Option<usize>> {
        let length = if self.flexible {
            self.varint()?.checked_sub(1).map(|length| length as usize)
        } else {
            match plain(self)? {
                -1 => None,
                length => Some(usize::try_from(length).map_err(|_| Malformed("a length is negative"))?),
            }
        };
        // Each thing counted has a byte at least.
        match length {
            Some(length) if length > self.bytes.remaining() => Err(Malformed("a length goes beyond the end")),
            length => Ok(length),
        }
    }

    fn slice(&mut self, length: usize) -> Bytes {
        // `length` has seen to it that there is so much.
        self.bytes.split_to(length.min(self.bytes.len()))
    }

    /// A text that may be null.
    pub(crate) fn text(&mut self) -> Result<Option<String>> {
        let Some(length) = self.length(|input| input.i16().map(i32::from))? else { return Ok(None) };
        let bytes = self.slice(length);
        let text = std::str::from_utf8(&bytes).map_err(|_| Malformed("a text is not UTF-8"))?;
        Ok(Some(text.to_owned()))
    }

    /// Bytes that may be null.
    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        Ok(self.length(Self::i32)?.map(|length| self.slice(length)).unwrap_or_default())
    }

    /// As many things as are said to follow, each read by `read`; none for null.
    pub(crate) fn each<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.length(Self::i32)?.unwrap_or(0);
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(read(self)?);
        }
        Ok(all)
    }

    /// Skips tagged fields, where there may be some.
    pub(crate) fn tags(&mut self) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let length = self.varint()? as usize;
            if length > self.bytes.remaining() {
                return Err(Malformed("a tagged field goes beyond the end"));
            }
            self.bytes.advance(length);
        }
        Ok(())
    }
}
