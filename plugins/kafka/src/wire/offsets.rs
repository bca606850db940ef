//! The first and the last offset of partitions, and those of a time.

use crate::{
    trouble::Malformed,
    wire::{Input, Output},
};

/// Stands for a time: the newest offset.
pub(crate) const LATEST: i64 = -1;
/// Stands for a time: the oldest offset.
pub(crate) const EARLIEST: i64 = -2;

/// What a partition has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedOffset {
    pub(crate) partition: i32,
    pub(crate) code: i16,
    /// Negative if it has nothing at that time or later.
    pub(crate) offset: i64,
}

/// Asks what these partitions have at `time`.
pub(crate) fn ask(out: &mut Output, topic: &str, isolation: i8, partitions: &[i32], time: i64) {
    out.i32(-1);
    out.i8(isolation);
    out.count(1);
    out.text(topic);
    out.count(partitions.len());
    for partition in partitions {
        out.i32(*partition);
        out.i64(time);
    }
}

pub(crate) fn listed(mut input: Input) -> Result<Vec<ListedOffset>, Malformed> {
    input.i32()?;
    let topics = input.each(|input| {
        input.text()?;
        input.each(|input| {
            let (partition, code) = (input.i32()?, input.i16()?);
            input.i64()?;
            Ok(ListedOffset { partition, code, offset: input.i64()? })
        })
    })?;
    Ok(topics.into_iter().flatten().collect())
}
