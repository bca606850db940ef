//! One batch of records: its head, and what it holds once it is unpacked.

use bytes::{Buf as _, Bytes};

use super::{compression::decompressed, crc::checksum, record::Record};
use crate::trouble::Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// Bytes of a head, from the first to where records begin.
const HEAD: usize = 61;
/// Bytes before what `length` counts.
const BEFORE: usize = 12;
/// Bytes before what the checksum is of.
const SUMMED: usize = 21;

const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// A batch as it lies in an answer.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    base: i64,
    /// The offset of its last record, whether or not it is still there.
    last: i64,
    attributes: i16,
    first_time: i64,
    max_time: i64,
    producer: i64,
    count: i32,
    payload: Bytes,
}

/// The way in which messages are written. Others than the third are from before 2017.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken<T> {
    Batch(T),
    /// An old way.
    Magic(i8),
    /// The rest of a batch is missing: answers may be cut anywhere.
    Cut,
}

impl Batch {
    /// Takes the first batch off `bytes`, which are not empty.
    pub(crate) fn take(bytes: &mut Bytes, check: bool) -> Result<Taken<Self>> {
        let mut head = bytes.clone();
        if head.len() < SUMMED {
            return Ok(Taken::Cut);
        }
        let base = head.try_get_i64()?;
        let length = usize::try_from(head.try_get_i32()?).map_err(|_| Malformed("a batch has a negative length"))?;
        head.try_get_i32()?;
        let magic = head.try_get_i8()?;
        if magic != 2 {
            return Ok(Taken::Magic(magic));
        }
        if length < HEAD - BEFORE {
            return Err(Malformed("a batch is shorter than its head"));
        }
        let Some(whole) = length.checked_add(BEFORE).filter(|whole| *whole <= bytes.len()) else {
            return Ok(Taken::Cut);
        };
        let batch = bytes.split_to(whole);
        let sum = head.try_get_u32()?;
        if check && checksum(batch.get(SUMMED..).unwrap_or_default()) != sum {
            return Err(Malformed("the checksum of a batch is wrong"));
        }
        let (attributes, delta) = (head.try_get_i16()?, head.try_get_i32()?);
        let (first_time, max_time, producer) = (head.try_get_i64()?, head.try_get_i64()?, head.try_get_i64()?);
        head.try_get_i16()?;
        head.try_get_i32()?;
        let count = head.try_get_i32()?;
        let last = base.checked_add(delta.into()).filter(|last| base >= 0 && delta >= 0 && *last < i64::MAX);
        let last = last.ok_or(Malformed("a batch has offsets that there are not"))?;
        if count < 0 || i64::from(count) > i64::from(delta) + 1 {
            return Err(Malformed("a batch has more records than offsets"));
        }
        let payload = batch.slice(HEAD.min(batch.len())..);
        Ok(Taken::Batch(Self { base, last, attributes, first_time, max_time, producer, count, payload }))
    }

    /// The offset of its last record.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// Whose it is; none for one without producer.
    pub(crate) fn producer(&self) -> i64 {
        self.producer
    }

    /// Whether it is part of a transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it is a marker, not messages.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether it is the marker of a transaction that was aborted.
    pub(crate) fn aborts(&self) -> Result<bool> {
        if self.count == 0 {
            return Ok(false);
        }
        let payload = decompressed(self.attributes, self.payload.clone())?;
        let mut key = Record::take(&mut payload.as_ref())?.key.ok_or(Malformed("a marker has no key"))?;
        key.try_get_i16()?;
        Ok(key.try_get_i16()? == 0)
    }

    /// Its records.
    pub(crate) fn open(self) -> Result<Open> {
        let log_time = (self.attributes & LOG_APPEND_TIME != 0).then_some(self.max_time);
        let bytes = decompressed(self.attributes, self.payload)?;
        let Self { base, last, first_time, count, .. } = self;
        Ok(Open { base, last, first_time, log_time, left: count, bytes, at: 0, before: -1 })
    }
}

/// A batch whose records are being taken out.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    base: i64,
    last: i64,
    first_time: i64,
    log_time: Option<i64>,
    left: i32,
    bytes: Bytes,
    at: usize,
    /// The last offset that was taken, from `base` on.
    before: i32,
}

/// A record with its offset and its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) offset: u64,
    /// In milliseconds since 1970, if it is known.
    pub(crate) time: Option<i64>,
    pub(crate) record: Record<'a>,
    /// Where the record after it begins.
    end: usize,
}

impl Open {
    /// The offset after its last one.
    pub(crate) fn next_offset(&self) -> u64 {
        self.last.unsigned_abs() + 1
    }

    /// Bytes that are not taken out yet.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// The next record, which stays until it is taken; none after the last one.
    pub(crate) fn peek(&self) -> Result<Option<Placed<'_>>> {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        if self.left == 0 {
            return if rest.is_empty() { Ok(None) } else { Err(Malformed("a batch goes on after its records")) };
        }
        let record = Record::take(&mut rest)?;
        let offset = self.base + i64::from(record.offset);
        if record.offset <= self.before || offset > self.last {
            return Err(Malformed("the offsets of a batch do not rise"));
        }
        let time = self.log_time.unwrap_or_else(|| self.first_time.saturating_add(record.time));
        let time = Some(time).filter(|time| *time >= 0);
        Ok(Some(Placed { offset: offset.unsigned_abs(), time, record, end: self.bytes.len() - rest.len() }))
    }

    /// Takes the record out that `peek` showed.
    pub(crate) fn taken(&mut self, offset: i32, end: usize) {
        self.left -= 1;
        self.before = offset;
        self.at = end;
    }
}

impl Placed<'_> {
    /// What [`Open::taken`] wants to know.
    pub(crate) fn place(&self) -> (i32, usize) {
        (self.record.offset, self.end)
    }
}
