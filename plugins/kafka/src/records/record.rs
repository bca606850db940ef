//! One record of a batch.

use bytes::Buf as _;

use crate::trouble::Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// A record as it lies in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// From the batch's first offset on.
    pub(crate) offset: i32,
    /// From the batch's first time on.
    pub(crate) time: i64,
    /// None for null.
    pub(crate) key: Option<&'a [u8]>,
    /// None for null, a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    /// How many headers there are, and all of them, each as `header` reads it.
    headers: i64,
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the first record off `bytes`.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Result<Self> {
        let length = varint(bytes)?;
        let mut rest = cut(bytes, length)?.ok_or(Malformed("a record has no length"))?;
        rest.try_get_i8()?;
        let (time, offset) = (varint(&mut rest)?, varint(&mut rest)?);
        let offset = i32::try_from(offset).map_err(|_| Malformed("a record's offset is none"))?;
        let length = varint(&mut rest)?;
        let key = cut(&mut rest, length)?;
        let length = varint(&mut rest)?;
        let value = cut(&mut rest, length)?;
        let headers = varint(&mut rest)?;
        let record = Self { offset, time, key, value, headers, rest };
        // They end where the record does.
        let mut all = record.headers();
        all.by_ref().try_for_each(|header| header.map(drop))?;
        if all.rest.is_empty() { Ok(record) } else { Err(Malformed("a record goes on after its headers")) }
    }

    /// Its headers, in their order.
    pub(crate) fn headers(&self) -> Headers<'a> {
        Headers { left: self.headers, rest: self.rest }
    }

    /// Bytes of all that it has.
    pub(crate) fn bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.rest.len()
    }
}

/// The headers of a record: names, and values, which are none for null.
#[derive(Clone, Debug)]
pub(crate) struct Headers<'a> {
    left: i64,
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<(&'a [u8], Option<&'a [u8]>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            // No record has fewer than none.
            let wrong = std::mem::take(&mut self.left) < 0;
            return wrong.then_some(Err(Malformed("a record has fewer headers than none")));
        }
        self.left -= 1;
        let header = header(&mut self.rest);
        if header.is_err() {
            self.left = 0;
        }
        Some(header)
    }
}

fn header<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>)> {
    let length = varint(rest)?;
    let name = cut(rest, length)?.ok_or(Malformed("a header has no name"))?;
    let length = varint(rest)?;
    Ok((name, cut(rest, length)?))
}

/// A number of which small ones are short, whatever their sign.
fn varint(bytes: &mut &[u8]) -> Result<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = bytes.try_get_u8()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(Malformed("a varint is too long"))
}

/// As many bytes off the front; none for the length -1, which stands for null.
fn cut<'a>(bytes: &mut &'a [u8], length: i64) -> Result<Option<&'a [u8]>> {
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| Malformed("a length is negative"))?;
    let (cut, rest) = bytes.split_at_checked(length).ok_or(Malformed("a length goes beyond the end"))?;
    *bytes = rest;
    Ok(Some(cut))
}
