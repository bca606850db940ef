//! Ends the process where an execution does not end, and says which.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// An execution takes microseconds; a machine that stands still for this long does not exist.
const LONGEST: Duration = Duration::from_secs(60);

/// Executions that are running: their seeds, and since when.
type Running = Mutex<HashMap<u64, (u64, Instant)>>;

/// Watches the executions of one target.
pub(crate) struct Watch {
    running: Arc<Running>,
    next: AtomicU64,
}

impl Watch {
    pub(crate) fn new(name: &'static str) -> Self {
        let running = Arc::new(Running::default());
        let watched = Arc::downgrade(&running);
        std::thread::spawn(move || watch(name, &watched));
        Self { running, next: AtomicU64::new(0) }
    }

    /// The execution of `seed` runs until what this gives is dropped.
    pub(crate) fn begin(&self, seed: u64) -> Watched<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.running).insert(number, (seed, Instant::now()));
        Watched { of: &self.running, number }
    }
}

pub(crate) struct Watched<'a> {
    of: &'a Running,
    number: u64,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        lock(self.of).remove(&self.number);
    }
}

fn lock(running: &Running) -> std::sync::MutexGuard<'_, HashMap<u64, (u64, Instant)>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks now and then, until the target is done.
fn watch(name: &str, running: &Weak<Running>) {
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let Some(running) = running.upgrade() else { return };
        let stuck = lock(&running).values().find(|(_, since)| since.elapsed() > LONGEST).map(|(seed, _)| *seed);
        if let Some(seed) = stuck {
            eprintln!("{name}: seed {seed} does not end; `just fuzz {name} 1 {seed}` repeats it");
            std::process::abort();
        }
    }
}
