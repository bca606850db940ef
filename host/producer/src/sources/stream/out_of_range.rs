//! Where a partition goes on whose offset the source no longer has.

use spout_data::Position;

use super::StreamSpec;
use crate::{Error, OutOfRange};

/// The offset that is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost<'a> {
    pub(super) partition: u32,
    pub(super) label: &'a str,
    pub(super) offset: u64,
}

/// The position at which `spec` says to go on, of what the source has: from the first of `range` on, before the second.
pub(super) fn enter(spec: &StreamSpec, lost: Lost<'_>, range: Option<(Position, Position)>) -> Result<Position, Error> {
    let Lost { partition, label, offset } = lost;
    let (earliest, latest) = range.unwrap_or_default();
    let to = match spec.on_out_of_range {
        OutOfRange::Earliest => earliest,
        OutOfRange::Latest => latest,
        OutOfRange::Fail => {
            return Err(Error::OutOfRange {
                plugin: spec.plugin.clone(),
                topic: spec.topic.clone(),
                partition,
                label: label.to_owned(),
                offset,
                earliest: earliest.offset,
                latest: latest.offset,
            });
        }
    };
    tracing::warn!(
        plugin = spec.plugin,
        partition,
        label,
        offset,
        to = to.offset,
        "the source no longer has the offset of the last commit; continuing as `onOutOfRange` says"
    );
    Ok(to)
}
