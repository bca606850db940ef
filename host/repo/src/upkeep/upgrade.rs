//! Upgrades of a whole store, one version after the other: read old, write new.
//!
//! A step makes what the next version needs, beside what the version before has, and the store is of the next version once that is
//! written down ([`version::mark`]). Until then it is of the version before, and builds of that version read and write it as ever. A step
//! may be broken off anywhere: it is done once more by whoever upgrades next, and does no harm twice. What an older version left may
//! go only in a later step, when no build is left that reads it.

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use spout_base::counted::counted;

use super::fsck::{Depth, Severity, fsck};
use crate::{
    error::Error,
    repo::{Store, version},
};

/// What a store needs to be of version `to`, having been of the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) to: u32,
    /// What is done, as it is told.
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Store) -> BoxFuture<'_, Result<(), Error>>,
}

/// Every step there is, a line each.
pub(crate) const STEPS: &[Step] =
    &[Step { to: 1, what: "every record is read, and is one that version 1 has", run: readable }];

/// A step that was done, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UpgradeStep {
    /// The version of the store after it.
    pub to: u32,
    /// What was done.
    pub what: String,
}

/// What became of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Upgraded {
    /// The version that it said it was of; 0 where it said none.
    pub from: u32,
    /// The version that it is of now, or would be.
    pub to: u32,
    /// What was done, in order.
    pub steps: Vec<UpgradeStep>,
}

/// Brings a store to the newest version of the format; with `dry_run` says only what would be done.
///
/// # Errors
/// [`Error::NotUpgraded`] if something in it cannot be read, and what reading and writing can end with. Steps that were done
/// before count.
pub async fn upgrade(store: &Store, dry_run: bool) -> Result<Upgraded, Error> {
    by(STEPS, store, dry_run).await
}

/// The same by these steps.
pub(crate) async fn by(steps: &[Step], store: &Store, dry_run: bool) -> Result<Upgraded, Error> {
    let from = version::found(store.objects()).await?;
    let mut upgraded = Upgraded { from, to: from, steps: Vec::new() };
    for step in steps.iter().filter(|step| step.to > from) {
        if !dry_run {
            (step.run)(store).await?;
            version::mark(store.objects(), step.to).await?;
        }
        upgraded.to = step.to;
        upgraded.steps.push(UpgradeStep { to: step.to, what: step.what.to_owned() });
    }
    Ok(upgraded)
}

/// Version 1 is the first, and has every form of record that was written in the days before it, except for forms that no build
/// reads any more; so there is nothing to convert, and it is seen to that none of those is there.
fn readable(store: &Store) -> BoxFuture<'_, Result<(), Error>> {
    Box::pin(async move {
        let report = fsck(store, None, Depth::Structure).await?;
        let damaged = report.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        match damaged {
            0 => Ok(()),
            damaged => Err(Error::NotUpgraded {
                store: store.url().to_owned(),
                to: 1,
                problems: format!(
                    "there {} {}",
                    if damaged == 1 { "is" } else { "are" },
                    counted(damaged as u64, "problem")
                ),
            }),
        }
    })
}
