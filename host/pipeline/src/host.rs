//! Runs any number of pipelines side by side; one that fails does not touch the others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use spout_base::{
    error::{Coded, Kind, chain},
    panicked::caught,
};
use spout_plugin::Backoff;
use spout_producer::StoreAccess;
use spout_repo::Store;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Update,
    build::Parts,
    decide::Until,
    link::Lifecycle,
    run::{Order, RunConfig, run},
    totals::Totals,
};

/// How pipelines are run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// When they stop by themselves.
    pub until: Until,
    /// Whether `print` consumers write NDJSON.
    pub json: bool,
    /// Resident bytes above which commits are cut early.
    pub memory_high: Option<u64>,
    /// What lets programs that pipelines run on this machine into the API of the store; without it they are not.
    pub access: Option<Arc<dyn StoreAccess>>,
}

/// Tries of a pipeline that runs `until` something, before passing trouble counts as failure.
const TRIES: u32 = 3;

/// Running pipelines.
#[derive(Debug)]
pub struct Host {
    tasks: JoinSet<Result<(), Error>>,
    orders: BTreeMap<String, mpsc::UnboundedSender<Order>>,
    /// What tells the plugins of each pipeline that it wants to stop.
    draining: Vec<CancellationToken>,
    stop: CancellationToken,
}

impl Host {
    /// Starts `pipelines` on `store`; what happens to them comes through the receiver.
    #[must_use]
    pub fn start(
        pipelines: Vec<Parts>,
        store: &Store,
        options: &RunOptions,
    ) -> (Self, mpsc::UnboundedReceiver<Update>) {
        let (updates, told) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let (tasks, orders, draining) = (JoinSet::new(), BTreeMap::new(), Vec::new());
        let mut host = Self { tasks, orders, draining, stop: stop.clone() };
        for parts in pipelines {
            host.draining.push(parts.draining.clone());
            let (order, orders) = mpsc::unbounded_channel();
            host.orders.insert(parts.name.clone(), order);
            let RunOptions { until, json, memory_high, access } = options.clone();
            let config = RunConfig { until, json, memory_high, stop: stop.clone(), access };
            host.tasks.spawn(guard(parts, store.clone(), config, orders, updates.clone()));
        }
        (host, told)
    }

    /// Asks every pipeline to commit what it has taken and stop.
    pub fn stop(&self) {
        self.order(Order::Stop);
        self.stop.cancel();
        // A pipeline whose handler is in a call sees no order before the call is over.
        self.draining.iter().for_each(CancellationToken::cancel);
    }

    /// Asks every pipeline to commit what it has taken and go on.
    pub fn commit(&self) {
        self.order(Order::Commit);
    }

    fn order(&self, order: Order) {
        for orders in self.orders.values() {
            if orders.send(order).is_err() {
                tracing::debug!(?order, "ignoring an order for a pipeline that has ended");
            }
        }
    }

    /// Waits for the next pipeline that fails; `None` when all are over. May be given up and asked again.
    pub async fn failure(&mut self) -> Option<Error> {
        while let Some(over) = self.tasks.join_next().await {
            match over {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Some(error),
                // Nobody aborts a pipeline, and its panics are caught within: it has said how it ended.
                Err(_) => {}
            }
        }
        None
    }
}

/// Runs one pipeline, and lets those that it is linked with know when it is over, also if that is by a panic.
async fn guard(
    parts: Parts,
    store: Store,
    config: RunConfig,
    orders: mpsc::UnboundedReceiver<Order>,
    updates: mpsc::UnboundedSender<Update>,
) -> Result<(), Error> {
    let mut guard = LifecycleGuard(parts.place.lifecycle().clone(), true);
    let pipeline = parts.name.clone();
    let over = Box::pin(supervise(parts, store, config, orders, updates.clone()));
    let over = unless_panicked(pipeline, over, &updates).await;
    guard.1 = over.is_err();
    over
}

