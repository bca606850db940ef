//! Records of many partitions of one broker.

use bytes::Bytes;

use crate::{
    trouble::Malformed,
    wire::{Input, Output, TopicId},
};

type Result<T> = std::result::Result<T, Malformed>;

/// From this version on a topic is named by its id.
const IDS: i16 = 13;
/// From this version on requests may belong to a session; ours do not.
const SESSIONS: i16 = 7;
/// From this version on partitions say which leader they believe in.
const EPOCHS: i16 = 9;
/// From this version on a request says where it comes from.
const RACKS: i16 = 11;

/// A partition, and from where on it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
}

/// A request for records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchRequest<'a> {
    pub(crate) topic: &'a str,
    pub(crate) id: &'a TopicId,
    pub(crate) max_wait_ms: i32,
    pub(crate) min_bytes: i32,
    pub(crate) max_bytes: i32,
    pub(crate) partition_max_bytes: i32,
    pub(crate) isolation: i8,
    pub(crate) wanted: &'a [Ask],
}

impl FetchRequest<'_> {
    pub(crate) fn write(&self, out: &mut Output, version: i16) {
        out.i32(-1);
        out.i32(self.max_wait_ms);
        out.i32(self.min_bytes);
        out.i32(self.max_bytes);
        out.i8(self.isolation);
        if version >= SESSIONS {
            out.i32(0);
            out.i32(-1);
        }
        out.count(1);
        if version >= IDS {
            out.topic_id(self.id);
        } else {
            out.text(self.topic);
        }
        out.count(self.wanted.len());
        for ask in self.wanted {
            self.partition(out, version, *ask);
        }
        out.tags();
        if version >= SESSIONS {
            out.count(0);
        }
        if version >= RACKS {
            out.text("");
        }
        out.tags();
    }

    fn partition(&self, out: &mut Output, version: i16, ask: Ask) {
        out.i32(i32::try_from(ask.partition).unwrap_or(i32::MAX));
        if version >= EPOCHS {
            out.i32(-1);
        }
        out.i64(i64::try_from(ask.offset).unwrap_or(i64::MAX));
        if version >= 12 {
            out.i32(-1);
        }
        if version >= 5 {
            out.i64(-1);
        }
        out.i32(self.partition_max_bytes);
        out.tags();
    }
}

/// A transaction that was aborted: messages of this producer from this offset on, up to its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer: i64,
    pub(crate) first: i64,
}

/// What one partition answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) partition: u32,
    pub(crate) code: i16,
    pub(crate) high_watermark: i64,
    /// Before the first transaction that is open.
    pub(crate) last_stable: i64,
    pub(crate) aborted: Vec<Aborted>,
    pub(crate) records: Bytes,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: i16,
    pub(crate) partitions: Vec<Fetched>,
}

impl Answer {
    pub(crate) fn read(mut input: Input, version: i16) -> Result<Self> {
        input.i32()?;
        let code = if version >= SESSIONS {
            let code = input.i16()?;
            input.i32()?;
            code
        } else {
            0
        };
        let topics = input.each(|input| {
            if version >= IDS {
                input.topic_id()?;
            } else {
                input.text()?;
            }
            let partitions = input.each(|input| partition(input, version))?;
            input.tags()?;
            Ok(partitions)
        })?;
        Ok(Self { code, partitions: topics.into_iter().flatten().collect() })
    }
}

fn partition(input: &mut Input, version: i16) -> Result<Fetched> {
    let partition = u32::try_from(input.i32()?).map_err(|_| Malformed("a partition is negative"))?;
    let (code, high_watermark, last_stable) = (input.i16()?, input.i64()?, input.i64()?);
    if version >= 5 {
        input.i64()?;
    }
    let aborted = input.each(|input| {
        let aborted = Aborted { producer: input.i64()?, first: input.i64()? };
        input.tags()?;
        Ok(aborted)
    })?;
    if version >= RACKS {
        input.i32()?;
    }
    let records = input.bytes()?;
    input.tags()?;
    Ok(Fetched { partition, code, high_watermark, last_stable, aborted, records })
}
