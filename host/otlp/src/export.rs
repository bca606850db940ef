//! What is taken, and sent from time to time: spans as they come, figures as they are then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use spout_base::{
    clock,
    figures::Families,
    panicked::caught,
    trace::{self, Span},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval_at, sleep_until, timeout_at},
};

use super::{Error, Settings, proto, send::Sender};

/// How long the last of it may take at the end.
const LAST: Duration = Duration::from_secs(2);

/// What sends it. What is left is sent by [`close`](Self::close).
#[derive(Debug)]
pub struct Export {
    over: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Takes spans from now on, and sends them and `figures` as `settings` say. Only the first call of a process gets spans.
///
/// # Errors
/// What of the settings cannot be used.
pub fn start(settings: &Settings, figures: impl Fn() -> Families + Send + 'static) -> Result<Export, Error> {
    let (over, ends) = watch::channel(false);
    let mut tasks = Vec::new();
    let traces = settings.traces.clone().map(|signal| Sender::new("spans", signal)).transpose()?;
    let metrics = settings.metrics.clone().map(|signal| Sender::new("metrics", signal)).transpose()?;
    if let Some(sender) = traces {
        let (queue, spans) = mpsc::channel(settings.queue);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        trace::start(settings.share, move |span| {
            if queue.try_send(span).is_err() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let work = Spans { sender, spans, lost, settings: settings.clone(), ends: ends.clone() };
        tasks.push(tokio::spawn(watched("spans", work.run())));
    }
    if let Some(sender) = metrics {
        let work = Figures { sender, figures: Box::new(figures), settings: settings.clone(), ends };
        tasks.push(tokio::spawn(watched("metrics", work.run())));
    }
    Ok(Export { over, tasks })
}

impl Export {
    /// Sends what is left, for two seconds at most.
    pub async fn close(self) {
        let until = clock::now() + LAST;
        self.over.send_replace(true);
        for task in self.tasks {
            let end = task.abort_handle();
            if timeout_at(until, task).await.is_err() {
                end.abort();
            }
        }
    }
}

async fn watched(what: &'static str, work: impl Future<Output = ()>) {
    if let Err(panic) = Box::pin(caught(work)).await {
        tracing::error!(what, %panic, "a bug: nothing more of this is sent to the OpenTelemetry collector; please report it");
    }
}

/// Spans on their way.
struct Spans {
    sender: Sender,
    spans: mpsc::Receiver<Span>,
    /// Those for which there was no room.
    lost: Arc<AtomicU64>,
    settings: Settings,
    ends: watch::Receiver<bool>,
}

impl Spans {
    async fn run(mut self) {
        loop {
            let batch = self.batch().await;
            let last = is_over(&self.ends) && batch.len() < self.settings.batch;
            if !batch.is_empty() {
                let holds = batch.len() as u64;
                self.sender.send(proto::traces(&self.settings.resource, batch), holds).await;
            }
            match self.lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lost => self.sender.lose(lost, "there are more spans than it takes; see OTEL_TRACES_SAMPLER"),
            }
            if last {
                return;
            }
        }
    }

    /// The next ones: as many as go together, or those that came in time. At the end those that are there.
    async fn batch(&mut self) -> Vec<Span> {
        let mut batch = Vec::new();
        let mut due = None;
        while batch.len() < self.settings.batch {
            let left = self.settings.batch - batch.len();
            if is_over(&self.ends) {
                while batch.len() < self.settings.batch
                    && let Ok(span) = self.spans.try_recv()
                {
                    batch.push(span);
                }
                return batch;
            }
            tokio::select! {
                came = self.spans.recv_many(&mut batch, left) => {
                    if came == 0 {
                        return batch;
                    }
                    due.get_or_insert_with(|| clock::now() + self.settings.delay);
                }
                () = sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => return batch,
                _ = self.ends.changed() => {}
            }
        }
        batch
    }
}

/// Figures on their way.
struct Figures {
    sender: Sender,
    figures: Box<dyn Fn() -> Families + Send>,
    settings: Settings,
    ends: watch::Receiver<bool>,
}

impl Figures {
    async fn run(mut self) {
        let start_ns = clock::wall_ns();
        let every = self.settings.every;
        let mut ticks = interval_at(clock::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = self.ends.changed() => {}
            }
            let families = (self.figures)();
            if !families.is_empty() {
                let holds = families.len() as u64;
                let bytes = proto::metrics(&self.settings.resource, families, start_ns, clock::wall_ns());
                self.sender.send(bytes, holds).await;
            }
            if is_over(&self.ends) {
                return;
            }
        }
    }
}

/// Whether this is the end: it was said, or nobody is left to say it.
fn is_over(ends: &watch::Receiver<bool>) -> bool {
    *ends.borrow() || ends.has_changed().is_err()
}
