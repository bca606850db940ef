//! What all instances of one plugin in one pipeline have taken: calls, time, processor time, crashes.
//!
//! Time is taken between two polls of a call, so that one that goes on for days is counted while it does.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use spout_base::clock;

use super::Quotas;

/// The account of one plugin in one pipeline.
#[derive(Debug, Default)]
pub(super) struct Taken {
    calls: AtomicU64,
    busy_ns: AtomicU64,
    cpu_ns: AtomicU64,
    /// Whether the system says what a thread has taken.
    has_cpu: AtomicU64,
    crashes: AtomicU64,
}

/// What all instances of a plugin in a pipeline use now, and have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Instances that there are.
    pub instances: u64,
    /// Calls, also those that instantiate it.
    pub calls: u64,
    /// Time in calls, with what they waited for.
    pub busy: Duration,
    /// Processor time in calls, with what the host does on their behalf; none where the system does not say so.
    pub cpu: Option<Duration>,
    /// Bytes of their linear memories and tables.
    pub memory: u64,
    /// Instances that were lost: to a trap, a limit, or a call that took too long.
    pub crashes: u64,
}

impl Usage {
    /// With what instances of another process use and have used.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            instances: self.instances + other.instances,
            calls: self.calls + other.calls,
            busy: self.busy + other.busy,
            cpu: match (self.cpu, other.cpu) {
                (Some(own), Some(other)) => Some(own + other),
                (own, other) => own.or(other),
            },
            memory: self.memory + other.memory,
            crashes: self.crashes + other.crashes,
        }
    }

    /// What was used since `before`, and is used now.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            busy: self.busy.saturating_sub(before.busy),
            cpu: self.cpu.map(|cpu| cpu.saturating_sub(before.cpu.unwrap_or_default())),
            crashes: self.crashes.saturating_sub(before.crashes),
            ..self
        }
    }
}

impl Taken {
    pub(super) fn usage(&self, instances: u64, memory: u64) -> Usage {
        let time = |ns: &AtomicU64| Duration::from_nanos(ns.load(Relaxed));
        Usage {
            instances,
            memory,
            calls: self.calls.load(Relaxed),
            busy: time(&self.busy_ns),
            cpu: (self.has_cpu.load(Relaxed) > 0).then(|| time(&self.cpu_ns)),
            crashes: self.crashes.load(Relaxed),
        }
    }

    /// An instance was lost.
    pub(super) fn crashed(&self) {
        self.crashes.fetch_add(1, Relaxed);
    }

    fn took(&self, busy: Duration, cpu: Option<Duration>) {
        self.busy_ns.fetch_add(nanos(busy), Relaxed);
        if let Some(cpu) = cpu {
            self.cpu_ns.fetch_add(nanos(cpu), Relaxed);
            self.has_cpu.store(1, Relaxed);
        }
    }
}

/// `call`, counted in `quotas` if these are given.
pub(super) async fn counted<F: Future>(quotas: Option<&Quotas>, call: F) -> F::Output {
    let Some(taken) = quotas.map(Quotas::taken) else { return call.await };
    taken.calls.fetch_add(1, Relaxed);
    let mut call = pin!(call);
    let mut since = clock::now();
    poll_fn(|cx| {
        let before = clock::processor();
        let polled = call.as_mut().poll(cx);
        let cpu = clock::processor().zip(before).map(|(after, before)| after.saturating_sub(before));
        let now = clock::now();
        taken.took(now.duration_since(since), cpu);
        since = now;
        polled
    })
    .await
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_counted_while_it_goes_on_and_also_where_it_is_given_up() {
        const STEP: Duration = Duration::from_millis(5);
        let quotas = Quotas::default();
        let waits = async {
            for _ in 0..3 {
                tokio::time::sleep(STEP).await;
            }
        };
        counted(Some(&quotas), waits).await;
        let one = quotas.usage();
        assert_eq!((one.calls, one.instances, one.crashes), (1, 0, 0));
        assert!(one.busy >= 3 * STEP && one.cpu.is_some_and(|cpu| cpu < one.busy), "it waited: {one:?}");
        let hangs = async {
            tokio::time::sleep(STEP).await;
            std::future::pending::<()>().await;
        };
        assert!(tokio::time::timeout(10 * STEP, counted(Some(&quotas), hangs)).await.is_err());
        let both = quotas.usage();
        assert!(both.calls == 2 && both.busy >= 4 * STEP, "{both:?}");
        counted(None, std::future::ready(())).await;
        assert_eq!(quotas.usage(), both);
    }

    #[tokio::test]
    async fn what_computes_takes_processor_time() {
        let quotas = Quotas::default();
        let computes = async {
            let begun = clock::processor().unwrap();
            while clock::processor().unwrap() - begun < Duration::from_millis(3) {}
        };
        counted(Some(&quotas), computes).await;
        assert!(quotas.usage().cpu >= Some(Duration::from_millis(3)), "{:?}", quotas.usage());
    }
}
