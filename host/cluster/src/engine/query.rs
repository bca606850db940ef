//! Queries whose plans the engine distributes over the members of a fleet.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    common::{
        Result, exec_err, plan_err,
        tree_node::{TreeNode as _, TreeNodeRecursion},
    },
    error::DataFusionError,
    execution::{SessionState, SessionStateBuilder},
    physical_plan::ExecutionPlan,
    prelude::SessionConfig,
};
use datafusion_distributed::{
    BroadcastExec, ChannelResolver, DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedExt as _,
    DistributedLeafExec, NetworkBoundaryExt as _, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse,
    SessionStateBuilderExt as _, WorkerChannel, WorkerResolver,
};
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use url::Url;

use super::{
    Address, Peer,
    task::{TaskCodec, TaskExec},
};

/// Operators of the engine that it does not let others name.
const ENGINES: [&str; 2] = ["ChildrenIsolatorUnionExec", "SamplerExec"];

/// What makes so many leaves of one, if it can be shared.
pub type Shares = fn(&Arc<dyn ExecutionPlan>, usize) -> Option<Vec<Arc<dyn ExecutionPlan>>>;

/// Which plans of queries travel, and how.
#[derive(Clone)]
pub struct Plans {
    /// Carries their leaves, and opens them.
    pub codec: Arc<dyn PhysicalExtensionCodec>,
    /// Makes the functions known that they use.
    pub functions: fn(&mut SessionState) -> Result<()>,
    /// Among how many processes a leaf can be shared; none, if it is no such leaf.
    pub pieces: fn(&Arc<dyn ExecutionPlan>) -> Option<usize>,
    /// So many leaves in the place of one.
    pub shares: Shares,
    /// Whether an operator that another process has sent may run.
    pub may_run: fn(&Arc<dyn ExecutionPlan>) -> bool,
}

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plans").finish_non_exhaustive()
    }
}

impl Plans {
    /// Makes a session able to read plans of others.
    pub(super) fn open(&self, config: &mut SessionConfig) {
        config.set_distributed_user_codec_arc(Arc::clone(&self.codec));
    }

    /// That nothing but what may run is in `plan`, which another process has sent.
    pub(super) fn check(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
        plan.apply(|node| {
            let engines = node.is_network_boundary()
                || node.downcast_ref::<BroadcastExec>().is_some()
                || ENGINES.contains(&node.name());
            // The leaf of a job is one by itself, never a part of a query.
            if node.downcast_ref::<TaskExec>().is_none() && (engines || (self.may_run)(node)) {
                Ok(TreeNodeRecursion::Continue)
            } else {
                plan_err!("{} may not be in the plan of a query", node.name())
            }
        })
        .map(drop)
    }
}

/// A session whose plans are distributed over `peers`.
pub(crate) fn distributed(
    mut session: SessionStateBuilder,
    plans: &Plans,
    peers: &BTreeMap<String, Arc<Peer>>,
) -> SessionStateBuilder {
    let peers = Members::new(peers.values().map(Arc::clone));
    let most = peers.0.len();
    let (pieces, shares) = (plans.pieces, plans.shares);
    let config = session.config().get_or_insert_default();
    // Where a leader has one core, its plan would have nothing in it that can be shared.
    let parts = &mut config.options_mut().execution.target_partitions;
    *parts = (*parts).max(most).max(2);
    config.set_distributed_user_codec(TaskCodec);
    plans.open(config);
    config.set_distributed_worker_resolver(peers.clone());
    config.set_distributed_channel_resolver(peers);
    // There is a configuration by now, so it can be changed.
    drop(config.set_distributed_compression(None));
    config.set_distributed_desired_task_count_handler(move |event: DesiredTaskCountEvent<'_>| {
        let count = pieces(event.plan)?.clamp(1, most.max(1));
        Some(Ok(DesiredTaskCountEventResponse::desired(count)))
    });
    config.set_distributed_scale_up_leaf_node_handler(move |event: ScaleUpLeafNodeEvent<'_>| {
        let shares = shares(event.plan, event.task_count)?;
        let leaf = DistributedLeafExec::try_new(Arc::clone(event.plan), shares);
        Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
    });
    session.with_distributed_planner()
}

/// The members of a query, as its leader reaches them.
#[derive(Clone)]
struct Members(Arc<BTreeMap<Url, Arc<Peer>>>);

impl Members {
    fn new(peers: impl Iterator<Item = Arc<Peer>>) -> Self {
        Self(Arc::new(peers.filter_map(|peer| Some((url(&peer.address)?, peer))).collect()))
    }
}

/// The URL by which plans name a process.
fn url(address: &Address) -> Option<Url> {
    Url::parse(&format!("spout://{address}")).ok()
}

impl WorkerResolver for Members {
    fn get_urls(&self) -> Result<Vec<Url>, DataFusionError> {
        Ok(self.0.keys().cloned().collect())
    }
}

#[async_trait]
impl ChannelResolver for Members {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        match self.0.get(url) {
            Some(peer) => Ok(peer.channel()),
            None => exec_err!("{url} is no member of the fleet of this query"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_with_one_core_has_something_to_share() {
        let plans = Plans {
            codec: Arc::new(TaskCodec),
            functions: |_| Ok(()),
            pieces: |_| None,
            shares: |_, _| None,
            may_run: |_| false,
        };
        let check = |own: usize, expected: usize| {
            let config = SessionConfig::new().with_target_partitions(own);
            let session = SessionStateBuilder::new().with_config(config);
            let mut shared = distributed(session, &plans, &BTreeMap::new());
            assert_eq!(shared.config().as_ref().map(SessionConfig::target_partitions), Some(expected));
        };
        check(1, 2);
        check(8, 8);
    }
}
