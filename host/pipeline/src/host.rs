//! Runs any number of pipelines side by side; one that fails does not touch the others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use spout_base::{
    error::{Coded, Kind, chain},
    owner,
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
    spread::Leading,
    steering::{Orders, Steering, Wanted},
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
    /// The processes that share the work of pipelines that can be spread, if any do.
    pub leads: Option<Leading>,
}

/// Tries of a pipeline that runs `until` something, before passing trouble counts as failure.
const TRIES: u32 = 3;

/// Crashes in a row of a plugin that is only opened, before they count as failure.
const CRASHES: u32 = 3;

/// Running pipelines.
#[derive(Debug)]
pub struct Host {
    tasks: JoinSet<Result<(), Error>>,
    orders: Orders,
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
        let (mut tasks, mut all) = (JoinSet::new(), BTreeMap::new());
        for parts in pipelines {
            let (steering, orders) = Steering::new();
            all.insert(parts.name.clone(), steering.clone());
            let RunOptions { until, json, memory_high, access, leads } = options.clone();
            let config = RunConfig { until, json, memory_high, stop: CancellationToken::new(), access, leads };
            let pipeline = parts.name.clone();
            let guarded = guard(parts, store.clone(), config, (steering, orders), updates.clone());
            tasks.spawn(async move { owner::work_for(&pipeline, guarded).await });
        }
        (Self { tasks, orders: Orders(Arc::new(all)) }, told)
    }

    /// What steers each of the pipelines.
    #[must_use]
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// Asks every pipeline to commit what it has taken and stop.
    pub fn stop(&self) {
        self.orders.0.values().for_each(|steering| steering.set(Wanted::Stopped));
    }

    /// Asks every pipeline to commit what it has taken and go on.
    pub fn commit(&self) {
        self.orders.0.values().for_each(Steering::commit);
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

/// What a pipeline is steered by, and its end of it.
type Steered = (Steering, mpsc::UnboundedReceiver<Order>);

/// Runs one pipeline, and lets those that it is linked with know when it is over, also if that is by a panic.
async fn guard(
    parts: Parts,
    store: Store,
    config: RunConfig,
    steered: Steered,
    updates: mpsc::UnboundedSender<Update>,
) -> Result<(), Error> {
    let mut guard = LifecycleGuard(parts.place.lifecycle().clone(), true);
    let pipeline = parts.name.clone();
    let over = Box::pin(supervise(parts, store, config, steered, updates.clone()));
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

/// Runs one pipeline; after passing trouble it starts again from its head, and so it does when it was paused.
async fn supervise(
    parts: Parts,
    store: Store,
    config: RunConfig,
    (steering, mut orders): Steered,
    updates: mpsc::UnboundedSender<Update>,
) -> Result<(), Error> {
    let mut backoff = Backoff::default();
    let (mut tries, mut crashes) = (0, 0);
    let (mut totals, mut committed) = (Totals::default(), 0);
    loop {
        let (stop, draining) = match steering.begin() {
            Ok(tokens) => tokens,
            Err(Wanted::Paused) => {
                rest(&parts.name, &steering, &mut orders, &updates).await;
                continue;
            }
            Err(Wanted::Running | Wanted::Stopped) => return stopped(&parts, totals, &updates),
        };
        // Orders to a run that is over are no orders to this one.
        while orders.try_recv().is_ok() {}
        if stop.is_cancelled() {
            continue;
        }
        let mut leads = config.leads.clone();
        if let (Some(leads), Some(epoch)) = (&mut leads, totals.epoch) {
            leads.seen = epoch;
        }
        let (parts, config) = (parts.told_by(draining), RunConfig { stop: stop.clone(), leads, ..config.clone() });
        let error = match Box::pin(run(&parts, &store, &config, &mut orders, &mut totals, &updates)).await {
            // It was told to end so that another one begins.
            Ok(()) if stop.is_cancelled() && steering.wanted() != Wanted::Stopped => continue,
            Err(error @ Error::Overdue { .. }) if stop.is_cancelled() && steering.wanted() != Wanted::Stopped => {
                tracing::warn!(pipeline = parts.name, error = chain(&error), "what was not committed is read again");
                continue;
            }
            Ok(()) => {
                let waited = config.until != Until::Stopped || parts.place.subscribes();
                if let Some(upstream) = parts.place.failed_upstream().filter(|_| waited) {
                    let (pipeline, upstream) = (parts.name.clone(), upstream.to_owned());
                    let error = Error::Upstream { pipeline: pipeline.clone(), upstream };
                    let (text, code) = (error.to_string(), error.code().to_owned());
                    drop(updates.send(Update::Failed { pipeline, error: text, code }));
                    return Err(error);
                }
                return stopped(&parts, totals, &updates);
            }
            Err(error) => error,
        };
        if matches!(error, Error::Member { .. } | Error::Twice { .. }) && totals.commits > committed {
            // The work goes on, with whoever is there.
            (backoff, tries) = (Backoff::default(), 0);
        }
        committed = totals.commits;
        tries += 1;
        crashes = if error.is_crash_at_start() { crashes + 1 } else { 0 };
        let text = chain(&error);
        let passing = matches!(error.kind(), Kind::Unavailable | Kind::Conflict) || (1..CRASHES).contains(&crashes);
        let patient = config.until == Until::Stopped || tries < TRIES;
        let (pipeline, code) = (parts.name.clone(), error.code().to_owned());
        if !passing || !patient {
            drop(updates.send(Update::Failed { pipeline, error: text, code }));
            return Err(error);
        }
        let pause = backoff.delay();
        let after_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(pipeline, code, ?pause, error = text, "the pipeline failed; starting it again");
        drop(updates.send(Update::Retrying { pipeline, error: text, code, after_ms }));
        if called_within(pause, &mut orders).await && steering.wanted() == Wanted::Stopped {
            return Err(error);
        }
    }
}

/// A pipeline that has committed everything it took, and does not go on.
fn stopped(parts: &Parts, totals: Totals, updates: &mpsc::UnboundedSender<Update>) -> Result<(), Error> {
    let Totals { counts, commits, reasons, .. } = totals;
    let (pipeline, reasons) = (parts.name.clone(), reasons.sorted());
    let plugins = parts.metrics();
    if !plugins.is_empty() {
        drop(updates.send(Update::Metrics { pipeline: pipeline.clone(), plugins, last: true }));
    }
    drop(updates.send(Update::Stopped { pipeline, counts, commits, reasons }));
    Ok(())
}

/// Waits until something else is wanted than that it rests.
async fn rest(
    pipeline: &str,
    steering: &Steering,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    updates: &mpsc::UnboundedSender<Update>,
) {
    drop(updates.send(Update::Paused { pipeline: pipeline.to_owned() }));
    while steering.wanted() == Wanted::Paused && orders.recv().await.is_some() {}
}

/// Whether the order to stop, or to start at once, came before `pause` was over.
async fn called_within(pause: Duration, orders: &mut mpsc::UnboundedReceiver<Order>) -> bool {
    let called = async {
        while let Some(order) = orders.recv().await {
            if order != Order::Commit {
                return;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::time::timeout(pause, called).await.is_ok()
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
