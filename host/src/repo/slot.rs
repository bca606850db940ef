//! Taking the next slot of a branch: the one step that makes anything visible.

use serde::Serialize;

use super::{
    Error,
    object::{Created, Step},
    repository::Repo,
    seal,
};

/// What became of a record.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is in its slot, durably, with this checksum.
    Ours(String),
    /// Another record is there.
    Others,
    /// It is certain that nothing was written.
    Nothing(Error),
    /// It may be there, or come to be there.
    Unknown(Error),
}

/// Creates `record` in slot `sequence` of `branch`.
///
/// A slot that was collected is empty again, so that a writer which slept since could take it. It cannot mistake that for
/// success: records are collected oldest first and never the newest, so the slot is the next one only if the record
/// before it is still there.
pub(super) async fn take<T: Serialize>(
    repo: &Repo,
    step: Step,
    branch: &str,
    sequence: u64,
    record: &T,
) -> Result<Taken, Error> {
    let path = repo.layout.record(branch, sequence);
    let object = repo.objects.shown(&path);
    let (bytes, checksum) = seal::seal(&object, record)?;
    Ok(match repo.objects.create(step, &path, bytes).await? {
        Created::Ours => match is_next(repo, branch, sequence).await {
            Ok(true) => Taken::Ours(checksum),
            Ok(false) => Taken::Others,
            // It is there; whether it counts is not known.
            Err(error) => Taken::Unknown(error),
        },
        Created::Others => Taken::Others,
        Created::Nothing(source) => Taken::Nothing(Error::write(object, source)),
        Created::Unknown(source) => Taken::Unknown(Error::Unconfirmed { object, source: source.into() }),
    })
}

/// Whether the record before is there. If that cannot be read, nothing is known of ours either.
async fn is_next(repo: &Repo, branch: &str, sequence: u64) -> Result<bool, Error> {
    match sequence.checked_sub(1).filter(|&before| before > 0) {
        None => Ok(true),
        Some(before) => Ok(repo.objects.size(&repo.layout.record(branch, before)).await?.is_some()),
    }
}
