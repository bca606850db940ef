//! The offsets of a consumer group.

use crate::{
    trouble::Malformed,
    wire::{Api, Input, Output},
};

type Result<T> = std::result::Result<T, Malformed>;

pub(crate) const FIND: Api = Api { key: 10, name: "FindCoordinator", versions: &[0], flexible: 3 };
pub(crate) const FETCHED: Api = Api { key: 9, name: "OffsetFetch", versions: &[1], flexible: 6 };
pub(crate) const COMMIT: Api = Api { key: 8, name: "OffsetCommit", versions: &[2], flexible: 8 };

/// Asks which broker keeps the offsets of `group`.
pub(crate) fn find(out: &mut Output, group: &str) {
    out.text(group);
}

/// The broker that keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coordinator {
    pub(crate) code: i16,
    pub(crate) address: String,
}

pub(crate) fn coordinator(mut input: Input) -> Result<Coordinator> {
    let code = input.i16()?;
    input.i32()?;
    let host = input.text()?.unwrap_or_default();
    let port = input.i32()?;
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Ok(Coordinator { code, address })
}

/// Asks for the offsets that `group` has of these partitions.
pub(crate) fn wanted(out: &mut Output, group: &str, topic: &str, partitions: &[u32]) {
    out.text(group);
    out.count(1);
    out.text(topic);
    out.count(partitions.len());
    partitions.iter().for_each(|partition| out.i32(i32::try_from(*partition).unwrap_or(i32::MAX)));
}

/// They: partition, offset (negative if there is none), error.
pub(crate) fn fetched(mut input: Input) -> Result<Vec<(i32, i64, i16)>> {
    let topics = input.each(|input| {
        input.text()?;
        input.each(|input| {
            let (partition, offset) = (input.i32()?, input.i64()?);
            input.text()?;
            Ok((partition, offset, input.i16()?))
        })
    })?;
    Ok(topics.into_iter().flatten().collect())
}

/// Sets the offsets of `group`, as one who is not a member of it.
pub(crate) fn commit(out: &mut Output, group: &str, topic: &str, offsets: &[(u32, u64)]) {
    out.text(group);
    out.i32(-1);
    out.text("");
    out.i64(-1);
    out.count(1);
    out.text(topic);
    out.count(offsets.len());
    for (partition, offset) in offsets {
        out.i32(i32::try_from(*partition).unwrap_or(i32::MAX));
        out.i64(i64::try_from(*offset).unwrap_or(i64::MAX));
        out.text("");
    }
}

/// Partitions and errors.
pub(crate) fn committed(mut input: Input) -> Result<Vec<(i32, i16)>> {
    let topics = input.each(|input| {
        input.text()?;
        input.each(|input| Ok((input.i32()?, input.i16()?)))
    })?;
    Ok(topics.into_iter().flatten().collect())
}
