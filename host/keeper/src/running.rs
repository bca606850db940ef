//! A group of pipelines that runs, or did: what it is made of, and what it says until it is over.

use std::{collections::BTreeMap, time::Duration};

use spout_base::clock::Instant;
use spout_pipeline::{Error as PipelineError, Host, Parts, Update};
use spout_plugin::{PluginRef, Plugins, Stamp};
use spout_spec::Loaded;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{committer::Orders, status::Statuses};

/// A group that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) made_of: MadeOf,
    pub(super) parts: Vec<Parts>,
    /// What ran before with other plugins, until this one has committed something.
    pub(super) before: Option<Vec<Parts>>,
    /// The orders to begin anew that it was started with, by pipeline, until each is known to be followed.
    pub(super) orders: BTreeMap<String, String>,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<Ended>,
}

/// How a group ended by itself: what failed, if anything did, and whether something was committed before.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) error: Option<PipelineError>,
    pub(super) committed: bool,
}

/// What a group is made of: another one has to be started where this is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MadeOf {
    /// Digests of the specs, by pipeline.
    pub(super) specs: BTreeMap<String, String>,
    /// The last orders to begin anew, by pipeline.
    orders: BTreeMap<String, String>,
    /// The versions of the plugins, by name.
    plugins: BTreeMap<String, Option<Stamp>>,
}

/// A group that has ended.
#[derive(Debug)]
pub(super) struct Resting {
    pub(super) made_of: MadeOf,
    /// After a failure: how long it rests, and until when.
    pub(super) until: Option<(Duration, Instant)>,
}

impl MadeOf {
    /// What pipelines of these specs are made of now, with the orders that were given to any.
    pub(super) fn now(specs: &[Loaded], orders: &BTreeMap<String, String>, plugins: &Plugins) -> Self {
        let plugin = |used: &str| {
            let name = PluginRef::parse(used).plugin.to_owned();
            let stamp = plugins.stamp(&name);
            (name, stamp)
        };
        let name = |loaded: &Loaded| loaded.spec.pipeline.name.clone();
        let used = specs.iter().flat_map(|loaded| spout_spec::plugins(&loaded.spec));
        Self {
            specs: specs.iter().map(|loaded| (name(loaded), loaded.digest.clone())).collect(),
            orders: specs
                .iter()
                .filter_map(|loaded| orders.get_key_value(&name(loaded)))
                .map(|(name, order)| (name.clone(), order.clone()))
                .collect(),
            plugins: used.map(|(_, used)| plugin(used.reference)).collect(),
        }
    }
}

/// Passes on what running pipelines say, until they are over.
pub(super) async fn watch_over(
    (mut host, mut said): (Host, mpsc::UnboundedReceiver<Update>),
    (statuses, updates): (Statuses, mpsc::UnboundedSender<Update>),
    mut commit: Orders,
    stop: CancellationToken,
) -> Ended {
    let mut ended = Ended { error: None, committed: false };
    let (mut told, mut over, mut stopping) = (false, false, false);
    while !(told && over) {
        tokio::select! {
            update = said.recv(), if !told => match update {
                Some(update) => {
                    if let Update::Failed { pipeline, error, code } = &update {
                        tracing::error!(pipeline, code, "{error}");
                    }
                    ended.committed |= matches!(update, Update::Committed { .. });
                    statuses.hear(&update);
                    // Whoever listened may have gone away.
                    drop(updates.send(update));
                }
                None => told = true,
            },
            failure = host.failure(), if !over => match failure {
                Some(error) => drop(ended.error.get_or_insert(error)),
                None => over = true,
            },
            () = commit.next() => host.commit(),
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                host.stop();
            }
        }
    }
    ended
}
