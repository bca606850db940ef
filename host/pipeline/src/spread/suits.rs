//! Whether the partitions of a pipeline can be read by several processes.

use std::{fmt, sync::Arc};

use spout_producer::ProducerTraits;
use spout_repo::{Commit, Leader};

use super::{Fleet, Spread, leader::common, unfit::Unfit, words::Mode};
use crate::{build::Parts, columns::Columns, run::RunConfig};

/// The processes that share the work of a pipeline, and who this one is to them.
#[derive(Clone)]
pub struct Leading {
    /// The processes.
    pub fleet: Arc<dyn Fleet>,
    /// Who this one is to others: its claim of a branch says so.
    pub leader: Leader,
    /// The newest epoch of the branch that was seen before: from nobody who claims it after that is it taken.
    pub seen: u64,
    /// Members that get no tasks for a while.
    pub(super) unfit: Unfit,
}

impl Leading {
    /// Leads `fleet`, as `leader`, after `seen` was the newest epoch of the branch.
    #[must_use]
    pub fn new(fleet: Arc<dyn Fleet>, leader: Leader, seen: u64) -> Self {
        Self { fleet, leader, seen, unfit: Unfit::default() }
    }
}

impl fmt::Debug for Leading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leading").field("leader", &self.leader).finish_non_exhaustive()
    }
}

/// What spreads the work of `parts`, if there are processes that share it and it can be spread; it is said why not.
pub(crate) async fn over(
    parts: &Parts,
    config: &RunConfig,
    (traits, consumers): (&ProducerTraits, Option<u32>),
    columns: &Columns,
    splits: bool,
    (epoch, head): (u64, Option<&Commit>),
) -> Option<Spread> {
    let leads = config.leads.as_ref()?;
    if let Some(why) = whole(parts, (traits, consumers), columns) {
        tracing::info!(pipeline = parts.name, "one process of the cluster runs all of it: {why}");
        return None;
    }
    let mode = if parts.ends_in_lanes() {
        Mode::Files
    } else if splits && parts.spec.consumers.is_empty() {
        Mode::Keys
    } else {
        Mode::Rows
    };
    let stored = columns.stored().await;
    let settled = columns.schema().await.is_ok_and(|schema| schema.is_some());
    Some(Spread::new(leads, parts, common(parts, epoch, mode, stored), settled, head))
}

/// Why one process has to run all of a pipeline, if it has to.
fn whole(
    parts: &Parts,
    (traits, consumers): (&ProducerTraits, Option<u32>),
    columns: &Columns,
) -> Option<&'static str> {
    let reasons = [
        (parts.inputs.len() != 1, "it has several producers, whose columns are put together in one place"),
        (
            traits.readers.is_none() && consumers.is_none_or(|consumers| consumers == 1),
            "its source is not read by partition (a stream plugin with consumerType: lowlevel is), nor by several readers (with consumerType: acked, `readers` says how many)",
        ),
        (traits.drains, "its source gives what others send to it"),
        (
            columns.decoders(0).is_some_and(|decoder| decoder.evolves()),
            "its columns may become more while it runs (evolve), which has to be in one place",
        ),
    ];
    reasons.iter().find(|(whole, _)| *whole).map(|(_, why)| *why)
}
