//! The pipelines that a process runs by itself, as `spout run` does: they obey the same orders as those that a keeper runs.

use std::{sync::Arc, time::Duration};

use spout_api::{Phase, Status};
use spout_base::clock;
use spout_pipeline::{Orders, Parts, Update};
use spout_spec::Loaded;

use super::{committer::Committer, status::Statuses};

/// How long an order is waited for to be followed, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);

/// Pipelines that this process runs by itself. Clones are of the same ones.
#[derive(Clone, Debug)]
pub struct Ran {
    orders: Orders,
    statuses: Statuses,
    /// Their specs.
    specs: Arc<Vec<Loaded>>,
}

impl Ran {
    /// Those that `orders` steer, made of `parts` by these specs.
    #[must_use]
    pub fn new(orders: Orders, parts: &[Parts], specs: Vec<Loaded>) -> Self {
        let statuses = Statuses::default();
        parts.iter().for_each(|parts| statuses.starts_with(parts));
        specs.iter().for_each(|loaded| statuses.made_of(loaded));
        statuses.now_known();
        Self { orders, statuses, specs: Arc::new(specs) }
    }

    /// What they are doing, as it changes.
    #[must_use]
    pub fn statuses(&self) -> Statuses {
        self.statuses.clone()
    }

    /// What has them commit what they have read.
    #[must_use]
    pub fn committer(&self) -> Committer {
        let committer = Committer::default();
        for pipeline in self.orders.pipelines() {
            let (mut heard, orders, name) =
                (committer.orders(&[pipeline.to_owned()]), self.orders.clone(), pipeline.to_owned());
            tokio::spawn(async move {
                loop {
                    heard.next().await;
                    orders.commit(&name);
                }
            });
        }
        committer
    }

    /// Takes in what one of them says.
    pub fn hear(&self, update: &Update) {
        self.statuses.hear(update);
    }

    /// What one of them is doing, if there is one of this name.
    pub(super) fn status(&self, name: &str) -> Option<Status> {
        if self.orders.reach(name) { self.statuses.one(name) } else { None }
    }

    /// Their specs.
    pub(super) fn specs(&self) -> &[Loaded] {
        &self.specs
    }

    /// Has one run or pause; whether it was so already.
    pub(super) async fn set_running(&self, name: &str, running: bool) -> bool {
        let state = || self.status(name).map(|status| status.state);
        let was_paused = state() == Some(Phase::Stopped);
        if running {
            self.orders.resume(name);
            self.until(|| state() != Some(Phase::Stopped)).await;
            return !was_paused;
        }
        if !was_paused {
            self.statuses.set(name, Phase::Stopping);
        }
        self.orders.pause(name);
        self.until(|| matches!(state(), None | Some(Phase::Stopped | Phase::Failed | Phase::Finished))).await;
        was_paused
    }

    /// Has one commit what it has read, and start again.
    pub(super) fn restart(&self, name: &str) {
        self.orders.restart(name);
    }

    /// Waits until something is so, for a while.
    async fn until(&self, so: impl Fn() -> bool) {
        let last = clock::now() + PATIENCE;
        while !so() && clock::now() < last {
            tokio::time::sleep(LOOK).await;
        }
    }
}