/// How `pipeline` ended; a panic is an error of it like any other.
async fn unless_panicked(
    pipeline: String,
    running: impl Future<Output = Result<(), Error>>,
    updates: &mpsc::UnboundedSender<Update>,
) -> Result<(), Error> {
    let over = caught(running).await;
    over.unwrap_or_else(|what| {
        let error = Error::Panicked { pipeline: pipeline.clone(), doing: "the pipeline itself", what };
        let (text, code) = (chain(&error), error.code().to_owned());
        drop(updates.send(Update::Failed { pipeline, error: text, code }));
        Err(error)
    })
}

/// The lifecycle of a pipeline, and whether it is to have failed.
struct LifecycleGuard(Lifecycle, bool);

impl Drop for LifecycleGuard {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// Runs one pipeline; after passing trouble it starts again from its head.
async fn supervise(
    parts: Parts,
    store: Store,
    config: RunConfig,
    mut orders: mpsc::UnboundedReceiver<Order>,
    updates: mpsc::UnboundedSender<Update>,
) -> Result<(), Error> {
    let mut backoff = Backoff::default();
    let mut tries = 0;
    let mut totals = Totals::default();
    loop {
        let error = match Box::pin(run(&parts, &store, &config, &mut orders, &mut totals, &updates)).await {
            Ok(()) => {
                let waited = config.until != Until::Stopped || parts.place.subscribes();
                if let Some(upstream) = parts.place.failed_upstream().filter(|_| waited) {
                    let (pipeline, upstream) = (parts.name.clone(), upstream.to_owned());
                    let error = Error::Upstream { pipeline: pipeline.clone(), upstream };
                    let (text, code) = (error.to_string(), error.code().to_owned());
                    drop(updates.send(Update::Failed { pipeline, error: text, code }));
                    return Err(error);
                }
                let Totals { counts, commits, reasons, .. } = totals;
                let (pipeline, reasons) = (parts.name.clone(), reasons.sorted());
                let plugins = parts.metrics();
                if !plugins.is_empty() {
                    drop(updates.send(Update::Metrics { pipeline: pipeline.clone(), plugins, last: true }));
                }
                drop(updates.send(Update::Stopped { pipeline, counts, commits, reasons }));
                return Ok(());
            }
            Err(error) => error,
        };
        tries += 1;
        let text = chain(&error);
        let passing = matches!(error.kind(), Kind::Unavailable | Kind::Conflict);
        let patient = config.until == Until::Stopped || tries < TRIES;
        let (pipeline, code) = (parts.name.clone(), error.code().to_owned());
        if !passing || !patient {
            drop(updates.send(Update::Failed { pipeline, error: text, code }));
            return Err(error);
        }
        let pause = backoff.delay();
        let after_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        drop(updates.send(Update::Retrying { pipeline, error: text, code, after_ms }));
        if stopped_within(pause, &mut orders).await {
            return Err(error);
        }
    }
}

/// Whether the order to stop came before `pause` was over.
async fn stopped_within(pause: Duration, orders: &mut mpsc::UnboundedReceiver<Order>) -> bool {
    let stop = async {
        while let Some(order) = orders.recv().await {
            if order == Order::Stop {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::time::timeout(pause, stop).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pipeline_that_panics_has_failed_with_a_code() {
        let (updates, mut told) = mpsc::unbounded_channel();
        let panics = async { panic!("offset overflow") };
        let over = unless_panicked("p".into(), panics, &updates).await.unwrap_err();
        assert_eq!((over.code(), over.kind()), ("E0704", Kind::Internal));
        let Some(Update::Failed { pipeline, error, code }) = told.recv().await else { panic!("nothing is said") };
        assert_eq!((pipeline.as_str(), code.as_str()), ("p", "E0704"));
        assert!(error.contains("offset overflow"), "{error}");
        assert!(unless_panicked("p".into(), std::future::ready(Ok(())), &updates).await.is_ok());
    }
}
