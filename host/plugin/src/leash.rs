//! How long a call into a guest may take: its limit, and hardly longer than a second once the pipeline wants to stop.

use std::{future::Future, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Quotas, steps::Step, turns::Turns, usage::counted};

/// Time beyond its limit before a call that waits is given up: a guest that computes is stopped by its ticks first.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// What a call that runs has left when the pipeline wants to stop.
const RUNNING: Duration = Duration::from_secs(1);

/// What a call has to bring things to an end: one that begins only then, or one that has run all the time, a self-driven spout.
const LAST: Duration = Duration::from_secs(3);

/// Why a call was given up from outside. A guest that computes is stopped too: it gives way at every tick of the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overrun {
    /// Its time is over.
    Limit,
    /// The pipeline wants to stop.
    Stop,
}

/// What bounds one call.
#[derive(Clone, Debug)]
pub(super) struct Leash {
    /// `None` for a call that goes on until the pipeline wants to stop.
    limit: Option<Duration>,
    draining: CancellationToken,
    turns: Turns,
    /// What it has left when the pipeline wants to stop, and what comes on top of that.
    left: Duration,
    spare: Duration,
    /// Where the call is counted, if it is one into the plugin.
    quotas: Option<Quotas>,
}

impl Leash {
    /// Around a call that may take `limit`.
    pub(super) fn new(limit: Duration, draining: &CancellationToken, turns: &Turns) -> Self {
        Self { limit: Some(limit + GRACE), left: RUNNING, ..Self::endless(draining, turns) }
    }

    /// Around one that has no limit.
    pub(super) fn endless(draining: &CancellationToken, turns: &Turns) -> Self {
        let (draining, turns) = (draining.clone(), turns.clone());
        Self { limit: None, draining, turns, left: LAST, spare: Duration::ZERO, quotas: None }
    }

    /// Around calls that have such leashes themselves, and heed them unless their thread hangs: they have `spare` more at a stop.
    pub(super) fn around(spare: Duration, draining: &CancellationToken, turns: &Turns) -> Self {
        Self { left: RUNNING, spare, ..Self::endless(draining, turns) }
    }

    /// The same around a call that counts among those of `quotas`.
    pub(super) fn counted(self, quotas: &Quotas) -> Self {
        Self { quotas: Some(quotas.clone()), ..self }
    }

    /// What `call` answers, if it does so in time. Whoever gets none drops the store: the call stands still half way in it.
    pub(super) async fn hold<F: Future>(&self, call: F) -> Result<F::Output, Overrun> {
        let _step = self.limit.map(Step::begin);
        tokio::select! {
            biased;
            answer = self.turns.during(counted(self.quotas.as_ref(), call)) => Ok(answer),
            () = self.over() => Err(Overrun::Limit),
            () = self.stop() => Err(Overrun::Stop),
        }
    }

    async fn over(&self) {
        match self.limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    }

    async fn stop(&self) {
        if self.draining.is_cancelled() {
            return tokio::time::sleep(LAST + self.spare).await;
        }
        self.draining.cancelled().await;
        tokio::time::sleep(self.left + self.spare).await;
    }
}
