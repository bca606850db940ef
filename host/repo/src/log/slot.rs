//! Taking the next slot of a branch: the one step that makes anything visible.

use serde::Serialize;

use super::seal;
use crate::{
    error::Error,
    layout::Layout,
    object::{Created, Objects, Step},
};

/// What became of a record.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is in its slot, durably, with this checksum.
    Ours(String),
    /// Another record is there.
    Others,
    /// It is in a slot that had been collected: it counts for nothing, and the branch is far ahead.
    Void,
    /// It is certain that nothing was written.
    Nothing(Error),
    /// It may be there, or come to be there.
    Unknown(Error),
}

/// Creates `record` in slot `sequence` of `branch`.
///
/// A slot that was collected is empty again, so that a writer which slept since could take it. It cannot mistake that for
/// success: a collection makes a boundary durable before it deletes what is before, and we look for one afterwards.
pub(crate) async fn take<T: Serialize>(
    (objects, layout): (&Objects, &Layout),
    step: Step,
    branch: &str,
    sequence: u64,
    record: &T,
) -> Result<Taken, Error> {
    let path = layout.record(branch, sequence);
    let object = objects.shown(&path);
    let (bytes, checksum) = seal::seal(&object, record)?;
    Ok(match objects.create(step, &path, bytes).await? {
        Created::Ours => match boundary(objects, layout, branch).await {
            Ok(boundary) if boundary > sequence => Taken::Void,
            Ok(_) => Taken::Ours(checksum),
            // It is there; whether it counts is not known.
            Err(error) => Taken::Unknown(error),
        },
        Created::Others => Taken::Others,
        Created::Nothing(source) => Taken::Nothing(Error::write(object, source)),
        Created::Unknown(source) => Taken::Unknown(Error::Unconfirmed { object, source: source.into() }),
    })
}

/// The first sequence of `branch` that is kept; 0 if all are.
pub(crate) async fn boundary(objects: &Objects, layout: &Layout, branch: &str) -> Result<u64, Error> {
    let names = objects.names(&layout.boundaries(branch)).await?;
    Ok(names.iter().filter_map(|name| Layout::sequence(&name.as_str().into())).max().unwrap_or(0))
}
