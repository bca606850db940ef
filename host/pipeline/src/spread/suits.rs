//! Whether the partitions of a pipeline can be read by several processes.

use std::{fmt, sync::Arc};

use spout_producer::ProducerTraits;
use spout_repo::Leader;

use super::{Fleet, Spread, leader::common, words::Mode};
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
    traits: &ProducerTraits,
    columns: &Columns,
    epoch: u64,
) -> Option<Spread> {
    let leads = config.leads.as_ref()?;
    if let Some(why) = whole(parts, traits, columns) {
        tracing::info!(pipeline = parts.name, "one process of the cluster runs all of it: {why}");
        return None;
    }
    let mode = if parts.ends_in_lanes() { Mode::Files } else { Mode::Rows };
    let stored = columns.stored().await;
    let settled = columns.schema().await.is_ok_and(|schema| schema.is_some());
    Some(Spread::new(&leads.fleet, parts, common(parts, epoch, mode, stored), settled))
}

/// Why one process has to run all of a pipeline, if it has to.
fn whole(parts: &Parts, traits: &ProducerTraits, columns: &Columns) -> Option<&'static str> {
    let reasons = [
        (parts.inputs.len() != 1, "it has several producers, whose columns are put together in one place"),
        (
            traits.readers.is_none(),
            "its source is not read by partition (a stream plugin with consumerType: lowlevel is)",
        ),
        (traits.drains, "its source gives what others send to it"),
        (
            columns.decoders(0).is_some_and(|decoder| decoder.evolves()),
            "its columns may become more while it runs (evolve), which has to be in one place",
        ),
    ];
    reasons.iter().find(|(whole, _)| *whole).map(|(_, why)| *why)
}
