//! A pipeline of the store that this process leads, or follows whoever does.

use std::sync::{
    Arc, Mutex as StdMutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use spout_base::error::{Coded as _, Kind, chain};
use spout_cluster::{Branch, Claimed, Ended, Leading as Fleet};
use spout_keeper::{Provisions, Shared, Wanted};
use spout_pipeline::{Error as PipelineError, Host, Leading, Parts, RunOptions, Update};
use spout_repo::{Error as RepoError, Leader};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

/// A pipeline, and what is needed to lead it.
pub(super) struct Pipeline {
    pub(super) provisions: Provisions,
    pub(super) wanted: Wanted,
    pub(super) branch: String,
    pub(super) options: RunOptions,
    pub(super) leader: Leader,
    /// The newest epoch of the branch that was seen.
    pub(super) seen: AtomicU64,
    pub(super) updates: mpsc::UnboundedSender<Update>,
    /// What is told of it.
    pub(super) shared: Shared,
    /// Where it is led, if another process does; none while this one does.
    pub(super) led: StdMutex<Option<String>>,
    /// Whether it is over where it fails for good: somebody waits for its end. Otherwise it is tried again, as a server does.
    pub(super) ends: bool,
    /// It leads first whoever leads now: where somebody waits for its end, only who leads it knows when that is.
    pub(super) takes: AtomicBool,
    /// Why it failed last.
    pub(super) failed: Mutex<Option<anyhow::Error>>,
}

#[async_trait]
impl Branch for Pipeline {
    async fn newest(&self) -> Result<Option<Claimed>, String> {
        let holder = match self.provisions.store().repo(&self.wanted.name).await {
            Ok(repo) => repo.holder(&self.branch).await,
            Err(RepoError::UnknownRepo { .. }) => return Ok(None),
            Err(error) => Err(error),
        };
        let (epoch, holder) = holder.map_err(|error| chain(&error))?;
        self.seen.store(epoch, Ordering::Relaxed);
        if self.takes.swap(false, Ordering::Relaxed) {
            return Ok(None);
        }
        let leads = holder.filter(|holder| !holder.has_left()).map(|holder| holder.leader);
        let claimed = leads.map(|leader| {
            let (id, address) = leader.map(|Leader { id, address }| (id, address)).unzip();
            Claimed { epoch, address, id }
        });
        let others = claimed.as_ref().filter(|claimed| claimed.id.as_ref() != Some(&self.leader.id));
        self.is_led(others.and_then(|claimed| claimed.address.clone()));
        Ok(claimed)
    }

    async fn lead(&self, fleet: Fleet, stop: &CancellationToken) -> Ended {
        self.is_led(None);
        let parts = match Box::pin(self.provisions.to_lead(&self.wanted)).await {
            Ok(parts) => parts,
            Err(error) => {
                let ended = self.after(error.kind(), chain(&error));
                *self.failed.lock().await = Some(error.into());
                return ended;
            }
        };
        self.shared.leads(&parts);
        let seen = self.seen.load(Ordering::Relaxed);
        let leads = Some(Leading::new(Arc::new(fleet), self.leader.clone(), seen));
        let options = RunOptions { leads, ..self.options.clone() };
        let (host, said) = Host::start(vec![parts.clone()], self.provisions.store(), &options);
        let failed = self.until_over(host, said, &parts, stop).await;
        let ended = match &failed {
            None if stop.is_cancelled() => Ended::Stopped,
            None => Ended::Over,
            Some(error) if error.kind() == Kind::Fenced => Ended::Fenced,
            Some(error) => self.after(error.kind(), chain(error)),
        };
        *self.failed.lock().await = failed.map(anyhow::Error::new);
        ended
    }
}

impl Pipeline {
    /// Where it is led, if another process does.
    pub(super) fn led_at(&self) -> Option<String> {
        self.led.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_led(&self, at: Option<String>) {
        *self.led.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// How it ends that failed in this way.
    fn after(&self, kind: Kind, why: String) -> Ended {
        let passes = matches!(kind, Kind::Unavailable | Kind::Conflict);
        if self.ends && !passes { Ended::Over } else { Ended::Failed(why) }
    }

    async fn until_over(
        &self,
        mut host: Host,
        mut said: mpsc::UnboundedReceiver<Update>,
        parts: &Parts,
        stop: &CancellationToken,
    ) -> Option<PipelineError> {
        let (mut told, mut over, mut stopping, mut error) = (false, false, false, None);
        let mut commit = self.shared.orders(&self.wanted.name);
        while !(told && over) {
            tokio::select! {
                update = said.recv(), if !told => match update {
                    Some(update) => {
                        if matches!(update, Update::Committed { .. }) {
                            self.provisions.confirm(&self.wanted, parts).await;
                        }
                        self.shared.hear(&update);
                        // Whoever listened may have gone away.
                        drop(self.updates.send(update));
                    }
                    None => told = true,
                },
                failure = host.failure(), if !over => match failure {
                    Some(failure) => drop(error.get_or_insert(failure)),
                    None => over = true,
                },
                () = commit.next() => host.commit(),
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    host.stop();
                }
            }
        }
        error
    }
}
