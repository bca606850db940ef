//! Calls `spout`: a source that drives itself and makes its own commits.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::future::BoxFuture;

use super::{Error, Pfs, World, bindings::exports::spout::plugin::spout as wit, instance::Instance, task::Task};

const RUN: &str = "spout.run";

/// A plugin that drives itself. Each run has an instance of its own, so after a crash its owner runs it once more.
#[derive(Clone, Debug)]
pub struct SelfDriven {
    task: Task,
    pfs: Arc<dyn Pfs>,
    resting: Arc<AtomicBool>,
}

impl SelfDriven {
    /// The plugin of `task`, whose commits go to `pfs`.
    #[must_use]
    pub fn new(task: Task, pfs: Arc<dyn Pfs>) -> Self {
        Self { task, pfs, resting: Arc::default() }
    }

    /// Whether the plugin waits because it has nothing for now.
    #[must_use]
    pub fn resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    /// Runs the plugin until it returns. It has no time limit, but for what it computes from one call to the host to the next;
    /// once the pipeline wants to stop, it has a few seconds.
    ///
    /// # Errors
    /// What the plugin returns, or how it crashed; [`Error::Interrupted`] if it did not return in time before a stop.
    pub fn run<'a>(&'a self) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let task = &self.task;
            let indices = task.plugin.interfaces.spout.clone().ok_or_else(|| task.plugin.lacks(World::SelfDriven))?;
            let mut instance = Instance::open(task).await?;
            let guest: wit::Guest = instance.load(|store, linked| indices.load(store, linked))?;
            let leash = instance.begin_driving(Some(Arc::clone(&self.pfs)), Arc::clone(&self.resting));
            let settings = task.settings();
            let answer = leash.hold(guest.call_run(&mut instance.store, &task.offer, &settings)).await;
            instance.settle(RUN, answer)
        })
    }
}
